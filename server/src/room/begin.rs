//! Subscriptions that a backend begins, on users' connections that want it.

use hubbub_protocol::{ChannelName, Cursor};
use serde_json::json;

use super::{By, Rooms};
use crate::{
    auth::{Act, Denied, Grants, Identity},
    config::Creation,
    store::{
        StoreError,
        audit::{self, Deed},
        rulings::{self, Ruling},
    },
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
    /// Whether `by` may begin it, and its user may have it as far as that is known here: what a token of his allows, his connections know.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn may_begin(&self, by: &Identity, new: &NewSubscription) -> Result<(), Denied> {
        let NewSubscription { user, channel, .. } = new;
        self.access.may(by, Act::Moderate, channel).await?;
        if self.config.namespace(channel).create == Creation::Implicit {
            return Ok(());
        }
        let now = self.world.clock.now();
        let somebody = Identity { is_narrowed: false, issued_at: now, ..Identity::new(user, Grants::default()) };
        self.access.may(&somebody, Act::Subscribe, channel).await
    }

    /// Tells every instance to begin these, and waits until this one has heard.
    ///
    /// # Errors
    /// [`StoreError`]: none begins.
    pub async fn begin(&self, by: By<'_>, all: Vec<NewSubscription>) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        let mut tx = self.db.begin().await?;
        for NewSubscription { user, channel, .. } in &all {
            let deed = Deed { action: "user.subscribed", target: "user", id: user, channel: Some(channel.as_str()), detail: json!({}) };
            audit::append(&mut tx, &self.world.id().to_string(), by.trace, &deed, now).await?;
        }
        let mut number = None;
        for NewSubscription { user, channel, since } in all {
            number = Some(rulings::append(&mut tx, &Ruling::Subscribe { channel, user, since }, now).await?);
        }
        tx.commit().await?;
        if let Some(number) = number {
            self.access.settle(number).await;
        }
        Ok(())
    }
}
