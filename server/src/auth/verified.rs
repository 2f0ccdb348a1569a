//! Tokens that were verified of late: whoever shows one again is known without its signature being computed anew.
//!
//! What is kept of a token is a digest, and who it stands for. What depends on the time is asked at each use: whether the token is good yet
//! and still, and whether the key of our own that signed it still counts. Keys of outside issuers are the same for as long as the process runs.
//! What was revoked is no matter of tokens: `Access::admits` is asked beside this.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::Identity;

/// Tokens that are kept, at most: each has one place, and takes it from whoever had it.
const SLOTS: usize = 4_096;
/// Bytes of a token that is kept; who holds a longer one is verified each time, so that what is kept has a bound.
const MAX_KEPT: usize = 2 << 10;

/// A token that verified.
#[derive(Debug, Clone)]
pub(super) struct Believed {
    /// Who it stands for, and until when.
    pub(super) identity: Identity,
    /// From when on, in Unix milliseconds.
    pub(super) from: u64,
    /// The `kid` of the key of our own that signed it.
    pub(super) own_key: Option<Box<str>>,
}

type Slot = Mutex<Option<([u8; 32], Believed)>>;

/// The tokens.
pub(super) struct Verified(Box<[Slot]>);

impl Verified {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| Slot::default()).collect())
    }

    /// Who `token` stands for at `now`, if it was kept and `counts` says that the key of that name still does.
    pub(super) fn find(&self, token: &str, now: u64, counts: impl FnOnce(&str) -> bool) -> Option<Identity> {
        let (slot, digest) = self.place(token)?;
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, believed) = slot.as_ref().filter(|(kept, _)| *kept == digest)?;
        let is_good = (believed.from..believed.identity.expires_at).contains(&now) && believed.own_key.as_deref().is_none_or(counts);
        is_good.then(|| believed.identity.clone())
    }

    /// Keeps what a `token` that verified stands for.
    pub(super) fn keep(&self, token: &str, believed: Believed) {
        if let Some((slot, digest)) = self.place(token) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, believed));
        }
    }

    fn place(&self, token: &str) -> Option<(&Slot, [u8; 32])> {
        let digest: [u8; 32] = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok().filter(|_| token.len() <= MAX_KEPT)?;
        let number = usize::from(u16::from_le_bytes([digest[0], digest[1]]));
        Some((&self.0[number % self.0.len()], digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grants;

    fn believed(own_key: Option<&str>) -> Believed {
        let identity = Identity { expires_at: 20, ..Identity::new("alice", Grants::default()) };
        Believed { identity, from: 10, own_key: own_key.map(Into::into) }
    }

    #[test]
    fn a_token_is_known_for_as_long_as_it_and_its_key_are_good() {
        let verified = Verified::new();
        let find = |token: &str, now: u64, counts: bool| verified.find(token, now, |_| counts).map(|identity| identity.user);
        assert_eq!(find("a.b.c", 15, true), None);
        verified.keep("a.b.c", believed(Some("k")));
        for (now, counts, is_known) in [(9, true, false), (10, true, true), (19, true, true), (20, true, false), (15, false, false)] {
            assert_eq!(find("a.b.c", now, counts).is_some(), is_known, "{now}, {counts}");
        }
        assert_eq!(find("a.b.d", 15, true), None, "another signature");
        verified.keep("x.y.z", believed(None));
        assert_eq!(find("x.y.z", 15, false).as_deref(), Some("alice"), "an outside issuer's key is not asked for");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let verified = Verified::new();
        let tokens: Vec<String> = (0..3 * SLOTS).map(|number| format!("a.b.{number}")).collect();
        tokens.iter().for_each(|token| verified.keep(token, believed(None)));
        let known = tokens.iter().filter(|token| verified.find(token, 15, |_| true).is_some()).count();
        assert!((SLOTS / 2..=SLOTS).contains(&known), "{known}");
        let long = "x".repeat(MAX_KEPT + 1);
        verified.keep(&long, believed(None));
        assert!(verified.find(&long, 15, |_| true).is_none());
    }
}
