//! What a file is: judged by its first bytes. What a client says is believed where the bytes do not tell better, and only of files that
//! no browser runs.

/// How many of the first bytes are looked at.
pub(super) const HEAD: usize = 8 << 10;
/// What nobody is to open without asking.
const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// Bytes of what a client says, at most.
const MAX_CLAIM: usize = 100;

/// Kinds of text whose claim is believed: nothing in them runs.
const TEXTS: [&str; 8] = [
    "application/json",
    "application/x-ndjson",
    "application/yaml",
    "text/calendar",
    "text/csv",
    "text/markdown",
    "text/tab-separated-values",
    "text/vcard",
];

/// Pairs of what the bytes say and what a file in such a container may be all the same.
const WITHIN: [(&str, &str); 7] = [
    ("application/zip", "application/epub+zip"),
    ("application/zip", "application/vnd.oasis.opendocument."),
    ("application/zip", "application/vnd.openxmlformats-officedocument."),
    ("video/mp4", "audio/mp4"),
    ("video/webm", "audio/webm"),
    ("audio/ogg", "video/ogg"),
    ("audio/ogg", "audio/opus"),
];

/// The media type of a file that begins with `head`, of which its sender says that it is `claimed`.
pub(super) fn judge(head: &[u8], claimed: Option<&str>) -> String {
    let claimed = claimed.and_then(essence);
    let claimed = claimed.as_deref().unwrap_or_default();
    let Some(sniffed) = infer::get(head).map(|kind| kind.mime_type()) else {
        return match is_text(head) {
            true => TEXTS.iter().find(|text| **text == claimed).unwrap_or(&TEXT),
            false => UNKNOWN,
        }
        .to_owned();
    };
    if is_active(sniffed) {
        return UNKNOWN.to_owned();
    }
    let is_within = |(outer, inner): &&(&str, &str)| *outer == sniffed && claimed.starts_with(inner);
    if WITHIN.iter().any(|pair| is_within(&pair)) { claimed.to_owned() } else { sniffed.to_owned() }
}

/// What a browser might run, and what a shell does.
fn is_active(kind: &str) -> bool {
    kind.starts_with("text/") || kind.ends_with("/xml") || kind.ends_with("+xml") || kind.contains("html") || kind.contains("script")
}

/// A claim without its parameters, in lower case, if it is spelled as a media type.
fn essence(claimed: &str) -> Option<String> {
    let kind = claimed.split(';').next()?.trim().to_ascii_lowercase();
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte));
    let (main, sub) = kind.split_once('/')?;
    (kind.len() <= MAX_CLAIM && is_token(main) && is_token(sub)).then_some(kind)
}

/// Whether it begins as UTF-8 that is no markup: no control characters but those of lines and tabs.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character that the end of the head cuts in two.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let text = valid.trim_start_matches('\u{feff}').trim_start();
    let is_plain = |sign: char| !sign.is_control() || matches!(sign, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}');
    !text.is_empty() && !text.starts_with('<') && !text.starts_with("#!") && valid.chars().all(is_plain)
}

/// Whether a browser may show it in the page's place: pictures, sounds and films, which run nothing.
pub fn is_shown_inline(media_type: &str) -> bool {
    const INLINE: [&str; 15] = [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "audio/mpeg",
        "audio/mp4",
        "audio/m4a",
        "audio/ogg",
        "audio/opus",
        "audio/webm",
        "audio/x-wav",
        "video/mp4",
        "video/ogg",
        "video/webm",
    ];
    INLINE.contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_believed_before_words() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        let zip = b"PK\x03\x04\x14\0\0\0\x08\0";
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        let rows: &[(&[u8], Option<&str>, &str)] = &[
            (&png[..], Some("text/html"), "image/png"),
            (b"GIF89a<script>alert(1)</script>", Some("text/html"), "image/gif"),
            (b"<!DOCTYPE html><html>", Some("image/png"), UNKNOWN),
            (b"<html><body>hi", None, UNKNOWN),
            (b"  \n<script>alert(1)</script>", Some("text/plain"), UNKNOWN),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", Some("image/svg+xml"), UNKNOWN),
            (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", Some("image/svg+xml"), UNKNOWN),
            (b"<?xml version='1.0'?><a/>", Some("application/xml"), UNKNOWN),
            (b"#!/bin/sh\nrm -rf /", Some("text/plain"), UNKNOWN),
            (b"hello", None, TEXT),
            (b"hello", Some("text/html"), TEXT),
            (b"hello", Some("application/javascript"), TEXT),
            (b"# A title\n\ntext", Some("text/markdown; charset=utf-8"), "text/markdown"),
            (b"a,b\n1,2\n", Some("TEXT/CSV; header=present"), "text/csv"),
            (b"{\"a\":1}", Some("application/json"), "application/json"),
            ("gr\u{fc}n".as_bytes(), None, TEXT),
            (b"gr\xfcn", Some("text/plain"), UNKNOWN),
            (b"a\0b", Some("text/plain"), UNKNOWN),
            (b"", Some("text/plain"), UNKNOWN),
            (zip, None, "application/zip"),
            (zip, Some(docx), docx),
            (zip, Some("text/html"), "application/zip"),
            (b"\x00\x01\x02\x03", Some("image/png"), UNKNOWN),
            (b"%PDF-1.7", Some("a b/c"), "application/pdf"),
        ];
        for (head, claimed, kind) in rows.iter().copied() {
            assert_eq!(judge(head, claimed), kind, "{:?} said to be {claimed:?}", String::from_utf8_lossy(head));
        }
        // The head of a long text may end within a character.
        let mut long = vec![b'a'; HEAD - 1];
        long.push(0xc3);
        assert_eq!(judge(&long, None), TEXT);
    }

    #[test]
    fn nothing_that_runs_is_shown() {
        assert!(is_shown_inline("image/png") && is_shown_inline("video/mp4"));
        for kind in [UNKNOWN, TEXT, "image/svg+xml", "text/html", "application/pdf", "application/json"] {
            assert!(!is_shown_inline(kind), "{kind}");
        }
    }
}
