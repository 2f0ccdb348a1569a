//! What a login yields: an access token that is signed, and a refresh token that is made of the login's row and the secret.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Accounts, Refused};
use crate::{
    auth::{Role, SigningError, derive},
    config::Secret,
    store::{sessions::Session, users::Account},
};

/// What refresh tokens begin with, for those who look for leaked secrets.
const PREFIX: &str = "hbr_";

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What tokens say in `sub`.
    pub id: String,
    /// What one logs in with.
    pub login: Option<String>,
    /// The name to show.
    pub name: String,
    /// On the whole instance.
    pub role: Role,
    /// When the user was first seen, in Unix milliseconds.
    pub created_at: u64,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let Account { id, login, name, role, created_at, .. } = account;
        // A role of a later release: not more than is known of it.
        let role = Role::parse(&role).unwrap_or(Role::Guest);
        Self { id, login, name, role, created_at: created_at.max(0) as u64 }
    }
}

/// The answer to a login or a refresh. Its `Debug` shows no token.
#[derive(Clone)]
pub struct Tokens {
    /// Good for requests and `connect`.
    pub access: String,
    /// For how many seconds.
    pub expires_in: u64,
    /// Good once, for the next tokens.
    pub refresh: String,
    /// Whose they are.
    pub user: User,
    /// The login's id.
    pub session: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("user", &self.user).field("session", &self.session).finish_non_exhaustive()
    }
}

/// A refresh token as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent<'a> {
    pub session: Uuid,
    pub generation: i64,
    mac: &'a str,
}

impl<'a> Sent<'a> {
    /// Reads a token, without believing it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (session, rest) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let (generation, mac) = rest.split_once('.')?;
        // One way to write it, so that a token is a name, too.
        let session = Uuid::parse_str(session).ok().filter(|uuid| uuid.to_string() == session)?;
        let generation: i64 = generation.parse().ok().filter(|number: &i64| *number > 0 && number.to_string() == generation)?;
        Some(Self { session, generation, mac })
    }
}

/// Makes refresh tokens.
pub(super) struct Refreshes(hmac::Key);

impl std::fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refreshes")
    }
}

impl Refreshes {
    pub fn new(secret: &Secret) -> Result<Self, SigningError> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &derive(secret.expose(), "refresh tokens")?)))
    }

    /// The token of a login's generation. Whoever asks twice gets the same.
    pub fn token(&self, session: &str, salt: &[u8], generation: i64) -> String {
        format!("{PREFIX}{session}.{generation}.{}", self.mac(session, salt, generation))
    }

    /// Whether the token is the login's, of whatever generation.
    pub fn is_of(&self, sent: &Sent<'_>, session: &Session) -> bool {
        verify_slices_are_equal(sent.mac.as_bytes(), self.mac(&session.id, &session.salt, sent.generation).as_bytes()).is_ok()
    }

    fn mac(&self, session: &str, salt: &[u8], generation: i64) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        // An id has one length, and so has a number: nothing can be moved from one to the other.
        context.update(session.as_bytes());
        context.update(&generation.to_be_bytes());
        context.update(salt);
        URL_SAFE_NO_PAD.encode(context.sign().as_ref())
    }
}

impl Accounts {
    /// The tokens of a login's generation.
    pub(super) fn tokens(&self, user: User, session: &str, salt: &[u8], generation: i64, now: u64) -> Result<Tokens, Refused> {
        let expires_at = now + self.config.access_life.as_millis() as u64;
        let jti = self.world.id();
        let access = self.keys.ring().sign(&user.id, session, jti, now, expires_at).ok_or(Refused::NoKey)?;
        let refresh = self.refreshes.token(session, salt, generation);
        Ok(Tokens { access, expires_in: self.config.access_life.as_secs(), refresh, user, session: session.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_in_one_way() {
        let refreshes = Refreshes::new(&Secret::new(&[7; 32])).unwrap();
        let id = "018f2b6e-0000-7000-8000-0000000000ab";
        let token = refreshes.token(id, &[1; 16], 12);
        let sent = Sent::parse(&token).unwrap();
        assert_eq!((sent.session.to_string().as_str(), sent.generation), (id, 12));
        assert_eq!(token, refreshes.token(id, &[1; 16], 12));
        for other in [refreshes.token(id, &[2; 16], 12), refreshes.token(id, &[1; 16], 13)] {
            assert_ne!(other.rsplit_once('.').unwrap().1, token.rsplit_once('.').unwrap().1);
        }
        let mac = sent.mac;
        for wrong in [
            format!("hbr_{}.12.{mac}", id.to_uppercase()),
            format!("hbr_{}.12.{mac}", id.replace('-', "")),
            format!("hbr_{id}.012.{mac}"),
            format!("hbr_{id}.+12.{mac}"),
            format!("hbr_{id}.0.{mac}"),
            format!("hbr_{id}.-1.{mac}"),
            format!("hbr_{id}.99999999999999999999.{mac}"),
            format!("hbr_{id}.12"),
            format!("{id}.12.{mac}"),
            String::new(),
        ] {
            assert_eq!(Sent::parse(&wrong), None, "{wrong}");
        }
    }
}
