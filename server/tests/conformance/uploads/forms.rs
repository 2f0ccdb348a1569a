//! Forms that mean harm: what is around their file is bounded, in bytes and in time, like the file.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Request, answered, ask, bytes, content, files};
use crate::support::{Pair, Server, eventually};

crate::on_local_pairs!(what_is_around_a_file_is_little, a_silent_form_is_no_upload, what_surrounds_a_file_may_come_in_any_pieces);

const HEAD: &str = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n";

/// A connection on which a form of `length` bytes is announced.
async fn announced(server: &Server, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /v1/uploads HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n",
        server.token("alice")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn what_is_around_a_file_is_little(pair: Pair) {
    let server = pair.server().await;
    let long = "a".repeat(1 << 20);
    for body in [
        // The headers of a part, what comes before the first, and the headers of a second.
        format!("--b\r\nx: {long}"),
        long.clone(),
        format!("{HEAD}\r\nfile\r\n--b\r\nx: {long}"),
        format!("{HEAD}\r\nfile\r\n--b{}", " ".repeat(1 << 20)),
    ] {
        // Most of what is announced never comes.
        let mut stream = announced(&server, 1 << 30).await;
        // It may be cut off while it sends.
        let _ = stream.write_all(body.as_bytes()).await;
        let (status, text) = answered(&mut stream).await;
        assert_eq!(status, 413, "{}: {text}", &body[..100]);
        assert!(text.contains("payload_too_large"), "{text}");
        drop(stream);
        // And if all of it is there at once.
        let request = Request::new("POST", "/v1/uploads", body).with("content-type", "multipart/form-data; boundary=b");
        assert_eq!(ask(&server, "alice", request).await.status(), 413);
    }
    eventually("nothing is left", || files(&server, None).is_empty()).await;
    let list = ask(&server, "alice", Request::get("/v1/uploads")).await.json().await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
}

async fn a_silent_form_is_no_upload(pair: Pair) {
    let server = pair.server_with(&["uploads.idle_timeout=1s", "uploads.at_once=1"]).await;
    for sent in
        ["", "--b\r\nx: a", HEAD, &format!("{HEAD}\r\nhalf"), &format!("{HEAD}\r\nfile\r\n--b"), &format!("{HEAD}\r\nfile\r\n--b\r\nx: ")]
    {
        let mut stream = announced(&server, 100_000).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (status, text) = answered(&mut stream).await;
        assert_eq!(status, 408, "{sent:?}: {text}");
        assert!(files(&server, None).is_empty(), "{sent:?}");
    }
    // Each had the one place, and each gave it back.
    let mut silent = announced(&server, 100_000).await;
    silent.write_all(b"--b").await.unwrap();
    let post = || Request::new("POST", "/v1/uploads?name=a", "x").with("content-type", super::KIND);
    // Until it has come.
    while ask(&server, "alice", post()).await.status() != 503 {}
    assert_eq!(answered(&mut silent).await.0, 408);
    assert_eq!(ask(&server, "alice", post()).await.status(), 201);
}

async fn what_surrounds_a_file_may_come_in_any_pieces(pair: Pair) {
    let server = pair.server().await;
    let file = bytes(300_000);
    // Close to what is allowed before the file, and the file behind it.
    let preamble = format!("{}\r\n", "x".repeat(16_000));
    let body = [preamble.as_bytes(), HEAD.as_bytes(), b"\r\n", &file, b"\r\n--b--\r\n"].concat();
    for piece in [1 << 20, 16_001, 700] {
        let mut stream = announced(&server, body.len()).await;
        stream.set_nodelay(true).unwrap();
        for part in body.chunks(piece) {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (status, text) = answered(&mut stream).await;
        assert_eq!(status, 201, "pieces of {piece}: {text}");
        let upload = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(ask(&server, "alice", content(&upload)).await.bytes().await == file, "pieces of {piece}");
    }
}
