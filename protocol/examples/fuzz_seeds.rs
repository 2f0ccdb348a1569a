//! Writes every vector into the fuzz targets' corpora: `cargo run -p hubbub-protocol --example fuzz_seeds`.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the kinds of vectors have between them.
#[derive(Deserialize)]
struct Vector {
    frame: Option<Box<RawValue>>,
    frames: Option<Vec<Box<RawValue>>>,
    json: Option<Box<RawValue>>,
    text: Option<String>,
    msgpack: Option<String>,
    bytes: Option<String>,
}

impl Vector {
    fn json(&self) -> Option<String> {
        let frames = self.frame.iter().chain(self.frames.iter().flatten()).chain(&self.json);
        let text: String = frames.map(|frame| frame.get()).chain(self.text.as_deref()).collect();
        (!text.is_empty()).then_some(text)
    }

    fn msgpack(&self) -> Option<Vec<u8>> {
        let hex = self.msgpack.as_ref().or(self.bytes.as_ref())?;
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
    }
}

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("fuzz/corpus");
    let mut seeds = 0;
    for folder in ["client", "server", "lenient", "payload", "refused"] {
        for file in fs::read_dir(root.join("vectors").join(folder))? {
            let vector: Vector = serde_json::from_str(&fs::read_to_string(file?.path())?)?;
            // A payload's JSON is of use to nobody else; a frame is of use to every reader.
            let (json, msgpack): (&[&str], &[&str]) = match folder {
                "payload" => (&["payload"], &["payload"]),
                _ => (&["client_json", "server_json", "payload", "name"], &["client_msgpack", "server_msgpack", "payload"]),
            };
            for (targets, seed) in [(json, vector.json().map(String::into_bytes)), (msgpack, vector.msgpack())] {
                for (target, seed) in targets.iter().zip(seed.iter().cycle()) {
                    write(corpus.join(target), seed)?;
                    seeds += 1;
                }
            }
        }
    }
    println!("{seeds} seeds in {}", corpus.display());
    Ok(())
}

/// One file, named by its content: a second run writes the same files.
fn write(folder: PathBuf, seed: &[u8]) -> io::Result<()> {
    fs::create_dir_all(&folder)?;
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    fs::write(folder.join(format!("{:016x}", hasher.finish())), seed)
}
