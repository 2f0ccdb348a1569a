//! Members: invited, joined, with a role, gone.

use hubbub_protocol::ChannelName;
use serde_json::json;

use super::{By, IsKnown, RoomError, Rooms};
use crate::{
    auth::{
        Act, Denied, Role,
        policy::{MemberState, RoomKind, Visibility},
    },
    store::{
        StoreError, Tx,
        audit::Deed,
        bans, channels,
        listing::Selection,
        members::{self, Member},
        rulings::Ruling,
    },
};

/// Whether something was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is new.
    New,
    /// It was there.
    Known,
}

impl Rooms {
    /// The members of a selection of `channel`.
    ///
    /// # Errors
    /// [`RoomError::Denied`] who may not see the channel.
    pub async fn members(&self, by: By<'_>, channel: &ChannelName, selection: &Selection) -> Result<Vec<Member>, RoomError> {
        self.access.may(by.identity, Act::See, channel).await?;
        Ok(members::list(&self.db, selection).await?)
    }

    /// The memberships of whoever asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn memberships(&self, selection: &Selection) -> Result<Vec<Member>, StoreError> {
        members::list_of_user(&self.db, selection).await
    }

    /// One member.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn member(&self, by: By<'_>, channel: &ChannelName, user: &str) -> Result<Member, RoomError> {
        self.access.may(by.identity, Act::See, channel).await?;
        members::find(&self.db, channel, user).await?.ok_or(RoomError::NoMember)
    }

    /// Asks `user` in, who may then join as `role`.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn invite(&self, by: By<'_>, channel: &ChannelName, user: &str, role: Role) -> Result<Member, RoomError> {
        self.access.may(by.identity, Act::Invite, channel).await?;
        if crate::store::users::find(&self.db, user).await?.is_none_or(|found| found.deleted_at.is_some()) {
            return Err(RoomError::NoUser(user.to_owned()));
        }
        let mut tx = self.db.begin().await?;
        self.hold_group(&mut tx, channel).await?;
        let mine = self.rank(&mut tx, by, channel).await?;
        // Everybody may invite as a member or a guest; more gives only who has more.
        if role > Role::Member && !may_give(mine, role) {
            return Err(RoomError::Rank);
        }
        // What was decided before may be older than the rows.
        if mine == Role::Guest {
            return Err(RoomError::Denied(Denied::Forbidden));
        }
        if members::find_in(&mut tx, channel, user).await?.is_some() {
            return Err(RoomError::IsMember);
        }
        if self.is_banned(channel, user).await? {
            return Err(RoomError::IsBanned);
        }
        let by_whom = Some(&*by.identity.user);
        let member = members::put(&mut tx, channel, user, (role, MemberState::Invited), by_whom, self.world.clock.now()).await?;
        self.noted(tx, by, "member.invited", channel, &member).await?;
        Ok(member)
    }

    /// Becomes a member: of a public channel, or where one is invited.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn join(&self, by: By<'_>, channel: &ChannelName) -> Result<(Member, Standing), RoomError> {
        let user = &*by.identity.user;
        let mut tx = self.db.begin().await?;
        let held = self.hold(&mut tx, channel).await;
        if held.is_ok()
            && let Some(member) = members::find_in(&mut tx, channel, user).await?.filter(|member| member.state == MemberState::Joined)
        {
            // Who is banned meanwhile, or whose token does not go so far, hears no more of it than by any other door.
            self.access.may(by.identity, Act::See, channel).await?;
            return Ok((member, Standing::Known));
        }
        self.access.may(by.identity, Act::Join, channel).await?;
        let room = held?;
        let invited = members::find_in(&mut tx, channel, user).await?;
        // That decision may be older than the rows, which are held now: an invitation may have been withdrawn, a room been closed.
        let is_group = room.kind == RoomKind::Group;
        let is_open = is_group && (room.visibility == Visibility::Public || self.access.role_of(by.identity).in_channels().is_some());
        if invited.is_none() && !is_open {
            return Err(RoomError::Denied(Denied::NotFound));
        }
        if self.is_banned(channel, user).await? {
            return Err(RoomError::Denied(Denied::Banned));
        }
        let role = match &invited {
            Some(invited) => invited.role,
            None if self.access.role(user) == Role::Guest => Role::Guest,
            None => Role::Member,
        };
        let member = members::put(&mut tx, channel, user, (role, MemberState::Joined), None, self.world.clock.now()).await?;
        // Before the membership counts: whatever comes after is his to hear.
        let since = channels::head(&self.db, channel).await?.map(|head| head.cursor()).unwrap_or_default();
        let ruling = Ruling::Joined { channel: channel.clone(), user: user.to_owned(), since };
        self.noted_by(tx, by, "member.joined", &member, ruling).await?;
        Ok((member, Standing::New))
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn promote(
        &self,
        by: By<'_>,
        channel: &ChannelName,
        user: &str,
        role: Role,
        is_known: IsKnown<'_>,
    ) -> Result<Member, RoomError> {
        self.access.may(by.identity, Act::Manage, channel).await?;
        let mut tx = self.db.begin().await?;
        self.hold_group(&mut tx, channel).await?;
        let mine = self.rank(&mut tx, by, channel).await?;
        let member = members::find_in(&mut tx, channel, user).await?.ok_or(RoomError::NoMember)?;
        if !is_known(member.version) {
            return Err(RoomError::Changed);
        }
        if member.role == role {
            return Ok(member);
        }
        let is_own = *user == *by.identity.user;
        if !may_give(mine, role) || !(is_own || mine == Role::Owner || mine.outranks(member.role)) {
            return Err(RoomError::Rank);
        }
        let counts = member.role == Role::Owner && member.state == MemberState::Joined;
        if counts && members::owners(&mut tx, channel).await? == 1 {
            return Err(RoomError::LastOwner);
        }
        let member = members::put(&mut tx, channel, user, (role, member.state), None, self.world.clock.now()).await?;
        self.noted(tx, by, "member.changed", channel, &member).await?;
        Ok(member)
    }

    /// Takes a member out, or leaves.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn remove(&self, by: By<'_>, channel: &ChannelName, user: &str) -> Result<(), RoomError> {
        let is_own = *user == *by.identity.user;
        self.access.may(by.identity, if is_own { Act::Leave } else { Act::Moderate }, channel).await?;
        let mut tx = self.db.begin().await?;
        self.hold_group(&mut tx, channel).await?;
        let mine = self.rank(&mut tx, by, channel).await?;
        let member = members::find_in(&mut tx, channel, user).await?.ok_or(RoomError::NoMember)?;
        if !is_own && !mine.outranks(member.role) {
            return Err(RoomError::Rank);
        }
        let counts = member.role == Role::Owner && member.state == MemberState::Joined;
        if counts && members::owners(&mut tx, channel).await? == 1 {
            return Err(RoomError::LastOwner);
        }
        members::remove(&mut tx, channel, user).await?;
        self.noted(tx, by, if is_own { "member.left" } else { "member.removed" }, channel, &member).await
    }

    /// The group's room, held.
    async fn hold_group(&self, tx: &mut Tx, channel: &ChannelName) -> Result<(), RoomError> {
        match self.hold(tx, channel).await?.kind {
            RoomKind::Group => Ok(()),
            RoomKind::Direct | RoomKind::Personal => Err(RoomError::Fixed),
        }
    }

    /// What whoever asks counts as in the room.
    pub(super) async fn rank(&self, tx: &mut Tx, by: By<'_>, channel: &ChannelName) -> Result<Role, RoomError> {
        let member = members::find_in(tx, channel, &by.identity.user).await?.filter(|member| member.state == MemberState::Joined);
        let counted = self.access.role_of(by.identity).in_channels();
        Ok(member.map(|member| member.role).max(counted).unwrap_or(Role::Guest))
    }

    async fn is_banned(&self, channel: &ChannelName, user: &str) -> Result<bool, StoreError> {
        let now = self.world.clock.now();
        let ban = bans::find(&self.db, channel, user).await?;
        Ok(ban.is_some_and(|ban| ban.expires_at.is_none_or(|at| at > now)))
    }

    async fn noted(&self, tx: Tx, by: By<'_>, action: &'static str, channel: &ChannelName, member: &Member) -> Result<(), RoomError> {
        let ruling = Ruling::Member { channel: channel.clone(), user: member.user.clone() };
        self.noted_by(tx, by, action, member, ruling).await
    }

    async fn noted_by(&self, tx: Tx, by: By<'_>, action: &'static str, member: &Member, ruling: Ruling) -> Result<(), RoomError> {
        let detail = json!({ "role": member.role, "state": members::state_name(member.state) });
        let deed = Deed { action, target: "member", id: &member.user, channel: Some(member.channel.as_str()), detail };
        self.conclude(tx, by, deed, &[ruling]).await
    }
}

/// Whether somebody with `mine` gives `role`: owners everything, the others what is below them.
fn may_give(mine: Role, role: Role) -> bool {
    mine == Role::Owner || mine.outranks(role)
}
