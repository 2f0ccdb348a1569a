//! Files by REST: what is uploaded is downloaded, by whom it may be, in parts if wanted, and nothing half-written is ever there.

mod forms;
mod hostile;
mod ranges;
mod rights;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    PATIENCE, Pair, S3, Server,
    client::{Client, Request, Response},
    eventually,
};

crate::on_local_pairs!(
    what_was_uploaded_is_downloaded,
    equal_files_that_come_at_once_are_one,
    what_breaks_off_leaves_nothing,
    what_is_too_much_is_refused_before_it_is_sent,
    a_trickle_is_no_upload,
    a_form_carries_one_file,
    an_idempotency_key_is_refused,
    a_quota_is_kept,
    lists_show_one_s_own,
    what_is_deleted_can_be_restored,
);
crate::on_nats_pairs!(another_instance_has_the_file);

const KIND: &str = "application/octet-stream";

/// A server whose files are on the disk, and one whose files are in a bucket.
async fn places(pair: Pair, settings: &[&str]) -> Vec<(Server, Option<S3>)> {
    let s3 = S3::start();
    let in_bucket = s3.settings();
    let all: Vec<&str> = in_bucket.iter().map(String::as_str).chain(settings.iter().copied()).collect();
    vec![(pair.server_with(settings).await, None), (pair.server_with(&all).await, Some(s3))]
}

/// The files of a server, those that are not whole included.
fn files(server: &Server, s3: Option<&S3>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&s3.map_or_else(|| server.ground().files(), S3::folder), &mut files);
    files
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), files),
            // What the S3 server keeps beside an object.
            false if entry.file_name().to_string_lossy().starts_with('.') => {}
            false => files.push(entry.path()),
        }
    }
}

async fn ask(server: &Server, user: &str, request: Request) -> Response {
    let request = request.with_token(&server.token(user));
    Client::new(&[server.address()]).ask(&request).await.unwrap()
}

async fn upload(server: &Server, user: &str, query: &str, content: impl Into<Bytes>) -> Value {
    let request = Request::new("POST", &format!("/v1/uploads?{query}"), content).with("content-type", KIND);
    let response = ask(server, user, request).await;
    let (status, location) = (response.status(), response.header("location").map(str::to_owned));
    let upload = response.json().await;
    assert_eq!(status, 201, "{upload}");
    assert_eq!(location.as_deref(), Some(&*format!("/v1/uploads/{}", id(&upload))));
    upload
}

fn id(upload: &Value) -> &str {
    upload["id"].as_str().unwrap()
}

fn address(upload: &Value) -> String {
    format!("/v1/uploads/{}", id(upload))
}

fn content(upload: &Value) -> Request {
    Request::get(&format!("/v1/uploads/{}/content", id(upload)))
}

/// Bytes that differ everywhere.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

async fn what_was_uploaded_is_downloaded(pair: Pair) {
    for (server, s3) in places(pair, &[]).await {
        for length in [0, 1, 8 << 20] {
            let bytes = bytes(length);
            let upload = upload(&server, "alice", "name=a.bin", bytes.clone()).await;
            assert_eq!((upload["size"].as_u64(), upload["owner"].as_str()), (Some(length as u64), Some("alice")));
            let response = ask(&server, "alice", content(&upload)).await;
            let tag = response.header("etag").unwrap().to_owned();
            assert_eq!((response.status(), tag.trim_matches('"')), (200, upload["sha256"].as_str().unwrap()));
            assert_eq!(response.header("content-length"), Some(&*length.to_string()));
            assert!(response.bytes().await == bytes, "{length} bytes");
            let head = Request::new("HEAD", &format!("{}/content", address(&upload)), "");
            let head = ask(&server, "alice", head).await;
            assert_eq!((head.status(), head.header("content-length"), head.header("etag")), (200, Some(&*length.to_string()), Some(&*tag)));
            assert!(head.bytes().await.is_empty());
            for known in [tag.clone(), format!("W/{tag}"), "*".to_owned(), format!("\"x\", {tag}")] {
                let fresh = ask(&server, "alice", content(&upload).with("if-none-match", &known)).await;
                assert_eq!((fresh.status(), fresh.header("etag")), (304, Some(&*tag)), "{known}");
                assert!(fresh.bytes().await.is_empty());
            }
            let stale = ask(&server, "alice", content(&upload).with("if-none-match", "\"x\"")).await;
            assert_eq!(stale.status(), 200);
            let other = ask(&server, "alice", content(&upload).with("if-match", "\"x\"")).await;
            assert_eq!(other.status(), 412);
            assert_eq!(ask(&server, "alice", Request::get(&address(&upload))).await.json().await, upload);
        }
        assert_eq!(files(&server, s3.as_ref()).len(), 3);
        assert_eq!(server.metric("hubbub_uploads_total{result=\"stored\"}"), 3.0);
        assert_eq!(server.metric("hubbub_upload_bytes_total"), f64::from((8 << 20) + 1));
    }
}

async fn another_instance_has_the_file(pair: Pair) {
    let [one, two] = pair.fleet().await;
    let bytes = bytes(100_000);
    let upload = upload(&one, "alice", "name=a.bin", bytes.clone()).await;
    assert!(ask(&two, "alice", content(&upload)).await.bytes().await == bytes);
}

async fn equal_files_that_come_at_once_are_one(pair: Pair) {
    for (server, s3) in places(pair, &[]).await {
        let bytes = bytes(6 << 20);
        let users = ["alice", "bob", "carol", "dave"];
        let uploads = users.map(|user| {
            let (server, bytes) = (&server, bytes.clone());
            async move { upload(server, user, "name=same.bin", bytes).await }
        });
        let uploads = futures_util::future::join_all(uploads).await;
        assert_eq!(files(&server, s3.as_ref()).len(), 1);
        for (user, upload) in users.into_iter().zip(uploads) {
            assert!(ask(&server, user, content(&upload)).await.bytes().await == bytes);
            assert_eq!(files(&server, s3.as_ref()).len(), 1);
            let gone = Request::delete(&format!("{}?forever=true", address(&upload)));
            assert_eq!(ask(&server, user, gone).await.status(), 204);
        }
        assert!(files(&server, s3.as_ref()).is_empty(), "with the last upload its bytes go");
    }
}

/// The head of an upload, as it goes over the wire.
fn head(server: &Server, query: &str, more: &str) -> String {
    let token = server.token("alice");
    format!("POST /v1/uploads?{query} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\ncontent-type: {KIND}\r\n{more}\r\n")
}

async fn what_breaks_off_leaves_nothing(pair: Pair) {
    for (server, s3) in places(pair, &[]).await {
        let half = vec![7; 12 << 20];
        for more in ["content-length: 20000000\r\n", "transfer-encoding: chunked\r\n"] {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            stream.write_all(head(&server, "name=a.bin", more).as_bytes()).await.unwrap();
            if more.starts_with("transfer") {
                stream.write_all(format!("{:x}\r\n", 20_000_000).as_bytes()).await.unwrap();
            }
            stream.write_all(&half).await.unwrap();
            let under_way = || server.metric("hubbub_uploads_under_way");
            eventually("it comes in", || under_way() == 1.0).await;
            drop(stream);
            eventually("it is given up", || under_way() == 0.0).await;
            eventually("nothing is left", || files(&server, s3.as_ref()).is_empty()).await;
        }
        let list = ask(&server, "alice", Request::get("/v1/uploads")).await.json().await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
        assert_eq!(server.metric("hubbub_uploads_total{result=\"stored\"}"), 0.0);
    }
}

/// The status and the body of what comes back on a connection.
async fn answered(stream: &mut TcpStream) -> (u16, String) {
    let mut text = String::new();
    let read = async {
        let mut buffer = [0; 4_096];
        while !text.contains("\r\n\r\n") || !text.ends_with('}') {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {text}"));
    (status, text)
}

async fn what_is_too_much_is_refused_before_it_is_sent(pair: Pair) {
    let server = pair.server_with(&["uploads.max_size=1MiB", "uploads.user_quota=1MiB"]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = |more: &str| head(&server, "name=a.bin", more);
    stream.write_all(head("content-length: 1048577\r\nexpect: 100-continue\r\n").as_bytes()).await.unwrap();
    let (status, text) = answered(&mut stream).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("payload_too_large"));
    // One that does not say how much it brings.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head("transfer-encoding: chunked\r\n").as_bytes()).await.unwrap();
    let mut sent = async || {
        for _ in 0..40 {
            stream.write_all(b"10000\r\n").await?;
            stream.write_all(&[7; 0x10000]).await?;
            stream.write_all(b"\r\n").await?;
        }
        Ok::<_, std::io::Error>(())
    };
    // It may be cut off while it sends.
    let _ = sent().await;
    eventually("it is refused", || server.metric("hubbub_uploads_total{result=\"refused\"}") == 2.0).await;
    assert!(files(&server, None).is_empty());
    upload(&server, "alice", "name=a.bin", bytes(1 << 20)).await;
}

/// To ignore it would promise what is not kept.
async fn an_idempotency_key_is_refused(pair: Pair) {
    let server = pair.server().await;
    let request = Request::new("POST", "/v1/uploads?name=a.txt", "x").with("content-type", KIND).with("idempotency-key", "k");
    let answer = ask(&server, "alice", request).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json().await["code"], "bad_frame");
    assert!(files(&server, None).is_empty());
}

async fn a_trickle_is_no_upload(pair: Pair) {
    let server = pair.server_with(&["uploads.idle_timeout=1s"]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head(&server, "name=a.bin", "content-length: 100000\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"a little").await.unwrap();
    let (status, text) = answered(&mut stream).await;
    assert_eq!(status, 408, "{text}");
    assert!(files(&server, None).is_empty());
}

async fn a_form_carries_one_file(pair: Pair) {
    let server = pair.server().await;
    let part = |head: &str, body: &str| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let post = async |query: &str, body: String| {
        let request = Request::new("POST", &format!("/v1/uploads{query}"), body).with("content-type", "multipart/form-data; boundary=b");
        ask(&server, "alice", request).await
    };
    let file = part("name=\"file\"; filename=\"a.csv\"\r\ncontent-type: text/csv", "a,b\r\n1,2");
    let taken = post("", format!("{file}--b--\r\n")).await;
    assert_eq!(taken.status(), 201);
    let taken = taken.json().await;
    assert_eq!((taken["name"].as_str(), taken["media_type"].as_str(), taken["size"].as_u64()), (Some("a.csv"), Some("text/csv"), Some(8)));
    assert_eq!(ask(&server, "alice", content(&taken)).await.bytes().await, "a,b\r\n1,2");
    let renamed = post("?name=other.csv", format!("{file}--b--\r\n")).await.json().await;
    assert_eq!(renamed["name"].as_str(), Some("other.csv"));
    for (body, status) in [
        (format!("{file}{file}--b--\r\n"), 400),
        (file.clone(), 400),
        (part("name=\"file\"; filename=\"a\"", "cut")[..60].to_owned(), 400),
        (format!("{}--b--\r\n", part("name=\"photo\"; filename=\"a\"", "x")), 400),
        (format!("{}--b--\r\n", part("filename=\"a\"", "x")), 400),
        ("--b--\r\n".to_owned(), 400),
        (String::new(), 400),
        (format!("{}--b--\r\n", part("name=\"file\"; filename=\"../a\"", "x")), 422),
        (format!("{}--b--\r\n", part("name=\"file\"", "no name")), 422),
    ] {
        let refused = post("", body.clone()).await;
        assert_eq!(refused.status(), status, "{body}");
    }
    assert_eq!(files(&server, None).len(), 1, "of the others nothing is left");
    let list = ask(&server, "alice", Request::get("/v1/uploads")).await.json().await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
}

async fn a_quota_is_kept(pair: Pair) {
    let server = pair.server_with(&["uploads.max_size=1KiB", "uploads.user_quota=2KiB"]).await;
    let first = upload(&server, "alice", "name=1", bytes(1_000)).await;
    upload(&server, "alice", "name=2", bytes(1_001)).await;
    let third = || Request::new("POST", "/v1/uploads?name=3", bytes(100)).with("content-type", KIND);
    let refused = ask(&server, "alice", third()).await.refusal().await;
    assert_eq!(refused.code, "quota_exceeded");
    upload(&server, "bob", "name=3", bytes(1_000)).await;
    assert_eq!(ask(&server, "alice", Request::delete(&address(&first))).await.status(), 204);
    assert_eq!(ask(&server, "alice", third()).await.status(), 403, "what can be restored counts");
    let gone = Request::delete(&format!("{}?forever=true", address(&first)));
    assert_eq!(ask(&server, "alice", gone).await.status(), 204);
    assert_eq!(ask(&server, "alice", third()).await.status(), 201);
}

async fn lists_show_one_s_own(pair: Pair) {
    let server = pair.server().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let channel = if number % 2 == 0 { "&channel=room:1" } else { "" };
        let upload = upload(&server, "alice", &format!("name={number}.bin{channel}"), bytes(number + 1)).await;
        ids.push(id(&upload).to_owned());
    }
    upload(&server, "bob", "name=his.bin&channel=room:1", bytes(1)).await;
    let list = async |user: &str, query: &str| ask(&server, user, Request::get(&format!("/v1/uploads{query}"))).await.json().await;
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = list("alice", "?limit=3").await;
    assert_eq!(names(&first), ["4.bin", "3.bin", "2.bin"]);
    let next = list("alice", &format!("?limit=3&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((names(&next), next["next"].is_null()), (vec!["1.bin".to_owned(), "0.bin".to_owned()], true));
    assert_eq!(names(&list("alice", "?sort=created_at&filter=size:ge:4").await), ["3.bin", "4.bin"]);
    assert_eq!(names(&list("carol", "?channel=room:1").await), ["his.bin", "4.bin", "2.bin", "0.bin"]);
    assert_eq!(ask(&server, "alice", Request::delete(&format!("/v1/uploads/{}", ids[1]))).await.status(), 204);
    assert_eq!(names(&list("alice", "?deleted=true").await), ["1.bin"]);
    assert_eq!(names(&list("alice", "").await).len(), 4);
    for query in ["?deleted=maybe", "?limit=0", "?channel=a%20b", "?nothing=1", "?filter=owner:eq:bob"] {
        assert_eq!(ask(&server, "alice", Request::get(&format!("/v1/uploads{query}"))).await.status(), 422, "{query}");
    }
}

async fn what_is_deleted_can_be_restored(pair: Pair) {
    let server = pair.server().await;
    let made = upload(&server, "alice", "name=a.bin", "hello").await;
    let patch = |body: &str, tag: Option<&str>| {
        let request = Request::new("PATCH", &address(&made), body.to_owned()).with("content-type", "application/merge-patch+json");
        tag.map_or(request.clone(), |tag| request.with("if-match", tag))
    };
    let tag = ask(&server, "alice", Request::get(&address(&made))).await.header("etag").unwrap().to_owned();
    let fresh = ask(&server, "alice", Request::get(&address(&made)).with("if-none-match", &tag)).await;
    assert_eq!(fresh.status(), 304);
    for (body, tag, status) in [
        (r#"{"name":"b.bin"}"#, None, 428),
        (r#"{"name":"b.bin"}"#, Some("\"77\""), 412),
        (r#"{"name":"b.bin"}"#, Some(&*tag), 200),
        (r#"{"name":"c.bin"}"#, Some(&*tag), 412),
        (r#"{"name":"c.bin"}"#, Some("*"), 200),
        (r#"{"name":"../c"}"#, Some("*"), 422),
        (r#"{"name":""}"#, Some("*"), 422),
        (r#"{"name":"x","owner":"eve"}"#, Some("*"), 422),
        (r#"{"#, Some("*"), 400),
    ] {
        assert_eq!(ask(&server, "alice", patch(body, tag)).await.status(), status, "{body} {tag:?}");
    }
    let restore = || Request::post(&format!("{}/restore", address(&made)), "");
    let kept = ask(&server, "alice", restore()).await.json().await;
    assert_eq!((kept["version"].as_u64(), kept["deleted_at"].is_null()), (Some(3), true), "it is not deleted, and stays as it is");
    assert_eq!(ask(&server, "bob", restore()).await.status(), 404, "it is not his");
    assert_eq!(ask(&server, "alice", Request::delete(&address(&made)).with("if-match", "\"1\"")).await.status(), 412);
    assert_eq!(ask(&server, "alice", Request::delete(&address(&made))).await.status(), 204);
    for request in [Request::get(&address(&made)), content(&made), Request::delete(&address(&made)), patch("{\"name\":\"x\"}", Some("*"))] {
        assert_eq!(ask(&server, "alice", request).await.status(), 404);
    }
    assert_eq!(ask(&server, "bob", restore()).await.status(), 404, "it is not his");
    let restored = ask(&server, "alice", restore()).await.json().await;
    assert_eq!((restored["name"].as_str(), restored["deleted_at"].is_null()), (Some("c.bin"), true));
    assert_eq!(ask(&server, "alice", content(&made)).await.bytes().await, "hello");
}
