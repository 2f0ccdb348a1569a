//! Where settings come from: four layers, flattened to one map from a key's path to what it was given, and by whom.
//!
//! Knows TOML, environment names and `--set` arguments, but no key: what a key means is the reader's affair.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{Document, Item, TableLike};

use super::mistake::{FileProblem, Mistake};

/// The defaults, as documented for operators and embedded here, so that the two cannot drift apart.
pub const DEFAULTS: &str = include_str!("../../../config/hubbub.toml");
/// Bytes of a configuration file, at most.
const MAX_FILE: u64 = 1 << 20;
/// Names of environment variables that are settings start so.
const PREFIX: &str = "HUBBUB_";
/// The environment variable that names the file when no argument does.
const FILE_VARIABLE: &str = "HUBBUB_CONFIG";

/// What a configuration is loaded from, over the defaults: the process's own, or a test's. Has no `Debug`: it may hold secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file of `--config`; without one the file that `HUBBUB_CONFIG` in `environment` names, if any.
    pub file: Option<PathBuf>,
    /// Variables and their values. Those that do not start with `HUBBUB_` are ignored.
    pub environment: Vec<(String, String)>,
    /// The arguments of `--set`, each `section.key=value`, the later over the earlier.
    pub arguments: Vec<String>,
}

/// Which layer gave a key its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The documented default.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An argument of `--set`.
    Argument,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File { file, line } => write!(f, "{}, line {line}", file.display()),
            Origin::Environment { variable } => write!(f, "environment variable {variable}"),
            Origin::Argument => f.write_str("argument --set"),
        }
    }
}

/// A key's path from the root, `["http", "listen"]`.
pub(super) type KeyPath = Vec<String>;
/// Every key that was given a value, and an entry for every empty table.
pub(super) type Settings = BTreeMap<KeyPath, Setting>;

/// A value, uninterpreted, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub given: Given,
    pub origin: Origin,
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Whole(i64),
    /// A TOML boolean.
    Switch(bool),
    /// Text of the environment or of an argument: its key decides what it is.
    Plain(String),
    /// A table without keys.
    Table,
    /// TOML of a type that no key takes, as it was written.
    Other(String),
}

/// The defaults alone, and all layers together.
pub(super) struct Layers {
    pub shipped: Settings,
    pub merged: Settings,
}

impl Layers {
    /// Reads every layer. What cannot be read is added to `mistakes`, and the other layers stand.
    pub fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Self {
        let mut shipped = Settings::new();
        parse_toml(DEFAULTS, |_| Origin::Default, &mut shipped).expect("the embedded defaults are TOML: a test reads them");
        let mut merged = shipped.clone();
        let named = sources
            .environment
            .iter()
            .find(|(name, file)| name == FILE_VARIABLE && !file.is_empty())
            .map(|(_, value)| PathBuf::from(value));
        if let Some(file) = sources.file.clone().or(named) {
            add_file(&file, &mut merged, mistakes);
        }
        for (variable, value) in &sources.environment {
            add_variable(variable, value, &mut merged);
        }
        for (index, argument) in sources.arguments.iter().enumerate() {
            match argument.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    merged.insert(argument_path(key), Setting { given: Given::Plain(value.to_owned()), origin: Origin::Argument });
                }
                _ => mistakes.push(Mistake::Argument { number: index + 1 }),
            }
        }
        Self { shipped, merged }
    }
}

/// Reads a whole file of at most `max` bytes.
pub(super) fn read_file(file: &Path, max: u64) -> Result<Vec<u8>, FileProblem> {
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(FileProblem::Read)?;
    io::Read::read_to_end(&mut io::Read::take(opened, max + 1), &mut bytes).map_err(FileProblem::Read)?;
    if bytes.len() as u64 > max { Err(FileProblem::TooLarge { max }) } else { Ok(bytes) }
}

fn add_file(file: &Path, settings: &mut Settings, mistakes: &mut Vec<Mistake>) {
    let mut mistake = |problem| mistakes.push(Mistake::Configuration { file: file.to_owned(), problem });
    let text = match read_file(file, MAX_FILE).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return mistake(FileProblem::NotText),
        Err(problem) => return mistake(problem),
    };
    let origin = |line| Origin::File { file: file.to_owned(), line };
    if let Err(problem) = parse_toml(&text, origin, settings) {
        mistake(problem);
    }
}

fn parse_toml(text: &str, origin: impl Fn(usize) -> Origin, settings: &mut Settings) -> Result<(), FileProblem> {
    let line_at = |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
    // Only the message: the error's `Display` quotes the line, and the line may hold a secret.
    let document = Document::parse(text).map_err(|error| FileProblem::Syntax {
        line: line_at(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    flatten(document.as_table(), &mut Vec::new(), &mut |path, item| {
        let span = item.span().unwrap_or_default();
        let given = match item {
            Item::Value(value) if value.is_str() => Given::Text(value.as_str().unwrap_or_default().to_owned()),
            Item::Value(value) if value.is_integer() => Given::Whole(value.as_integer().unwrap_or_default()),
            Item::Value(value) if value.is_bool() => Given::Switch(value.as_bool().unwrap_or_default()),
            item if item.is_table_like() => Given::Table,
            _ => Given::Other(text.get(span.clone()).unwrap_or_default().to_owned()),
        };
        settings.insert(path, Setting { given, origin: origin(line_at(span.start)) });
    });
    Ok(())
}

fn flatten(table: &dyn TableLike, path: &mut KeyPath, leaf: &mut impl FnMut(KeyPath, &Item)) {
    for (key, item) in table.iter() {
        path.push(key.to_owned());
        match item.as_table_like() {
            Some(inner) if !inner.is_empty() => flatten(inner, path, leaf),
            _ => leaf(path.clone(), item),
        }
        path.pop();
    }
}

fn add_variable(variable: &str, value: &str, settings: &mut Settings) {
    let Some(name) = variable.strip_prefix(PREFIX) else { return };
    if variable == FILE_VARIABLE || is_service_link(name, value) {
        return;
    }
    let path = name.split("__").map(str::to_lowercase).collect();
    settings.insert(path, Setting { given: Given::Plain(value.to_owned()), origin: Origin::Environment { variable: variable.to_owned() } });
}

/// Whether Kubernetes made the variable for a service whose name starts with `hubbub`: `HUBBUB_SERVICE_HOST`,
/// `HUBBUB_PORT=tcp://…`, `HUBBUB_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    let has = |part: &str| name.starts_with(part) || name.contains(&format!("_{part}"));
    let names_port = name == "PORT" || name.ends_with("_PORT");
    !name.contains("__") && (has("SERVICE_HOST") || has("SERVICE_PORT") || has("PORT_") || names_port && value.contains("://"))
}

/// `namespaces.<name>.<key>` keeps dots of the name together; elsewhere each dot parts two levels.
fn argument_path(key: &str) -> KeyPath {
    let inner = key.strip_prefix("namespaces.").and_then(|rest| rest.rsplit_once('.'));
    match inner {
        Some((name, key)) => vec!["namespaces".to_owned(), name.to_owned(), key.to_owned()],
        None => key.split('.').map(str::to_owned).collect(),
    }
}

/// How the key would be spelled where `origin` is.
pub(super) fn spell(path: &[String], origin: &Origin) -> String {
    match origin {
        Origin::Environment { .. } => format!("{PREFIX}{}", path.join("__").to_uppercase()),
        _ => path.join("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> KeyPath {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_namespace_in_an_argument_may_hold_dots() {
        assert_eq!(argument_path("http.listen"), path(&["http", "listen"]));
        assert_eq!(argument_path("namespaces.a.b.slow"), path(&["namespaces", "a.b", "slow"]));
        assert_eq!(argument_path("namespaces.a"), path(&["namespaces", "a"]));
    }

    #[test]
    fn variables_of_kubernetes_are_not_settings() {
        for name in
            ["PORT", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8080_TCP_ADDR", "NATS_SERVICE_HOST", "NATS_PORT", "NATS_PORT_4222_TCP"]
        {
            assert!(is_service_link(name, "tcp://10.0.0.7:8080"), "{name}");
        }
        for name in ["HTTP__LISTEN", "HTTP_LISTEN", "HTTP__PORT", "HTTP_PORT", "EXPORT"] {
            assert!(!is_service_link(name, "8080"), "{name}");
        }
    }

    #[test]
    fn toml_is_flattened_with_its_lines() {
        let mut settings = Settings::new();
        let origin = |line| Origin::File { file: "x".into(), line };
        parse_toml("a = 1\n[b]\nc = 'x'\nd = { e = true, f = 1.5 }\n[g]\n", origin, &mut settings).unwrap();
        let seen: Vec<_> = settings.iter().map(|(path, setting)| (path.join("."), setting.given.clone(), setting.origin.clone())).collect();
        assert_eq!(
            seen,
            [
                ("a".to_owned(), Given::Whole(1), origin(1)),
                ("b.c".to_owned(), Given::Text("x".to_owned()), origin(3)),
                ("b.d.e".to_owned(), Given::Switch(true), origin(4)),
                ("b.d.f".to_owned(), Given::Other("1.5".to_owned()), origin(4)),
                ("g".to_owned(), Given::Table, origin(5)),
            ]
        );
    }

    #[test]
    fn a_syntax_error_does_not_quote_the_line() {
        let error = parse_toml("[auth]\nsecret = \"hunter2 hunter2", |_| Origin::Default, &mut Settings::new()).unwrap_err();
        assert!(matches!(error, FileProblem::Syntax { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
