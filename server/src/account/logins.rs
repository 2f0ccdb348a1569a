//! A user's logins: listed, and ended one by one or all.

use super::{Accounts, Client, Refused};
use crate::{
    auth::{Identity, Power},
    store::{
        audit::Record,
        listing::Selection,
        sessions::{self, Ending, Session},
    },
};

/// A login, as its user sees it. Times are in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its id.
    pub id: String,
    /// What the client called itself.
    pub device: String,
    /// From where it last came.
    pub address: String,
    /// When it began.
    pub created_at: u64,
    /// When its tokens were last made.
    pub used_at: u64,
    /// When it ends if nobody refreshes it.
    pub expires_at: u64,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// Which logins to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logins {
    /// All.
    All,
    /// All but the one that asks.
    Others,
}

impl Accounts {
    /// Of the asking user's logins that are good, those that `selection` names.
    ///
    /// # Errors
    /// [`Refused::Store`].
    pub async fn logins(&self, asking: &Identity, selection: &Selection) -> Result<Vec<Login>, Refused> {
        let listed = sessions::list(&self.db, &asking.user, selection, self.now()).await?;
        Ok(listed.into_iter().map(|session| shown(session, asking)).collect())
    }

    /// The asking user's login of that id.
    ///
    /// # Errors
    /// [`Refused::NotFound`], also if it is somebody else's, or over.
    pub async fn login(&self, asking: &Identity, id: &str) -> Result<Login, Refused> {
        let session = sessions::find(&self.db, id).await?;
        let own = session.filter(|session| session.user_id == *asking.user && session.is_good(self.now()));
        own.map(|session| shown(session, asking)).ok_or(Refused::NotFound)
    }

    /// Ends the login that the token came from.
    ///
    /// # Errors
    /// [`Refused::NoLogin`] if it came from none.
    pub async fn log_out(&self, asking: &Identity, client: &Client) -> Result<(), Refused> {
        let id = asking.session.as_deref().ok_or(Refused::NoLogin)?;
        // It has ended already if this is `false`, which is what was asked for.
        self.end(&asking.user, id, Ending::Logout, client).await?;
        Ok(())
    }

    /// Ends one login of the asking user.
    ///
    /// # Errors
    /// [`Refused::Narrowed`]; [`Refused::NotFound`], also if it is somebody else's, or has ended.
    pub async fn end_login(&self, asking: &Identity, id: &str, client: &Client) -> Result<(), Refused> {
        self.owns(asking)?;
        let ended = self.end(&asking.user, id, Ending::Revoked, client).await?;
        if ended { Ok(()) } else { Err(Refused::NotFound) }
    }

    /// Ends logins of the asking user.
    ///
    /// # Errors
    /// [`Refused::Narrowed`], [`Refused::Store`].
    pub async fn end_logins(&self, asking: &Identity, which: Logins, client: &Client) -> Result<(), Refused> {
        self.owns(asking)?;
        let except = match which {
            Logins::All => None,
            Logins::Others => asking.session.as_deref(),
        };
        let (entry, trace) = (self.world.id().to_string(), self.trace(&asking.user, client));
        let record = Record { id: &entry, trace: &trace };
        let number = sessions::revoke_all(&self.db, &asking.user, except, record, self.now()).await?;
        self.access.settle(number).await;
        Ok(())
    }

    /// The account is for whoever asks to decide about.
    fn owns(&self, asking: &Identity) -> Result<(), Refused> {
        if self.access.wields(asking, Power::OwnAccount) { Ok(()) } else { Err(Refused::Narrowed) }
    }

    /// Ends a login of `user`, and tells whether it had not ended.
    pub(super) async fn end(&self, user: &str, id: &str, why: Ending, client: &Client) -> Result<bool, Refused> {
        let (entry, trace) = (self.world.id().to_string(), self.trace(user, client));
        let number = sessions::revoke(&self.db, user, id, why, Record { id: &entry, trace: &trace }, self.now()).await?;
        if let Some(number) = number {
            self.access.settle(number).await;
        }
        Ok(number.is_some())
    }
}

fn shown(session: Session, asking: &Identity) -> Login {
    let time = |at: i64| at.max(0) as u64;
    Login {
        current: asking.session.as_deref() == Some(session.id.as_str()),
        created_at: time(session.created_at),
        used_at: time(session.used_at),
        expires_at: time(session.expires_at),
        id: session.id,
        device: session.device,
        address: session.address,
    }
}
