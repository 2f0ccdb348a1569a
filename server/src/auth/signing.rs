//! The keys that this server signs its own access tokens with: Ed25519, named by `kid`, sealed where they are kept.
//!
//! A [`KeyRing`] holds those that count now. Whoever loads them swaps them while sessions verify.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::MessageId;
use jsonwebtoken::DecodingKey;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::{KeyError, keys::public_keys};

/// Bytes of a private key (RFC 8032 section 5.1.5).
pub const SEED: usize = 32;

/// The secret gives no key, or a key that is kept cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SigningError {
    /// Not a key of Ed25519.
    #[error("a signing key is not one of Ed25519")]
    Key,
    /// Nothing could be derived.
    #[error("no key could be derived from the secret of [accounts]")]
    Derive,
}

/// 32 bytes for one purpose, from the secret of all (HKDF, RFC 5869).
///
/// # Errors
/// [`SigningError::Derive`].
pub fn derive(secret: &[u8], purpose: &str) -> Result<[u8; 32], SigningError> {
    let mut key = [0; 32];
    let info = [purpose.as_bytes()];
    let fill = Salt::new(HKDF_SHA256, b"hubbub accounts").extract(secret);
    let okm = fill.expand(&info, HKDF_SHA256).map_err(|_| SigningError::Derive)?;
    okm.fill(&mut key).map_err(|_| SigningError::Derive)?;
    Ok(key)
}

/// Seals private keys for the database. AES-256-GCM-SIV (RFC 8452), bound to the key's `kid`.
pub struct Vault(LessSafeKey);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// A vault that this secret opens.
    ///
    /// # Errors
    /// [`SigningError::Derive`].
    pub fn new(secret: &[u8]) -> Result<Self, SigningError> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &derive(secret, "signing keys")?).map_err(|_| SigningError::Derive)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// A new key: what of it is to be kept. `seed` and `nonce` are random.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn make(&self, kid: &str, seed: [u8; SEED], nonce: [u8; NONCE_LEN]) -> Result<Sealed, SigningError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SigningError::Key)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x}).to_string();
        let mut private = seed.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(unique, Aad::from(kid.as_bytes()), &mut private).map_err(|_| SigningError::Key)?;
        Ok(Sealed { jwk, private: [&nonce[..], &private].concat() })
    }

    /// What signs with a key that is kept. `None` if it was sealed with another secret.
    fn open(&self, kid: &str, private: &[u8]) -> Option<Ed25519KeyPair> {
        let (nonce, sealed) = private.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let seed = self.0.open_in_place(nonce, Aad::from(kid.as_bytes()), &mut sealed).ok()?;
        Ed25519KeyPair::from_seed_unchecked(seed).ok()
    }
}

/// A key as it is kept.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The public half, a JWK.
    pub jwk: String,
    /// The private half, which only the vault's secret opens.
    pub private: Vec<u8>,
}

/// One of our keys. Times are in Unix milliseconds.
pub struct OwnKey {
    kid: Box<str>,
    jwk: Value,
    verifies: DecodingKey,
    signs: Option<Ed25519KeyPair>,
    signs_from: u64,
    retires_at: Option<u64>,
}

impl OwnKey {
    /// A key as it was kept. It only verifies if `vault` does not open it.
    ///
    /// # Errors
    /// The public half is none.
    pub fn open(vault: &Vault, kid: &str, sealed: &Sealed, signs_from: u64, retires_at: Option<u64>) -> Result<Self, KeyError> {
        let verifies = public_keys(&format!("{{\"keys\":[{}]}}", sealed.jwk))?.pop().ok_or(KeyError::Unusable)?.key;
        let jwk = serde_json::from_str(&sealed.jwk).map_err(|_| KeyError::Set)?;
        Ok(Self { kid: kid.into(), jwk, verifies, signs: vault.open(kid, &sealed.private), signs_from, retires_at })
    }

    /// Whether it can sign.
    pub fn is_open(&self) -> bool {
        self.signs.is_some()
    }

    fn counts(&self, now: u64) -> bool {
        self.retires_at.is_none_or(|retires_at| now < retires_at)
    }
}

/// The keys, the issuer and the audience of our own tokens. Prints as nothing: it can sign.
pub struct KeyRing {
    keys: ArcSwap<Vec<OwnKey>>,
    issuer: String,
    audience: Option<String>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

/// What an access token says.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: f64,
    exp: u64,
    jti: String,
    sid: &'a str,
}

impl KeyRing {
    /// A ring without keys: nothing verifies, and nothing is signed.
    pub fn new(issuer: String, audience: Option<String>) -> Self {
        Self { keys: ArcSwap::default(), issuer, audience }
    }

    /// Puts `keys` in the place of those that there are.
    pub fn swap(&self, keys: Vec<OwnKey>) {
        self.keys.store(Arc::new(keys));
    }

    /// Who our tokens say that they are from.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// For whom they are.
    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The key of that name, if its time is not over at `now`.
    pub(super) fn verifying(&self, kid: &str, now: u64) -> Option<DecodingKey> {
        self.keys.load().iter().find(|key| &*key.kid == kid && key.counts(now)).map(|key| key.verifies.clone())
    }

    /// The public halves of all that verify, as JWKs. A key is there before it signs.
    pub fn public(&self, now: u64) -> Vec<Value> {
        self.keys.load().iter().filter(|key| key.counts(now)).map(|key| key.jwk.clone()).collect()
    }

    /// An access token for `user`, from the login `session`, good until `expires_at`, which is rounded down to a second. `None` if there is no
    /// key that signs.
    pub fn sign(&self, user: &str, session: &str, jti: MessageId, now: u64, expires_at: u64) -> Option<String> {
        let keys = self.keys.load();
        let open = || keys.iter().filter(|key| key.is_open() && key.counts(now));
        // A clock that lags may find that the first key's time has not come: it is the only one there is.
        let newest = open().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from);
        let key = newest.or_else(|| open().min_by_key(|key| key.signs_from))?;
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": &*key.kid}).to_string();
        let claims = Claims {
            iss: &self.issuer,
            sub: user,
            aud: self.audience.as_deref(),
            iat: now as f64 / 1_000.0,
            exp: expires_at / 1_000,
            jti: jti.to_string(),
            sid: session,
        };
        let claims = serde_json::to_string(&claims).ok()?;
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.signs.as_ref()?.try_sign(message.as_bytes()).ok()?);
        Some(format!("{message}.{signature}"))
    }
}
