//! Refreshing. Each refresh token is good once; who repeats the last one within the leeway gets the same answer, and who comes with an older
//! one has stolen it, or been stolen from: the login ends.

use std::cmp::Ordering;

use super::{Accounts, Client, Refused, Tokens, tokens::Sent};
use crate::{
    store::{
        sessions::{self, Ending},
        users,
    },
    telemetry::RefreshResult,
};

/// How often to look again after somebody else was quicker.
const TRIES: u32 = 5;

impl Accounts {
    /// The next tokens of a login.
    ///
    /// # Errors
    /// [`Refused`]: [`Refused::Replayed`] for a token that was used before, which has ended the login.
    pub async fn refresh(&self, token: &str, client: &Client) -> Result<Tokens, Refused> {
        let refreshed = match Sent::parse(token) {
            Some(sent) => self.try_refresh(sent, client).await,
            None => Err(Refused::Token),
        };
        let result = match &refreshed {
            Ok((_, result)) => *result,
            Err(Refused::Replayed) => RefreshResult::Replayed,
            Err(Refused::Token | Refused::Revoked | Refused::Expired) => RefreshResult::Refused,
            Err(_) => RefreshResult::Failed,
        };
        self.metrics.refreshes.of(result).increment(1);
        refreshed.map(|(tokens, _)| tokens)
    }

    async fn try_refresh(&self, sent: Sent<'_>, client: &Client) -> Result<(Tokens, RefreshResult), Refused> {
        for _ in 0..TRIES {
            let session = sessions::find(&self.db, &sent.session.to_string()).await?.ok_or(Refused::Token)?;
            if !self.refreshes.is_of(&sent, &session) {
                return Err(Refused::Token);
            }
            if session.revoked_at.is_some() {
                return Err(Refused::Revoked);
            }
            let now = self.now();
            if !session.is_good(now) {
                return Err(Refused::Expired);
            }
            let account = users::find(&self.db, &session.user_id).await?.ok_or(Refused::Revoked)?;
            if !account.is_welcome() || session.created_at < account.tokens_from {
                return Err(Refused::Revoked);
            }
            let since = now.saturating_sub(session.used_at.max(0) as u64);
            let (generation, result) = match sent.generation.cmp(&session.generation) {
                Ordering::Equal => {
                    let expires_at = now + self.config.refresh_life.as_millis() as u64;
                    let address = client.address.to_canonical().to_string();
                    if !sessions::rotate(&self.db, &session, &address, now, expires_at).await? {
                        continue;
                    }
                    (session.generation + 1, RefreshResult::Rotated)
                }
                Ordering::Less if sent.generation + 1 == session.generation && since <= self.config.refresh_leeway.as_millis() as u64 => {
                    (session.generation, RefreshResult::Repeated)
                }
                Ordering::Less => {
                    self.end(&session.user_id, &session.id, Ending::Replayed, client).await?;
                    tracing::warn!(user = session.user_id, session = session.id, "an old refresh token was used: the login was ended");
                    return Err(Refused::Replayed);
                }
                // The store has gone back in time: what it does not know of cannot be told from a copy.
                Ordering::Greater => return Err(Refused::Token),
            };
            let tokens = self.tokens(account.into(), &session.id, &session.salt, generation, now)?;
            return Ok((tokens, result));
        }
        Err(Refused::Overloaded)
    }
}
