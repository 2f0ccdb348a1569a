//! `Range` and `If-Range` (RFC 9110 sections 13.1.5 and 14.2): one range; whoever asks for several gets the whole.

use std::ops::Range;

use http::{HeaderMap, header};

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: nothing else was asked for, or in a way that is not understood.
    Whole,
    /// These bytes, of which there is at least one.
    Part(Range<u64>),
    /// Bytes that are not there.
    Nothing,
}

/// What the headers ask for of a file of so many bytes with this strong tag.
pub(super) fn asked(headers: &HeaderMap, tag: &str, size: u64) -> Asked {
    // A date is no strong validator of ours, and a weak tag none at all.
    if headers.get(header::IF_RANGE).is_some_and(|known| known.as_bytes() != tag.as_bytes()) {
        return Asked::Whole;
    }
    let mut values = headers.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Asked::Whole };
    value.to_str().ok().and_then(|value| parse(value, size)).unwrap_or(Asked::Whole)
}

fn parse(value: &str, size: u64) -> Option<Asked> {
    let (unit, range) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let range = match (number(first), number(last)) {
        (None, Some(length)) if first.is_empty() => size.saturating_sub(length)..size,
        (Some(first), None) if last.is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        _ => return None,
    };
    Some(if range.start < range.end { Asked::Part(range) } else { Asked::Nothing })
}

/// Digits; a number that is too large is beyond every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    #[test]
    fn one_range_is_understood_and_the_rest_is_the_whole() {
        let part = |range| Asked::Part(range);
        for (value, expected) in [
            ("bytes=0-0", part(0..1)),
            ("bytes=0-99", part(0..100)),
            ("bytes=10-19", part(10..20)),
            ("bytes=90-", part(90..100)),
            ("bytes=0-", part(0..100)),
            ("bytes=99-99", part(99..100)),
            ("bytes=50-1000", part(50..100)),
            ("bytes=5-18446744073709551615", part(5..100)),
            ("bytes=-1", part(99..100)),
            ("bytes=-100", part(0..100)),
            ("bytes=-1000", part(0..100)),
            ("BYTES = 1-2", part(1..3)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=100-200", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=0x1-2", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("0-1", Asked::Whole),
        ] {
            let headers = HeaderMap::from_iter([(header::RANGE, value.parse().unwrap())]);
            assert_eq!(asked(&headers, TAG, 100), expected, "{value}");
        }
        let any = HeaderMap::from_iter([(header::RANGE, "bytes=0-".parse().unwrap())]);
        assert_eq!(asked(&any, TAG, 0), Asked::Nothing);
        assert_eq!(asked(&HeaderMap::new(), TAG, 0), Asked::Whole);
    }

    #[test]
    fn a_range_of_another_file_is_no_range_of_this_one() {
        for (known, expected) in [
            (TAG, Asked::Part(1..3)),
            ("\"other\"", Asked::Whole),
            ("W/\"abc\"", Asked::Whole),
            ("abc", Asked::Whole),
            ("Mon, 23 Nov 2026 03:00:00 GMT", Asked::Whole),
        ] {
            let headers = HeaderMap::from_iter([(header::RANGE, "bytes=1-2".parse().unwrap()), (header::IF_RANGE, known.parse().unwrap())]);
            assert_eq!(asked(&headers, TAG, 100), expected, "{known}");
        }
    }
}
