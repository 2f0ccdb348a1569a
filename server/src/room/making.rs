//! Rooms: made, read, changed, deleted, restored.

use hubbub_protocol::ChannelName;
use serde_json::{Map, Value, json};

use super::{By, IsKnown, RoomError, Rooms, Said, janitor::RETENTION};
use crate::{
    auth::{
        Act, Action, Denied, Identity, Role,
        policy::{MemberState, RoomKind},
    },
    config::Creation,
    store::{
        StoreError,
        audit::Deed,
        listing::Selection,
        members,
        rooms::{self, NewRoom, Room, visibility_name},
        rulings::Ruling,
    },
};

/// Namespaces whose channels the server makes.
pub(super) const DIRECT: &str = "dm";
pub(super) const PERSONAL: &str = "user";

impl Rooms {
    /// Makes a group's room, whose owner is whoever asks.
    ///
    /// # Errors
    /// [`RoomError`]: nothing was made.
    pub async fn make(&self, by: By<'_>, channel: &ChannelName, said: &Said) -> Result<Room, RoomError> {
        if self.config.namespace(channel).create == Creation::Implicit {
            return Err(RoomError::Implicit);
        }
        if matches!(channel.namespace(), Some(DIRECT | PERSONAL)) {
            return Err(RoomError::Reserved);
        }
        self.may_make(by.identity, channel)?;
        let now = self.world.clock.now();
        let data = said.data.to_string();
        let new = NewRoom {
            channel,
            kind: RoomKind::Group,
            visibility: said.visibility,
            title: &said.title,
            topic: &said.topic,
            data: &data,
            created_by: &by.identity.user,
        };
        let mut tx = self.db.begin().await?;
        let room = rooms::make(&mut tx, new, now).await?.ok_or(RoomError::Taken)?;
        members::put(&mut tx, channel, &by.identity.user, (Role::Owner, MemberState::Joined), None, now).await?;
        let detail = json!({ "visibility": visibility_name(said.visibility), "title": said.title });
        let deed = Deed { action: "channel.created", target: "channel", id: channel.as_str(), channel: Some(channel.as_str()), detail };
        let rulings = [Ruling::Channel(channel.clone()), Ruling::Member { channel: channel.clone(), user: by.identity.user.to_string() }];
        self.conclude(tx, by, deed, &rulings).await?;
        Ok(Room { members: 1, ..room })
    }

    /// Whoever takes part may make rooms, with a token that covers publishing there if it says what it allows.
    fn may_make(&self, identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        let is_covered = !identity.is_narrowed || identity.grants.allows(Action::Publish, channel);
        if is_covered && self.access.role(&identity.user) > Role::Guest { Ok(()) } else { Err(Denied::Forbidden) }
    }

    /// Whether channels of its namespace are there when they are used.
    pub fn is_implicit(&self, channel: &ChannelName) -> bool {
        self.config.namespace(channel).create == Creation::Implicit
    }

    /// The room of `channel`.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn room(&self, identity: &Identity, channel: &ChannelName) -> Result<Room, RoomError> {
        self.access.may(identity, Act::See, channel).await?;
        let room = rooms::find(&self.db, channel).await?;
        room.filter(|room| room.deleted_at.is_none()).ok_or(RoomError::Denied(Denied::NotFound))
    }

    /// The rooms of a selection, which the caller has bound to what may be seen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, selection: &Selection) -> Result<Vec<Room>, StoreError> {
        rooms::list(&self.db, selection).await
    }

    /// Changes what is said of a room: `change` makes the new of the old.
    ///
    /// # Errors
    /// [`RoomError`], or that of `change`: nothing was changed.
    pub async fn change<E: From<RoomError>>(
        &self,
        by: By<'_>,
        channel: &ChannelName,
        is_known: IsKnown<'_>,
        change: impl FnOnce(Said) -> Result<Said, E> + Send,
    ) -> Result<Room, E> {
        self.access.may(by.identity, Act::Manage, channel).await.map_err(RoomError::from)?;
        let mut tx = self.db.begin().await.map_err(RoomError::from)?;
        let room = self.hold(&mut tx, channel).await?;
        if !is_known(room.version) {
            return Err(RoomError::Changed.into());
        }
        if room.kind != RoomKind::Group {
            return Err(RoomError::Reserved.into());
        }
        let data = serde_json::from_str(&room.data).unwrap_or_else(|_| json!({}));
        let old = Said { visibility: room.visibility, title: room.title.clone(), topic: room.topic.clone(), data };
        let new = change(old.clone())?;
        if new == old {
            return Ok(room);
        }
        let detail = differences(&old, &new);
        let said = Room { visibility: new.visibility, title: new.title, topic: new.topic, data: new.data.to_string(), ..room };
        let room = rooms::put(&mut tx, said, self.world.clock.now()).await.map_err(RoomError::from)?;
        let deed = Deed { action: "channel.changed", target: "channel", id: channel.as_str(), channel: Some(channel.as_str()), detail };
        self.conclude(tx, by, deed, &[Ruling::Channel(channel.clone())]).await?;
        Ok(room)
    }

    /// Deletes a room: nobody finds it any more, until its owner restores it or the time for that is over.
    ///
    /// # Errors
    /// [`RoomError`]: it is there as it was.
    pub async fn delete(&self, by: By<'_>, channel: &ChannelName, is_known: IsKnown<'_>) -> Result<(), RoomError> {
        self.access.may(by.identity, Act::Delete, channel).await?;
        let mut tx = self.db.begin().await?;
        let room = self.hold(&mut tx, channel).await?;
        if !is_known(room.version) {
            return Err(RoomError::Changed);
        }
        let now = self.world.clock.now();
        rooms::put(&mut tx, Room { deleted_at: Some(now), ..room }, now).await?;
        let deed =
            Deed { action: "channel.deleted", target: "channel", id: channel.as_str(), channel: Some(channel.as_str()), detail: json!({}) };
        self.conclude(tx, by, deed, &[Ruling::Channel(channel.clone())]).await
    }

    /// Brings a deleted room back as it was.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn restore(&self, by: By<'_>, channel: &ChannelName) -> Result<Room, RoomError> {
        self.access.may(by.identity, Act::Delete, channel).await?;
        let mut tx = self.db.begin().await?;
        let room = rooms::hold(&mut tx, channel).await?.ok_or(RoomError::Denied(Denied::NotFound))?;
        let Some(deleted_at) = room.deleted_at else { return Ok(room) };
        if deleted_at + (RETENTION.as_millis() as u64) < self.world.clock.now() {
            return Err(RoomError::Denied(Denied::NotFound));
        }
        let room = rooms::put(&mut tx, Room { deleted_at: None, ..room }, self.world.clock.now()).await?;
        let deed = Deed {
            action: "channel.restored",
            target: "channel",
            id: channel.as_str(),
            channel: Some(channel.as_str()),
            detail: json!({}),
        };
        self.conclude(tx, by, deed, &[Ruling::Channel(channel.clone())]).await?;
        Ok(room)
    }
}

/// What is new, by field; `data` may be long, and is only named.
fn differences(old: &Said, new: &Said) -> Value {
    let fields = [
        ("visibility", old.visibility != new.visibility, json!(visibility_name(new.visibility))),
        ("title", old.title != new.title, json!(new.title)),
        ("topic", old.topic != new.topic, json!(new.topic)),
        ("data", old.data != new.data, json!("changed")),
    ];
    fields.into_iter().filter(|(_, is_new, _)| *is_new).map(|(name, _, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}
