//! Results come back as they went, typed, in both formats.

use hubbub_protocol::{
    Format, ServerFrame,
    encode::{self, HistoryRest},
    frame::*,
};
use proptest::{collection::vec, option, prelude::*};
use serde::{Serialize, de::DeserializeOwned};

use crate::{server_frames, strategy::*};

fn reply(format: Format, encode: impl FnOnce(&mut Vec<u8>)) -> RawResult {
    let mut message = Vec::new();
    encode(&mut message);
    match <[_; 1]>::try_from(server_frames(format, &message)) {
        Ok([Ok(ServerFrame::Reply { id: 7, result })]) => result,
        other => panic!("{other:?}"),
    }
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(result: &T) {
    for format in Format::ALL {
        let read = reply(format, |out| encode::reply(format, 7, result, out)).read::<T>();
        assert_eq!(read.as_ref(), Some(result), "{format:?}");
    }
}

proptest! {
    #[test]
    fn connected(session in ".{0,20}", user in ".{0,20}", n in any::<[u64; 7]>(), subscriptions in any::<u32>()) {
        let [time, expires_at, heartbeat, grace, payload, frame, dedup_window] = n;
        let limits = Limits { payload, frame, subscriptions, dedup_window };
        comes_back(&Connected { session, user, time, expires_at, heartbeat, grace, limits });
    }

    #[test]
    fn subscribed(channels in vec(subscribed_channel(), 0..20)) {
        comes_back(&Channels { channels });
    }

    #[test]
    fn unsubscribed(channels in vec((".{0,20}", option::of(error_body())), 0..20)) {
        let channels = channels.into_iter().map(|(channel, error)| UnsubscribedChannel { channel, error }).collect();
        comes_back(&Channels { channels });
    }

    #[test]
    fn published(message_id in message_id(), place in option::of((integer(), integer())), time in integer(), duplicate in any::<bool>()) {
        let (epoch, seq) = place.unzip();
        comes_back(&Published { message_id, epoch, seq, time, duplicate });
        comes_back(&Refreshed { expires_at: time });
        comes_back(&Pong { time });
    }

    #[test]
    fn presence(members in vec(member(), 0..20), count in integer(), more in any::<bool>()) {
        comes_back(&PresencePage { members, count, more });
    }

    #[test]
    fn history(entries in vec(entry(), 0..20), head in cursor(), first in integer(), more in any::<bool>()) {
        for format in Format::ALL {
            let result = reply(format, |out| encode::history_reply(format, 7, HistoryRest { head, first, more }, entries.iter(), out));
            prop_assert_eq!(result.history(), Some(HistoryPage { entries: entries.clone(), head, first, more }));
        }
    }
}
