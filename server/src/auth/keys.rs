//! The keys that tokens are verified with. Each knows the one algorithm it is for; a token's header only chooses among keys.
//!
//! A JWK Set (RFC 7517) may hold keys for other purposes: those are passed over. A key that is meant for us but is weak, broken,
//! private or at odds with itself is refused, and the set with it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, de::IgnoredAny};
use thiserror::Error;

/// Bytes of an HS256 secret, at least: as many as the hash has (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = 32;
/// Keys in a set, at most.
const MAX_KEYS: usize = 64;
/// Bits of an RSA modulus, at least (RFC 7518 section 3.3), and at most.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why tokens cannot be verified with the keys that were given. `index` counts a set's keys from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Neither a secret nor a key set.
    #[error("there is no key to verify tokens with: give a secret or a key set")]
    None,
    /// The secret is short.
    #[error("the secret has to have at least {MIN_SECRET} bytes: generate one with `openssl rand -base64 48`")]
    ShortSecret,
    /// Not a JWK Set.
    #[error("the key set is not a JWK Set of at most {MAX_KEYS} keys: it is an object with a list of `keys` (RFC 7517 section 5)")]
    Set,
    /// No key of the set can verify a token.
    #[error("the key set holds no key for RS256, ES256 or EdDSA signatures")]
    Unusable,
    /// A secret or private key.
    #[error("key {index} of the key set is secret or private: publish only public keys, and replace this one")]
    Private {
        /// Which.
        index: usize,
    },
    /// `alg` is for another kind of key.
    #[error("key {index} of the key set has an `alg` that does not fit its `kty` and `crv`")]
    Algorithm {
        /// Which.
        index: usize,
    },
    /// An RSA key of less than 2048 bits, or more than 8192.
    #[error("key {index} of the key set is an RSA key of {bits} bits: 2048 to 8192 are accepted")]
    RsaBits {
        /// Which.
        index: usize,
        /// Its length.
        bits: usize,
    },
    /// The numbers of the key are missing or are no key.
    #[error("key {index} of the key set is not a valid public key")]
    Invalid {
        /// Which.
        index: usize,
    },
}

/// A public key, the algorithm it is for, and its name.
pub(super) struct PublicKey {
    pub algorithm: Algorithm,
    pub id: Option<Box<str>>,
    pub key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<Box<str>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// A private key's own part.
    d: Option<IgnoredAny>,
}

/// The HS256 key of a secret.
pub(super) fn secret_key(secret: &[u8]) -> Result<DecodingKey, KeyError> {
    if secret.len() < MIN_SECRET { Err(KeyError::ShortSecret) } else { Ok(DecodingKey::from_secret(secret)) }
}

/// The keys of a set that verify signatures which this server accepts; at least one.
pub(super) fn public_keys(json: &str) -> Result<Vec<PublicKey>, KeyError> {
    let set: Set = serde_json::from_str(json).map_err(|_| KeyError::Set)?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeyError::Set);
    }
    let keys = set.keys.into_iter().enumerate().filter_map(|(index, jwk)| jwk.read(index).transpose());
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::Unusable) } else { Ok(keys) }
}

impl Jwk {
    fn read(self, index: usize) -> Result<Option<PublicKey>, KeyError> {
        if self.kty == "oct" || self.d.is_some() {
            return Err(KeyError::Private { index });
        }
        let Some(algorithm) = self.algorithm(index)? else { return Ok(None) };
        let verifies = self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !verifies || self.purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let key = match algorithm {
            Algorithm::RS256 => self.rsa(index)?,
            Algorithm::ES256 => self.p256().ok_or(KeyError::Invalid { index })?,
            _ => self.ed25519().ok_or(KeyError::Invalid { index })?,
        };
        Ok(Some(PublicKey { algorithm, id: self.kid, key }))
    }

    /// What the key is for, by its type. `None` if that is nothing of ours.
    fn algorithm(&self, index: usize) -> Result<Option<Algorithm>, KeyError> {
        let (algorithm, name) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, "RS256"),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256"),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA"),
            _ => return Ok(None),
        };
        let family = |alg: &str| alg.get(..2).map(|family| if family == "PS" { "RS".to_owned() } else { family.to_owned() });
        match self.alg.as_deref() {
            None => Ok(Some(algorithm)),
            Some(alg) if alg == name => Ok(Some(algorithm)),
            // A longer hash, or encryption: a key of its own right.
            Some(alg) if algorithm == Algorithm::RS256 && family(alg).as_deref() == Some("RS") => Ok(None),
            Some(alg) if ["HS", "RS", "ES", "Ed"].iter().any(|signs| family(alg).as_deref() == Some(signs)) => {
                Err(KeyError::Algorithm { index })
            }
            Some(_) => Ok(None),
        }
    }

    fn rsa(&self, index: usize) -> Result<DecodingKey, KeyError> {
        let invalid = KeyError::Invalid { index };
        let modulus = decode(self.n.as_deref()).ok_or(invalid.clone())?;
        let exponent = decode(self.e.as_deref()).ok_or(invalid.clone())?;
        let bits = bits(&modulus);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaBits { index, bits });
        }
        // Odd and at least 3, and short: a long exponent only makes verifying slow.
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !is_odd(&modulus) || !is_odd(&exponent) || !(2..=33).contains(&self::bits(&exponent)) {
            return Err(invalid);
        }
        Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    }

    fn p256(&self) -> Option<DecodingKey> {
        let (x, y) = (decode(self.x.as_deref())?, decode(self.y.as_deref())?);
        if x.len() != 32 || y.len() != 32 {
            return None;
        }
        // An uncompressed point, SEC 1 section 2.3.3. Parsing it checks that it is on the curve.
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()?;
        Some(DecodingKey::from_ec_der(&point))
    }

    fn ed25519(&self) -> Option<DecodingKey> {
        let point = decode(self.x.as_deref())?;
        ParsedPublicKey::new(&ED25519, &point).ok()?;
        Some(DecodingKey::from_ed_der(&point))
    }
}

fn decode(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

/// The length of a big-endian number, leading zeros aside.
fn bits(number: &[u8]) -> usize {
    let digits = number.iter().skip_while(|byte| **byte == 0);
    let leading = digits.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
    digits.count() * 8 - leading
}
