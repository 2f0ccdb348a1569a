//! Deletes what is over: logins whose last token has ended, failures that nobody repeated. Every instance does; it harms nobody.

use std::{sync::Arc, time::Duration};

use super::{Accounts, throttle};
use crate::store::{StoreError, login_failures, sessions};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(300);
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// Rows a transaction: a few milliseconds.
const ROWS: u32 = 500;
/// A login is kept a little longer than it is good, so that who comes late hears that it has expired. In milliseconds.
const KEEP: u64 = 86_400_000;

pub(super) async fn run(accounts: Arc<Accounts>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = round(&accounts).await {
            tracing::warn!(%error, "old logins could not be deleted; trying again later");
        }
    }
}

pub(super) async fn round(accounts: &Accounts) -> Result<(), StoreError> {
    let (db, now) = (&accounts.db, accounts.now());
    while sessions::sweep(db, now.saturating_sub(KEEP), ROWS).await? == u64::from(ROWS) {
        tokio::time::sleep(PAUSE).await;
    }
    while login_failures::sweep(db, now.saturating_sub(throttle::MEMORY), ROWS).await? == u64::from(ROWS) {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
