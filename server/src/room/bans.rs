//! Bans: who is kept out of one channel, of whatever namespace.

use hubbub_protocol::ChannelName;
use serde_json::json;

use super::{By, RoomError, Rooms, Standing};
use crate::{
    auth::{Act, Role, policy::RoomKind},
    store::{
        audit::Deed,
        bans::{self, Ban},
        listing::Selection,
        members, rooms,
        rulings::Ruling,
    },
};

/// A ban to be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBan {
    /// Why, for people.
    pub reason: String,
    /// When it is over by itself, in Unix milliseconds.
    pub expires_at: Option<u64>,
}

impl Rooms {
    /// The bans of a selection of `channel`.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn bans(&self, by: By<'_>, channel: &ChannelName, selection: &Selection) -> Result<Vec<Ban>, RoomError> {
        self.access.may(by.identity, Act::Moderate, channel).await?;
        Ok(bans::select(&self.db, selection).await?)
    }

    /// One ban.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn ban_of(&self, by: By<'_>, channel: &ChannelName, user: &str) -> Result<Ban, RoomError> {
        self.access.may(by.identity, Act::Moderate, channel).await?;
        let now = self.world.clock.now();
        let ban = bans::find(&self.db, channel, user).await?;
        ban.filter(|ban| ban.expires_at.is_none_or(|at| at > now)).ok_or(RoomError::NoBan)
    }

    /// Keeps `user` out of `channel`, and takes him out if he is in.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn ban(&self, by: By<'_>, channel: &ChannelName, user: &str, new: &NewBan) -> Result<(Ban, Standing), RoomError> {
        self.access.may(by.identity, Act::Moderate, channel).await?;
        if *user == *by.identity.user {
            return Err(RoomError::Rank);
        }
        let now = self.world.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(room) = rooms::hold(&mut tx, channel).await? {
            let mine = self.rank(&mut tx, by, channel).await?;
            let theirs = members::find_in(&mut tx, channel, user).await?.map(|member| member.role);
            let theirs = theirs.max(self.access.role(user).in_channels()).unwrap_or(Role::Guest);
            if !mine.outranks(theirs) {
                return Err(RoomError::Rank);
            }
            // Who takes part in the other kinds does not change: the ban alone keeps out, and can be lifted.
            if room.kind == RoomKind::Group {
                members::remove(&mut tx, channel, user).await?;
            }
        } else if self.access.role(user).in_channels() > self.access.role_of(by.identity).in_channels() {
            return Err(RoomError::Rank);
        }
        let new = bans::NewBan { channel, user, reason: &new.reason, banned_by: &by.identity.user, expires_at: new.expires_at };
        let ban = bans::put(&mut tx, new, now).await?;
        let standing = if ban.version == 1 { Standing::New } else { Standing::Known };
        let detail = json!({ "reason": ban.reason, "expires_at": ban.expires_at });
        let deed = Deed { action: "member.banned", target: "user", id: user, channel: Some(channel.as_str()), detail };
        let member = Ruling::Member { channel: channel.clone(), user: user.to_owned() };
        self.conclude(tx, by, deed, &[member]).await?;
        Ok((ban, standing))
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn unban(&self, by: By<'_>, channel: &ChannelName, user: &str) -> Result<(), RoomError> {
        self.access.may(by.identity, Act::Moderate, channel).await?;
        let mut tx = self.db.begin().await?;
        if !bans::lift(&mut tx, channel, user, self.world.clock.now()).await? {
            return Err(RoomError::NoBan);
        }
        let deed = Deed { action: "member.unbanned", target: "user", id: user, channel: Some(channel.as_str()), detail: json!({}) };
        let ruling = Ruling::Ban { channel: channel.clone(), user: user.to_owned() };
        self.conclude(tx, by, deed, &[ruling]).await
    }
}
