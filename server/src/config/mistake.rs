//! What can be wrong with a configuration. Each mistake names its key, who gave the value, and what is accepted.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::{sources::Origin, units};

/// Every mistake of a configuration, at once. Its `Display` has a line for each and never a secret.
#[derive(Debug)]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes)
    }

    /// The mistakes, at least one.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} {}:", if count == 1 { "mistake" } else { "mistakes" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

/// One thing that is wrong.
#[derive(Debug, Error)]
pub enum Mistake {
    /// No such key.
    #[error("{key} ({origin}): there is no such key{}", meant(.nearest.as_deref()))]
    Unknown {
        /// The key.
        key: String,
        /// Who set it.
        origin: Origin,
        /// The known key that is spelled most like it.
        nearest: Option<String>,
    },
    /// A section was given a value of its own.
    #[error("{key} ({origin}): this is a section; set one of the keys in it")]
    Section {
        /// The section.
        key: String,
        /// Who set it.
        origin: Origin,
    },
    /// A value of the wrong type or out of its bounds.
    #[error("{key} = {value} ({origin}): accepted is {accepts}")]
    Refused {
        /// The key.
        key: String,
        /// Who set it.
        origin: Origin,
        /// The value; `***` for a secret.
        value: String,
        /// What would have been right.
        accepts: String,
    },
    /// Two values, each right by itself, that exclude each other.
    #[error("{key} = {value} ({origin}): {rule} {other} = {other_value} ({other_origin})")]
    Contradiction {
        /// The key.
        key: String,
        /// Who set it.
        origin: Origin,
        /// The value; `***` for a secret.
        value: String,
        /// What has to hold between the two.
        rule: &'static str,
        /// The other key.
        other: String,
        /// Its value.
        other_value: String,
        /// Who set that.
        other_origin: Origin,
    },
    /// A file that a key names cannot be used.
    #[error("{key} = \"{}\" ({origin}): {problem}", .file.display())]
    File {
        /// The key.
        key: String,
        /// Who set it.
        origin: Origin,
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: FileProblem,
    },
    /// The configuration file cannot be used.
    #[error("{}: {problem}", .file.display())]
    Configuration {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: FileProblem,
    },
    /// An argument of `--set` that sets nothing. Not quoted: it may hold a secret.
    #[error("argument --set, the {number}. one: accepted is section.key=value")]
    Argument {
        /// Which `--set`, from 1.
        number: usize,
    },
    /// A namespace that no channel can be in.
    #[error(
        "{key} ({origin}): no channel can be in a namespace of this name; accepted are letters, digits and -_.@+~=, of at most 126 bytes"
    )]
    Namespace {
        /// The namespace's table.
        key: String,
        /// Who made it.
        origin: Origin,
    },
}

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum FileProblem {
    /// It cannot be read.
    #[error("the file cannot be read ({0}); check its path and permissions")]
    Read(io::Error),
    /// It is larger than such a file can be.
    #[error("the file is larger than {}", units::size(*.max as usize))]
    TooLarge {
        /// The bound in bytes.
        max: u64,
    },
    /// It holds less than it has to.
    #[error("the file has to hold at least {min} bytes, white space around them aside")]
    TooShort {
        /// The bound in bytes.
        min: usize,
    },
    /// It is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// It is not TOML.
    #[error("line {line} is not TOML: {message}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What the parser says; it does not quote the line.
        message: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default()
}
