//! Arbitrary frames, and arbitrary payloads in two domains: what JSON gives back as it was, and anything MessagePack can say.

use bytes::Bytes;
use hubbub_protocol::{
    ChannelName, ClientFrame, Cursor, Entry, Format, Key, Kind, MessageId, Place, Retry, ServerFrame,
    frame::*,
    limits::{MAX_CHANNEL_NAME, MAX_INTEGER, MAX_KEY, MAX_PRESENCE_PAGE},
};
use proptest::{collection::vec, option, prelude::*};
use rmpv::Value;

pub fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(&Format::ALL[..])
}

pub fn channel() -> impl Strategy<Value = ChannelName> {
    prop_oneof!["[a-zA-Z0-9_.@+~=,-][a-zA-Z0-9_.:@+~=,-]{0,127}", "[a-z]{1,8}:\\PC{1,8}", "[\\p{Alphabetic}\\p{M}\\p{N}:]{1,16}"]
        .prop_filter_map("not a channel name", |text| ChannelName::parse(&text).ok())
        .prop_filter("too long", |name| name.as_str().len() <= MAX_CHANNEL_NAME)
}

fn key() -> impl Strategy<Value = Key> {
    "\\PC{1,20}".prop_filter_map("not a key", |text| Key::parse(&text).ok()).prop_filter("too long", |key| key.as_str().len() <= MAX_KEY)
}

pub fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 0..=MAX_INTEGER, Just(MAX_INTEGER)]
}

pub fn request() -> impl Strategy<Value = RequestId> {
    prop_oneof![1..300u32, 1..=u32::MAX, Just(u32::MAX)]
}

pub fn message_id() -> impl Strategy<Value = MessageId> {
    (0..1u64 << 48, any::<[u8; 10]>()).prop_map(|(ms, random)| MessageId::new(ms, random))
}

pub fn cursor() -> impl Strategy<Value = Cursor> {
    (integer(), integer()).prop_map(|(epoch, seq)| Cursor { epoch, seq })
}

fn retry() -> impl Strategy<Value = Retry> {
    prop::sample::select(vec![Retry::Never, Retry::Now, Retry::Later, Retry::Refresh])
}

pub fn error_body() -> impl Strategy<Value = ErrorBody> {
    (".{0,20}", ".{0,40}", retry(), option::of(integer())).prop_map(|(code, message, retry, retry_after)| ErrorBody {
        code,
        message,
        retry,
        retry_after,
    })
}

/// Values that JSON gives back as they were.
pub fn plain_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-200i64..300).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |float| float.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z]{28,36}".prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(Value::from),
    ];
    let map = |item: BoxedStrategy<Value>| vec((any::<String>().prop_map(Value::from), item), 0..20).prop_map(Value::Map);
    leaf.prop_recursive(5, 64, 20, move |item| prop_oneof![vec(item.clone(), 0..20).prop_map(Value::Array), map(item)])
}

/// Values of every kind that MessagePack has.
pub fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => plain_value(),
        1 => any::<f32>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => (any::<i8>(), vec(any::<u8>(), 0..20)).prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
    ];
    leaf.prop_recursive(6, 64, 6, |item| {
        prop_oneof![
            vec(item.clone(), 0..6).prop_map(Value::Array),
            vec((any::<i64>().prop_map(Value::from), item.clone()), 0..6).prop_map(Value::Map),
            vec((item.clone(), item), 0..6).prop_map(Value::Map),
        ]
    })
}

/// A value inside `depth` arrays.
pub fn nested(depth: usize, innermost: Value) -> Value {
    (0..depth).fold(innermost, |value, _| Value::Array(vec![value]))
}

pub fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).unwrap();
    out
}

fn payload() -> impl Strategy<Value = Bytes> {
    plain_value().prop_map(|value| encoded(&value).into())
}

fn slow() -> impl Strategy<Value = Option<Slow>> {
    option::of(prop::sample::select(vec![Slow::Close, Slow::Latest]))
}

fn auto() -> impl Strategy<Value = Auto> {
    let since = (".{0,20}", cursor()).prop_map(|(channel, cursor)| Since { channel, cursor });
    (vec(since, 0..20), slow(), any::<bool>()).prop_map(|(since, slow, presence)| Auto { since, slow, presence })
}

pub fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let subscribe = (".{0,20}", option::of(cursor()), slow(), any::<bool>())
        .prop_map(|(channel, since, slow, presence)| SubscribeChannel { channel, since, slow, presence });
    prop_oneof![
        (request(), option::of(".{0,40}"), option::of(".{0,30}"), option::of(auto()))
            .prop_map(|(id, token, client, auto)| ClientFrame::Connect(Connect { id, token, client, auto })),
        (request(), ".{0,40}").prop_map(|(id, token)| ClientFrame::Refresh { id, token }),
        (request(), vec(subscribe, 0..20)).prop_map(|(id, channels)| ClientFrame::Subscribe { id, channels }),
        (request(), vec(".{0,20}", 0..20)).prop_map(|(id, channels)| ClientFrame::Unsubscribe { id, channels }),
        (option::of(request()), channel(), option::of(message_id()), option::of(key()), payload())
            .prop_map(|(id, channel, message_id, key, payload)| ClientFrame::Publish(Publish { id, channel, message_id, key, payload })),
        (request(), channel(), option::of(integer()), option::of(integer()), option::of(any::<u32>()))
            .prop_map(|(id, channel, after, before, limit)| ClientFrame::History(History { id, channel, after, before, limit })),
        (request(), channel(), option::of(".{0,30}"), option::of(1..=MAX_PRESENCE_PAGE))
            .prop_map(|(id, channel, after, limit)| ClientFrame::Presence(PresenceRequest { id, channel, after, limit })),
        request().prop_map(|id| ClientFrame::Ping { id }),
    ]
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let place = (integer(), integer(), integer()).prop_map(|(epoch, seq, ordinal)| Place { epoch, seq, ordinal });
    let kind = prop::sample::select(vec![Kind::Message, Kind::Edit, Kind::Delete, Kind::Other]);
    (
        channel(),
        option::of(place),
        kind,
        option::of(integer()),
        option::of(message_id()),
        ".{0,20}",
        option::of(key()),
        integer(),
        payload(),
    )
        .prop_map(|(channel, place, kind, refers, message_id, publisher, key, time, payload)| Entry {
            channel,
            place,
            kind,
            refers,
            message_id,
            publisher: publisher.into(),
            key,
            time,
            payload,
        })
}

pub fn member() -> impl Strategy<Value = Member> {
    (".{0,20}", any::<u32>()).prop_map(|(user, connections)| Member { user, connections })
}

/// One channel of the result of `subscribe`.
pub fn subscribed_channel() -> impl Strategy<Value = Subscribed> {
    let reasons = vec![Unrecovered::Epoch, Unrecovered::Expired, Unrecovered::TooFar, Unrecovered::Ephemeral, Unrecovered::Other];
    let range = option::of((integer(), integer()));
    let recovery = (option::of(any::<bool>()), range, option::of(prop::sample::select(reasons)));
    let presence = (integer(), option::of(vec(member(), 0..20))).prop_map(|(count, members)| PresenceState { count, members });
    (".{0,20}", any::<bool>(), option::of(cursor()), recovery, option::of(presence), option::of(error_body())).prop_map(
        |(channel, durable, head, (recovered, range, reason), presence, error)| {
            let (from, to) = range.unzip();
            Subscribed { channel, durable, head, recovered, from, to, reason, presence, error }
        },
    )
}

/// One that the server has begun, or why it has not: never half of both.
fn subscribed() -> impl Strategy<Value = Subscribed> {
    subscribed_channel().prop_map(|one| match one {
        Subscribed { channel, error: Some(error), .. } => Subscribed { channel, error: Some(error), ..Subscribed::default() },
        whole => whole,
    })
}

/// Any frame but `reply`, whose result is of one format: see `results.rs`.
pub fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let range = (integer(), integer(), integer()).prop_map(|(epoch, from, to)| SkipRange { epoch, from, to });
    let reason =
        prop::sample::select(vec![SkipReason::Superseded, SkipReason::Expired, SkipReason::TooFar, SkipReason::Dropped, SkipReason::Other]);
    let head = (channel(), cursor()).prop_map(|(channel, cursor)| Head { channel, cursor });
    prop_oneof![
        (option::of(request()), error_body()).prop_map(|(id, error)| ServerFrame::Error { id, error }),
        entry().prop_map(ServerFrame::Entry),
        (channel(), option::of(range), integer(), reason).prop_map(|(channel, range, count, reason)| ServerFrame::Skip(Skip {
            channel,
            range,
            count,
            reason
        })),
        (integer(), vec(head, 0..20)).prop_map(|(time, channels)| ServerFrame::Heads { time, channels }),
        (channel(), integer(), vec(member(), 0..20), vec(".{0,20}", 0..20), option::of(vec(member(), 0..20))).prop_map(
            |(channel, count, joined, left, members)| ServerFrame::Presence(PresenceChange { channel, count, joined, left, members })
        ),
        subscribed().prop_map(|subscribed| ServerFrame::Subscribed(Box::new(subscribed))),
        (channel(), error_body()).prop_map(|(channel, error)| ServerFrame::Unsubscribed { channel, error }),
        (any::<u16>(), ".{0,20}", retry(), option::of(integer())).prop_map(|(code, reason, retry, reconnect_after)| {
            ServerFrame::Disconnect(Disconnect { code, reason, retry, reconnect_after })
        }),
        Just(ServerFrame::Unknown),
    ]
}
