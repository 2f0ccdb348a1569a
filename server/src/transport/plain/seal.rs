//! What an event's id holds: a passport that only instances of this store can read, or make.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::world::Chance;

/// Ids of this form start with it; it is authenticated, too.
const VERSION: u8 = b'1';
/// Characters of an id, at most.
const MAX_ID: usize = 4 << 10;

/// Seals and opens. AES-256-GCM-SIV (RFC 8452): a nonce that comes twice tells no more than that two ids say the same.
pub struct Sealer(LessSafeKey);

/// The key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the secret for events' ids has to be {} bytes long", Sealer::KEY)]
pub struct SealError;

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Bytes of the key.
    pub const KEY: usize = 32;

    /// Seals with `key`, the same on every instance.
    ///
    /// # Errors
    /// It has not [`Sealer::KEY`] bytes.
    pub fn new(key: &[u8]) -> Result<Self, SealError> {
        UnboundKey::new(&AES_256_GCM_SIV, key).map(LessSafeKey::new).map(Self).map_err(|_| SealError)
    }

    /// An id that says `bytes`, in characters that a header may hold. `None` if it would be too long.
    pub(super) fn seal(&self, bytes: &[u8], chance: &Chance) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = chance.bytes();
        let mut sealed = bytes.to_vec();
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([VERSION]), &mut sealed).ok()?;
        let id = format!("{}{}", VERSION as char, URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()));
        (id.len() <= MAX_ID).then_some(id)
    }

    /// What `id` says; `None` if it was not made with this key, or changed.
    pub(super) fn open(&self, id: &str) -> Option<Vec<u8>> {
        let text = id.strip_prefix(VERSION as char).filter(|_| id.len() <= MAX_ID)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from([VERSION]), &mut sealed).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let (sealer, other) = (Sealer::new(&[1; Sealer::KEY]).unwrap(), Sealer::new(&[2; Sealer::KEY]).unwrap());
        let chance = Chance::seeded(1);
        let id = sealer.seal(b"who and where", &chance).unwrap();
        assert_eq!(sealer.open(&id).unwrap(), b"who and where");
        assert_ne!(sealer.seal(b"who and where", &chance).unwrap(), id);
        assert!(other.open(&id).is_none());
        for at in 0..id.len() {
            let mut changed = id.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(sealer.open(&String::from_utf8(changed).unwrap()).is_none(), "{at}");
        }
        for short in ["", "1", "1AAAA", &id[..id.len() - 1]] {
            assert!(sealer.open(short).is_none(), "{short}");
        }
    }

    #[test]
    fn the_longest_passport_stays_below_four_kibibytes() {
        let (sealer, chance) = (Sealer::new(&[1; Sealer::KEY]).unwrap(), Chance::seeded(1));
        let id = sealer.seal(&[7; crate::session::MAX_PASSPORT], &chance).unwrap();
        assert!(id.len() < MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(sealer.seal(&[7; MAX_ID], &chance).is_none());
        assert_eq!(Sealer::new(&[1; 16]).unwrap_err(), SealError);
    }
}
