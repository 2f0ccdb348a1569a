#![no_main]

use hubbub_protocol::{ChannelName, Key, MessageId};
use unicode_normalization::UnicodeNormalization;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let composed: String = text.nfc().collect();
    if let Ok(name) = ChannelName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert_eq!(composed, text);
        assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace() || "/?#%*>\\\"".contains(c)));
        assert!(name.namespace().is_none_or(|namespace| !namespace.is_empty()));
    }
    if let Ok(key) = Key::parse(text) {
        assert_eq!(key.as_str(), text);
    }
    if let Some(id) = MessageId::parse(text) {
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert!(id.to_string().eq_ignore_ascii_case(text));
    }
});
