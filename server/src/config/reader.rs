//! Reads typed values out of the layers, notes every mistake, and keeps going: one load finds them all.
//!
//! A value that is refused is replaced by its default for the rest of the load, which has failed by then. Keys that
//! nobody asked for are the unknown ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use super::{
    mistake::{FileProblem, Mistake},
    sources::{Given, KeyPath, Layers, Origin, Setting, read_file, spell},
    units,
};

/// How much of a value an error message may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// All of it.
    Whole,
    /// Up to the first colon: what follows a URL's scheme may hold a password.
    Scheme,
    /// Nothing: it is a secret.
    Nothing,
}

/// The layers of one load, what was asked of them so far, and the mistakes so far.
pub(super) struct Reader {
    layers: Layers,
    known: BTreeMap<KeyPath, Show>,
    refused: BTreeSet<KeyPath>,
    mistakes: Vec<Mistake>,
}

/// One table of the configuration. The methods read a key each; its bounds are part of the error message.
pub(super) struct Section<'a> {
    reader: &'a mut Reader,
    path: KeyPath,
    /// Where a key is looked up that this table lacks.
    parent: Option<KeyPath>,
}

impl Reader {
    pub fn new(layers: Layers, mistakes: Vec<Mistake>) -> Self {
        Self { layers, known: BTreeMap::new(), refused: BTreeSet::new(), mistakes }
    }

    /// The section of that name.
    pub fn section(&mut self, name: &str) -> Section<'_> {
        Section { reader: self, path: vec![name.to_owned()], parent: None }
    }

    /// A table `[outer.name]` that takes the keys it lacks from `[outer.parent]`.
    pub fn inheriting(&mut self, outer: &str, name: &str, parent: &str) -> Section<'_> {
        let parent = (name != parent).then(|| vec![outer.to_owned(), parent.to_owned()]);
        Section { reader: self, path: vec![outer.to_owned(), name.to_owned()], parent }
    }

    /// The names of the tables inside `[outer]`, and who set their first key.
    pub fn tables(&self, outer: &str) -> BTreeMap<String, Setting> {
        let inside = self.layers.merged.iter().filter(|(path, _)| path.len() > 1 && path[0] == outer);
        let mut tables = BTreeMap::new();
        for (path, setting) in inside {
            tables.entry(path[1].clone()).or_insert_with(|| setting.clone());
        }
        tables
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Notes that two values, each right by itself, break `rule`. Says nothing if one of them was refused already.
    pub fn contradiction(&mut self, key: KeyPath, rule: &'static str, other: KeyPath) {
        if self.refused.contains(&key) || self.refused.contains(&other) {
            return;
        }
        if let (Some(setting), Some(other_setting)) = (self.layers.merged.get(&key), self.layers.merged.get(&other)) {
            self.mistakes.push(Mistake::Contradiction {
                key: key.join("."),
                origin: setting.origin.clone(),
                value: shown(&setting.given, self.show(&key)),
                rule,
                other: other.join("."),
                other_value: shown(&other_setting.given, self.show(&other)),
                other_origin: other_setting.origin.clone(),
            });
        }
    }

    /// Every mistake, those of keys that nobody asked for included.
    pub fn finish(mut self) -> Vec<Mistake> {
        for (path, setting) in &self.layers.merged {
            let is_section = self.known.keys().any(|known| known.len() > path.len() && known.starts_with(path));
            if self.known.contains_key(path) || is_section && setting.given == Given::Table {
                continue;
            }
            let (key, origin) = (spell(path, &setting.origin), setting.origin.clone());
            self.mistakes.push(if is_section {
                Mistake::Section { key, origin }
            } else {
                Mistake::Unknown { nearest: self.nearest(path, setting), key, origin }
            });
        }
        self.mistakes
    }

    /// The paths that were asked for.
    #[cfg(test)]
    pub fn known(&self) -> impl Iterator<Item = &KeyPath> {
        self.known.keys()
    }

    fn show(&self, path: &KeyPath) -> Show {
        self.known.get(path).copied().unwrap_or(Show::Whole)
    }

    fn nearest(&self, path: &[String], setting: &Setting) -> Option<String> {
        let wrong = path.join(".");
        let near = self.known.keys().map(|known| (strsim::osa_distance(&wrong, &known.join(".")), known)).min()?;
        let last_alike = || self.known.keys().find(|known| known.last() == path.last());
        let best = if near.0 <= 1 + wrong.len() / 4 { Some(near.1) } else { last_alike() };
        best.map(|known| spell(known, &setting.origin))
    }
}

impl Section<'_> {
    /// A whole number within `range`.
    pub fn whole<T: TryFrom<i64> + PartialOrd + Display>(&mut self, key: &str, range: RangeInclusive<T>) -> T {
        let accepts = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, Show::Whole, &accepts, |given| {
            let number = match given {
                Given::Whole(number) => *number,
                Given::Plain(text) => text.parse().ok()?,
                _ => return None,
            };
            T::try_from(number).ok().filter(|number| range.contains(number))
        })
    }

    /// A duration within `range`, in whole milliseconds.
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        let accepts = format!("a duration from {} to {}, such as \"25s\"", units::duration(*range.start()), units::duration(*range.end()));
        self.parsed(key, Show::Whole, &accepts, |text| units::parse_duration(text).filter(|value| range.contains(value)))
    }

    /// A number of bytes within `range`.
    pub fn size(&mut self, key: &str, range: RangeInclusive<usize>) -> usize {
        let accepts = format!("a size from {} to {}, such as \"64KiB\"", units::size(*range.start()), units::size(*range.end()));
        self.parsed(key, Show::Whole, &accepts, |text| units::parse_size(text).filter(|value| range.contains(value)))
    }

    /// Yes or no.
    pub fn switch(&mut self, key: &str) -> bool {
        self.take(key, Show::Whole, "true or false", |given| match given {
            Given::Switch(value) => Some(*value),
            Given::Plain(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// One of a closed set of names.
    pub fn choice<T: Copy>(&mut self, key: &str, names: &[(&str, T)]) -> T {
        let accepts = names.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        self.parsed(key, Show::Whole, &accepts, |text| names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value))
    }

    /// A line of text of at most `max` bytes; `None` if it is empty.
    pub fn line(&mut self, key: &str, max: usize) -> Option<String> {
        let accepts = format!("a line of text of at most {max} bytes");
        let line = self
            .parsed(key, Show::Whole, &accepts, |text| (text.len() <= max && !text.contains(char::is_control)).then(|| text.to_owned()));
        (!line.is_empty()).then_some(line)
    }

    /// The content of the file that a key names, at most `max` bytes; `None` if it names none, or one that cannot be read.
    pub fn file(&mut self, key: &str, max: u64) -> Option<Vec<u8>> {
        let file = PathBuf::from(self.line(key, 4096)?);
        read_file(&file, max).map_err(|problem| self.file_mistake(key, problem)).ok()
    }

    /// Notes what is wrong with the file that `key` names.
    pub fn file_mistake(&mut self, key: &str, problem: FileProblem) {
        let path = self.child(key);
        if let Some(Setting { given: Given::Text(file) | Given::Plain(file), origin }) = self.reader.layers.merged.get(&path) {
            let (file, origin) = (PathBuf::from(file), origin.clone());
            self.reader.mistakes.push(Mistake::File { key: path.join("."), origin, file, problem });
            self.reader.refused.insert(path);
        }
    }

    /// Text that `read` understands; `accepts` says what that is.
    pub fn parsed<T>(&mut self, key: &str, show: Show, accepts: &str, read: impl Fn(&str) -> Option<T>) -> T {
        self.take(key, show, accepts, |given| match given {
            Given::Text(text) | Given::Plain(text) => read(text),
            _ => None,
        })
    }

    /// Notes that two keys of this section contradict each other.
    pub fn contradiction(&mut self, key: &str, rule: &'static str, other: &str) {
        let (key, other) = (self.standing(key), self.standing(other));
        self.reader.contradiction(key, rule, other);
    }

    /// Whether an operator set the key in this very table.
    pub fn is_set(&self, key: &str) -> bool {
        self.reader.layers.merged.get(&self.child(key)).is_some_and(|setting| setting.origin != Origin::Default)
    }

    /// Where the value of a key stands: here, or in the table from which it is inherited.
    fn standing(&self, key: &str) -> KeyPath {
        let path = self.child(key);
        if self.reader.layers.merged.contains_key(&path) { path } else { self.inherited(key).unwrap_or(path) }
    }

    fn inherited(&self, key: &str) -> Option<KeyPath> {
        self.parent.as_ref().map(|parent| parent.iter().cloned().chain([key.to_owned()]).collect())
    }

    fn child(&self, key: &str) -> KeyPath {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    fn take<T>(&mut self, key: &str, show: Show, accepts: &str, read: impl Fn(&Given) -> Option<T>) -> T {
        let path = self.child(key);
        let inherited = self.inherited(key);
        self.reader.known.insert(path.clone(), show);
        let Layers { shipped, merged } = &self.reader.layers;
        let own = merged.get(&path);
        let value = own.or_else(|| merged.get(inherited.as_ref()?)).and_then(|setting| read(&setting.given));
        if let Some(value) = value {
            return value;
        }
        // What a table inherits was refused where it stands.
        if let Some(Setting { given, origin }) = own {
            self.reader.mistakes.push(Mistake::Refused {
                key: path.join("."),
                origin: origin.clone(),
                value: shown(given, show),
                accepts: accepts.to_owned(),
            });
            self.reader.refused.insert(path.clone());
        }
        let default = shipped.get(&path).or_else(|| shipped.get(inherited.as_ref()?));
        default
            .and_then(|setting| read(&setting.given))
            .unwrap_or_else(|| unreachable!("hubbub.toml has a valid default for {}: a test loads it", path.join(".")))
    }
}

fn shown(given: &Given, show: Show) -> String {
    let text = match (given, show) {
        (_, Show::Nothing) => return "***".to_owned(),
        (Given::Text(text) | Given::Plain(text), Show::Scheme) => match text.split_once(':') {
            Some((scheme, _)) => format!("\"{}:…\"", scheme.escape_debug()),
            None => "\"…\"".to_owned(),
        },
        (Given::Other(_), Show::Scheme) => "…".to_owned(),
        (Given::Text(text) | Given::Plain(text), Show::Whole) => format!("{text:?}"),
        (Given::Whole(number), _) => number.to_string(),
        (Given::Switch(value), _) => value.to_string(),
        (Given::Table, _) => "{}".to_owned(),
        (Given::Other(text), _) => text.clone(),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
