//! Where a row goes: its channel and its key, made of what its columns hold.

use anyhow::{Context as _, Result};
use hubbub_protocol::{
    ChannelName, Key,
    limits::{MAX_CHANNEL_NAME, MAX_KEY},
    name::NameError,
};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use super::column;

/// The channel of a row without a channel column is the prefix and this.
const ONE_CHANNEL: &str = "replay";
/// Stands for each character that a channel name can't hold.
const SUBSTITUTE: char = '-';

/// Which columns say where a row goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The beginning of every channel.
    pub prefix: String,
    /// The column that names the channel; without it there is one channel.
    pub channel: Option<String>,
    /// The column that holds the key.
    pub key: Option<String>,
}

impl Route {
    /// The channel of `row`. Different values may share one: what a name can't hold is replaced, what is too long is cut.
    ///
    /// # Errors
    /// The row has no such column, or the prefix is no beginning of a channel name.
    pub fn channel(&self, row: &Value) -> Result<ChannelName> {
        let text = match &self.channel {
            Some(name) => column::text(column::value(row, name).with_context(|| format!("there is no column {name:?}"))?),
            None => ONE_CHANNEL.into(),
        };
        let name = format!("{}{}", self.prefix, if text.is_empty() { "-".into() } else { sanitised(&text) });
        let name: String = name.nfc().collect();
        let cut = cut(&name, MAX_CHANNEL_NAME);
        ChannelName::parse(cut).with_context(|| format!("{cut:?} is not a channel name; choose another --prefix"))
    }

    /// The key of `row`, without control characters and cut to length; `None` without a column, or if nothing is left.
    pub fn key(&self, row: &Value) -> Option<Key> {
        let text = column::text(column::value(row, self.key.as_deref()?)?);
        let printable: String = text.chars().filter(|c| !c.is_control()).collect();
        Key::parse(cut(&printable, MAX_KEY)).ok()
    }
}

fn sanitised(text: &str) -> String {
    text.nfc().map(|c| if allowed(c) { c } else { SUBSTITUTE }).collect()
}

/// Whether a name can hold `c`; one that only breaks the normalization of this short name can.
fn allowed(c: char) -> bool {
    matches!(ChannelName::parse(&format!("x{c}")), Ok(_) | Err(NameError::Normalization))
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn channel(prefix: &str, value: Value) -> Result<String> {
        let route = Route { prefix: prefix.to_owned(), channel: Some("c".to_owned()), key: None };
        Ok(route.channel(&json!({"c": value}))?.as_str().to_owned())
    }

    #[test]
    fn whatever_a_column_holds_becomes_a_name() {
        assert_eq!(channel("room:", json!("EUR/USD now!")).unwrap(), "room:EUR-USD-now-");
        assert_eq!(channel("room:", json!("cafe\u{301} 房间 👍")).unwrap(), "room:café-房间--");
        assert_eq!(channel("room:", json!(4.5)).unwrap(), "room:4.5");
        assert_eq!(channel("room:", json!(null)).unwrap(), "room:-");
        assert_eq!(channel("room:", json!("\u{301}")).unwrap(), "room:\u{301}");
        assert_eq!(channel("room:", json!("ü".repeat(100))).unwrap().len(), 127);
        assert!(channel(":", json!("x")).is_err());
        assert!(Route { prefix: "room:".to_owned(), channel: Some("d".to_owned()), key: None }.channel(&json!({"c": 1})).is_err());
    }

    #[test]
    fn a_key_is_cut_and_cleaned() {
        let route = Route { prefix: "room:".to_owned(), channel: None, key: Some("k".to_owned()) };
        let key = |value: Value| route.key(&json!({"k": value})).map(|key| key.as_str().to_owned());
        assert_eq!(key(json!("a\tb")).as_deref(), Some("ab"));
        assert_eq!(key(json!("")), None);
        assert_eq!(key(json!("é".repeat(40))).map(|key| key.len()), Some(64));
        assert_eq!(route.channel(&json!({})).unwrap().as_str(), "room:replay");
    }
}
