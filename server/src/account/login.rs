//! Logging in. Whatever is wrong, the answer says the same and takes the same work.

use super::{Accounts, Client, Refused, Tokens, names};
use crate::{
    auth::{Password, Verdict},
    store::{
        audit::Record,
        sessions::{self, NewSession},
        users::{self, Account},
    },
    telemetry::LoginResult,
};

/// Bytes of what a client calls itself, at most; what is longer is cut.
const MAX_DEVICE: usize = 256;

/// What somebody logs in with.
#[derive(Debug)]
pub struct LogIn<'a> {
    /// The account's login.
    pub login: &'a str,
    /// The password.
    pub password: &'a str,
}

impl Client {
    /// What the client calls itself, as it can be kept and shown.
    pub(super) fn device(&self) -> String {
        let shown: String = self.device.chars().filter(|c| !c.is_control()).collect();
        shown[..shown.floor_char_boundary(MAX_DEVICE)].trim().to_owned()
    }
}

impl Accounts {
    /// Begins a login.
    ///
    /// # Errors
    /// [`Refused`]: [`Refused::Login`] whatever is wrong with the login, the password or the account.
    pub async fn log_in(&self, given: LogIn<'_>, client: &Client) -> Result<Tokens, Refused> {
        let tokens = self.try_log_in(given, client).await;
        self.metrics.logins.of(result(&tokens)).increment(1);
        tokens
    }

    async fn try_log_in(&self, given: LogIn<'_>, client: &Client) -> Result<Tokens, Refused> {
        // What is no login is nobody's, and is counted and tried like one.
        let login = names::login(given.login).unwrap_or_default();
        let password = Password::new(given.password);
        self.throttle.look(&login, client.address, self.now()).await?;
        let turn = self.hashing.turn().await?;
        let tried = self.throttle.count(&login, client.address, self.now()).await?;
        let account = users::with_login(&self.db, &login).await?;
        let hash = account.as_ref().and_then(|account| account.password.clone());
        let verdict = self.hashing.verify(&turn, &password, hash).await?;
        let fresh = match verdict {
            Verdict::Outdated => Some(self.hashing.hash(&turn, &password).await?),
            Verdict::Right | Verdict::Wrong => None,
        };
        drop(turn);
        tokio::time::sleep(tried.slowdown).await;
        let account = account.filter(|account| account.is_welcome() && verdict != Verdict::Wrong).ok_or(Refused::Login)?;
        if let (Some(fresh), Some(old)) = (&fresh, &account.password) {
            users::rehash(&self.db, &account.id, old, fresh).await?;
        }
        let tokens = self.begin(account, client).await?;
        self.throttle.succeeded(&tried).await?;
        Ok(tokens)
    }

    async fn begin(&self, account: Account, client: &Client) -> Result<Tokens, Refused> {
        let now = self.now();
        let (id, salt) = (self.world.id().to_string(), self.world.chance.bytes::<16>());
        let session = NewSession {
            id: &id,
            device: &client.device(),
            address: &client.address.to_canonical().to_string(),
            salt: &salt,
            expires_at: now + self.config.refresh_life.as_millis() as u64,
        };
        let (entry, trace) = (self.world.id().to_string(), self.trace(&account.id, client));
        if !sessions::open(&self.db, &account, session, Record { id: &entry, trace: &trace }, now).await? {
            return Err(Refused::Login);
        }
        // The oldest login may have had to end.
        self.access.look_now();
        self.tokens(account.into(), &id, &salt, 1, now)
    }
}

fn result(tokens: &Result<Tokens, Refused>) -> LoginResult {
    match tokens {
        Ok(_) => LoginResult::Begun,
        Err(Refused::Login) => LoginResult::Wrong,
        Err(Refused::TooMany { .. }) => LoginResult::TooMany,
        Err(_) => LoginResult::Failed,
    }
}
