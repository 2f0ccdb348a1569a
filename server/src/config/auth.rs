//! `[auth]`: which tokens are believed. Secrets come in here and are never shown again.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    mistake::FileProblem,
    reader::{Section, Show},
};

/// Bytes of a secret, at least: HMAC-SHA-256 wants as many as its hash has (RFC 7518 section 3.2).
const MIN_SECRET: usize = 32;
/// Bytes of a secret, at most.
const MAX_SECRET: usize = 4096;
/// Bytes of a JWK Set, at most.
const MAX_JWKS: u64 = 1 << 20;

/// Bytes that no log and no error message shows. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Keeps `bytes` to itself.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `[auth]`.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Signs HS256 tokens, at least 32 bytes: `secret`, or what is in `secret_file`.
    pub secret: Option<Secret>,
    /// The JWK Set in `jwks_file`, unparsed.
    pub jwks: Option<String>,
    /// What `aud` has to name; `None`: not checked.
    pub audience: Option<String>,
    /// What `iss` has to be; `None`: not checked.
    pub issuer: Option<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

impl AuthConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            secret: read_secret(&mut section),
            jwks: jwks_file(&mut section),
            audience: section.line("audience", 256),
            issuer: section.line("issuer", 256),
            leeway: section.duration("leeway", Duration::ZERO..=Duration::from_secs(300)),
        }
    }
}

/// The secret in `secret` or in the file that `secret_file` names.
pub(super) fn read_secret(section: &mut Section<'_>) -> Option<Secret> {
    let accepts = format!("a text of {MIN_SECRET} to {MAX_SECRET} bytes");
    let inline = section.parsed("secret", Show::Nothing, &accepts, |text| match text.len() {
        0 => Some(None),
        MIN_SECRET..=MAX_SECRET => Some(Some(Secret::new(text.as_bytes()))),
        _ => None,
    });
    let in_file = secret_file(section);
    if inline.is_some() && in_file.is_some() {
        section.contradiction("secret", "excludes", "secret_file");
    }
    inline.or(in_file)
}

fn secret_file(section: &mut Section<'_>) -> Option<Secret> {
    let content = section.file("secret_file", MAX_SECRET as u64)?;
    let secret = content.trim_ascii();
    if secret.len() < MIN_SECRET {
        section.file_mistake("secret_file", FileProblem::TooShort { min: MIN_SECRET });
    }
    Some(Secret::new(secret))
}

fn jwks_file(section: &mut Section<'_>) -> Option<String> {
    let content = section.file("jwks_file", MAX_JWKS)?;
    String::from_utf8(content).map_err(|_| section.file_mistake("jwks_file", FileProblem::NotText)).ok()
}
