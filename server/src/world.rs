//! Time and chance, as handles that `app` hands in: nothing inside asks the machine for the hour or for a random number.
//! A simulated run replays from its seed because of that.

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hubbub_protocol::MessageId;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Tells the time in Unix milliseconds. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's.
    System,
    /// A number that tests move.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Now, in Unix milliseconds.
    pub fn now(&self) -> u64 {
        match self {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Milliseconds since some moment, at least 1: never set back and never set forward, so the one to measure silence by.
    pub fn elapsed(&self) -> u64 {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Clock::System => ORIGIN.elapsed().as_millis() as u64 + 1,
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}

/// Random numbers, ids and hash seeds. Cheap to clone.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// Seeded by the operating system, with as much as the generator holds: keys are drawn from it.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|rng| rng.fill(&mut bytes[..]));
        bytes
    }

    /// A seed for a hash table.
    pub fn seed(&self) -> u64 {
        self.with(|rng| rng.random())
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.with(|rng| rng.random_range(0..bound)) }
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().expect("nothing panics while it draws"))
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

/// Misfortune that tests order: where this process dies by its own hand. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Misfortune {
    commits: Option<Arc<AtomicU64>>,
}

impl Misfortune {
    /// The process dies after so many commits of publishes, before anybody is told of the last: as a crash at the worst moment.
    pub fn after_commits(commits: u64) -> Self {
        Self { commits: Some(Arc::new(AtomicU64::new(commits))) }
    }

    /// A batch of publishes was committed.
    pub fn committed(&self) {
        if let Some(commits) = &self.commits
            && commits.fetch_sub(1, Ordering::Relaxed) <= 1
        {
            std::process::abort();
        }
    }
}

/// The handles.
#[derive(Debug, Clone)]
pub struct World {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// None, but in tests.
    pub misfortune: Misfortune,
}

impl World {
    /// The machine's clock and its entropy.
    pub fn system() -> Self {
        Self { clock: Clock::System, chance: Chance::system(), misfortune: Misfortune::default() }
    }

    /// A new id: a message's, a session's, a request's.
    pub fn id(&self) -> MessageId {
        MessageId::new(self.clock.now(), self.chance.bytes())
    }
}
