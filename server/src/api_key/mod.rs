//! The use cases of backends' keys: admins of the instance make, see and revoke them. How a key is checked is `access`'s.

use std::sync::Arc;

use serde_json::json;
use thiserror::Error;

use crate::{
    access::{Access, By, backends},
    auth::{Identity, Power},
    store::{
        Db, StoreError,
        api_keys::{self, ApiKey},
        audit::Deed,
        listing::Selection,
        rulings::Ruling,
    },
    world::World,
};

/// The use cases, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct ApiKeys {
    /// Where keys are kept.
    pub db: Db,
    /// Who may what.
    pub access: Arc<Access>,
    /// Time, ids and secrets.
    pub world: World,
}

/// What a new key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// What it is called.
    pub name: String,
    /// Names of actions.
    pub scopes: Vec<String>,
    /// Patterns of the channels where.
    pub channels: Vec<String>,
    /// When it ends by itself, in Unix milliseconds.
    pub expires_at: Option<u64>,
}

/// Why nothing was done.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum ApiKeyError {
    #[error("keys are managed by admins of the instance")]
    Forbidden,
    #[error("there is no such key, or it was revoked")]
    NotFound,
    #[error("it has to be later than now")]
    Past,
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Makes a key. Returns it as it is kept, and as the backend shows it, which is known this once.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn make(&self, by: By<'_>, new: NewApiKey) -> Result<(ApiKey, String), ApiKeyError> {
        self.may(by.identity)?;
        let now = self.world.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(ApiKeyError::Past);
        }
        let (secret, digest) = backends::fresh(&self.world.chance);
        let row = ApiKey {
            id: self.world.id().to_string(),
            name: new.name,
            digest,
            scopes: json!(new.scopes).to_string(),
            channels: json!(new.channels).to_string(),
            created_by: by.identity.user.to_string(),
            version: 1,
            created_at: now as i64,
            used_at: None,
            expires_at: new.expires_at.map(|at| at as i64),
            revoked_at: None,
        };
        let shown = backends::shown(&row.id, &secret);
        let mut tx = self.db.begin().await?;
        api_keys::put(&mut tx, &row).await?;
        let detail = json!({ "name": row.name, "scopes": new.scopes, "channels": new.channels });
        let deed = Deed { action: "api_key.created", target: "api_key", id: &row.id, channel: None, detail };
        self.access.conclude(tx, by.trace, &[deed], &[Ruling::ApiKey(row.id.clone())]).await?;
        Ok((row, shown))
    }

    /// The keys of a selection, revoked ones too.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn list(&self, identity: &Identity, selection: &Selection) -> Result<Vec<ApiKey>, ApiKeyError> {
        self.may(identity)?;
        Ok(api_keys::list(&self.db, selection).await?)
    }

    /// One key, revoked or not.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn show(&self, identity: &Identity, id: &str) -> Result<ApiKey, ApiKeyError> {
        self.may(identity)?;
        api_keys::find(&self.db, id).await?.ok_or(ApiKeyError::NotFound)
    }

    /// Revokes a key: it is refused here when the call returns, and everywhere within a second.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn revoke(&self, by: By<'_>, id: &str) -> Result<(), ApiKeyError> {
        self.may(by.identity)?;
        let mut tx = self.db.begin().await?;
        if !api_keys::revoke(&mut tx, id, self.world.clock.now()).await? {
            return Err(ApiKeyError::NotFound);
        }
        let deed = Deed { action: "api_key.revoked", target: "api_key", id, channel: None, detail: json!({}) };
        Ok(self.access.conclude(tx, by.trace, &[deed], &[Ruling::ApiKey(id.to_owned())]).await?)
    }

    /// Only people manage keys: one that leaked cannot make others that outlive it.
    fn may(&self, identity: &Identity) -> Result<(), ApiKeyError> {
        let is_allowed = !identity.is_backend && self.access.wields(identity, Power::ManageKeys);
        if is_allowed { Ok(()) } else { Err(ApiKeyError::Forbidden) }
    }
}
