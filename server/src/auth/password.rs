//! Passwords: what may be one, and how they are kept, as Argon2id hashes in PHC strings (RFC 9106, with OWASP's parameters by default).
//!
//! Pure and slow: [`Hasher::hash`] and [`Hasher::verify`] take tens of milliseconds and megabytes each. Callers bound how many run.

use std::fmt;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::{ParamsString, PasswordHash},
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::common::is_common;

/// Characters of a password, at least.
pub const MIN_PASSWORD: usize = 10;
/// Characters of a password, at most.
pub const MAX_PASSWORD: usize = 128;
/// Bytes of what is looked at at all: the longest password has fewer, however it is spelled.
const MAX_BYTES: usize = 2 << 10;
/// Bytes of a salt (RFC 9106 section 3.1).
pub const SALT: usize = 16;

/// A password in Unicode's form KC, so that it is the same from every keyboard. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password that `text` spells. Whoever spells more than anybody may have has none, which fits no account.
    pub fn new(text: &str) -> Self {
        if text.len() > MAX_BYTES { Self(String::new()) } else { Self(text.nfkc().collect()) }
    }

    /// What speaks against it as the password of an account with these names; `None` if nothing does.
    pub fn flaw(&self, names: &[&str]) -> Option<PasswordFlaw> {
        let length = self.0.chars().count();
        let lower = self.0.to_lowercase();
        if length < MIN_PASSWORD {
            Some(PasswordFlaw::Short)
        } else if length > MAX_PASSWORD {
            Some(PasswordFlaw::Long)
        } else if names.iter().any(|name| lower == name.nfkc().collect::<String>().to_lowercase()) {
            Some(PasswordFlaw::Name)
        } else if is_common(&self.0) {
            Some(PasswordFlaw::Common)
        } else {
            None
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why something cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordFlaw {
    /// Fewer than [`MIN_PASSWORD`] characters.
    #[error("the password has to have at least {MIN_PASSWORD} characters")]
    Short,
    /// More than [`MAX_PASSWORD`] characters.
    #[error("the password has to have at most {MAX_PASSWORD} characters")]
    Long,
    /// One that many use.
    #[error("the password is one of those that are guessed first: choose another, for example several words")]
    Common,
    /// The account's own login or name.
    #[error("the password must not be the account's login or name")]
    Name,
}

/// What a hash costs, whoever makes it: its three parameters (RFC 9106 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: at least 8 for each lane.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Argon2 refused: its parameters are out of bounds, or there is no memory.
#[derive(Debug, Error)]
#[error("a password could not be hashed: {0}")]
pub struct HashError(String);

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right,
    /// It is, and the hash costs less than it should by now: make a new one.
    Outdated,
    /// It is not.
    Wrong,
}

/// Hashes passwords at one cost, and verifies at whatever cost a hash was made.
pub struct Hasher {
    argon: Argon2<'static>,
    cost: Cost,
    /// A hash of no password, at the same cost: what is tried for accounts that are not there.
    nobody: String,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({:?})", self.cost)
    }
}

impl Hasher {
    /// Hashes at `cost`. `noise` makes up the hash of nobody.
    ///
    /// # Errors
    /// [`HashError`]: the cost is out of Argon2's bounds.
    pub fn new(cost: Cost, noise: [u8; 48]) -> Result<Self, HashError> {
        let params = Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(|error| HashError(error.to_string()))?;
        let [salt, output] = [&noise[..SALT], &noise[SALT..]].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        let Cost { memory, passes, lanes } = cost;
        let nobody = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}");
        Ok(Self { argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params), cost, nobody })
    }

    /// The PHC string to keep.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn hash(&self, password: &Password, salt: [u8; SALT]) -> Result<String, HashError> {
        let hash = self.argon.hash_password_with_salt(password.0.as_bytes(), &salt).map_err(|error| HashError(error.to_string()))?;
        Ok(hash.to_string())
    }

    /// Whether `password` is the one of `hash`. Without a hash, or with one that is none, as much work is done and the answer is no.
    pub fn verify(&self, password: &Password, hash: Option<&str>) -> Verdict {
        let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
        let is_somebody = known.is_some();
        let Some(tried) = known.or_else(|| PasswordHash::new(&self.nobody).ok()) else { return Verdict::Wrong };
        let fits = self.argon.verify_password(password.0.as_bytes(), &tried).is_ok();
        match fits && is_somebody {
            false => Verdict::Wrong,
            true if tried.algorithm.as_str() != "argon2id" || self.is_dearer(&tried.params) => Verdict::Outdated,
            true => Verdict::Right,
        }
    }

    /// Whether one of our parameters is above the same one of `params`.
    fn is_dearer(&self, params: &ParamsString) -> bool {
        let below = |name: &str, ours: u32| params.get_decimal(name).is_none_or(|theirs| theirs < ours);
        below("m", self.cost.memory) || below("t", self.cost.passes) || below("p", self.cost.lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory: 8, passes: 1, lanes: 1 };

    fn hasher(cost: Cost) -> Hasher {
        Hasher::new(cost, [3; 48]).unwrap()
    }

    #[test]
    fn only_the_password_fits_its_hash() {
        let hasher = hasher(CHEAP);
        let password = Password::new("correct horse battery");
        let hash = hasher.hash(&password, [1; SALT]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_ne!(hash, hasher.hash(&password, [2; SALT]).unwrap());
        assert_eq!(hasher.verify(&password, Some(&hash)), Verdict::Right);
        for wrong in ["correct horse batterz", "", "Correct horse battery"] {
            assert_eq!(hasher.verify(&Password::new(wrong), Some(&hash)), Verdict::Wrong);
        }
        for nobody in [None, Some(""), Some("$argon2id$"), Some("plain")] {
            assert_eq!(hasher.verify(&password, nobody), Verdict::Wrong);
        }
        assert!(PasswordHash::new(&hasher.nobody).is_ok());
        assert_eq!(hasher.verify(&Password::new(""), Some(&hasher.nobody.clone())), Verdict::Wrong);
    }

    #[test]
    fn a_hash_is_outdated_when_a_parameter_has_risen() {
        let password = Password::new("correct horse battery");
        let hash = hasher(CHEAP).hash(&password, [1; SALT]).unwrap();
        for cost in [Cost { memory: 16, ..CHEAP }, Cost { passes: 2, ..CHEAP }, Cost { memory: 16, lanes: 2, ..CHEAP }] {
            assert_eq!(hasher(cost).verify(&password, Some(&hash)), Verdict::Outdated);
            let dearer = hasher(cost).hash(&password, [1; SALT]).unwrap();
            assert_eq!(hasher(CHEAP).verify(&password, Some(&dearer)), Verdict::Right, "it is good enough");
        }
        assert!(Hasher::new(Cost { memory: 7, ..CHEAP }, [0; 48]).is_err());
    }

    #[test]
    fn a_password_is_the_same_however_it_is_typed() {
        assert_eq!(Password::new("cafe\u{301} au lait"), Password::new("caf\u{e9} au lait"));
        assert_eq!(Password::new("ｃｏｒｒｅｃｔ"), Password::new("correct"));
        assert_eq!(format!("{:?}", Password::new("secret")), "***");
    }

    #[test]
    fn what_cannot_be_a_password_says_why() {
        let flaw = |text: &str| Password::new(text).flaw(&["ada.lovelace", "Ada King, née Byron"]);
        assert_eq!(flaw("123456789"), Some(PasswordFlaw::Short));
        assert_eq!(flaw("1234567890"), Some(PasswordFlaw::Common));
        assert_eq!(flaw("ADA.lovelace"), Some(PasswordFlaw::Name));
        assert_eq!(flaw("ada king, ne\u{301}e byron"), Some(PasswordFlaw::Name));
        assert_eq!(flaw("correct horse"), None);
        assert_eq!(flaw(&"añb ".repeat(32)), None);
        assert_eq!(flaw(&"é1".repeat(65)), Some(PasswordFlaw::Long));
        assert_eq!(flaw(&"x".repeat(MAX_BYTES + 1)), Some(PasswordFlaw::Short));
    }
}
