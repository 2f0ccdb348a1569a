//! Presence for sessions and REST: who may see it, and how much at once.

use std::sync::Arc;

use hubbub_protocol::{
    ChannelName,
    frame::{PresencePage, PresenceState},
    limits::MAX_PRESENCE_PAGE,
};
use tokio::sync::oneshot;

use super::{Place, roll, view::Question, watchers::Seen};
use crate::{
    auth::{Act, Identity},
    channel::{Channels, Refused},
    hub::Subscription,
};

/// Members a page, unless the request says.
const DEFAULT_LIMIT: u32 = 100;

/// What a subscriber wants of presence, besides being a member where there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Attend,
    /// To see the others come and go.
    Watch,
}

/// A subscriber's part in its channel's presence.
#[derive(Debug, Default)]
pub struct Attendance {
    /// Its place among the members; `None` in a namespace without presence. To be held as long as the subscription.
    pub place: Option<Box<Place>>,
    /// For the reply of who watches.
    pub state: Option<PresenceState>,
    seen: Option<Seen>,
}

impl Attendance {
    /// Takes the list out of the reply if it takes more than `room` bytes, or else so many out of `room`: a frame will bring it.
    pub fn fit(&mut self, room: &mut usize) {
        let Some(members) = self.state.as_mut().map(|state| &mut state.members) else { return };
        let bytes = members.iter().flatten().map(|member| roll::weight(&member.user)).sum();
        match room.checked_sub(bytes) {
            Some(rest) => *room = rest,
            None => {
                *members = None;
                self.seen = self.seen.map(Seen::without_list);
            }
        }
    }
}

impl Channels {
    /// Whether `identity` may see who is in `channel`.
    ///
    /// # Errors
    /// [`Refused::Forbidden`], [`Refused::PresenceDisabled`].
    pub async fn may_watch(&self, identity: &Identity, channel: &ChannelName) -> Result<(), Refused> {
        self.access.may(identity, Act::Presence, channel).await?;
        if self.namespace(channel).presence { Ok(()) } else { Err(Refused::PresenceDisabled) }
    }

    /// Makes a subscriber a member, where the namespace has presence, and tells who watches what the reply says: within a second, whether
    /// or not all instances have answered.
    ///
    /// # Errors
    /// [`Refused`] as [`Channels::may_watch`], for who watches, and [`Refused::Crowded`].
    pub async fn attend(&self, identity: &Identity, channel: &ChannelName, wish: Wish) -> Result<Attendance, Refused> {
        if wish == Wish::Watch {
            self.may_watch(identity, channel).await?;
        }
        if !self.namespace(channel).presence {
            return Ok(Attendance::default());
        }
        let place = Some(Box::new(self.presence.enter(channel, &identity.user)));
        if wish == Wish::Attend {
            return Ok(Attendance { place, ..Attendance::default() });
        }
        let (state, seen) = self.presence.state(channel, identity.user.clone()).await.ok_or(Refused::Crowded)?;
        Ok(Attendance { place, state: Some(state), seen: Some(seen) })
    }

    /// Once a subscriber's reply has been sent: whoever watches is told what changes from now on. Returns its place.
    pub async fn attended(&self, subscription: &Arc<Subscription>, attendance: Attendance) -> Option<Box<Place>> {
        if let Some(seen) = attendance.seen {
            self.presence.watch(subscription.clone(), seen).await;
        }
        attendance.place
    }

    /// The members of `channel` after the user `after`, in byte order: `limit` of them (1 to 1,000, 100 if absent), fewer if they would
    /// take more than about `bytes`. Waits up to a second for instances that have not told theirs.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn members(
        &self,
        identity: &Identity,
        channel: &ChannelName,
        after: Option<String>,
        limit: Option<u32>,
        bytes: usize,
    ) -> Result<PresencePage, Refused> {
        self.may_watch(identity, channel).await?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_PRESENCE_PAGE).contains(&limit) {
            return Err(Refused::LimitOutOfRange);
        }
        let (reply, page) = oneshot::channel();
        self.presence.ask(channel, Question::Page { after, limit: limit as usize, bytes, reply }).await;
        page.await.map_err(|_| Refused::Crowded)
    }
}
