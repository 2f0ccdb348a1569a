//! The subscribers of a run, together: gathered before the first publish, settled after the last.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    CONNECT_TIMEOUT, ReplayArgs, Target,
    court::{Court, lock},
    record::Recorder,
    subscriber::Subscriber,
    verify::{SkipPolicy, Violation, Witness},
};

/// How often it is looked whether everything has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long is waited after the last row for what must not come.
const LINGER: Duration = Duration::from_millis(300);

/// The subscribers of a run.
pub struct Audience {
    tasks: JoinSet<Result<()>>,
    witnesses: Vec<Arc<Mutex<Witness>>>,
    published: CancellationToken,
    done: CancellationToken,
}

impl Audience {
    /// Starts them and waits until each is subscribed to every channel.
    pub async fn gather(args: &ReplayArgs, court: &Arc<Court>, target: &Arc<Target>) -> Result<Self> {
        let (published, done) = (CancellationToken::new(), CancellationToken::new());
        let mut audience = Self { tasks: JoinSet::new(), witnesses: Vec::new(), published, done };
        let skips = if args.allow_skips { SkipPolicy::Allowed } else { SkipPolicy::Forbidden };
        let mut subscribed = Vec::new();
        for number in 0..args.subscribers {
            let witness = Arc::new(Mutex::new(Witness::new(&court.ledger(), skips)));
            audience.witnesses.push(witness.clone());
            let subscriber = Subscriber {
                name: format!("subscriber {number}"),
                home: number,
                target: target.clone(),
                court: court.clone(),
                witness,
                recorder: Recorder::new(args.record.as_deref(), &format!("subscriber-{number}.ndjson"))?,
                drop_every: (number < args.dropping).then_some(args.drop_every),
                published: audience.published.clone(),
                done: audience.done.clone(),
            };
            let (sender, receiver) = oneshot::channel();
            audience.tasks.spawn(subscriber.run(sender));
            subscribed.push(receiver);
        }
        let all = async {
            for receiver in subscribed {
                // An error is a subscriber that has failed: `failure` tells why.
                if receiver.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = all => Ok(audience),
            error = audience.tasks.join_next() => Err(failure(error)),
            () = tokio::time::sleep(CONNECT_TIMEOUT * 2) => bail!("not every subscriber is subscribed in time"),
        }
    }

    /// Why a subscriber ended before the run was over.
    pub async fn failure(&mut self) -> anyhow::Error {
        if self.tasks.is_empty() {
            std::future::pending::<()>().await;
        }
        failure(self.tasks.join_next().await)
    }

    /// Waits until every acknowledged row has arrived everywhere, and a little longer for what must not come; then ends
    /// all and notes what is missing.
    pub async fn settle(mut self, court: &Court, time: Duration) -> Result<()> {
        self.published.cancel();
        let start = Instant::now();
        while start.elapsed() < time && !self.complete(court) {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                error = self.failure() => return Err(error),
            }
        }
        tokio::time::sleep(LINGER).await;
        self.done.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        for (number, witness) in self.witnesses.iter().enumerate() {
            let missing: Vec<Violation> = lock(witness).missing(&court.ledger()).map(Violation::Missing).collect();
            court.note(&format!("subscriber {number}"), missing);
        }
        Ok(())
    }

    fn complete(&self, court: &Court) -> bool {
        self.witnesses.iter().all(|witness| lock(witness).missing(&court.ledger()).next().is_none())
    }
}

fn failure(ended: Option<Result<Result<()>, JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(panic)) => panic.into(),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a subscriber ended early"),
    }
}
