//! `[store]`: the database.

use std::{fmt, path::PathBuf};

use super::{
    Secret,
    reader::{Section, Show},
};

/// Bytes of a password in a file, at most.
const MAX_PASSWORD: u64 = 4096;
const ACCEPTS: &str = "\"sqlite:\" and the path of a file, such as \"sqlite:hubbub.db\", or \"postgres://user@host/database\"";

/// Where durable channels are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:`: this file.
    Sqlite(PathBuf),
    /// `postgres:`: a database on a server.
    Postgres(PostgresUrl),
}

impl StoreUrl {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("sqlite", path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                // A database in memory is another one for each connection, and a query would become part of the file's name.
                (!path.is_empty() && !path.starts_with(':') && !path.contains(['?', '\0'])).then(|| Self::Sqlite(path.into()))
            }
            ("postgres" | "postgresql", rest) => {
                let has_place = rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
                has_place.then(|| Self::Postgres(PostgresUrl(text.to_owned())))
            }
            _ => None,
        }
    }
}

/// A URL that may hold a password: its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// The URL, password and all.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres:***")
    }
}

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The database.
    pub url: StoreUrl,
    /// The password of a PostgreSQL user; over one in the URL.
    pub password: Option<Secret>,
    /// Connections that read.
    pub readers: u32,
    /// Connections that append, each for its share of the channels. SQLite has one whatever is said here.
    pub writers: u32,
}

impl StoreConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let password = section.file("password_file", MAX_PASSWORD).map(|content| Secret::new(content.trim_ascii()));
        Self {
            url: section.parsed("url", Show::Scheme, ACCEPTS, StoreUrl::parse),
            password,
            readers: section.whole("readers", 1..=64),
            writers: section.whole("writers", 1..=64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_the_store() {
        let sqlite = |path: &str| Some(StoreUrl::Sqlite(path.into()));
        assert_eq!(StoreUrl::parse("sqlite:hubbub.db"), sqlite("hubbub.db"));
        assert_eq!(StoreUrl::parse("sqlite:///var/lib/hubbub.db"), sqlite("/var/lib/hubbub.db"));
        for text in ["postgres://localhost/hubbub", "postgresql://hubbub:secret@db.example.org:5432/hubbub?sslmode=verify-full"] {
            let Some(StoreUrl::Postgres(url)) = StoreUrl::parse(text) else { panic!("{text}") };
            assert_eq!(url.expose(), text);
            assert!(!format!("{url:?}").contains("secret"));
        }
        for text in
            ["hubbub.db", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a.db?mode=ro", "postgres:hubbub", "postgres://", "mysql://h/d"]
        {
            assert_eq!(StoreUrl::parse(text), None, "{text}");
        }
    }
}
