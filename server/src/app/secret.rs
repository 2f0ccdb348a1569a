//! The secret of an instance that was given none: made once, kept beside the database, readable by its owner only.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    config::{Config, Secret, StoreUrl},
    world::{Chance, World},
};

/// There is no secret to sign with.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file can be neither read nor made, or holds less than 32 bytes.
    #[error("the signing secret in {path} cannot be used: {cause}; give one in auth.secret or auth.secret_file")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// There is no place beside a database on a server.
    #[error(
        "with PostgreSQL the secret that signs tokens has to be given, the same to every instance: set auth.secret, auth.secret_file or auth.jwks_file"
    )]
    NotGiven,
}

/// The secret in `<database>.secret` beside an embedded database, made if it is missing.
///
/// # Errors
/// [`SecretError`].
pub fn signing_secret(store: &StoreUrl, chance: &Chance) -> Result<Secret, SecretError> {
    let StoreUrl::Sqlite(database) = store else { return Err(SecretError::NotGiven) };
    let mut name = database.as_os_str().to_owned();
    name.push(".secret");
    let path = PathBuf::from(name);
    read_or_make(&path, chance).map_err(|cause| SecretError::File { path, cause })
}

/// What HS256 tokens are signed with, if any are believed.
pub(super) fn secret(config: &Config, world: &World) -> Result<Option<Secret>, SecretError> {
    match (&config.auth.secret, &config.auth.jwks) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(_)) => Ok(None),
        (None, None) => signing_secret(&config.store.url, &world.chance).map(Some),
    }
}

/// What signing keys are sealed with and refresh tokens are made of: the secret of `[accounts]`, of `[auth]`, or the one beside an embedded
/// database. `None` if there are no accounts.
///
/// # Errors
/// [`SecretError`].
pub fn accounts_secret(config: &Config, world: &World) -> Result<Option<Secret>, SecretError> {
    match (&config.accounts.secret, &config.auth.secret, &config.store.url, &config.auth.jwks) {
        _ if !config.accounts.enabled => Ok(None),
        (Some(secret), ..) | (None, Some(secret), ..) => Ok(Some(secret.clone())),
        (None, None, StoreUrl::Postgres(_), Some(_)) => Ok(None),
        (None, None, url, _) => signing_secret(url, &world.chance).map(Some),
    }
}

fn read_or_make(path: &Path, chance: &Chance) -> std::io::Result<Secret> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret: String = chance.bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(secret.as_bytes())?;
            file.sync_all()?;
            Ok(Secret::new(secret.as_bytes()))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(path)?;
            if text.trim().len() < 32 {
                return Err(std::io::Error::new(ErrorKind::InvalidData, "it holds less than 32 bytes"));
            }
            Ok(Secret::new(text.trim().as_bytes()))
        }
        Err(error) => Err(error),
    }
}
