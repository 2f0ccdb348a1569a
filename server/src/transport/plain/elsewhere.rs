//! A session's requests may come to any instance: the one that holds it is asked, and answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hubbub_protocol::{ErrorCode, MessageId};
use serde::{Deserialize, Serialize};

use super::{
    Plain, gone,
    rights::Rights,
    upstream::{Posted, Upstream},
};
use crate::{
    auth::Identity,
    broker::{ReturnAddress, Unanswered},
    http::Problem,
    telemetry::{Forwarded, PostResult},
};

/// How much longer than the owner may take its answer is waited for.
const TRAVEL: Duration = Duration::from_secs(2);
/// For how long the last batch may be asked for again.
const LINGER: Duration = Duration::from_secs(1);
/// How long the owner may take to read a POST: what it waits itself.
const READ: Duration = Duration::from_secs(55);

/// What a request wants of a session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Wish {
    /// Apply the POST with this number.
    Post { number: u64, body: Bytes },
    /// Acknowledge a batch, and wait for the next for so many milliseconds.
    Poll { acknowledged: u64, wait: u64 },
    /// End it.
    End,
}

impl Wish {
    /// What the token of whoever asks has to allow; nothing to end a session.
    fn rights(&self, identity: &Identity) -> Option<Rights> {
        match self {
            Wish::Post { .. } | Wish::Poll { .. } => Some(Rights::of(identity)),
            Wish::End => None,
        }
    }
}

/// What another instance asks. Fields and wishes may be added; one that is not known is answered with `session_gone`.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    session: String,
    user: String,
    /// What the asking token allows; a release before did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rights: Option<Rights>,
    wish: Wish,
}

/// What comes of it: a batch, or nothing but that it was done.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done(Bytes),
    Refused { code: String, detail: String },
}

impl Plain {
    /// Does what `wish` wants of the session with this name, wherever it is. `identity` is who asks.
    pub(super) async fn wish(&self, session: &str, identity: &Identity, wish: Wish) -> Result<Bytes, Problem> {
        let (instance, id) = session.split_once('.').ok_or_else(gone)?;
        let id = MessageId::parse(id).ok_or_else(gone)?;
        if *instance == *self.endpoint.backend.instance {
            let session = self.session(id).ok_or_else(gone)?;
            session.check(&identity.user, wish.rights(identity).as_ref())?;
            return self.grant(&session, wish).await;
        }
        if MessageId::parse(instance).is_none() {
            return Err(gone());
        }
        self.ask(instance, id, identity, wish).await
    }

    /// Does it here.
    async fn grant(&self, session: &Arc<Upstream>, wish: Wish) -> Result<Bytes, Problem> {
        match wish {
            Wish::Post { number, body } => {
                // Who is polled has to poll.
                if session.polls.is_none() {
                    session.vitals.hear(self.endpoint.backend.world.clock.elapsed());
                }
                let posted = session.post(number, body).await;
                self.endpoint.backend.metrics.posts.of(result(&posted)).increment(1);
                posted.map(|_| Bytes::new())
            }
            Wish::Poll { acknowledged, wait } => {
                let longest = self.endpoint.backend.config.session.heartbeat;
                self.polled(session, acknowledged, Duration::from_millis(wait).min(longest)).await
            }
            Wish::End => {
                session.outbox.close(hubbub_protocol::CloseCode::Normal, None);
                session.outbox.abort(None);
                Ok(Bytes::new())
            }
        }
    }

    /// The next batch of a session that is polled.
    pub(super) async fn polled(&self, session: &Arc<Upstream>, acknowledged: u64, wait: Duration) -> Result<Bytes, Problem> {
        let polls = session.polls.as_ref().ok_or_else(|| Problem::new(ErrorCode::BadFrame, "this session is a stream of events"))?;
        let batch = polls.next(session, acknowledged, wait, &self.endpoint.backend.world.clock).await?;
        if session.outbox.is_closing() && session.outbox.is_empty() {
            // The last one. It may be asked for again, and nobody need come for what is after it.
            let outbox = session.outbox.clone();
            self.endpoint.tasks.spawn_until_stop(async move {
                tokio::time::sleep(LINGER).await;
                outbox.abort(None);
            });
        }
        Ok(batch)
    }

    async fn ask(&self, instance: &str, id: MessageId, identity: &Identity, wish: Wish) -> Result<Bytes, Problem> {
        let patience = TRAVEL
            + match &wish {
                Wish::Post { .. } => READ,
                Wish::Poll { wait, .. } => Duration::from_millis(*wait).min(self.endpoint.backend.config.session.heartbeat),
                Wish::End => Duration::ZERO,
            };
        let question = Question { session: id.to_string(), user: identity.user.to_string(), rights: wish.rights(identity), wish };
        let question = rmp_serde::to_vec_named(&question).map_err(|_| gone())?;
        let answer = self.broker.ask(instance, question, patience).await;
        let forwarded = if answer.is_ok() { Forwarded::Answered } else { Forwarded::Unanswered };
        self.endpoint.backend.metrics.forwarded.of(forwarded).increment(1);
        let answer = answer.map_err(|error| match error {
            Unanswered::Gone => gone(),
            // What was asked for may have been done: it may be asked for again.
            Unanswered::Late => {
                Problem::new(ErrorCode::Unavailable, "the instance that holds the session did not answer in time: ask again")
            }
            Unanswered::TooLarge(largest) => {
                let text =
                    format!("the session is on another instance, and between instances go at most {largest} bytes: send less at once");
                Problem::new(ErrorCode::PayloadTooLarge, text)
            }
        })?;
        match rmp_serde::from_slice(&answer) {
            Ok(Answer::Done(body)) => Ok(body),
            Ok(Answer::Refused { code, detail }) => Err(Problem::new(ErrorCode::parse(&code).unwrap_or(ErrorCode::SessionGone), detail)),
            Err(_) => Err(gone()),
        }
    }

    /// Answers another instance, in a task of its own.
    pub fn asked(self: &Arc<Self>, question: Bytes, from: ReturnAddress) {
        let plain = self.clone();
        self.endpoint.tasks.spawn_until_stop(async move {
            let answer = match plain.answer(&question).await {
                Ok(body) if body.len() + 64 > plain.broker.largest() => {
                    let text =
                        "the next frames are too large to go between instances: poll the instance that holds the session, or use a stream";
                    refusal(&Problem::new(ErrorCode::PayloadTooLarge, text))
                }
                Ok(body) => Answer::Done(body),
                Err(problem) => refusal(&problem),
            };
            if let Ok(answer) = rmp_serde::to_vec_named(&answer) {
                plain.broker.answer(from, answer);
            }
        });
    }

    async fn answer(&self, question: &[u8]) -> Result<Bytes, Problem> {
        let Question { session, user, rights, wish } = rmp_serde::from_slice(question).map_err(|error| {
            tracing::warn!(%error, "a question of another instance cannot be read");
            gone()
        })?;
        let session = MessageId::parse(&session).and_then(|id| self.session(id)).ok_or_else(gone)?;
        session.check(&user, rights.as_ref())?;
        self.grant(&session, wish).await
    }
}

fn result(posted: &Result<Posted, Problem>) -> PostResult {
    match posted {
        Ok(Posted::Now) => PostResult::Read,
        Ok(Posted::Before) => PostResult::Repeated,
        Err(problem) if problem.code() == ErrorCode::OutOfOrder => PostResult::OutOfOrder,
        Err(_) => PostResult::Unread,
    }
}

fn refusal(problem: &Problem) -> Answer {
    Answer::Refused { code: problem.code().as_str().to_owned(), detail: problem.detail().to_owned() }
}
