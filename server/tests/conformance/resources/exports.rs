//! Whole lists as a client gets them that takes compressed bodies, as most do without being told.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::person;
use crate::{
    accounts::CHEAP,
    support::{
        Pair,
        client::{Client, Request},
    },
};

crate::on_local_pairs!(exports_are_the_same_in_every_coding);

async fn decoded(coding: &str, body: &[u8]) -> String {
    let mut decoder: Box<dyn AsyncRead + Send + Unpin + '_> = match coding {
        "gzip" => Box::new(GzipDecoder::new(body)),
        "br" => Box::new(BrotliDecoder::new(body)),
        _ => Box::new(ZstdDecoder::new(body)),
    };
    let mut text = String::new();
    decoder.read_to_string(&mut text).await.unwrap();
    text
}

async fn exports_are_the_same_in_every_coding(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:tea", "title": "Tea", "visibility": "public"}), 201).await;
    for n in 0..3 {
        ada.does(&server, "POST", "/v1/channels/chat:tea/messages", json!({"payload": format!("chat:tea {n}")}), 201).await;
    }
    let mut client = Client::new(&[server.address()]);
    for (path, kind) in [
        ("/v1/channels", "text/csv"),
        ("/v1/channels", "application/x-ndjson"),
        ("/v1/me/channels", "application/x-ndjson"),
        ("/v1/channels/chat:tea/messages", "application/x-ndjson"),
    ] {
        let get = |codings| Request::get(path).with_token(&ada.token).with("accept", kind).with("accept-encoding", codings);
        let plain = client.ask(&get("identity")).await.unwrap();
        assert_eq!((plain.status(), plain.header("content-encoding")), (200, None), "{path} {kind}");
        let plain = plain.text().await;
        assert!(plain.contains("chat:tea"), "{path} {kind}: {plain}");
        for coding in ["gzip", "br", "zstd"] {
            let answer = client.ask(&get(coding)).await.unwrap();
            assert_eq!((answer.status(), answer.header("content-encoding")), (200, Some(coding)), "{path} {kind}");
            assert_eq!(decoded(coding, &answer.bytes().await).await, plain, "{path} {kind} {coding}");
        }
    }
}
