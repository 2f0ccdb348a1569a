//! Every file of `vectors/`, read and checked. `HUBBUB_BLESS=1 cargo test -p hubbub-protocol --test vectors` writes the
//! MessagePack of `client/` and `server/` anew from their JSON.

mod golden;
mod lenient;
mod payload;
mod refused;

use std::{fs, path::PathBuf};

use hubbub_protocol::{ClientFrame, ClientFrames, DecodeError, Format, ServerFrame, ServerFrames, limits};
use serde::de::DeserializeOwned;

/// The files of one folder: path from `vectors/` without its ending, and content.
fn read<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no vectors");
    let parse = |path: PathBuf| {
        let slug = format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap());
        let vector = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{slug}: {error}"));
        (slug, vector)
    };
    files.into_iter().map(parse).collect()
}

fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "vectors"].iter().collect()
}

fn client_frames(format: Format, message: &[u8]) -> Result<Vec<ClientFrame>, DecodeError> {
    ClientFrames::new(format, message, limits::DEFAULT_PAYLOAD).collect()
}

fn server_frames(format: Format, message: &[u8]) -> Result<Vec<ServerFrame>, DecodeError> {
    ServerFrames::new(format, message).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0, "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
