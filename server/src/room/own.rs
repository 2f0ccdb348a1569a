//! What a user has joined, for connections on which the server begins subscriptions.

use std::sync::Arc;

use hubbub_protocol::ChannelName;

use super::{By, Rooms, personal_name};
use crate::{
    auth::{Act, Denied, Identity, policy::RoomKind},
    config::Creation,
    store::audit::Trace,
};

/// Where somebody who has just become a member begins to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With the first entry: somebody has made the channel to say something, and may have said it already.
    First,
    /// With what is said from now on.
    Now,
}

impl Rooms {
    /// The channels to which the server subscribes the user by itself: the personal one, which is made if there is none, then the others,
    /// newest membership first. At most `most`, and the personal one.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn of(&self, identity: &Identity, most: usize) -> Result<Vec<ChannelName>, Denied> {
        let mut channels = self.access.memberships(&identity.user, most).await?;
        let own = personal_name(&identity.user);
        let namespace = self.config.namespace(&own);
        if !(namespace.auto_subscribe && namespace.create == Creation::Explicit) {
            return Ok(channels);
        }
        match channels.iter().position(|channel| *channel == own) {
            Some(at) => _ = channels.remove(at),
            None if may_have_one(identity, &own) => {
                let trace = Trace { actor: identity.user.to_string(), address: String::new(), request: String::new() };
                if let Err(error) = self.personal(By { identity, trace: &trace }).await {
                    tracing::warn!(%error, "a personal channel could not be made");
                    return Err(Denied::Unavailable);
                }
            }
            None => return Ok(channels),
        }
        channels.insert(0, own);
        Ok(channels)
    }

    /// Where `user` begins to hear `channel`; `None` to who has not joined it.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn beginning(&self, user: &Arc<str>, channel: &ChannelName) -> Result<Option<Beginning>, Denied> {
        let begins = |kind| match kind {
            RoomKind::Direct => Beginning::First,
            RoomKind::Group | RoomKind::Personal => Beginning::Now,
        };
        Ok(self.access.joined(user, channel).await?.map(begins))
    }
}

/// A token that says what it allows has to cover the personal channel, or none is made.
fn may_have_one(identity: &Identity, own: &ChannelName) -> bool {
    !identity.is_narrowed || Act::Subscribe.grants().iter().any(|action| identity.grants.allows(*action, own))
}
