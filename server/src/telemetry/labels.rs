//! Counters by a label whose values are a closed set: one for each value, made beforehand, so that counting looks nothing up.

use std::marker::PhantomData;

use hubbub_protocol::{
    CloseCode,
    frame::{SkipReason, Slow, Unrecovered},
};
use metrics::Counter;

/// A label with a closed set of values.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    fn all() -> Vec<Self>;
    /// This value's place in [`Label::all`].
    fn index(self) -> usize;
    /// This value as Prometheus shows it.
    fn value(self) -> String;
}

/// A counter for each value of a label.
#[derive(Clone)]
pub struct Labelled<L> {
    counters: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> Labelled<L> {
    /// Makes a counter for each value.
    pub(super) fn new(counter: impl Fn(L) -> Counter) -> Self {
        Self { counters: L::all().into_iter().map(counter).collect(), label: PhantomData }
    }

    /// The counter of this value.
    pub fn of(&self, label: L) -> &Counter {
        &self.counters[label.index()]
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $type:ident as $label:literal { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }
        label!($type as $label { $($variant = $value,)* });)*
    };
}

macro_rules! label {
    ($type:ident as $label:literal { $($variant:ident = $value:literal,)* }) => {
        impl Label for $type {
            const NAME: &'static str = $label;

            fn all() -> Vec<Self> {
                vec![$($type::$variant),*]
            }

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> String {
                match self { $($type::$variant => $value,)* }.to_owned()
            }
        }
    };
}

labels! {
    /// What became of a publish.
    PublishResult as "result" {
        /// Stored, and acknowledged.
        Stored = "stored",
        /// It had been stored before.
        Duplicate = "duplicate",
        /// The client's fault: an error whose retry is `never`.
        Refused = "refused",
        /// The server's fault or overload: the client may retry.
        Failed = "failed",
        /// Sent on without being stored.
        Ephemeral = "ephemeral",
    }
    /// What became of an upload.
    UploadResult as "result" {
        /// Stored.
        Stored = "stored",
        /// Its bytes had been stored before.
        Shared = "shared",
        /// Its sender's fault.
        Refused = "refused",
        /// The server's fault or overload: it may be sent again.
        Failed = "failed",
    }
    /// What a ruling is about.
    RulingKind as "kind" {
        /// A user's standing or role.
        User = "user",
        /// A login that ended.
        Session = "session",
        /// A token that was called in.
        Token = "token",
        /// A channel that was made, changed or deleted.
        Channel = "channel",
        /// A membership.
        Member = "member",
        /// A ban.
        Ban = "ban",
        /// A key that signs tokens.
        Key = "key",
        /// A backend's key.
        ApiKey = "api_key",
        /// A user's connections end.
        Disconnect = "disconnect",
        /// A user's subscription to a channel begins.
        Subscribe = "subscribe",
        /// A user's subscriptions to a channel end.
        Unsubscribe = "unsubscribe",
    }
    /// Why something uploaded was deleted for good.
    SweptKind as "kind" {
        /// The time to restore it was over.
        Deleted = "deleted",
        /// No message referred to it.
        Orphan = "orphan",
        /// An object without an upload.
        Object = "object",
    }
    /// What became of a subscribe that asked for the past.
    ReplayResult as "result" {
        /// Every entry after the cursor followed.
        Recovered = "recovered",
        /// The cursor was of another epoch.
        Epoch = "epoch",
        /// The history no longer held them all.
        Expired = "expired",
        /// More had been missed than a replay may hold.
        TooFar = "too_far",
        /// The channel keeps nothing.
        Ephemeral = "ephemeral",
        /// For a reason without a name.
        Other = "other",
    }
    /// What became of a look at the heads that moved.
    LookResult as "result" {
        /// It saw them.
        Done = "done",
        /// The store did not answer.
        Failed = "failed",
        /// It found that the store has gone back in time.
        WentBack = "went_back",
    }
    /// Why the store was read.
    ReadKind as "kind" {
        /// A client asked for a page of history.
        History = "history",
        /// A resuming subscriber was too far behind its feed's memory.
        Replay = "replay",
        /// A feed missed entries.
        Repair = "repair",
        /// A channel's head was looked up.
        Head = "head",
        /// The store may have gone back in time: a feed compared its past with the store's.
        Compare = "compare",
    }
    /// How a connection reaches its peer.
    Transport as "transport" {
        /// A WebSocket.
        WebSocket = "websocket",
        /// A stream of events, to a client that says itself where it stands.
        Events = "sse",
        /// A stream of events, to a browser's own `EventSource`.
        Native = "eventsource",
        /// Polls.
        Polls = "polling",
    }
    /// What became of a POST of frames.
    PostResult as "result" {
        /// Its session has read it.
        Read = "read",
        /// It had been read before.
        Repeated = "repeated",
        /// Its elders did not come.
        OutOfOrder = "out_of_order",
        /// Its session has ended, or reads too slowly.
        Unread = "unread",
    }
    /// What became of a request for a session of another instance.
    Forwarded as "result" {
        /// The other instance answered.
        Answered = "answered",
        /// It is gone, or did not answer in time.
        Unanswered = "unanswered",
    }
    /// What became of a try to log in.
    LoginResult as "result" {
        /// A login has begun.
        Begun = "begun",
        /// The login, the password or the account was wrong.
        Wrong = "wrong",
        /// Too many tries had failed.
        TooMany = "too_many",
        /// The server's fault or overload.
        Failed = "failed",
    }
    /// What became of a refresh.
    RefreshResult as "result" {
        /// The next tokens.
        Rotated = "rotated",
        /// The same tokens again, for somebody who had not got them.
        Repeated = "repeated",
        /// An old token: its login was ended.
        Replayed = "replayed",
        /// No token of ours, or of a login that is over.
        Refused = "refused",
        /// The server's fault or overload.
        Failed = "failed",
    }
    /// What became of a message for other instances.
    BrokerSent as "result" {
        /// Handed to the broker's client.
        Sent = "sent",
        /// Dropped: there was no connection.
        Disconnected = "dropped_disconnected",
        /// Dropped: too much waited to be written.
        Full = "dropped_full",
        /// Dropped: the client would not have it, for it is larger than the server takes.
        Refused = "dropped_refused",
    }
    /// What became of a message from another instance.
    BrokerReceived as "result" {
        /// Handed on.
        Accepted = "accepted",
        /// Dropped: nobody here listens to its channel; it came with its shard.
        Unwanted = "unwanted",
        /// Dropped: not an envelope, or a newer release's.
        Malformed = "malformed",
    }
}

label!(SkipReason as "reason" {
    Superseded = "superseded",
    Expired = "expired",
    TooFar = "too_far",
    Dropped = "dropped",
    Other = "other",
});

label!(Slow as "policy" {
    Close = "close",
    Latest = "latest",
});

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// By a Close frame with this code, whoever sent it.
    Closed(CloseCode),
    /// Without a Close frame: counted as 1006 (RFC 6455 section 7.1.5).
    Broken,
}

impl Label for Ended {
    const NAME: &'static str = "code";

    fn all() -> Vec<Self> {
        CloseCode::ALL.iter().copied().map(Ended::Closed).chain([Ended::Broken]).collect()
    }

    fn index(self) -> usize {
        match self {
            Ended::Closed(code) => code as usize,
            Ended::Broken => CloseCode::ALL.len(),
        }
    }

    fn value(self) -> String {
        match self {
            Ended::Closed(code) => code.code().to_string(),
            Ended::Broken => "1006".to_owned(),
        }
    }
}

impl From<Option<Unrecovered>> for ReplayResult {
    fn from(unrecovered: Option<Unrecovered>) -> Self {
        match unrecovered {
            None => ReplayResult::Recovered,
            Some(Unrecovered::Epoch) => ReplayResult::Epoch,
            Some(Unrecovered::Expired) => ReplayResult::Expired,
            Some(Unrecovered::TooFar) => ReplayResult::TooFar,
            Some(Unrecovered::Ephemeral) => ReplayResult::Ephemeral,
            Some(Unrecovered::Other) => ReplayResult::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places<L: Label>() -> bool {
        let values: std::collections::HashSet<_> = L::all().into_iter().map(L::value).collect();
        values.len() == L::all().len() && L::all().into_iter().enumerate().all(|(place, label)| label.index() == place)
    }

    #[test]
    fn every_value_is_at_its_place_and_has_a_name_of_its_own() {
        assert!(places::<PublishResult>() && places::<ReplayResult>() && places::<ReadKind>() && places::<LookResult>());
        assert!(places::<BrokerSent>() && places::<BrokerReceived>());
        assert!(places::<SkipReason>() && places::<Slow>() && places::<Ended>());
    }

    #[test]
    fn names_are_those_of_the_wire() {
        for reason in SkipReason::all() {
            assert_eq!(reason.value(), reason.as_str());
        }
    }
}
