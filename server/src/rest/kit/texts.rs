//! Texts that many requests hold, as the document has them and bodies are checked for them.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

/// What the name of a channel looks like: ASCII signs that none has are named, since not every dialect of patterns knows Unicode's classes.
pub(crate) fn channel() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^(?!:|\.{1,2}$)[^\x00-*/;<>?\[-\^`{-}\x7f-\x9f]+$",
        "description": "A channel's name: 1 to 128 bytes of NFC text; letters, digits and marks of any script, and `-_.:@+~=,`.",
    })
}

/// What the id of a user looks like.
pub(crate) fn user() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
        "description": "A user's id: what tokens say in `sub`, 1 to 128 bytes without control characters.",
    })
}

fn message_id() -> Value {
    json!({
        "type": "string", "format": "uuid",
        "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$",
        "description": "A UUID of version 7, chosen by the publisher: makes a publish safe to send again.",
    })
}

fn place() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 128, "description": "The name of a channel; a bad one is refused alone." })
}

fn pattern() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 128,
        "description": "A pattern of channels' names, 1 to 128 bytes: `*` stands for any run of characters.",
    })
}

macro_rules! texts {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $schema:path;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $type;

            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    serde_json::from_value($schema()).unwrap_or_else(|error| unreachable!("a schema of the document is one: {error}"))
                }
            }

            impl ToSchema for $type {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed($name)
                }
            }
        )*
    };
}

texts! {
    /// For the document: a name of a channel.
    ChannelText = "ChannelName", channel;
    /// For the document: a name of a channel in a list, where each has its own result.
    PlaceText = "ChannelNameInList", place;
    /// For the document: a pattern of names of channels.
    PatternText = "ChannelPattern", pattern;
    /// For the document: an id of a user.
    UserText = "UserId", user;
    /// For the document: an id of a message.
    MessageIdText = "MessageId", message_id;
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubbub_protocol::{ChannelName, MessageId};

    fn accepts(schema: Value, text: &str) -> bool {
        jsonschema::draft202012::new(&schema).unwrap().is_valid(&json!(text))
    }

    #[test]
    fn what_the_document_says_of_names_holds_for_every_ascii_sign() {
        for sign in '\0'..='\u{a0}' {
            for text in [format!("{sign}"), format!("a{sign}"), format!("{sign}a")] {
                // Beyond ASCII the pattern allows more than a name may hold.
                let is_ascii_or_control = sign.is_ascii() || sign.is_control();
                assert!(!is_ascii_or_control || accepts(channel(), &text) == ChannelName::parse(&text).is_ok(), "{text:?}");
            }
        }
        for (text, is_name) in [("..", false), (".", false), ("...", true), (".a", true), ("é:ñ", true), ("", false)] {
            assert_eq!((accepts(channel(), text), ChannelName::parse(text).is_ok()), (is_name, is_name), "{text:?}");
        }
    }

    #[test]
    fn an_id_of_a_message_is_what_is_taken_as_one() {
        for text in [
            "019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11",
            "019BD3D5-7B1C-7CC0-8D2F-3F1E6A0C9A11",
            "019bd3d5-7b1c-4cc0-8d2f-3f1e6a0c9a11",
            "019bd3d5-7b1c-7cc0-cd2f-3f1e6a0c9a11",
            "019bd3d57b1c7cc08d2f3f1e6a0c9a11",
            "x",
        ] {
            assert_eq!(accepts(message_id(), text), MessageId::parse(text).is_some(), "{text}");
        }
    }
}
