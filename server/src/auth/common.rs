//! Passwords that everybody who guesses tries first. The list is embedded, and searched where it lies: it costs no memory of its own.
//! `common/README.md` says where it comes from, `common/LICENSE` under which terms.

use std::cmp::Ordering;

/// A password a line, in lower case, sorted by its bytes.
const LIST: &[u8] = include_bytes!("common/passwords.txt");
/// A run of so few characters is no password, however often it is repeated.
const SHORT_UNIT: usize = 3;

/// Whether `password` is on the list, in upper or lower case; or is little more than one that is: with digits or signs around it that are
/// fewer than the rest, or repeated.
pub fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let whole = lower.trim();
    let core = whole.trim_matches(|c: char| !c.is_alphabetic());
    let mostly_core = !core.is_empty() && 2 * core.chars().count() > whole.chars().count();
    is_listed(whole)
        || mostly_core && is_listed(core)
        || unit(whole).is_some_and(|unit| unit.chars().count() <= SHORT_UNIT || is_listed(unit))
}

/// What `text` is a repetition of.
fn unit(text: &str) -> Option<&str> {
    let ends = text.char_indices().map(|(at, _)| at).skip(1).take_while(|at| 2 * at <= text.len());
    ends.map(|end| &text[..end])
        .find(|unit| text.len().is_multiple_of(unit.len()) && text.as_bytes().chunks(unit.len()).all(|part| part == unit.as_bytes()))
}

fn is_listed(word: &str) -> bool {
    // Both are beginnings of lines, or the end.
    let (mut low, mut high) = (0, LIST.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = LIST[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let end = LIST[start..].iter().position(|byte| *byte == b'\n').map_or(LIST.len(), |at| start + at);
        match LIST[start..end].cmp(word.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> impl Iterator<Item = &'static str> {
        std::str::from_utf8(LIST).unwrap().lines()
    }

    #[test]
    fn the_list_is_long_sorted_and_found() {
        assert!(lines().count() >= 10_000);
        assert!(lines().is_sorted_by(|one, other| one < other) && lines().all(|line| !line.is_empty() && line == line.to_lowercase()));
        assert!(lines().all(is_listed));
        for absent in ["", "correct horse battery staple", "\u{10ffff}", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "passwor!", "passwordx1"] {
            assert!(!is_listed(absent), "{absent}");
        }
    }

    #[test]
    fn what_is_little_more_than_a_listed_one_is_common_too() {
        for common in
            ["qwertyuiop", "QwertyUIOP", " 1234567890 ", "Password1234", "!!password!!", "passwordpassword", "aaaaaaaaaaaa", "abcabcabcabc"]
        {
            assert!(is_common(common), "{common}");
        }
        for fine in ["correct horse battery", "monkey-4917264823", "Tr0ub4dor&3 rides", "пароль на каждый день"] {
            assert!(!is_common(fine), "{fine}");
        }
    }
}
