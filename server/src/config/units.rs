//! Durations and sizes as an operator writes them: a whole number and a unit, `250ms`, `64KiB`.

use std::time::Duration;

const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration in `ms`, `s`, `m`, `h` or `d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIMES).map(Duration::from_millis)
}

/// Reads a size in `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    parse(text, &SIZES).and_then(|bytes| usize::try_from(bytes).ok())
}

/// Writes a duration of whole milliseconds in its largest exact unit.
pub(super) fn duration(value: Duration) -> String {
    write(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), "0s", &TIMES)
}

/// Writes a size in its largest exact unit.
pub(super) fn size(value: usize) -> String {
    write(value as u64, "0B", &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn write(value: u64, zero: &str, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, scale)| value.is_multiple_of(*scale)) {
        Some((unit, scale)) if value > 0 => format!("{}{unit}", value / scale),
        _ => zero.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_numbers_with_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("30d"), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        assert_eq!(parse_size("256KiB"), Some(256 << 10));
        assert_eq!(parse_size("7B"), Some(7));
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "5sec", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        for text in ["", "64", "64KB", "64kib", "1.5MiB", "18446744073709551615GiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["250ms", "25s", "90m", "36h", "30d", "0s"] {
            assert_eq!(duration(parse_duration(text).unwrap()), text);
        }
        for text in ["1B", "1025B", "64KiB", "3MiB", "1GiB", "0B"] {
            assert_eq!(size(parse_size(text).unwrap()), text);
        }
    }
}
