//! Direct messages: one channel for each set of users, found or made by any of them. And each user's own.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::ChannelName;
use serde_json::json;

use super::{
    By, RoomError, Rooms, Standing,
    making::{DIRECT, PERSONAL},
};
use crate::{
    auth::{
        Action, Denied, Role,
        policy::{MemberState, RoomKind, Visibility},
    },
    store::{
        audit::Deed,
        members,
        rooms::{self, NewRoom, Room},
        rulings::Ruling,
        users,
    },
};

/// Users in one direct channel, at most.
pub const MAX_PARTICIPANTS: usize = 8;
/// Bytes of the digest in a direct channel's name.
const NAME: usize = 16;

impl Rooms {
    /// The channel between whoever asks and `others`.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn direct(&self, by: By<'_>, others: &[String]) -> Result<(Room, Standing), RoomError> {
        let mut people: BTreeSet<&str> = others.iter().map(String::as_str).collect();
        people.insert(&by.identity.user);
        if !(2..=MAX_PARTICIPANTS).contains(&people.len()) {
            return Err(RoomError::Participants(MAX_PARTICIPANTS));
        }
        let channel = direct_name(&people);
        let is_covered = !by.identity.is_narrowed || by.identity.grants.allows(Action::Publish, &channel);
        if !is_covered || self.access.role(&by.identity.user) == Role::Guest {
            return Err(RoomError::Denied(Denied::Forbidden));
        }
        if let Some(room) = rooms::find(&self.db, &channel).await?.filter(|room| room.deleted_at.is_none()) {
            return Ok((room, Standing::Known));
        }
        for user in people.iter().filter(|user| ***user != *by.identity.user) {
            if users::find(&self.db, user).await?.is_none_or(|found| found.deleted_at.is_some()) {
                return Err(RoomError::NoUser((*user).to_owned()));
            }
        }
        self.gather(by, &channel, RoomKind::Direct, &people).await
    }

    /// The channel of whoever asks alone.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn personal(&self, by: By<'_>) -> Result<(Room, Standing), RoomError> {
        let user = &*by.identity.user;
        let channel = personal_name(user);
        if let Some(room) = rooms::find(&self.db, &channel).await? {
            return Ok((room, Standing::Known));
        }
        self.gather(by, &channel, RoomKind::Personal, &BTreeSet::from([user])).await
    }

    /// Makes the channel of somebody's own for a backend that has something to say there: whoever was never here has none yet. Tells whether
    /// `channel` is one.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn begin_personal(&self, by: By<'_>, channel: &ChannelName) -> Result<bool, RoomError> {
        let Some(user) = personal_of(channel) else { return Ok(false) };
        if !by.identity.is_backend || !by.identity.grants.allows(Action::Publish, channel) {
            return Ok(false);
        }
        if users::find(&self.db, user).await?.is_none_or(|found| found.deleted_at.is_some()) {
            return Ok(false);
        }
        self.gather(by, channel, RoomKind::Personal, &BTreeSet::from([user])).await?;
        Ok(true)
    }

    /// Makes a room whose members are `people`, now and for good.
    async fn gather(
        &self,
        by: By<'_>,
        channel: &ChannelName,
        kind: RoomKind,
        people: &BTreeSet<&str>,
    ) -> Result<(Room, Standing), RoomError> {
        let now = self.world.clock.now();
        let mut tx = self.db.begin().await?;
        let new =
            NewRoom { channel, kind, visibility: Visibility::Private, title: "", topic: "", data: "{}", created_by: &by.identity.user };
        let Some(room) = rooms::make(&mut tx, new, now).await? else {
            // Somebody else of them was quicker.
            let room = rooms::hold(&mut tx, channel).await?.ok_or(RoomError::Denied(Denied::NotFound))?;
            tx.commit().await?;
            return Ok((room, Standing::Known));
        };
        let mut rulings = vec![Ruling::Channel(channel.clone())];
        for user in people {
            members::put(&mut tx, channel, user, (Role::Member, MemberState::Joined), None, now).await?;
            rulings.push(Ruling::Member { channel: channel.clone(), user: (*user).to_owned() });
        }
        let detail = json!({ "kind": rooms::kind_name(kind), "members": people });
        let deed = Deed { action: "channel.created", target: "channel", id: channel.as_str(), channel: Some(channel.as_str()), detail };
        self.conclude(tx, by, deed, &rulings).await?;
        Ok((Room { members: people.len() as u64, ..room }, Standing::New))
    }
}

/// The same for the same people, whoever of them asks.
fn direct_name(people: &BTreeSet<&str>) -> ChannelName {
    let mut digest = Context::new(&SHA256);
    for user in people {
        digest.update(&(user.len() as u64).to_be_bytes());
        digest.update(user.as_bytes());
    }
    let name = URL_SAFE_NO_PAD.encode(&digest.finish().as_ref()[..NAME]);
    ChannelName::parse(&format!("{DIRECT}:{name}")).unwrap_or_else(|_| unreachable!("base64url is in the charset of names"))
}

/// `user:` and the id; an id that cannot be part of a name as `~` and its base64url, of its digest if it is long.
pub fn personal_name(user: &str) -> ChannelName {
    let plain = (!user.starts_with('~')).then(|| ChannelName::parse(&format!("{PERSONAL}:{user}")).ok()).flatten();
    plain.unwrap_or_else(|| {
        let digest = aws_lc_rs::digest::digest(&SHA256, user.as_bytes());
        let name = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..NAME]);
        ChannelName::parse(&format!("{PERSONAL}:~{name}")).unwrap_or_else(|_| unreachable!("base64url is in the charset of names"))
    })
}

/// Whose channel it is, where the name says so: a digest does not.
pub fn personal_of(channel: &ChannelName) -> Option<&str> {
    let user = channel.as_str().strip_prefix(PERSONAL)?.strip_prefix(':')?;
    (!user.starts_with('~')).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_people_has_one_name_and_no_other_set_has_it() {
        let name = |people: &[&'static str]| direct_name(&people.iter().copied().collect());
        assert_eq!(name(&["a", "b"]), name(&["b", "a", "b"]));
        assert_ne!(name(&["a", "b"]), name(&["ab"]));
        assert_ne!(name(&["a", "bc"]), name(&["ab", "c"]));
    }

    #[test]
    fn everybody_has_a_personal_channel_of_his_own() {
        assert_eq!(personal_name("alice").as_str(), "user:alice");
        assert_eq!(personal_of(&personal_name("alice")), Some("alice"));
        assert_eq!(personal_of(&personal_name("a b/c")), None);
        assert_eq!(personal_of(&ChannelName::parse("users:alice").unwrap()), None);
        let odd = personal_name("a b/c");
        assert!(odd.as_str().starts_with("user:~"));
        assert_ne!(odd, personal_name("a b/d"));
        assert_ne!(personal_name(&odd.as_str()[5..]), odd);
        assert!(personal_name(&"x".repeat(128)).as_str().len() <= 128);
    }
}
