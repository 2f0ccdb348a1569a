//! Subscriptions that a backend begins, on users' connections that want it.

use hubbub_protocol::{ChannelName, Cursor};
use serde_json::json;

use super::{By, RoomError, Rooms};
use crate::{
    auth::{Act, Denied, Grants, Identity},
    config::Creation,
    store::{audit::Deed, rulings::Ruling},
};

/// A subscription to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscription {
    /// Whose.
    pub user: String,
    /// To what.
    pub channel: ChannelName,
    /// From where, if not from now on.
    pub since: Option<Cursor>,
}

impl Rooms {
    /// Tells every instance to begin these: each that `by` may begin, the others are told why not, in the order of `subscriptions`. Waits
    /// until this instance has heard.
    ///
    /// # Errors
    /// [`RoomError::Store`]: none begins.
    pub async fn begin(&self, by: By<'_>, subscriptions: Vec<NewSubscription>) -> Result<Vec<Result<(), Denied>>, RoomError> {
        let mut outcomes = Vec::with_capacity(subscriptions.len());
        let mut begun = Vec::new();
        for new in subscriptions {
            let outcome = self.may_begin(by.identity, &new).await;
            if outcome.is_ok() {
                begun.push(new);
            }
            outcomes.push(outcome);
        }
        if begun.is_empty() {
            return Ok(outcomes);
        }
        let mut deeds = Vec::with_capacity(begun.len());
        for NewSubscription { user, channel, .. } in &begun {
            let channel = Some(channel.as_str());
            deeds.push(Deed { action: "user.subscribed", target: "user", id: user, channel, detail: json!({}) });
        }
        let ruled = |new: &NewSubscription| {
            let NewSubscription { user, channel, since } = new.clone();
            Ruling::Subscribe { channel, user, since }
        };
        let rulings: Vec<_> = begun.iter().map(ruled).collect();
        self.access.conclude(self.db.begin().await?, by.trace, &deeds, &rulings).await?;
        Ok(outcomes)
    }

    /// Whether `by` may begin it, and its user may have it as far as that is known here: what a token of his allows, his connections know.
    async fn may_begin(&self, by: &Identity, new: &NewSubscription) -> Result<(), Denied> {
        let NewSubscription { user, channel, .. } = new;
        self.access.may(by, Act::Moderate, channel).await?;
        if self.config.namespace(channel).create == Creation::Implicit {
            return Ok(());
        }
        let now = self.world.clock.now();
        let somebody = Identity { is_narrowed: false, issued_at: now, ..Identity::new(user, Grants::default()) };
        self.access.may(&somebody, Act::Subscribe, channel).await
    }
}
