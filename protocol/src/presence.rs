//! Who listens to a channel, as types: `PROTOCOL.md` section 4, `presence` of either side and of `subscribe`.
//!
//! [`crate::frame`] has them beside the other frames. What is a member and who may see it is the server's business.

use serde::{Deserialize, Serialize};

use crate::{ChannelName, frame::RequestId};

/// `presence` from a client: a page of a channel's members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct PresenceRequest {
    /// The request.
    pub id: RequestId,
    /// The channel.
    pub channel: ChannelName,
    /// Members whose user comes later in byte order, at most [`crate::limits::MAX_USER`] bytes; from the first one if absent.
    #[cfg_attr(feature = "asyncapi", schemars(length(max = crate::limits::MAX_USER)))]
    pub after: Option<String>,
    /// How many, 1 to [`crate::limits::MAX_PRESENCE_PAGE`]; 100 if absent.
    #[cfg_attr(feature = "asyncapi", schemars(range(min = 1, max = crate::limits::MAX_PRESENCE_PAGE)))]
    pub limit: Option<u32>,
}

/// A user with at least one connection that is subscribed, on any instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct Member {
    /// The user.
    pub user: String,
    /// How many of the user's connections are subscribed.
    pub connections: u32,
}

/// The result of `presence`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct PresencePage {
    /// In byte order of their users.
    pub members: Vec<Member>,
    /// How many members the channel has in all.
    pub count: u64,
    /// Members follow the last one of this page.
    pub more: bool,
}

/// A channel's members when a subscription that asked for presence began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct PresenceState {
    /// How many there are.
    pub count: u64,
    /// All of them; `None` above [`crate::limits::MAX_MEMBERS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
}

/// `presence` from a server: what changed since the last one. Each list has at most [`crate::limits::MAX_MEMBERS`] items.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "asyncapi", derive(schemars::JsonSchema))]
pub struct PresenceChange {
    /// The channel.
    pub channel: ChannelName,
    /// How many members there are now.
    pub count: u64,
    /// Who has come, each instead of what the client holds of that user.
    #[cfg_attr(feature = "asyncapi", schemars(default))]
    pub joined: Vec<Member>,
    /// The users who are gone.
    #[cfg_attr(feature = "asyncapi", schemars(default))]
    pub left: Vec<String>,
    /// All members, instead of what the client holds.
    pub members: Option<Vec<Member>>,
}
