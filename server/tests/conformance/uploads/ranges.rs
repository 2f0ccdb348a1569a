//! Parts of a file: RFC 9110 section 14, as a table.

use super::{Request, ask, bytes, content, places, upload};
use crate::support::Pair;

crate::on_local_pairs!(parts_are_what_was_asked_for, a_download_goes_on_where_it_broke_off);

async fn parts_are_what_was_asked_for(pair: Pair) {
    for (server, _s3) in places(pair, &[]).await {
        let all = bytes(1_000);
        let file = upload(&server, "alice", "name=a.bin", all.clone()).await;
        let empty = upload(&server, "alice", "name=empty", "").await;
        let tag = format!("\"{}\"", file["sha256"].as_str().unwrap());
        let whole = 0..1_000;
        let rows = [
            ("bytes=0-0", None, 206, 0..1),
            ("bytes=0-499", None, 206, 0..500),
            ("bytes=500-999", None, 206, 500..1_000),
            ("bytes=990-", None, 206, 990..1_000),
            ("bytes=0-", None, 206, 0..1_000),
            ("bytes=999-999", None, 206, 999..1_000),
            ("bytes=400-5000", None, 206, 400..1_000),
            ("bytes=-1", None, 206, 999..1_000),
            ("bytes=-500", None, 206, 500..1_000),
            ("bytes=-5000", None, 206, 0..1_000),
            ("bytes=1000-", None, 416, 0..0),
            ("bytes=5000-6000", None, 416, 0..0),
            ("bytes=-0", None, 416, 0..0),
            ("bytes=5-4", None, 200, whole.clone()),
            ("bytes=0-1,5-6", None, 200, whole.clone()),
            ("bytes=x-y", None, 200, whole.clone()),
            ("bytes", None, 200, whole.clone()),
            ("pages=1-2", None, 200, whole.clone()),
            ("bytes=1-2", Some(&*tag), 206, 1..3),
            ("bytes=1-2", Some("\"other\""), 200, whole.clone()),
            ("bytes=5000-", Some("\"other\""), 200, whole.clone()),
            ("bytes=1-2", Some("Mon, 23 Nov 2026 03:00:00 GMT"), 200, whole),
        ];
        for (range, known, status, expected) in rows {
            let request = content(&file).with("range", range);
            let request = known.map_or(request.clone(), |known| request.with("if-range", known));
            let response = ask(&server, "alice", request).await;
            assert_eq!(response.status(), status, "{range} {known:?}");
            let place = response.header("content-range").map(str::to_owned);
            match status {
                416 => assert_eq!(place.as_deref(), Some("bytes */1000"), "{range}"),
                206 => {
                    assert_eq!(place, Some(format!("bytes {}-{}/1000", expected.start, expected.end - 1)), "{range}");
                    assert_eq!(response.header("content-length"), Some(&*expected.len().to_string()), "{range}");
                }
                _ => assert_eq!(place, None, "{range}"),
            }
            if status != 416 {
                assert_eq!((response.header("accept-ranges"), response.header("etag")), (Some("bytes"), Some(&*tag)), "{range}");
                assert!(response.bytes().await == all[expected], "{range}");
            }
        }
        let nothing = ask(&server, "alice", content(&empty).with("range", "bytes=0-")).await;
        assert_eq!((nothing.status(), nothing.header("content-range")), (416, Some("bytes */0")));
        let head = Request::new("HEAD", &format!("/v1/uploads/{}/content", file["id"].as_str().unwrap()), "").with("range", "bytes=0-1");
        let head = ask(&server, "alice", head).await;
        assert_eq!((head.status(), head.header("content-length")), (200, Some("1000")), "Range is for GET");
        let fresh = ask(&server, "alice", content(&file).with("range", "bytes=0-1").with("if-none-match", &tag)).await;
        assert_eq!(fresh.status(), 304);
    }
}

async fn a_download_goes_on_where_it_broke_off(pair: Pair) {
    for (server, _s3) in places(pair, &[]).await {
        let all = bytes(8 << 20);
        let file = upload(&server, "alice", "name=a.bin", all.clone()).await;
        let mut got = Vec::new();
        let mut tag = None;
        while got.len() < all.len() {
            let request = content(&file).with("range", &format!("bytes={}-", got.len()));
            let request = tag.as_ref().map_or(request.clone(), |tag: &String| request.with("if-range", tag));
            let mut response = ask(&server, "alice", request).await;
            assert_eq!(response.status(), 206);
            tag = response.header("etag").map(str::to_owned);
            // The reader goes away after two megabytes.
            let end = got.len() + (2 << 20);
            while got.len() < end.min(all.len()) {
                got.extend_from_slice(&response.chunk().await.unwrap());
            }
        }
        assert!(got == all);
    }
}
