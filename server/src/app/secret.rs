//! The secret of an instance that was given none: made once, kept beside the database, readable by its owner only.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{config::Secret, world::Chance};

/// The file with the secret cannot be read or made.
#[derive(Debug, Error)]
#[error("the signing secret in {path} cannot be used: {cause}; give one in auth.secret or auth.secret_file")]
pub struct SecretError {
    path: PathBuf,
    cause: std::io::Error,
}

/// The secret in `<database>.secret`, made if it is missing.
///
/// # Errors
/// [`SecretError`] if the file can be neither read nor made, or holds less than 32 bytes.
pub fn signing_secret(database: &Path, chance: &Chance) -> Result<Secret, SecretError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".secret");
    let path = PathBuf::from(name);
    read_or_make(&path, chance).map_err(|cause| SecretError { path, cause })
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
