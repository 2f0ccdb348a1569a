//! Names and keys: one spelling each, and whatever is accepted can go everywhere.

use hubbub_protocol::{
    ChannelName, Key, MessageId,
    limits::{MAX_CHANNEL_NAME, MAX_KEY},
    name::NameError,
};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use crate::strategy::{channel, message_id};

proptest! {
    #[test]
    fn two_spellings_of_a_name_are_never_both_names(text in "[a-zé가-힣ᄀ-ᇿ\u{300}-\u{36f}=Å]{1,12}") {
        let composed: String = text.nfc().collect();
        let decomposed: String = text.nfd().collect();
        for spelling in [&text, &composed, &decomposed] {
            match ChannelName::parse(spelling) {
                Ok(name) => prop_assert_eq!(name.as_str(), &composed),
                Err(NameError::Normalization) => prop_assert_ne!(spelling, &composed),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn any_text_is_a_name_or_breaks_a_rule(text in prop_oneof!["\\PC{0,70}", ".{0,10}", "[.:]{0,4}", "[a-z:]{120,135}"]) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@+~=,".contains(c);
        match ChannelName::parse(&text) {
            Ok(name) => {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!((1..=MAX_CHANNEL_NAME).contains(&text.len()));
                prop_assert!(text.chars().all(|c| !c.is_ascii() || plain(c)));
                prop_assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
                prop_assert!(!text.starts_with(':') && text != "." && text != "..");
            }
            Err(NameError::Length) => prop_assert!(text.is_empty() || text.len() > MAX_CHANNEL_NAME),
            Err(NameError::Namespace) => prop_assert!(text.starts_with(':')),
            Err(NameError::Dots) => prop_assert!(text == "." || text == ".."),
            Err(NameError::Character) => prop_assert!(!text.chars().all(plain)),
            Err(NameError::Normalization) => prop_assert!(!text.nfc().eq(text.chars())),
        }
    }

    #[test]
    fn a_namespace_is_what_precedes_the_first_colon(name in channel()) {
        match name.namespace() {
            Some(namespace) => {
                prop_assert!(!namespace.is_empty() && !namespace.contains(':'));
                prop_assert!(name.as_str()[namespace.len()..].starts_with(':'));
            }
            None => prop_assert!(!name.as_str().contains(':')),
        }
    }

    #[test]
    fn any_text_is_a_key_or_breaks_a_rule(text in prop_oneof![".{0,20}", "\\PC{0,80}"]) {
        let rule = (1..=MAX_KEY).contains(&text.len()) && !text.chars().any(char::is_control);
        prop_assert_eq!(Key::parse(&text).is_ok(), rule);
    }

    #[test]
    fn a_message_id_has_one_text_and_its_time(ms in 0..1u64 << 48, random in any::<[u8; 10]>()) {
        let id = MessageId::new(ms, random);
        prop_assert_eq!(id.unix_ms(), ms);
        prop_assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        prop_assert_eq!(MessageId::parse(&id.to_string().to_uppercase()), Some(id));
        prop_assert_eq!(MessageId::from_bytes(id.as_bytes()), Some(id));
    }

    #[test]
    fn message_ids_sort_by_time(a in message_id(), b in message_id()) {
        prop_assert!(a.unix_ms() == b.unix_ms() || (a < b) == (a.unix_ms() < b.unix_ms()));
    }

    #[test]
    fn any_text_of_a_message_id_is_its_own(text in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}") {
        let fits = &text[14..15] == "7" && "89ab".contains(&text[19..20]);
        prop_assert_eq!(MessageId::parse(&text).map(|id| id.to_string()), fits.then_some(text));
    }
}
