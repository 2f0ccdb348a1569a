//! Pages of rows: by conditions on columns that have an index, in the order of one of them, from where the last page ended.

use sqlx::{AssertSqlSafe, FromRow, postgres::PgRow, sqlite::SqliteRow};

use super::{Db, StoreError, read};

/// A value that a column is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Equal to one of the values.
    In,
    /// Equal to none of them.
    NotIn,
    /// Less than the value.
    Lt,
    /// At most.
    Le,
    /// More.
    Gt,
    /// At least.
    Ge,
    /// Text that begins with the value.
    Prefix,
    /// There is no value.
    Absent,
    /// There is one.
    Present,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number; times are Unix milliseconds.
    Whole,
    /// One of these texts.
    Choice(&'static [&'static str]),
}

/// A field of rows that lists can be filtered by, and perhaps sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, for those who ask.
    pub name: &'static str,
    /// Its column, as SQL.
    pub column: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be NULL. Such a one cannot be sorted by.
    pub nullable: bool,
    /// Whether there is an index in its order.
    pub sorts: bool,
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, column: name, kind, nullable: false, sorts: false }
    }

    /// Text in the column `name`.
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text)
    }

    /// A whole number in the column `name`.
    pub const fn whole(name: &'static str) -> Self {
        Self::new(name, Kind::Whole)
    }

    /// One of `choices` in the column `name`.
    pub const fn choice(name: &'static str, choices: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Choice(choices))
    }

    /// The same in another column.
    pub const fn of(self, column: &'static str) -> Self {
        Self { column, ..self }
    }

    /// The same, and may be NULL.
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// The same, with an index in its order.
    pub const fn sorted(self) -> Self {
        Self { sorts: true, ..self }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// A column, as SQL: never from a request.
    pub column: &'static str,
    /// How.
    pub op: Op,
    /// With what: one value, or several for [`Op::In`] and [`Op::NotIn`].
    pub terms: Vec<Term>,
}

/// The order of the rows: by a column that is never NULL, then by the one that is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The column, as SQL.
    pub column: &'static str,
    /// Whether the largest come first.
    pub descending: bool,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// In which order.
    pub order: Order,
    /// Only those behind the row with this value of the order's column and this id.
    pub after: Option<(Term, String)>,
    /// So many at most.
    pub limit: u32,
}

/// The rows of `from` (a SELECT up to its FROM, or with a WHERE that ends in a condition) that `selection` names. `id` is the column that is unique.
///
/// # Errors
/// [`StoreError::Database`].
pub(crate) async fn select<T>(db: &Db, from: &'static str, id: &'static str, selection: &Selection) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let (sql, terms) = statement(from, id, selection);
    #[cfg(test)]
    super::testing::note(&sql, &terms);
    Ok(read!(db, pool => {
        let mut query = sqlx::query_as::<_, T>(AssertSqlSafe(sql));
        for term in terms {
            query = match term {
                Term::Text(text) => query.bind(text),
                Term::Whole(number) => query.bind(number),
            };
        }
        query.fetch_all(pool).await
    })?)
}

/// The statement and what it is run with.
pub(crate) fn statement(from: &str, id: &str, selection: &Selection) -> (String, Vec<Term>) {
    let mut sql = from.to_owned();
    let mut terms = Vec::new();
    let mut glue = if from.contains(" WHERE ") { " AND " } else { " WHERE " };
    let mut and = |sql: &mut String| sql.push_str(std::mem::replace(&mut glue, " AND "));
    for condition in &selection.conditions {
        and(&mut sql);
        sql.push_str(&compare(condition, &mut terms));
    }
    let Order { column, descending } = selection.order;
    let (sign, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
    if let Some((value, last)) = &selection.after {
        and(&mut sql);
        let [first, second] = [place(&mut terms, value.clone()), place(&mut terms, Term::Text(last.clone()))];
        sql.push_str(&format!("({column}, {id}) {sign} ({first}, {second})"));
    }
    let limit = place(&mut terms, Term::Whole(i64::from(selection.limit)));
    match column == id {
        true => sql.push_str(&format!(" ORDER BY {id} {direction} LIMIT {limit}")),
        false => sql.push_str(&format!(" ORDER BY {column} {direction}, {id} {direction} LIMIT {limit}")),
    }
    (sql, terms)
}

/// The next placeholder.
fn place(terms: &mut Vec<Term>, term: Term) -> String {
    terms.push(term);
    format!("${}", terms.len())
}

fn compare(condition: &Condition, terms: &mut Vec<Term>) -> String {
    let column = condition.column;
    let mut list = || {
        let places: Vec<_> = condition.terms.iter().map(|term| place(terms, term.clone())).collect();
        places.join(", ")
    };
    match condition.op {
        Op::In => format!("{column} IN ({})", list()),
        Op::NotIn => format!("{column} NOT IN ({})", list()),
        Op::Lt => format!("{column} < {}", list()),
        Op::Le => format!("{column} <= {}", list()),
        Op::Gt => format!("{column} > {}", list()),
        Op::Ge => format!("{column} >= {}", list()),
        Op::Absent => format!("{column} IS NULL"),
        Op::Present => format!("{column} IS NOT NULL"),
        // A range, which an index serves; LIKE would have signs of its own in the text.
        Op::Prefix => {
            let Some(Term::Text(prefix)) = condition.terms.first() else { return "1 = 1".to_owned() };
            let from = place(terms, Term::Text(prefix.clone()));
            match after_prefix(prefix) {
                Some(end) => format!("({column} >= {from} AND {column} < {})", place(terms, Term::Text(end))),
                None => format!("{column} >= {from}"),
            }
        }
    }
}

/// The least text that is behind every text with this prefix, by bytes; `None` if there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut signs: Vec<char> = prefix.chars().collect();
    while let Some(last) = signs.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            signs.push(next);
            return Some(signs.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order { column: "created_at", descending: true };

    #[test]
    fn every_part_of_a_selection_is_in_its_statement() {
        let selection = Selection {
            conditions: vec![
                Condition { column: "role", op: Op::In, terms: vec![Term::Text("a".into()), Term::Text("b".into())] },
                Condition { column: "name", op: Op::Prefix, terms: vec![Term::Text("x".into())] },
                Condition { column: "deleted_at", op: Op::Absent, terms: vec![] },
            ],
            order: ORDER,
            after: Some((Term::Whole(5), "u".into())),
            limit: 11,
        };
        let (sql, terms) = statement("SELECT * FROM users", "id", &selection);
        assert_eq!(
            sql,
            "SELECT * FROM users WHERE role IN ($1, $2) AND (name >= $3 AND name < $4) AND deleted_at IS NULL \
             AND (created_at, id) < ($5, $6) ORDER BY created_at DESC, id DESC LIMIT $7"
        );
        assert_eq!(terms[3], Term::Text("y".into()));
        assert_eq!(terms.len(), 7);
        let plain = Selection { conditions: vec![], order: Order { column: "id", descending: false }, after: None, limit: 1 };
        assert_eq!(statement("SELECT 1 FROM t WHERE a = 1", "id", &plain).0, "SELECT 1 FROM t WHERE a = 1 ORDER BY id ASC LIMIT $1");
    }

    #[test]
    fn a_prefix_ends_behind_the_last_text_that_has_it() {
        for prefix in ["a", "é", "\u{d7ff}", "a\u{10ffff}"] {
            let end = after_prefix(prefix).unwrap();
            assert!(end.as_bytes() > format!("{prefix}\u{10ffff}\u{10ffff}").as_bytes(), "{prefix:?}");
        }
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
