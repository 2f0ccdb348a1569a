//! The use cases of users among themselves, and of those who rule them. Logging in is `account`'s.

use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    access::{Access, By},
    auth::{Identity, Power, Role, policy},
    store::{
        Db, StoreError, Tx,
        audit::Deed,
        listing::Selection,
        people::{self, Person},
        rulings::Ruling,
        sessions::{self, Ending},
    },
    world::World,
};

/// The use cases, and what they work with. One an instance, shared.
#[derive(Debug)]
pub struct Users {
    /// Where users are kept.
    pub db: Db,
    /// Who may what.
    pub access: Arc<Access>,
    /// Time and ids.
    pub world: World,
}

/// What of a user can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What to call the user.
    pub name: String,
    /// The user's own JSON object.
    pub data: Value,
    /// On the whole instance.
    pub role: Role,
    /// Whether every door is closed.
    pub is_blocked: bool,
}

/// Why nothing was done.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum UserError {
    #[error("there is no such user")]
    NotFound,
    #[error("this is for the user alone, or for admins of the instance who stand above")]
    Forbidden,
    #[error("this takes `operate`, or an admin of the instance")]
    NoRuler,
    #[error("it has changed meanwhile: read it again, and decide anew")]
    Changed,
    #[error("an instance keeps an owner: make somebody else one first")]
    LastOwner,
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl Users {
    /// Whether whoever asks rules over users: sees their logins, and those who are deleted.
    pub fn is_ruler(&self, identity: &Identity) -> bool {
        self.access.wields(identity, Power::RuleUsers)
    }

    /// The users of a selection.
    ///
    /// # Errors
    /// [`UserError::Forbidden`] to guests.
    pub async fn list(&self, identity: &Identity, selection: &Selection) -> Result<Vec<Person>, UserError> {
        if !self.access.wields(identity, Power::ListUsers) {
            return Err(UserError::Forbidden);
        }
        Ok(people::list(&self.db, selection).await?)
    }

    /// One user. Guests see themselves only, and only rulers see who is deleted.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn show(&self, identity: &Identity, id: &str) -> Result<Person, UserError> {
        let is_own = *id == *identity.user;
        if !is_own && !self.access.wields(identity, Power::ListUsers) {
            return Err(UserError::NotFound);
        }
        let person = people::find(&self.db, id).await?.ok_or(UserError::NotFound)?;
        if person.deleted_at.is_some() && !self.is_ruler(identity) {
            return Err(UserError::NotFound);
        }
        Ok(person)
    }

    /// Changes a user: oneself, but for role and blocks; others if one rules over them.
    ///
    /// # Errors
    /// [`UserError`], or that of `change`: nothing was changed.
    pub async fn change<E: From<UserError>>(
        &self,
        by: By<'_>,
        id: &str,
        is_known: &(dyn Fn(u64) -> bool + Sync),
        change: impl FnOnce(Profile) -> Result<Profile, E> + Send,
    ) -> Result<Person, E> {
        let mut tx = self.db.begin().await.map_err(UserError::from)?;
        let person = self.hold(&mut tx, by.identity, id).await?;
        if !is_known(person.version) {
            return Err(UserError::Changed.into());
        }
        let old = Profile {
            name: person.name.clone(),
            data: serde_json::from_str(&person.data).unwrap_or_else(|_| json!({})),
            role: person.role,
            is_blocked: person.blocked_at.is_some(),
        };
        let new = change(old.clone())?;
        if new == old {
            return Ok(person);
        }
        self.may(by.identity, &person, &old, &new)?;
        let now = self.world.clock.now();
        let is_ruling = old.role != new.role || old.is_blocked != new.is_blocked;
        if person.role == Role::Owner && (new.role != Role::Owner || new.is_blocked && !old.is_blocked) {
            self.keep_an_owner(&mut tx).await?;
        }
        let changed = Person {
            name: new.name,
            data: new.data.to_string(),
            role: new.role,
            blocked_at: new.is_blocked.then(|| person.blocked_at.unwrap_or(now)),
            ..person
        };
        let changed = people::put(&mut tx, &changed, now).await.map_err(UserError::from)?;
        if new.is_blocked && !old.is_blocked {
            // Whoever is let in again logs in again: a stolen login does not come back with its user.
            sessions::end_all(&mut tx, id, None, Ending::Revoked, now).await.map_err(UserError::from)?;
        }
        let action = match (old.is_blocked, new.is_blocked) {
            (false, true) => "user.blocked",
            (true, false) => "user.unblocked",
            _ => "user.changed",
        };
        let detail = json!({ "name": changed.name, "role": changed.role, "blocked": new.is_blocked });
        self.conclude(tx, by, action, id, detail, is_ruling).await?;
        Ok(changed)
    }

    fn may(&self, identity: &Identity, person: &Person, old: &Profile, new: &Profile) -> Result<(), UserError> {
        let is_own = *person.id == *identity.user;
        let role = self.access.role_of(identity);
        let is_ruler = self.is_ruler(identity) && (policy::rules_over(role, person.role) || is_own);
        let rules = old.role != new.role || old.is_blocked != new.is_blocked;
        // Nobody gives more than he has, and nobody but owners what admins have.
        let gives = old.role == new.role || policy::rules_over(role, new.role);
        let allowed = if rules {
            is_ruler && gives && (!is_own || old.is_blocked == new.is_blocked)
        } else if is_own {
            self.access.wields(identity, Power::OwnAccount)
        } else {
            is_ruler
        };
        if allowed { Ok(()) } else { Err(UserError::Forbidden) }
    }

    /// Deletes a user: oneself, or somebody one rules over. Every session ends; rulers may restore.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn delete(&self, by: By<'_>, id: &str, is_known: &(dyn Fn(u64) -> bool + Sync)) -> Result<(), UserError> {
        let mut tx = self.db.begin().await?;
        let person = self.hold(&mut tx, by.identity, id).await?;
        let is_own = *id == *by.identity.user;
        let rules = self.is_ruler(by.identity) && policy::rules_over(self.access.role_of(by.identity), person.role);
        let owns = is_own && self.access.wields(by.identity, Power::OwnAccount);
        if !owns && !rules {
            return Err(UserError::Forbidden);
        }
        if person.deleted_at.is_some() {
            return Err(UserError::NotFound);
        }
        if !is_known(person.version) {
            return Err(UserError::Changed);
        }
        if person.role == Role::Owner {
            self.keep_an_owner(&mut tx).await?;
        }
        let now = self.world.clock.now();
        people::put(&mut tx, &Person { deleted_at: Some(now), ..person }, now).await?;
        sessions::end_all(&mut tx, id, None, Ending::Revoked, now).await?;
        self.conclude(tx, by, "user.deleted", id, json!({}), true).await
    }

    /// Brings a deleted user back.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn restore(&self, by: By<'_>, id: &str) -> Result<Person, UserError> {
        if !self.is_ruler(by.identity) {
            return Err(UserError::NotFound);
        }
        let mut tx = self.db.begin().await?;
        let person = people::hold(&mut tx, id).await?.ok_or(UserError::NotFound)?;
        if !policy::rules_over(self.access.role_of(by.identity), person.role) {
            return Err(UserError::Forbidden);
        }
        if person.deleted_at.is_none() {
            return Ok(person);
        }
        let person = people::put(&mut tx, &Person { deleted_at: None, ..person }, self.world.clock.now()).await?;
        self.conclude(tx, by, "user.restored", id, json!({}), true).await?;
        Ok(person)
    }

    /// Ends the connections of users everywhere; they may come back.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn disconnect(&self, by: By<'_>, users: Vec<String>) -> Result<(), UserError> {
        if !self.is_ruler(by.identity) {
            return Err(UserError::NoRuler);
        }
        let deed = |id| Deed { action: "user.disconnected", target: "user", id, channel: None, detail: json!({}) };
        let deeds: Vec<_> = users.iter().map(|user| deed(user)).collect();
        let rulings: Vec<_> = users.iter().cloned().map(Ruling::Disconnect).collect();
        Ok(self.access.conclude(self.db.begin().await?, by.trace, &deeds, &rulings).await?)
    }

    /// The user, held, if whoever asks may know of it.
    async fn hold(&self, tx: &mut Tx, identity: &Identity, id: &str) -> Result<Person, UserError> {
        let may_know = *id == *identity.user || self.access.wields(identity, Power::ListUsers);
        let person = if may_know { people::hold(tx, id).await? } else { None };
        person.filter(|person| person.deleted_at.is_none() || self.is_ruler(identity)).ok_or(UserError::NotFound)
    }

    async fn keep_an_owner(&self, tx: &mut Tx) -> Result<(), UserError> {
        if people::owners(tx).await? > 1 { Ok(()) } else { Err(UserError::LastOwner) }
    }

    async fn conclude(&self, tx: Tx, by: By<'_>, action: &'static str, id: &str, detail: Value, is_ruling: bool) -> Result<(), UserError> {
        let deed = Deed { action, target: "user", id, channel: None, detail };
        let rulings: Vec<_> = is_ruling.then(|| Ruling::User(id.to_owned())).into_iter().collect();
        Ok(self.access.conclude(tx, by.trace, &[deed], &rulings).await?)
    }
}
