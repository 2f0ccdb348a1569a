//! Registering.

use super::{Accounts, Client, Flaw, Place, Refused, Tokens, User, names};
use crate::{
    auth::Password,
    config::Registration,
    store::{
        audit::Record,
        sessions::{self, NewSession, Registered},
        users::NewAccount,
    },
};

/// What somebody registers with.
#[derive(Debug)]
pub struct Register<'a> {
    /// What to log in with.
    pub login: &'a str,
    /// The name to show; the login, if there is none.
    pub name: Option<&'a str>,
    /// The password.
    pub password: &'a str,
}

impl Accounts {
    /// Makes an account and logs it in. The first one of all becomes the owner of the instance.
    ///
    /// # Errors
    /// [`Refused`]: [`Refused::Taken`] tells that somebody has the login, which cannot be kept from whoever wants it; an address that asks for many
    /// has to wait.
    pub async fn register(&self, new: Register<'_>, client: &Client) -> Result<Tokens, Refused> {
        if self.config.registration == Registration::Closed {
            return Err(Refused::Closed);
        }
        let (login, name, password) = check(&new)?;
        let turn = self.hashing.turn().await?;
        let now = self.now();
        let tried = self.throttle.count_registration(client.address, now).await?;
        let hash = self.hashing.hash(&turn, &password).await?;
        drop(turn);
        let (id, session, salt) = (self.world.id().to_string(), self.world.id().to_string(), self.world.chance.bytes::<16>());
        let account = NewAccount { id: &id, login: &login, name: &name, password: &hash };
        let address = client.address.to_canonical().to_string();
        let begun = NewSession {
            id: &session,
            device: &client.device(),
            address: &address,
            salt: &salt,
            expires_at: now + self.config.refresh_life.as_millis() as u64,
        };
        let (entry, trace) = (self.world.id().to_string(), self.trace(&id, client));
        let record = Record { id: &entry, trace: &trace };
        let Registered::Made(role, number) = sessions::register(&self.db, account, begun, record, now).await? else {
            return Err(Refused::Taken);
        };
        self.access.settle(number).await;
        self.throttle.succeeded(&tried).await?;
        let user = User { id, login: Some(login), name, role, created_at: now };
        self.tokens(user, &session, &salt, 1, now)
    }
}

/// The account's login, name and password, if they can be such.
fn check(new: &Register<'_>) -> Result<(String, String, Password), Refused> {
    let (login, password) = (names::login(new.login), Password::new(new.password));
    let name = match new.name {
        None => login.clone(),
        Some(name) => names::name(name),
    };
    let own: Vec<&str> = [login.as_deref(), name.as_deref()].into_iter().flatten().collect();
    let mut flaws = Vec::new();
    flaws.extend(login.is_none().then_some(Flaw::Login));
    flaws.extend((name.is_none() && new.name.is_some()).then_some(Flaw::Name));
    flaws.extend(password.flaw(&own).map(|flaw| Flaw::Password(Place::Password, flaw)));
    match (login, name) {
        (Some(login), Some(name)) if flaws.is_empty() => Ok((login, name, password)),
        _ => Err(Refused::Invalid(flaws)),
    }
}
