//! What lets a peer open a session without a token: who it is, and what it was subscribed to. A ticket stands for one, and an event's
//! id holds one, sealed. Pure: bytes in, bytes out.

use hubbub_protocol::{
    Cursor,
    frame::{Slow, SubscribeChannel},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::{Action, Grant, Grants, Identity};

/// Who a peer is, and what it subscribes to.
#[derive(Debug, Clone)]
pub struct Passport {
    /// Who it is, and until when.
    pub identity: Identity,
    /// What it subscribes to, in order.
    pub channels: Vec<SubscribeChannel>,
}

/// Bytes that are no passport of this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("these bytes are no passport")]
pub struct PassportError;

/// A passport in as few bytes as a plain encoding takes: arrays by place, in MessagePack.
#[derive(Serialize, Deserialize)]
struct Compact(String, u64, Vec<(Vec<String>, Vec<String>)>, Vec<Stop>, Origin);

/// Of the token that it came from: when it was issued, its name, its login, and whether it says what it allows.
#[derive(Serialize, Deserialize)]
struct Origin(u64, Option<String>, Option<String>, bool);

/// As the release before wrote it.
#[derive(Deserialize)]
struct Before(String, u64, Vec<(Vec<String>, Vec<String>)>, Vec<Stop>);

/// A channel, [`SINCE`] and the like, and a cursor.
#[derive(Serialize, Deserialize)]
struct Stop(String, u8, u64, u64);

const SINCE: u8 = 1;
const PRESENCE: u8 = 2;
const CLOSE: u8 = 4;
const LATEST: u8 = 8;

/// Bytes that a channel takes in a passport beside its name, at most: the array, the name's head, flags, epoch and seq.
pub(super) const STOP: usize = 1 + 2 + 1 + 9 + 9;
/// Bytes for the heads of the passport's arrays, at most.
pub(super) const REST: usize = 8;

impl Passport {
    /// The bytes of this passport.
    pub fn encode(&self) -> Vec<u8> {
        let Identity { user, expires_at, issued_at, token, session, grants, is_narrowed, .. } = &self.identity;
        let text = |name: &Option<std::sync::Arc<str>>| name.as_deref().map(str::to_owned);
        let origin = Origin(*issued_at, text(token), text(session), *is_narrowed);
        let spell = |grant: Grant| (grant.channels, grant.actions.into_iter().map(|action| action.as_str().to_owned()).collect());
        let grants = grants.list().into_iter().map(spell).collect();
        let stops = self.channels.iter().map(|asked| {
            let flag = |is: bool, flag: u8| if is { flag } else { 0 };
            let slow = asked.slow.map_or(0, |slow| if slow == Slow::Close { CLOSE } else { LATEST });
            let Cursor { epoch, seq } = asked.since.unwrap_or_default();
            Stop(asked.channel.clone(), flag(asked.since.is_some(), SINCE) | flag(asked.presence, PRESENCE) | slow, epoch, seq)
        });
        rmp_serde::to_vec(&Compact(user.to_string(), *expires_at, grants, stops.collect(), origin)).expect("plain data can be encoded")
    }

    /// Reads what [`Passport::encode`] wrote.
    ///
    /// # Errors
    /// It did not.
    pub fn decode(bytes: &[u8]) -> Result<Self, PassportError> {
        let Compact(user, expires_at, grants, stops, origin) = match rmp_serde::from_slice(bytes) {
            Ok(compact) => compact,
            Err(_) => {
                let Before(user, expires_at, grants, stops) = rmp_serde::from_slice(bytes).map_err(|_| PassportError)?;
                Compact(user, expires_at, grants, stops, Origin(0, None, None, true))
            }
        };
        let Origin(issued_at, token, session, is_narrowed) = origin;
        let spelled = |(channels, actions): (Vec<String>, Vec<String>)| Grant {
            channels,
            actions: actions.iter().filter_map(|name| Action::parse(name)).collect(),
        };
        let grants: Vec<Grant> = grants.into_iter().map(spelled).collect();
        let grants = Grants::new(&grants).map_err(|_| PassportError)?;
        let channels = stops.into_iter().map(|Stop(channel, flags, epoch, seq)| SubscribeChannel {
            channel,
            since: (flags & SINCE != 0).then_some(Cursor { epoch, seq }),
            slow: match flags & (CLOSE | LATEST) {
                0 => None,
                CLOSE => Some(Slow::Close),
                _ => Some(Slow::Latest),
            },
            presence: flags & PRESENCE != 0,
        });
        let [token, session] = [token, session].map(|name| name.map(Into::into));
        let identity = Identity { user: user.into(), expires_at, issued_at, token, session, grants, is_narrowed, is_backend: false };
        Ok(Self { identity, channels: channels.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_when_it_is_read_again() {
        let grant = Grant { channels: vec!["room:*".into(), "x".into()], actions: vec![Action::Subscribe, Action::Presence] };
        let identity = Identity {
            expires_at: (1 << 53) - 1,
            session: Some("s1".into()),
            issued_at: 7,
            ..Identity::new("zoë", Grants::new(std::slice::from_ref(&grant)).unwrap())
        };
        let one = |since, slow, presence| SubscribeChannel { channel: "room:1".into(), since, slow, presence };
        let channels = vec![
            one(None, None, false),
            one(Some(Cursor::default()), Some(Slow::Close), true),
            one(Some(Cursor { epoch: 3, seq: u64::MAX }), Some(Slow::Latest), false),
        ];
        let bytes = Passport { identity, channels: channels.clone() }.encode();
        let read = Passport::decode(&bytes).unwrap();
        assert_eq!((&*read.identity.user, read.identity.expires_at), ("zoë", (1 << 53) - 1));
        assert_eq!((read.identity.issued_at, read.identity.session.as_deref(), read.identity.token), (7, Some("s1"), None));
        assert_eq!(read.identity.grants.list(), [grant]);
        assert_eq!(read.channels, channels);
        assert_eq!(Passport::decode(&bytes[1..]).unwrap_err(), PassportError);
        assert_eq!(Passport::decode(&[]).unwrap_err(), PassportError);
    }

    #[test]
    fn a_channel_takes_no_more_than_is_reckoned() {
        let identity = Identity { expires_at: 0, ..Identity::new("a", Grants::default()) };
        let size = |channels: Vec<SubscribeChannel>| Passport { identity: identity.clone(), channels }.encode().len();
        for name in ["x".to_owned(), "x".repeat(31), "x".repeat(128)] {
            let one = SubscribeChannel {
                channel: name.clone(),
                since: Some(Cursor { epoch: u64::MAX, seq: u64::MAX }),
                slow: Some(Slow::Latest),
                presence: true,
            };
            assert!(size(vec![one.clone(); 63]) - size(vec![]) <= 63 * (name.len() + STOP) + REST, "{}", name.len());
        }
    }
}
