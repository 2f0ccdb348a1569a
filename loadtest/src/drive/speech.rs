//! What the server under test wants to hear: the floor's two words, or `hubbub.v1`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use bytes::Bytes;
use hubbub_protocol::{
    ChannelName, ClientFrame, Format, MessageId, ServerFrame, ServerFrames,
    frame::{Channels, Connect, Publish, ServerFrame as Frame, Subscribed},
};

use super::{
    Plain, Role, Transport,
    payload::{self, Stamp},
    wire,
};

const CONNECT: u32 = 1;
const SUBSCRIBE: u32 = 2;
/// Publishes count their requests from here.
const FIRST_PUBLISH: u32 = 3;

/// Whether channels keep what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Namespace `live`: nothing is stored, nothing is answered.
    Ephemeral,
    /// Namespace `room`: every publish is stored and acknowledged.
    Durable,
}

impl Durability {
    /// The namespace that is so by default.
    pub fn namespace(self) -> &'static str {
        match self {
            Durability::Ephemeral => "live",
            Durability::Durable => "room",
        }
    }
}

/// The language of one server.
#[derive(Debug, Clone)]
pub enum Speech {
    /// See [`crate::floor`].
    Floor,
    /// `hubbub.v1`: MessagePack over WebSockets, JSON over plain HTTP.
    Hubbub {
        /// A JWT that may subscribe and publish.
        token: String,
        /// Whether publishes ask for an answer and carry a message id.
        durability: Durability,
    },
}

/// What a message that is not a delivery said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The connection is there, and subscribed if it asked for that.
    Joined,
    /// Its channel has so many members.
    Present(u64),
    /// A publish is acknowledged.
    Acknowledged,
    /// The server refused something, or dropped entries: why.
    Refused(String),
}

impl Speech {
    /// The channel of group `index`.
    pub fn channel(&self, index: usize) -> String {
        match self {
            Speech::Floor => format!("load-{index}"),
            Speech::Hubbub { durability, .. } => format!("{}:load-{index}", durability.namespace()),
        }
    }

    /// The HTTP request that opens a WebSocket.
    pub fn upgrade(&self) -> Vec<u8> {
        match self {
            Speech::Floor => wire::upgrade_request("/", None),
            Speech::Hubbub { .. } => wire::upgrade_request("/v1/ws", Some(Format::Msgpack.subprotocol())),
        }
    }

    /// A client over plain HTTP, and what it asks first.
    ///
    /// # Errors
    /// `transport` is a WebSocket, or the server is the floor.
    pub fn plain(&self, transport: Transport, role: &Role) -> Result<(Plain, Vec<u8>)> {
        let Speech::Hubbub { token, .. } = self else { bail!("the floor speaks WebSocket only") };
        Plain::new(transport, role.token().unwrap_or(token), role, &opening(None, role, Format::Json))
    }

    /// The first message over a WebSocket: who is there, and what it listens to. `None` if there is nothing to say.
    pub fn join(&self, role: &Role) -> Option<Vec<u8>> {
        match self {
            Speech::Floor => role.channels().first().map(|channel| [b"S", channel.as_bytes()].concat()),
            Speech::Hubbub { token, .. } => Some(opening(Some(role.token().unwrap_or(token).to_owned()), role, Format::Msgpack)),
        }
    }

    /// The message that publishes a payload of `size` bytes which carries `stamp`.
    pub fn publish(&self, channel: &str, stamp: Stamp, size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 128);
        match self {
            Speech::Floor => {
                out.push(b'P');
                out.extend_from_slice(channel.as_bytes());
                out.push(b'\n');
                payload::write_raw(stamp, size, &mut out);
            }
            Speech::Hubbub { durability, .. } => {
                let durable = *durability == Durability::Durable;
                ClientFrame::Publish(Publish {
                    id: durable.then(|| request(stamp.number)),
                    channel: ChannelName::parse(channel).expect("the load test's own channel names are valid"),
                    message_id: durable.then(|| MessageId::new(unix_ms(), rand::random())),
                    key: None,
                    payload: Bytes::from(payload::msgpack(stamp, size)),
                })
                .encode(Format::Msgpack, &mut out);
            }
        }
        out
    }

    /// What `message`, which is in `format` and no delivery, says to a connection with this role.
    pub fn hear(&self, format: Format, message: &[u8], role: &Role) -> Vec<Heard> {
        match self {
            Speech::Floor => vec![Heard::Joined],
            Speech::Hubbub { .. } => {
                ServerFrames::new(format, message).filter_map(Result::ok).flat_map(|frame| heard(frame, role)).collect()
            }
        }
    }
}

/// `connect`, and `subscribe` if there is anything to listen to.
fn opening(token: Option<String>, role: &Role, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    ClientFrame::Connect(Connect { id: CONNECT, token, client: Some("hubbub-loadtest".to_owned()), auto: None }).encode(format, &mut out);
    let channels = role.wanted();
    if !channels.is_empty() {
        ClientFrame::Subscribe { id: SUBSCRIBE, channels }.encode(format, &mut out);
    }
    out
}

fn heard(frame: ServerFrame, role: &Role) -> Vec<Heard> {
    match frame {
        Frame::Reply { id: CONNECT, .. } if role.channels().is_empty() => vec![Heard::Joined],
        Frame::Reply { id: CONNECT, .. } => Vec::new(),
        Frame::Reply { id: SUBSCRIBE, result } => subscribed(result.read()),
        Frame::Reply { .. } => vec![Heard::Acknowledged],
        Frame::Presence(change) => vec![Heard::Present(change.count)],
        Frame::Error { error, .. } | Frame::Unsubscribed { error, .. } => {
            vec![Heard::Refused(format!("{}: {}", error.code, error.message))]
        }
        Frame::Disconnect(disconnect) => vec![Heard::Refused(format!("disconnect {}: {}", disconnect.code, disconnect.reason))],
        Frame::Skip(skip) => vec![Heard::Refused(format!("{} entries skipped: {}", skip.count, skip.reason.as_str()))],
        Frame::Entry(_) | Frame::Heads { .. } | Frame::Subscribed(_) | Frame::Unknown => Vec::new(),
    }
}

fn subscribed(result: Option<Channels<Subscribed>>) -> Vec<Heard> {
    let Some(Channels { channels }) = result else { return vec![Heard::Refused("the result of subscribe can't be read".to_owned())] };
    if let Some(error) = channels.iter().find_map(|channel| channel.error.as_ref()) {
        return vec![Heard::Refused(format!("subscribe: {}: {}", error.code, error.message))];
    }
    let present = channels.into_iter().filter_map(|channel| channel.presence).map(|presence| Heard::Present(presence.count));
    [Heard::Joined].into_iter().chain(present).collect()
}

fn request(number: u64) -> u32 {
    FIRST_PUBLISH + (number % u64::from(u32::MAX - FIRST_PUBLISH)) as u32
}

/// The wall clock, in Unix milliseconds.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::ClientFrames;

    use super::*;

    fn hubbub(durability: Durability) -> Speech {
        Speech::Hubbub { token: "t".to_owned(), durability }
    }

    fn frames(message: &[u8]) -> Vec<ClientFrame> {
        ClientFrames::new(Format::Msgpack, message, 1 << 16).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn connect_and_subscribe_are_one_message() {
        let message = hubbub(Durability::Ephemeral).join(&Role::Member("live:load-0".into())).unwrap();
        assert!(matches!(&frames(&message)[..], [ClientFrame::Connect(_), ClientFrame::Subscribe { .. }]));
        let message = hubbub(Durability::Ephemeral).join(&Role::Publisher).unwrap();
        assert!(matches!(&frames(&message)[..], [ClientFrame::Connect(_)]));
    }

    #[test]
    fn a_user_connects_with_a_token_of_its_own_and_a_watcher_asks_for_members() {
        let user = Role::User { channel: "meet:all".into(), token: "own".to_owned() };
        let [ClientFrame::Connect(connect), ClientFrame::Subscribe { .. }] =
            &frames(&hubbub(Durability::Ephemeral).join(&user).unwrap())[..]
        else {
            panic!("connect and subscribe")
        };
        assert_eq!(connect.token.as_deref(), Some("own"));
        let message = hubbub(Durability::Ephemeral).join(&Role::Watcher("meet:all".into())).unwrap();
        let [_, ClientFrame::Subscribe { channels, .. }] = &frames(&message)[..] else { panic!("connect and subscribe") };
        assert!(channels[0].presence);
    }

    #[test]
    fn only_a_durable_publish_asks_for_an_answer() {
        let stamp = Stamp { number: 0, nanos: 1 };
        for (durability, asks) in [(Durability::Ephemeral, false), (Durability::Durable, true)] {
            let message = hubbub(durability).publish("room:x", stamp, 128);
            let [ClientFrame::Publish(publish)] = &frames(&message)[..] else { panic!("one publish") };
            assert_eq!((publish.id.is_some(), publish.message_id.is_some(), publish.payload.len()), (asks, asks, 128));
        }
    }

    #[test]
    fn a_refused_subscription_is_not_a_join() {
        let refused = Subscribed {
            channel: "live:load-0".to_owned(),
            error: Some(hubbub_protocol::frame::ErrorBody::new(hubbub_protocol::ErrorCode::Forbidden, "no")),
            ..Subscribed::default()
        };
        let mut message = Vec::new();
        hubbub_protocol::encode::reply(Format::Msgpack, SUBSCRIBE, &Channels { channels: vec![refused] }, &mut message);
        let heard = hubbub(Durability::Ephemeral).hear(Format::Msgpack, &message, &Role::Member("live:load-0".into()));
        assert!(matches!(&heard[..], [Heard::Refused(why)] if why.contains("forbidden")), "{heard:?}");
    }
}
