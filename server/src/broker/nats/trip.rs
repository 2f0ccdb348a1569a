//! To the server and back: when the answer is there, the server has processed what was sent before.
//!
//! The client's own `flush` ends when the socket has taken the bytes, and its pings cannot be awaited.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use async_nats::{Client, SubscribeError, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{sync::Mutex, time::timeout};

use super::super::subject::Subjects;

/// Answered by every server (2.10 and newer) to its own clients, where their permissions allow it.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// Makes one trip at a time.
#[derive(Debug)]
pub(super) struct Trips {
    client: Client,
    /// A request to nobody: the server itself answers at once that there is nobody.
    nobody: String,
    /// Somebody answered to nobody, or rather listens without answering, as `nats sub '>'` does: asks the server itself instead.
    asks_server: AtomicBool,
    answers: String,
    inbox: Mutex<Inbox>,
}

#[derive(Debug)]
struct Inbox {
    subscriber: Subscriber,
    trips: u64,
}

impl Trips {
    pub(super) async fn new(client: &Client, subjects: &Subjects, instance: &str) -> Result<Self, SubscribeError> {
        let answers = subjects.answers(instance);
        let subscriber = client.subscribe(format!("{answers}*")).await?;
        Ok(Self {
            client: client.clone(),
            nobody: subjects.nobody(),
            asks_server: AtomicBool::new(false),
            answers,
            inbox: Mutex::new(Inbox { subscriber, trips: 0 }),
        })
    }

    /// Ends when the server has processed what was sent before, or after `patience`.
    pub(super) async fn make(&self, patience: Duration) {
        if timeout(patience, self.there_and_back()).await.is_err() && self.client.connection_state() == State::Connected {
            self.asks_server.fetch_not(Relaxed);
        }
    }

    async fn there_and_back(&self) {
        let mut inbox = self.inbox.lock().await;
        inbox.trips += 1;
        let answer = format!("{}{}", self.answers, inbox.trips);
        let to = if self.asks_server.load(Relaxed) { USER_INFO } else { &self.nobody };
        if self.client.publish_with_reply(to.to_owned(), answer.clone(), Bytes::new()).await.is_err() {
            return;
        }
        // Answers to trips that were given up come first.
        while inbox.subscriber.next().await.is_some_and(|message| message.subject.as_str() != answer) {}
    }
}
