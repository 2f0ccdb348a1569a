//! Slows down whoever guesses, without letting him lock anybody out.
//!
//! A try is counted before it is known how it ends, and taken back if it succeeds: tries that come at once do not slip through. A *pair* of
//! account and address has to wait longer with each failure, and so has an *address*, more leniently, since many may share it. An *account*
//! alone is never refused: whoever knows the password and comes from elsewhere gets in, at worst after [`SLOWEST`].

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::hmac;

use super::Refused;
use crate::{
    auth::{SigningError, derive},
    config::Secret,
    store::{
        Db,
        login_failures::{self, Failures, Subject},
    },
};

/// What nobody repeated for so long is forgotten, in milliseconds.
pub(super) const MEMORY: u64 = 3_600_000;
/// The longest that an answer is held back for the sake of its account.
pub(super) const SLOWEST: Duration = Duration::from_secs(2);
/// Failures of an account before its answers are held back, and by how much more with each.
const SLOW_FROM: u64 = 10;
const SLOWER: Duration = Duration::from_millis(100);

/// How many failures are free, and how long one waits after the next: twice as long with each, up to a bound. In milliseconds.
#[derive(Debug, Clone, Copy)]
struct Rule {
    free: u64,
    first: u64,
    longest: u64,
}

const PAIR: Rule = Rule { free: 5, first: 1_000, longest: 900_000 };
const ADDRESS: Rule = Rule { free: 50, first: 1_000, longest: 60_000 };
/// Registrations of logins that are taken, by address: each tells that there is such an account.
const TAKEN: Rule = Rule { free: 10, first: 1_000, longest: 60_000 };

impl Rule {
    /// How long one has to wait after so many failures.
    fn pause(self, failures: u64) -> u64 {
        match failures.checked_sub(self.free) {
            None => 0,
            Some(more) => self.first.saturating_mul(1_u64.checked_shl(more.min(63) as u32).unwrap_or(u64::MAX)).min(self.longest),
        }
    }

    /// From how many failures a try at `now` goes on.
    fn admit(self, failures: Failures, now: u64) -> Result<u64, Refused> {
        let count = remembered(failures, now);
        let pause = self.pause(count);
        let ready = failures.last_at.saturating_add(pause);
        // While failures are free, one that began later and was counted first is no reason to wait.
        if pause > 0 && now < ready { Err(Refused::TooMany { wait: Duration::from_millis(ready - now) }) } else { Ok(count) }
    }
}

fn remembered(failures: Failures, now: u64) -> u64 {
    if failures.last_at.saturating_add(MEMORY) < now { 0 } else { failures.count }
}

/// Counts failures.
#[derive(Debug)]
pub(super) struct Throttle {
    db: Db,
    key: hmac::Key,
}

/// A try that counts as failed until it is told otherwise.
#[derive(Debug)]
pub(super) struct Try {
    forgotten: Option<Subject>,
    others: Vec<Subject>,
    /// For how long the answer is held back.
    pub slowdown: Duration,
}

impl Throttle {
    pub fn new(db: Db, secret: &Secret) -> Result<Self, SigningError> {
        Ok(Self { db, key: hmac::Key::new(hmac::HMAC_SHA256, &derive(secret.expose(), "failures")?) })
    }

    /// Refuses, without counting, whoever has to wait: this only reads, so that refusing many costs little.
    pub async fn look(&self, account: &str, address: IpAddr, now: u64) -> Result<(), Refused> {
        let [pair, by_address, _] = self.subjects(account, address);
        let [of_pair, of_address] = login_failures::of(&self.db, &[pair, by_address]).await?;
        PAIR.admit(of_pair, now)?;
        ADDRESS.admit(of_address, now)?;
        Ok(())
    }

    /// Counts a try for `account` from `address`, or refuses it.
    pub async fn count(&self, account: &str, address: IpAddr, now: u64) -> Result<Try, Refused> {
        let subjects = self.subjects(account, address);
        let admit = |[pair, by_address, by_account]: [Failures; 3]| {
            Ok::<_, Refused>([PAIR.admit(pair, now)?, ADDRESS.admit(by_address, now)?, remembered(by_account, now)])
        };
        let [_, _, failures] = login_failures::charge(&self.db, &subjects, now, admit).await??;
        let [pair, by_address, by_account] = subjects;
        Ok(Try { forgotten: Some(pair), others: vec![by_address, by_account], slowdown: slowdown(failures) })
    }

    /// Counts a registration from `address`, or refuses it.
    pub async fn count_registration(&self, address: IpAddr, now: u64) -> Result<Try, Refused> {
        let subject = self.subject(b'r', "", Some(address));
        login_failures::charge(&self.db, &[subject], now, |[failures]| Ok::<_, Refused>([TAKEN.admit(failures, now)?])).await??;
        Ok(Try { forgotten: None, others: vec![subject], slowdown: Duration::ZERO })
    }

    /// The try has succeeded.
    pub async fn succeeded(&self, tried: &Try) -> Result<(), Refused> {
        Ok(login_failures::take_back(&self.db, tried.forgotten.as_ref(), &tried.others).await?)
    }

    /// The pair, the address, the account.
    fn subjects(&self, account: &str, address: IpAddr) -> [Subject; 3] {
        [self.subject(b'p', account, Some(address)), self.subject(b'a', "", Some(address)), self.subject(b'u', account, None)]
    }

    fn subject(&self, kind: u8, account: &str, address: Option<IpAddr>) -> Subject {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[kind]);
        match address.map(|address| address.to_canonical()) {
            None => context.update(&[0]),
            Some(IpAddr::V4(address)) => context.update(&[&[4], &address.octets()[..]].concat()),
            // Whoever has one address of IPv6 has the network's others, too.
            Some(IpAddr::V6(address)) => context.update(&[&[6], &address.octets()[..8]].concat()),
        }
        context.update(account.as_bytes());
        let mut subject = [0; 32];
        subject.copy_from_slice(context.sign().as_ref());
        subject
    }
}

fn slowdown(failures: u64) -> Duration {
    SLOWER.saturating_mul(u32::try_from(failures.saturating_sub(SLOW_FROM)).unwrap_or(u32::MAX)).min(SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_forgotten() {
        let pauses: Vec<u64> = (0..20).map(|failures| PAIR.pause(failures)).collect();
        assert_eq!(pauses[..8], [0, 0, 0, 0, 0, 1_000, 2_000, 4_000]);
        assert!(pauses.is_sorted() && pauses[19] == 900_000 && PAIR.pause(u64::MAX) == 900_000);
        let failures = |count| Failures { count, last_at: 1_000_000 };
        assert_eq!(PAIR.admit(failures(4), 1_000_000).unwrap(), 4);
        let wait = |now| match PAIR.admit(failures(6), now) {
            Err(Refused::TooMany { wait }) => Some(wait.as_millis()),
            _ => None,
        };
        assert_eq!((wait(1_000_000), wait(1_001_999), wait(1_002_000)), (Some(2_000), Some(1), None));
        assert_eq!(PAIR.admit(failures(90), 1_000_000 + MEMORY + 1).unwrap(), 0);
        assert_eq!(PAIR.admit(Failures::default(), 0).unwrap(), 0);
        assert_eq!(PAIR.admit(failures(4), 999_990).unwrap(), 4, "it began before the last one");
        assert_eq!(wait(999_990), Some(2_010));
    }

    #[test]
    fn an_account_is_slow_at_worst() {
        assert_eq!([0, 10, 11, 1_000, u64::MAX].map(|failures| slowdown(failures).as_millis()), [0, 0, 100, 2_000, 2_000]);
    }
}
