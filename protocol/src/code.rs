//! Every error and close code in one table each: its name on the wire, its HTTP status, and whether to try again.

use serde::{Deserialize, Serialize};

/// Whether, and when, the same request may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub enum Retry {
    /// Not without changing the request.
    Never,
    /// At once, with the same message id.
    Now,
    /// After a pause (the frame's `retry_after` in milliseconds, else back off).
    Later,
    /// With a new token.
    Refresh,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $retry:ident;)*) => {
        /// Why a request was refused. The set grows: a client treats a code it does not know by the frame's `retry`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];
            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str { match self { $(ErrorCode::$variant => $name),* } }
            /// Its HTTP status.
            pub const fn status(self) -> u16 { match self { $(ErrorCode::$variant => $status),* } }
            /// Whether to try again.
            pub const fn retry(self) -> Retry { match self { $(ErrorCode::$variant => Retry::$retry),* } }
            /// The code of that name.
            pub fn parse(name: &str) -> Option<Self> { match name { $($name => Some(ErrorCode::$variant),)* _ => None } }
        }
    };
}

errors! {
    /// The frame is well-formed but a field is missing, of the wrong type or too long.
    BadFrame = "bad_frame", 400, Never;
    /// The frame's `type` is not known to this server.
    UnknownFrame = "unknown_frame", 400, Never;
    /// A frame other than `connect` came first.
    NotConnected = "not_connected", 401, Never;
    /// A second `connect` on one connection.
    AlreadyConnected = "already_connected", 400, Never;
    /// No token, or one that does not verify.
    Unauthorized = "unauthorized", 401, Refresh;
    /// The token's time is over.
    TokenExpired = "token_expired", 401, Refresh;
    /// `refresh` with a token of another user.
    IdentityChanged = "identity_changed", 403, Never;
    /// The token's grants do not allow it.
    Forbidden = "forbidden", 403, Never;
    /// The channel name breaks a rule of section 3.
    ChannelInvalid = "channel_invalid", 400, Never;
    /// No such channel, or nothing there.
    NotFound = "not_found", 404, Never;
    /// The key is empty, longer than 64 bytes or holds control characters.
    KeyInvalid = "key_invalid", 400, Never;
    /// The message id is not a UUID of version 7.
    MessageIdInvalid = "message_id_invalid", 400, Never;
    /// The payload holds what cannot be carried to every format: extension types, map keys other than strings and integers, invalid UTF-8.
    PayloadInvalid = "payload_invalid", 400, Never;
    /// The payload is longer than the server's bound.
    PayloadTooLarge = "payload_too_large", 413, Never;
    /// The message id's time is before the dedup window: it may have been published already.
    TooOld = "too_old", 409, Never;
    /// The message id's time is more than ten minutes ahead of the server's clock.
    TooNew = "too_new", 409, Never;
    /// The message id was used with another payload or key.
    IdReused = "id_reused", 409, Never;
    /// Already subscribed to that channel on this connection.
    AlreadySubscribed = "already_subscribed", 409, Never;
    /// Not subscribed to that channel on this connection.
    NotSubscribed = "not_subscribed", 409, Never;
    /// The connection has as many subscriptions as it may.
    TooManySubscriptions = "too_many_subscriptions", 429, Never;
    /// An ephemeral channel keeps nothing.
    NotDurable = "not_durable", 409, Never;
    /// The channel's namespace keeps no presence.
    PresenceDisabled = "presence_disabled", 409, Never;
    /// A number, or the number of channels in a frame, is out of its bounds.
    OutOfRange = "out_of_range", 400, Never;
    /// It is not known whether the publish was stored. Publish again with the same message id.
    Unknown = "unknown", 503, Now;
    /// The store does not answer. Nothing was stored.
    Unavailable = "unavailable", 503, Later;
    /// A queue is full. Nothing was stored.
    Overloaded = "overloaded", 503, Later;
    /// The instance is shutting down.
    Draining = "draining", 503, Later;
    /// The session over HTTP has ended, or its instance is gone. Open another one and resume.
    SessionGone = "session_gone", 410, Now;
    /// A POST or a poll over HTTP whose number is not the next.
    OutOfOrder = "out_of_order", 409, Now;
    /// The page that asks comes from an origin that is not allowed.
    OriginRefused = "origin_refused", 403, Never;
    /// Fields of the request break their rules; over HTTP `errors` names each.
    Invalid = "invalid", 422, Never;
    /// The credentials are revoked: the user is blocked, the session has ended, or the token was called in.
    Revoked = "revoked", 401, Refresh;
    /// The user is banned from the channel.
    Banned = "banned", 403, Never;
    /// The name and the password do not go together.
    LoginFailed = "login_failed", 401, Never;
    /// Too many requests, or tries to log in, in a short time.
    RateLimited = "rate_limited", 429, Later;
    /// What is there excludes what was asked for: a name is taken, a member is there already.
    Conflict = "conflict", 409, Never;
    /// The Idempotency-Key was used for another request.
    KeyReused = "key_reused", 422, Never;
    /// The first request with this Idempotency-Key is still under way.
    KeyInUse = "key_in_use", 409, Later;
    /// What was to be changed is not what `If-Match` says.
    PreconditionFailed = "precondition_failed", 412, Never;
    /// The change takes an `If-Match`.
    PreconditionRequired = "precondition_required", 428, Never;
    /// The method is not one of those that `Allow` names.
    MethodNotAllowed = "method_not_allowed", 405, Never;
    /// None of the media types that `Accept` names can be had.
    NotAcceptable = "not_acceptable", 406, Never;
    /// The body's media type or coding is not one of those that are taken.
    UnsupportedMediaType = "unsupported_media_type", 415, Never;
    /// None of the bytes that `Range` names is there.
    RangeNotSatisfiable = "range_not_satisfiable", 416, Never;
    /// All of the user's uploads together would be more than the server keeps for one.
    QuotaExceeded = "quota_exceeded", 403, Never;
    /// The subscription cannot go on: the store has gone back in time. Subscribe again from the last cursor.
    Resubscribe = "resubscribe", 409, Now;
    /// A fault of the server. Its log has the details.
    Internal = "internal", 500, Later;
}

macro_rules! closes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $reason:literal, $retry:ident;)*) => {
        /// Why a connection was closed. `4000–4499`: do not connect again unchanged. `4500–4999`: connect again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $variant,)* }

        impl CloseCode {
            /// Every code.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$variant),*];
            /// The WebSocket close code.
            pub const fn code(self) -> u16 { match self { $(CloseCode::$variant => $code),* } }
            /// The reason in the Close frame.
            pub const fn reason(self) -> &'static str { match self { $(CloseCode::$variant => $reason),* } }
            /// Whether to connect again.
            pub const fn retry(self) -> Retry { match self { $(CloseCode::$variant => Retry::$retry),* } }
        }

        impl Retry {
            /// Whether to connect again after a close with `code`, known or not.
            pub fn after_close(code: u16) -> Retry {
                match code {
                    $($code => Retry::$retry,)*
                    1010 | 4000..=4499 => Retry::Never,
                    _ => Retry::Later,
                }
            }
        }
    };
}

closes! {
    /// The client asked for it.
    Normal = 1000, "normal", Never;
    /// The peer broke RFC 6455.
    WebSocketProtocol = 1002, "protocol_error", Never;
    /// A text message on a binary subprotocol, or the reverse.
    Unsupported = 1003, "unsupported_data", Never;
    /// Text that is not UTF-8.
    InvalidText = 1007, "invalid_text", Never;
    /// A message longer than the bound.
    TooLarge = 1009, "message_too_large", Never;
    /// The bytes are not a frame: truncated, nested too deeply, a length that is not there.
    Malformed = 4400, "malformed", Never;
    /// The token of `connect` does not verify.
    Unauthorized = 4401, "unauthorized", Refresh;
    /// The credentials were revoked: the user was blocked, the session ended, or the token was called in.
    Revoked = 4403, "revoked", Refresh;
    /// More than 256 frames in one message.
    TooManyFrames = 4402, "too_many_frames", Never;
    /// A fault of the server.
    Internal = 4500, "internal", Later;
    /// The token's time is over and no `refresh` came.
    TokenExpired = 4501, "token_expired", Refresh;
    /// No `connect` within its time.
    ConnectTimeout = 4502, "connect_timeout", Later;
    /// The instance is shutting down: `disconnect` said when to come back.
    Draining = 4503, "draining", Later;
    /// Nothing was heard from the client for the heartbeat and its grace.
    PeerGone = 4504, "peer_gone", Later;
    /// The client does not read, and its outbox is full. Connect and resume.
    SlowConsumer = 4505, "slow_consumer", Now;
    /// The server cannot look whether the credentials were revoked meanwhile. Connect again, with a new token if there is one.
    Unverified = 4506, "unverified", Later;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_parse_back() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!((400..=599).contains(&code.status()));
        }
    }

    #[test]
    fn close_codes_keep_the_promise_of_their_range() {
        for code in CloseCode::ALL {
            assert_eq!(Retry::after_close(code.code()), code.retry());
            match code.code() {
                4000..=4499 => assert!(matches!(code.retry(), Retry::Never | Retry::Refresh)),
                4500..=4999 => assert_ne!(code.retry(), Retry::Never),
                _ => {}
            }
        }
        assert_eq!(Retry::after_close(4499), Retry::Never);
        assert_eq!(Retry::after_close(4999), Retry::Later);
        assert_eq!(Retry::after_close(1006), Retry::Later);
    }

    #[test]
    fn every_code_is_in_the_specification() {
        let spec = include_str!("../PROTOCOL.md");
        for code in ErrorCode::ALL {
            let row = format!("| `{}` | {} |", code.as_str(), code.status());
            assert!(spec.contains(&row), "PROTOCOL.md lacks a row starting {row}");
        }
        for code in CloseCode::ALL {
            let row = format!("| {} | `{}` |", code.code(), code.reason());
            assert!(spec.contains(&row), "PROTOCOL.md lacks a row starting {row}");
        }
    }
}
