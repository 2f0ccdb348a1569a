//! `Content-Disposition` (RFC 6266): whether a file is shown or kept, and under which name.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is not an `attr-char` (RFC 8187 section 3.2.1).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header for a file of this name: for programs that know no better in ASCII, for the others as it is.
pub(super) fn disposition(name: &str, inline: bool) -> HeaderValue {
    let kind = if inline { "inline" } else { "attachment" };
    // A percent sign would be decoded by some, a quote or a backslash would end or escape something.
    let plain = |sign: char| if (' '..='~').contains(&sign) && !matches!(sign, '"' | '\\' | '%') { sign } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let text = match ascii == name {
        true => format!("{kind}; filename=\"{ascii}\""),
        false => format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ENCODED)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_arrive_as_they_are_and_break_nothing() {
        for (name, inline, header) in [
            ("a.png", true, r#"inline; filename="a.png""#),
            ("my file (1).pdf", false, r#"attachment; filename="my file (1).pdf""#),
            ("Grüße.txt", false, r#"attachment; filename="Gr__e.txt"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"#),
            (
                r#"a"; filename="b.exe"#,
                false,
                r#"attachment; filename="a_; filename=_b.exe"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe"#,
            ),
            ("100%41.txt", false, r#"attachment; filename="100_41.txt"; filename*=UTF-8''100%2541.txt"#),
            (r"a\b", false, r#"attachment; filename="a_b"; filename*=UTF-8''a%5Cb"#),
            ("a\r\nset-cookie: b", false, r#"attachment; filename="a__set-cookie: b"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20b"#),
        ] {
            assert_eq!(disposition(name, inline).to_str().unwrap(), header);
        }
    }
}
