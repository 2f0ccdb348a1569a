use hubbub_protocol::ChannelName;
use serde_json::json;

use super::{By, RoomError, Rooms};
use crate::{
    auth::{Act, Denied},
    store::{audit::Deed, rulings::Ruling},
};

impl Rooms {
    /// Ends users' subscriptions everywhere; they may subscribe again. Each for which `by` may moderate the channel, the others are told why
    /// not, in the order of `subscriptions`.
    ///
    /// # Errors
    /// [`RoomError::Store`]: none was ended.
    pub async fn unsubscribe(&self, by: By<'_>, subscriptions: Vec<(ChannelName, String)>) -> Result<Vec<Result<(), Denied>>, RoomError> {
        let mut outcomes = Vec::with_capacity(subscriptions.len());
        let mut ended = Vec::new();
        for (channel, user) in subscriptions {
            let outcome = self.access.may(by.identity, Act::Moderate, &channel).await;
            if outcome.is_ok() {
                ended.push((channel, user));
            }
            outcomes.push(outcome);
        }
        if ended.is_empty() {
            return Ok(outcomes);
        }
        let mut deeds = Vec::with_capacity(ended.len());
        for (channel, user) in &ended {
            let channel = Some(channel.as_str());
            deeds.push(Deed { action: "user.unsubscribed", target: "user", id: user, channel, detail: json!({}) });
        }
        let ruled = |(channel, user): &(ChannelName, String)| Ruling::Unsubscribe { channel: channel.clone(), user: user.clone() };
        let rulings: Vec<_> = ended.iter().map(ruled).collect();
        self.access.conclude(self.db.begin().await?, by.trace, &deeds, &rulings).await?;
        Ok(outcomes)
    }
}
