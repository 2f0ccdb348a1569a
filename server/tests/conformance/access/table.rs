//! `table.txt`, read.

use std::{collections::HashMap, fmt};

/// What the columns are called, in their order.
pub const CALLERS: [&str; 19] = [
    "nobody",
    "bad",
    "blocked",
    "banned",
    "visitor",
    "stranger",
    "invited",
    "guest",
    "member",
    "moderator",
    "admin",
    "owner",
    "narrow",
    "i-mod",
    "i-admin",
    "i-owner",
    "key",
    "unscoped",
    "elsewhere",
];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The method; `FRAME` for one of the socket.
    pub method: String,
    /// The path with its places in braces, and a query; or the frame's type.
    pub what: String,
    /// In which case.
    pub case: String,
    /// What comes of it, caller by caller.
    pub cells: Vec<String>,
}

impl Row {
    /// As the document of the API calls it: without a query.
    pub fn operation(&self) -> String {
        format!("{} {}", self.method, self.what.split('?').next().unwrap())
    }

    /// Whether it is one of the socket's.
    pub fn is_frame(&self) -> bool {
        self.method == "FRAME"
    }

    /// Whether the case is called so, among others.
    pub fn is(&self, case: &str) -> bool {
        self.case.split(',').any(|one| one == case)
    }

    /// Whether it is about a channel.
    pub fn is_in_channel(&self) -> bool {
        self.is("private") || self.is("public")
    }

    /// Caller by caller.
    pub fn by_caller(&self) -> HashMap<&'static str, &str> {
        CALLERS.into_iter().zip(self.cells.iter().map(String::as_str)).collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {:<36}  {:<15} ", self.method, self.what, self.case)?;
        self.cells.iter().zip(CALLERS).try_for_each(|(cell, caller)| write!(f, " {cell:<width$}", width = caller.len().max(3)))
    }
}

/// Every line.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in include_str!("table.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "method" {
            assert_eq!(words[3..], CALLERS, "the columns are these, in this order");
            continue;
        }
        assert_eq!(words.len(), 3 + CALLERS.len(), "not a cell for each caller: {line}");
        let text = |word: &&str| (*word).to_owned();
        let cells = words[3..].iter().map(text).collect();
        rows.push(Row { method: text(&words[0]), what: text(&words[1]), case: text(&words[2]), cells });
    }
    rows
}
