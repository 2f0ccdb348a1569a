//! One connection of the generator: its socket, how far it is, what waits.

use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Result, ensure};
use hubbub_protocol::frame::{Slow, SubscribeChannel};

use super::Plain;

/// Bytes that may wait for a server that does not read.
const MAX_UNSENT: usize = 4 << 20;

/// What a connection is for.
#[derive(Debug, Clone)]
pub enum Role {
    /// It is subscribed to this channel. It may publish too.
    Member(Arc<str>),
    /// It is subscribed to all of these, at most 512.
    Listener(Arc<[Arc<str>]>),
    /// It is subscribed to a channel as a user of its own.
    User {
        /// The channel.
        channel: Arc<str>,
        /// The user's token.
        token: String,
    },
    /// It is subscribed to this channel, and sees members come and go.
    Watcher(Arc<str>),
    /// It only publishes.
    Publisher,
}

impl Role {
    /// The channels that it listens to.
    pub fn channels(&self) -> &[Arc<str>] {
        match self {
            Role::Member(channel) | Role::User { channel, .. } | Role::Watcher(channel) => std::slice::from_ref(channel),
            Role::Listener(channels) => channels,
            Role::Publisher => &[],
        }
    }

    /// Its own token, if it is not everybody's.
    pub fn token(&self) -> Option<&str> {
        match self {
            Role::User { token, .. } => Some(token),
            Role::Member(_) | Role::Listener(_) | Role::Watcher(_) | Role::Publisher => None,
        }
    }

    /// What it subscribes to: every entry, whatever the namespace's policy, since each delivery counts.
    pub fn wanted(&self) -> Vec<SubscribeChannel> {
        let (slow, presence) = (Some(Slow::Close), matches!(self, Role::Watcher(_)));
        let ask = |channel: &Arc<str>| SubscribeChannel { channel: channel.to_string(), since: None, slow, presence };
        self.channels().iter().map(ask).collect()
    }
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Awaits the answer to the upgrade. Plain HTTP has none.
    Upgrading,
    /// Awaits the answer to its first message.
    Joining,
    /// Is there, and subscribed if it asked for that.
    Joined,
    /// The server ended it.
    Closed,
}

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits.
    All,
    /// Write again when the kernel has room.
    Part,
    /// The connection is gone.
    Broken,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// Non-blocking.
    pub socket: TcpStream,
    /// What it is for.
    pub role: Role,
    /// How far it is.
    pub stage: Stage,
    /// The beginning of a frame, an answer or a chunk that has not come whole.
    pub rest: Vec<u8>,
    /// Bytes that have come.
    pub received: u64,
    /// How many members its channel has, if it watches them.
    pub present: Option<u64>,
    /// Its HTTP, if it is no WebSocket.
    pub plain: Option<Box<Plain>>,
    /// What the kernel did not take yet.
    unsent: Vec<u8>,
}

impl Link {
    /// A connection that is about to ask for its upgrade, or for its session over plain HTTP.
    pub fn new(socket: TcpStream, role: Role, plain: Option<Box<Plain>>) -> Self {
        let stage = if plain.is_some() { Stage::Joining } else { Stage::Upgrading };
        Self { socket, role, stage, rest: Vec::new(), received: 0, present: None, plain, unsent: Vec::new() }
    }

    /// Writes what waits, then `bytes`; keeps what the kernel does not take.
    ///
    /// # Errors
    /// The server has not read for so long that 4 MiB wait.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Written> {
        if self.stage == Stage::Closed {
            return Ok(Written::All);
        }
        let waiting;
        let all = if self.unsent.is_empty() {
            bytes
        } else {
            self.unsent.extend_from_slice(bytes);
            waiting = std::mem::take(&mut self.unsent);
            &waiting
        };
        let mut sent = 0;
        while sent < all.len() {
            match self.socket.write(&all[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ensure!(all.len() - sent <= MAX_UNSENT, "the server does not read: {} bytes wait on one connection", all.len() - sent);
                    self.unsent = all[sent..].to_vec();
                    return Ok(Written::Part);
                }
                Err(_) => return Ok(Written::Broken),
            }
        }
        Ok(Written::All)
    }
}
