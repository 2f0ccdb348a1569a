//! Backends, by their keys: `hbk_` and the key's id, a dot, and a secret of 256 random bits. Of the secret, the store has a digest.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::future::Cache;
use uuid::Uuid;

use super::{Access, Denied};
use crate::{
    auth::{Action, Grant, Grants, Identity},
    store::{
        StoreError,
        api_keys::{self, ApiKey},
    },
    world::Chance,
};

/// What a key begins with.
pub const PREFIX: &str = "hbk_";
/// Before the id in an identity's user.
pub const USER: &str = "api-key:";
/// Keys that are kept, at most, and for how long a key that is not there is believed not to be.
const KEYS: u64 = 10_000;
const LIFE: Duration = Duration::from_secs(60);
/// Bytes of a secret.
const SECRET: usize = 32;

/// What is known of keys: each with the number of the last ruling about keys that it was read after.
pub(super) type Known = Cache<String, (u64, Option<Arc<ApiKey>>)>;

pub(super) fn known() -> Known {
    Cache::builder().max_capacity(KEYS).time_to_live(LIFE).build()
}

/// A fresh secret, and the digest that is kept of it.
pub fn fresh(chance: &Chance) -> (String, Vec<u8>) {
    let secret = URL_SAFE_NO_PAD.encode(chance.bytes::<SECRET>());
    let kept = digest(&SHA256, secret.as_bytes()).as_ref().to_vec();
    (secret, kept)
}

/// A key as its backend shows it.
pub fn shown(id: &str, secret: &str) -> String {
    format!("{PREFIX}{id}.{secret}")
}

impl Access {
    /// Who shows `key`; `None` if it is no good one.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn backend(&self, key: &str) -> Result<Option<Identity>, Denied> {
        let Some((id, secret)) = key.strip_prefix(PREFIX).and_then(|key| key.split_once('.')) else { return Ok(None) };
        // Whatever else somebody makes up is neither asked for nor kept.
        if !is_id(id) {
            return Ok(None);
        }
        let Some(found) = self.api_key(id).await.map_err(|_| Denied::Unavailable)? else { return Ok(None) };
        let shown = digest(&SHA256, secret.as_bytes());
        let now = self.world.clock.now();
        let is_over = found.revoked_at.is_some() || found.expires_at.is_some_and(|at| at as u64 <= now);
        if verify_slices_are_equal(shown.as_ref(), &found.digest).is_err() || is_over {
            return Ok(None);
        }
        if found.used_at.is_none_or(|at| at as u64 + 3_600_000 < now)
            && let Err(error) = api_keys::used(&self.db, id, now).await
        {
            tracing::debug!(%error, "the use of an API key could not be noted");
        }
        Ok(identity(&found))
    }

    async fn api_key(&self, id: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let number = *self.api_keys.borrow();
        if let Some((_, key)) = self.backends.get(id).await.filter(|(known, _)| *known == number) {
            return Ok(key);
        }
        let key = api_keys::find(&self.db, id).await?.map(Arc::new);
        self.backends.insert(id.to_owned(), (number, key.clone())).await;
        Ok(key)
    }
}

/// A UUID in its one spelling.
fn is_id(text: &str) -> bool {
    let mut spelled = Uuid::encode_buffer();
    Uuid::try_parse(text).is_ok_and(|id| *id.hyphenated().encode_lower(&mut spelled) == *text)
}

fn identity(key: &ApiKey) -> Option<Identity> {
    let scopes: Vec<String> = serde_json::from_str(&key.scopes).ok()?;
    let channels: Vec<String> = serde_json::from_str(&key.channels).ok()?;
    let mut actions: Vec<Action> = scopes.iter().filter_map(|scope| Action::parse(scope)).collect();
    let mut grants = Vec::new();
    // Over the instance as a whole, or not at all.
    if actions.contains(&Action::Operate) {
        grants.push(Grant { channels: vec!["*".to_owned()], actions: vec![Action::Operate] });
        actions.retain(|action| *action != Action::Operate);
    }
    grants.push(Grant { channels, actions });
    let grants = Grants::new(&grants).ok()?;
    Some(Identity { is_backend: true, ..Identity::new(&format!("{USER}{}", key.id), grants) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = "01a20928-a52a-74d8-b0a4-87784fe4bc83";
        assert!(is_id(id));
        let others =
            [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), "x".repeat(30_000), String::new()];
        for other in others {
            assert!(!is_id(&other), "{other:.50}");
        }
    }
}
