//! Channel names and keys: the two strings with an identity.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use unicode_normalization::{IsNormalized, UnicodeNormalization, char::is_combining_mark, is_nfc_quick};

use crate::limits::{MAX_CHANNEL_NAME, MAX_KEY};

/// Why a string is not a channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty, or more than [`MAX_CHANNEL_NAME`] bytes.
    #[error("a channel name has 1 to 128 bytes")]
    Length,
    /// A character outside the charset.
    #[error("a channel name holds letters, digits, marks and -_.:@+~=, only")]
    Character,
    /// It starts with a colon: the namespace is empty.
    #[error("a channel name does not start with a colon")]
    Namespace,
    /// Not in Unicode's normalization form C, so that two spellings of one name would differ.
    #[error("a channel name is in Unicode's normalization form C")]
    Normalization,
    /// `.` or `..`: a URL cannot carry it as a path segment, percent-encoded or not (WHATWG URL, 4.4).
    #[error("a channel name is neither `.` nor `..`")]
    Dots,
}

/// A channel's name, `room:42`: its identity. 1 to 128 bytes of NFC text; letters, digits and marks of any script
/// and `- _ . : @ + ~ = ,`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks `text` and keeps it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > MAX_CHANNEL_NAME {
            return Err(NameError::Length);
        }
        if text.starts_with(':') {
            return Err(NameError::Namespace);
        }
        if matches!(text, "." | "..") {
            return Err(NameError::Dots);
        }
        if !text.chars().all(allowed) {
            return Err(NameError::Character);
        }
        if !is_nfc(text) {
            return Err(NameError::Normalization);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon; `None` if there is no colon.
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once(':').map(|(namespace, _)| namespace)
    }
}

fn allowed(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || "-_.:@+~=,".contains(c) } else { c.is_alphanumeric() || is_combining_mark(c) }
}

fn is_nfc(text: &str) -> bool {
    text.is_ascii()
        || match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => true,
            IsNormalized::No => false,
            IsNormalized::Maybe => text.nfc().eq(text.chars()),
        }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for ChannelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A string is not a key: it is empty, longer than [`MAX_KEY`] bytes, or holds control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key has 1 to 64 bytes and no control characters")]
pub struct KeyError;

/// What an entry is about, `EURUSD`: a newer entry supersedes an older one of its key for whoever wants only the latest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Key(Box<str>);

impl Key {
    /// Checks `text` and keeps it. Compared byte for byte.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > MAX_KEY || text.chars().any(char::is_control) {
            return Err(KeyError);
        }
        Ok(Self(text.into()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_script() {
        for name in ["room:42", "ticker:eurusd", "房间:一", "غرفة:١", "कमरा:हिन्दी", "a", "user@example.org", "x=1,y=2~z+w"]
        {
            assert_eq!(ChannelName::parse(name).map(|n| n.as_str().to_owned()), Ok(name.to_owned()));
        }
        assert_eq!(ChannelName::parse("room:42:x").unwrap().namespace(), Some("room"));
        assert_eq!(ChannelName::parse("lobby").unwrap().namespace(), None);
    }

    #[test]
    fn refuses_what_two_readers_could_take_for_different_things() {
        assert_eq!(ChannelName::parse(""), Err(NameError::Length));
        assert_eq!(ChannelName::parse(&"x".repeat(129)), Err(NameError::Length));
        assert!(ChannelName::parse(&"x".repeat(128)).is_ok());
        assert_eq!(ChannelName::parse(":x"), Err(NameError::Namespace));
        assert_eq!(ChannelName::parse("."), Err(NameError::Dots));
        assert_eq!(ChannelName::parse(".."), Err(NameError::Dots));
        assert!(ChannelName::parse("...").is_ok());
        assert_eq!(ChannelName::parse("cafe\u{301}:1"), Err(NameError::Normalization));
        assert!(ChannelName::parse("caf\u{e9}:1").is_ok());
        for bad in ["room 1", "room/1", "a*", "a\n", "a\u{200b}", "a>b", "😀"] {
            assert_eq!(ChannelName::parse(bad), Err(NameError::Character), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_short_and_printable() {
        assert!(Key::parse("EUR/USD 😀").is_ok());
        assert!(Key::parse("").is_err());
        assert!(Key::parse(&"k".repeat(65)).is_err());
        assert!(Key::parse("a\u{7}").is_err());
    }
}
