//! Verifies tokens: a JWT (RFC 7519), signed as a JWS in compact form (RFC 7515). PROTOCOL.md section 8 lists the claims.
//!
//! Signatures are `jsonwebtoken`'s work. Which key, and what the claims have to say, is decided here, since the time is the caller's.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::{ErrorCode, limits::MAX_TOKEN};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    Grants, Identity, KeyError, KeyRing, is_user,
    keys::{PublicKey, public_keys, secret_key},
    verified::{Believed, Verified},
};

/// Keys that one token may be tried with.
const MAX_TRIES: usize = 8;
/// The largest time on the wire, in Unix milliseconds.
const MAX_TIME: u64 = (1 << 53) - 1;
/// Bytes of a `jti`: a longer one names no token.
const MAX_JTI: usize = 128;

/// What a token has to say beside being signed.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `aud` has to name this; `None`: it is neither required nor checked.
    pub audience: Option<String>,
    /// `iss` has to be this; `None`: it is neither required nor checked.
    pub issuer: Option<String>,
    /// How far the issuer's clock may be off, in milliseconds.
    pub leeway_ms: u64,
}

/// Why a token is not believed. The message says what to do about it and never repeats the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Empty.
    #[error("there is no token: send one in `connect`, or in an `Authorization: Bearer` header")]
    Missing,
    /// Not a JWT, or one whose claims have other types than they should, or a very long one.
    #[error("the token is not a JWT of at most 16 KiB with the claims that Hubbub reads: check how it was made")]
    Malformed,
    /// Signed in a way for which there is no key.
    #[error("the token's algorithm is not accepted here: sign with one that the server has a key for (HS256, RS256, ES256 or EdDSA)")]
    Algorithm,
    /// Its `kid` names no key of the server, or without a `kid` too many keys might be meant.
    #[error("the token's `kid` names none of the server's keys: sign with a current key, and name it")]
    UnknownKey,
    /// The signature is not of the key.
    #[error("the token's signature does not verify: it was changed, or signed with another key than the server's")]
    Signature,
    /// No `exp`.
    #[error("the token has no `exp`: issue tokens that expire")]
    NoExpiry,
    /// Its time is over.
    #[error("the token has expired: get a new one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: check the issuer's clock against the server's")]
    NotYetValid,
    /// `aud` does not name this server.
    #[error("the token is for another audience: issue it with the `aud` that the server is configured with")]
    Audience,
    /// `iss` is not whom this server trusts.
    #[error("the token is from another issuer: issue it with the `iss` that the server is configured with")]
    Issuer,
    /// `sub` is missing or cannot be a user's name.
    #[error("the token's `sub` has to be a user of 1 to 128 bytes without control characters")]
    Subject,
    /// `grants` is not a list of grants, or too long.
    #[error("the token's `grants` have to be at most 64 objects with `channels`, at most 64 patterns, and `actions`")]
    Grants,
}

impl TokenError {
    /// Its code on the wire.
    pub const fn code(self) -> ErrorCode {
        match self {
            TokenError::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::Unauthorized,
        }
    }
}

/// Believes tokens or not: the keys and the rules. Has no `Debug`: it holds a secret.
pub struct Verifier {
    secret: Option<DecodingKey>,
    keys: Vec<PublicKey>,
    rules: Rules,
    /// Our own keys, beside those of outside issuers.
    own: Option<Arc<KeyRing>>,
    /// What was verified of late.
    verified: Verified,
}

/// Who signed a token.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signer {
    /// This server, with the key of this name: it says which login it came from.
    Own(Box<str>),
    /// An issuer that is trusted by the configuration.
    Outside,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// A verifier of tokens that are signed with the secret `hs256`, or with a key of the JWK Set `jwks_json`.
    ///
    /// # Errors
    /// Neither is given, or one of them cannot be used.
    pub fn new(hs256: Option<&[u8]>, jwks_json: Option<&str>, rules: Rules) -> Result<Self, KeyError> {
        let secret = hs256.map(secret_key).transpose()?;
        let keys = jwks_json.map(public_keys).transpose()?;
        if secret.is_none() && keys.is_none() {
            return Err(KeyError::None);
        }
        Ok(Self { secret, keys: keys.unwrap_or_default(), rules, own: None, verified: Verified::new() })
    }

    /// Believes tokens of this server's own, too: those that a key of `ring` has signed, whatever is asked of outside issuers.
    pub fn with_own(self, ring: Arc<KeyRing>) -> Self {
        Self { own: Some(ring), ..self }
    }

    /// Who `token` stands for at `now_ms`, in Unix milliseconds.
    ///
    /// # Errors
    /// It does not verify; [`TokenError::code`] is the answer on the wire.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if let Some(identity) =
            self.verified.find(token, now_ms, |kid| self.own.as_ref().is_some_and(|own| own.verifying(kid, now_ms).is_some()))
        {
            return Ok(identity);
        }
        let (message, signature) = token.rsplit_once('.').filter(|_| token.len() <= MAX_TOKEN).ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(TokenError::Malformed)?;
        let signer = self.check_signature(&decode(header)?, message, signature, now_ms)?;
        let believed = self.check_claims(&decode(claims)?, signer, now_ms)?;
        self.verified.keep(token, believed.clone());
        Ok(believed.identity)
    }

    fn check_signature(&self, header: &[u8], message: &str, signature: &str, now_ms: u64) -> Result<Signer, TokenError> {
        let header: Header<'_> = serde_json::from_slice(header).map_err(|_| TokenError::Malformed)?;
        // An extension that has to be understood: none is (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let verifies =
            |key: &DecodingKey, algorithm: Algorithm| crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false);
        if let Some((kid, key)) = self.own_key(&header, now_ms) {
            return if verifies(&key, Algorithm::EdDSA) { Ok(Signer::Own(kid.into())) } else { Err(TokenError::Signature) };
        }
        let (algorithm, keys) = self.keys_for(&header)?;
        if keys.iter().any(|key| verifies(key, algorithm)) { Ok(Signer::Outside) } else { Err(TokenError::Signature) }
    }

    /// The key of our own that the token names.
    fn own_key<'a>(&self, header: &'a Header<'_>, now_ms: u64) -> Option<(&'a str, DecodingKey)> {
        let kid = header.kid.as_deref().filter(|_| header.alg == "EdDSA")?;
        Some((kid, self.own.as_ref()?.verifying(kid, now_ms)?))
    }

    /// The keys of outside issuers that can have signed the token: those of its algorithm, and of its `kid` if it has one.
    fn keys_for(&self, header: &Header<'_>) -> Result<(Algorithm, Vec<&DecodingKey>), TokenError> {
        let algorithm = match &*header.alg {
            "HS256" => return Ok((Algorithm::HS256, vec![self.secret.as_ref().ok_or(TokenError::Algorithm)?])),
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(TokenError::Algorithm),
        };
        let named = |key: &&PublicKey| header.kid.as_deref().is_none_or(|kid| key.id.as_deref() == Some(kid));
        let keys: Vec<_> = self.keys.iter().filter(named).collect();
        let fit: Vec<_> = keys.iter().filter(|key| key.algorithm == algorithm).map(|key| &key.key).collect();
        match fit.len() {
            0 if keys.is_empty() && (!self.keys.is_empty() || self.own.is_some()) => Err(TokenError::UnknownKey),
            0 => Err(TokenError::Algorithm),
            1..=MAX_TRIES => Ok((algorithm, fit)),
            _ => Err(TokenError::UnknownKey),
        }
    }

    fn check_claims(&self, claims: &[u8], signer: Signer, now_ms: u64) -> Result<Believed, TokenError> {
        let claims: Claims<'_> = serde_json::from_slice(claims).map_err(|_| TokenError::Malformed)?;
        let leeway = self.rules.leeway_ms;
        let expires_at = milliseconds(claims.exp.ok_or(TokenError::NoExpiry)?).saturating_add(leeway).min(MAX_TIME);
        if now_ms >= expires_at {
            return Err(TokenError::Expired);
        }
        let from = claims.nbf.map_or(0, |nbf| milliseconds(nbf).saturating_sub(leeway));
        if now_ms < from {
            return Err(TokenError::NotYetValid);
        }
        let (audience, issuer) = match &self.own {
            Some(ring) if matches!(signer, Signer::Own(_)) => (ring.audience(), Some(ring.issuer())),
            _ => (self.rules.audience.as_deref(), self.rules.issuer.as_deref()),
        };
        if audience.is_some_and(|audience| !claims.aud.is_some_and(|given| given.names(audience))) {
            return Err(TokenError::Audience);
        }
        if issuer.is_some() && claims.iss.as_deref() != issuer {
            return Err(TokenError::Issuer);
        }
        let user = claims.sub.filter(|user| is_user(user)).ok_or(TokenError::Subject)?;
        let is_narrowed = claims.grants.is_some();
        let grants = claims.grants.map_or(Some(Grants::default()), |json| Grants::parse(json.get())).ok_or(TokenError::Grants)?;
        let issued_at = claims.iat.map_or(0, milliseconds).min(MAX_TIME);
        let token = claims.jti.filter(|jti| jti.len() <= MAX_JTI).map(Arc::from);
        // Whoever else signs may say what he likes of logins: it is none of ours.
        let session = claims.sid.filter(|_| matches!(signer, Signer::Own(_))).map(Arc::from);
        let own_key = match signer {
            Signer::Own(kid) => Some(kid),
            Signer::Outside => None,
        };
        let identity = Identity { user: user.into(), expires_at, issued_at, token, session, grants, is_narrowed, is_backend: false };
        Ok(Believed { identity, from, own_key })
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

/// The claims that are read. Times are numbers of seconds, with a fraction or not (RFC 7519 section 2).
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Option<Cow<'a, str>>,
    exp: Option<f64>,
    iat: Option<f64>,
    #[serde(borrow)]
    jti: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sid: Option<Cow<'a, str>>,
    nbf: Option<f64>,
    #[serde(borrow)]
    aud: Option<Audience<'a>>,
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow)]
    grants: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

impl Audience<'_> {
    fn names(&self, audience: &str) -> bool {
        match self {
            Audience::One(name) => name == audience,
            Audience::Many(names) => names.iter().any(|name| name == audience),
        }
    }
}

fn milliseconds(seconds: f64) -> u64 {
    // Saturates: what is negative is long ago, what is huge is never. Rounded: a fraction of seconds is seldom one of binary digits.
    (seconds * 1_000.0).round() as u64
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}
