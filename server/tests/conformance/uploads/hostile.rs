//! Files and names that mean harm: none of it runs in a page's name, ends up in a path, or becomes a header.

use super::{KIND, Request, ask, bytes, content, files, upload};
use crate::support::{Pair, Server, client::Response};

crate::on_local_pairs!(no_file_runs, no_name_is_more_than_a_name, what_unpacks_to_much_stays_packed);

/// Uploads a file that its sender calls `kind`, and downloads it.
async fn through(server: &Server, kind: &str, file: &[u8]) -> (serde_json::Value, Response) {
    let request = Request::new("POST", "/v1/uploads?name=file", file.to_vec()).with("content-type", kind);
    let upload = ask(server, "eve", request).await;
    assert_eq!(upload.status(), 201);
    let upload = upload.json().await;
    let response = ask(server, "eve", content(&upload)).await;
    (upload, response)
}

async fn no_file_runs(pair: Pair) {
    let server = pair.server().await;
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], b"<script>alert(1)</script>"].concat();
    let pdf_and_html = b"%PDF-1.4\n<html><script>alert(1)</script>";
    let utf16 = [0xff, 0xfe, b'<', 0, b's', 0, b'c', 0, b'r', 0];
    let rows: &[(&str, &[u8], &str, bool)] = &[
        ("text/html", &b"<!doctype html><script>alert(1)</script>"[..], KIND, false),
        ("image/png", b"<html><script>alert(1)</script>", KIND, false),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", KIND, false),
        ("image/svg+xml", b"<?xml version='1.0'?><svg onload='alert(1)'/>", KIND, false),
        ("application/xhtml+xml", b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>", KIND, false),
        ("text/javascript", b"alert(1)", "text/plain; charset=utf-8", false),
        ("text/html", b"plain text", "text/plain; charset=utf-8", false),
        ("application/x-sh", b"#!/bin/sh\nid", KIND, false),
        ("text/html", &png, "image/png", true),
        ("text/html", b"GIF89a/*<html>*/=1;alert(1)", "image/gif", true),
        ("text/html", pdf_and_html, "application/pdf", false),
        ("text/html; charset=utf-16", &utf16, KIND, false),
        ("text/html", b"", KIND, false),
        ("x\"; evil", b"\x01\x02", KIND, false),
    ];
    for (kind, file, served, shown) in rows.iter().copied() {
        let (upload, response) = through(&server, kind, file).await;
        let what = format!("{kind}: {}", String::from_utf8_lossy(file));
        assert_eq!((upload["media_type"].as_str(), response.header("content-type")), (Some(served), Some(served)), "{what}");
        let disposition = response.header("content-disposition").unwrap();
        assert_eq!(disposition.starts_with("inline;"), shown, "{what}: {disposition}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "private, no-cache"),
        ] {
            assert_eq!(response.header(name), Some(value), "{what}");
        }
        assert_eq!(response.header("content-encoding"), None);
        assert_eq!(response.bytes().await, file, "{what}");
    }
}

async fn no_name_is_more_than_a_name(pair: Pair) {
    let server = pair.server().await;
    for name in [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "..%5cboot.ini",
        "..",
        ".",
        "",
        "%20%20",
        "a%00.png",
        "a%0d%0aset-cookie:%20session=evil",
        "a%0a",
        "photo%e2%80%aegnp.exe",
        "a%e2%81%a6b",
        "a%e2%80%a8b",
        "%1b[31m",
        &"x".repeat(300),
    ] {
        let request = Request::new("POST", &format!("/v1/uploads?name={name}"), "x").with("content-type", KIND);
        let refused = ask(&server, "eve", request).await.json().await;
        assert_eq!(refused["code"].as_str(), Some("invalid"), "{name}: {refused}");
        assert_eq!(refused["errors"][0]["parameter"].as_str(), Some("name"), "{refused}");
    }
    assert!(files(&server, None).is_empty());
    for (name, header) in [
        ("a%22b.txt", r#"attachment; filename="a_b.txt"; filename*=UTF-8''a%22b.txt"#),
        ("a%3b%20filename=b.exe", r#"attachment; filename="a; filename=b.exe""#),
        ("%e6%96%87.txt", r#"attachment; filename="_.txt"; filename*=UTF-8''%E6%96%87.txt"#),
        ("con", r#"attachment; filename="con""#),
        ("'%20OR%201=1%20--", r#"attachment; filename="' OR 1=1 --""#),
    ] {
        let upload = upload(&server, "eve", &format!("name={name}"), bytes(9)).await;
        let response = ask(&server, "eve", content(&upload)).await;
        assert_eq!(response.header("content-disposition"), Some(header));
        assert_eq!(response.header("set-cookie"), None);
    }
    let stored = files(&server, None);
    let is_ours = |name: &str| name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    assert!(stored.iter().all(|file| is_ours(&file.file_name().unwrap().to_string_lossy())), "{stored:?}");
    for id in ["..", "%2e%2e", "a%00", "..%2f..%2fetc%2fpasswd", "019bd3d5", &"9".repeat(5_000)] {
        let request = Request::get(&format!("/v1/uploads/{id}/content"));
        assert_eq!(ask(&server, "eve", request).await.status(), 404, "{id}");
    }
}

/// 10 MB of zeros in 10 kB, said to be an encoding: it is kept as it came, and nobody unpacks it.
async fn what_unpacks_to_much_stays_packed(pair: Pair) {
    let server = pair.server().await;
    // A gzip of nothing but stored blocks' heads would do as well: what counts is that no byte of it is looked into.
    let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &[0xec, 0xc1, 0x01, 0x0d, 0, 0, 0, 0xc2, 0xa0], &[0; 10_000]].concat();
    let request =
        Request::new("POST", "/v1/uploads?name=bomb.gz", gzip.clone()).with("content-type", KIND).with("content-encoding", "gzip");
    let upload = ask(&server, "eve", request).await;
    assert_eq!(upload.status(), 201);
    let upload = upload.json().await;
    assert_eq!((upload["size"].as_u64(), upload["media_type"].as_str()), (Some(gzip.len() as u64), Some("application/gzip")));
    let response = ask(&server, "eve", content(&upload).with("accept-encoding", "gzip, br, zstd")).await;
    assert_eq!(response.header("content-encoding"), None);
    assert!(response.bytes().await == gzip);
}
