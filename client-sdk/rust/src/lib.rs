//! The Rust client of Hubbub: connect, subscribe, publish; it reconnects and resumes by itself.
//!
//! A [`Client`] is a cheap handle on one task that owns the connection. Subscriptions are streams that survive
//! reconnects without a hole or a duplicate (durable channels); publishes are retried with one message id, so that
//! nothing is doubled. `PROTOCOL.md` of `hubbub-protocol` says what goes over the wire.
//!
//! ```no_run
//! use hubbub_client::{ChannelName, Client, Event, Message, StreamExt, SubscribeOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("ws://127.0.0.1:8080").token("eyJhbGciOi…").connect();
//! let room = ChannelName::parse("room:42")?;
//! let mut entries = client.subscribe(room.clone(), SubscribeOptions::default()).await?;
//! client.publish(Message::encode(room, &"hello")?).await?;
//! while let Some(event) = entries.next().await {
//!     if let Event::Entry(entry) = event {
//!         println!("{}: {}", entry.publisher, rmp_serde::from_slice::<String>(&entry.payload)?);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod batch;
mod begun;
mod buffer;
mod builder;
mod client;
mod clock;
mod error;
mod inbox;
mod message;
mod presence;
mod publishes;
mod requests;
mod session;
mod state;
mod subscription;
mod subscriptions;
mod task;
#[cfg(test)]
mod testing;
mod token;

pub use begun::{AutoOptions, Began, Begun};
pub use builder::{Builder, UrlError};
pub use client::Client;
pub use error::{Error, ProtocolError, TransportError};
pub use message::{EncodeError, Message};
pub use requests::{HistoryOptions, PresenceOptions};
pub use state::{State, Stats};
pub use subscription::{Event, SubscribeOptions, Subscription};
pub use token::BoxError;

pub use futures_util::{Stream, StreamExt};
pub use hubbub_protocol::{
    self as protocol, ChannelName, Cursor, Entry, ErrorCode, Format, Key, Kind, MessageId, PayloadError, Place, Retry,
    frame::{
        Connected, ErrorBody, HistoryPage, Limits, Member, PresenceChange, PresencePage, PresenceState, Published, Skip, SkipRange,
        SkipReason, Slow, Subscribed, Unrecovered,
    },
};
