//! The patterns of grants: `*` stands for any run of characters, everything else for itself.

/// Whether `pattern` covers `name`, in time linear in both. No pattern costs more than its length: there is no backtracking, since the
/// leftmost place of a part is as good as any.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = name.strip_prefix(head).and_then(|name| name.strip_suffix(tail)) else { return false };
    middle.split('*').all(|part| match left.find(part) {
        Some(at) => {
            left = &left[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, at exponential cost.
    fn oracle(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|skip| oracle(rest, &name[skip..])),
            Some((c, rest)) => name.first() == Some(c) && oracle(rest, &name[1..]),
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name) in [
            ("*", "room:1"),
            ("room:*", "room:1"),
            ("room:*", "room:"),
            ("*:1", "room:1"),
            ("r*m:*1", "room:21"),
            ("**", "x"),
            ("日*", "日本:1"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "x"),
            ("room:1", "room:12"),
            ("room:*", "rooms:1"),
            ("aba*aba", "aba"),
            ("a*b*b", "ab"),
            ("*x*", "room"),
            ("Room:*", "room:1"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_cheap() {
        let pattern = "a*".repeat(4_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(128)));
        assert!(!matches(&pattern, &"a".repeat(100_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab日*]{0,9}", name in "[ab日]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), oracle(&chars(&pattern), &chars(&name)));
        }
    }
}
