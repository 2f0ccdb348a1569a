//! Changing the password. Who does not know the old one is slowed down as if he tried to log in.

use super::{Accounts, Client, Flaw, Place, Refused};
use crate::{
    auth::{Identity, Password, Verdict},
    store::{audit::Record, sessions, users},
};

impl Accounts {
    /// Gives the asking user another password, and ends the other logins.
    ///
    /// # Errors
    /// [`Refused::Login`] if `old` is not the password.
    pub async fn change_password(&self, asking: &Identity, old: &str, new: &str, client: &Client) -> Result<(), Refused> {
        let account = users::find(&self.db, &asking.user).await?.ok_or(Refused::NoPassword)?;
        let (Some(login), Some(hash)) = (account.login.clone(), account.password.clone()) else { return Err(Refused::NoPassword) };
        let new = Password::new(new);
        if let Some(flaw) = new.flaw(&[&login, &account.name]) {
            return Err(Refused::Invalid(vec![Flaw::Password(Place::New, flaw)]));
        }
        self.throttle.look(&login, client.address, self.now()).await?;
        let turn = self.hashing.turn().await?;
        let tried = self.throttle.count(&login, client.address, self.now()).await?;
        let hash = match self.hashing.verify(&turn, &Password::new(old), Some(hash)).await? {
            Verdict::Wrong => None,
            _ => Some(self.hashing.hash(&turn, &new).await?),
        };
        // Others have their turn while this one waits.
        drop(turn);
        tokio::time::sleep(tried.slowdown).await;
        let hash = hash.ok_or(Refused::Login)?;
        let (entry, trace) = (self.world.id().to_string(), self.trace(&account.id, client));
        let (record, except) = (Record { id: &entry, trace: &trace }, asking.session.as_deref());
        let number = sessions::change_password(&self.db, &account, &hash, except, record, self.now()).await?.ok_or(Refused::Login)?;
        self.access.settle(number).await;
        self.throttle.succeeded(&tried).await
    }
}
