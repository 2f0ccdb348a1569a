//! What databases make of every list at 100,000 rows: whatever it is sorted and filtered by, an index leads to its rows. No page reads, or
//! sorts, more than a small part of its table.

mod fill;

use std::pin::Pin;

use hubbub_protocol::ChannelName;
use sqlx::{AssertSqlSafe, Row};

use crate::store::{
    Db, api_keys, audit, bans,
    entries::Page,
    listing::{Condition, Op, Order, Selection, Term},
    members,
    messages::{self, End},
    people, read, rooms, sessions,
    testing::{Database, Place, statements},
    uploads,
};
use fill::{CHANNEL, LISTS, LOG, OWNER, ROWS, count, fill};

/// Rows that a page may look at: what one owner, or one user, has of each.
const MOST: u64 = 10_000;
/// Items of a page, and one more.
const LIMIT: u32 = 51;

type Asked<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A list, with what its handler lets one sort and filter by.
struct List {
    name: &'static str,
    ask: for<'a> fn(&'a Db, &'a Selection) -> Asked<'a>,
    /// What the handler adds.
    always: Vec<Condition>,
    /// Whether that leaves little, which may be sorted.
    is_short: bool,
    /// Columns, and a value in the middle of each.
    sorts: Vec<(&'static str, Term)>,
    /// Conditions that few rows fulfil, or none.
    filters: Vec<Condition>,
}

macro_rules! asks {
    ($list:path) => {
        |db, selection| Box::pin(async move { drop($list(db, selection).await.unwrap()) })
    };
}

fn text(text: &str) -> Term {
    Term::Text(text.to_owned())
}

fn is(column: &'static str, value: &str) -> Condition {
    Condition { column, op: Op::In, terms: vec![text(value)] }
}

fn absent(column: &'static str) -> Condition {
    Condition { column, op: Op::Absent, terms: vec![] }
}

fn present(column: &'static str) -> Condition {
    Condition { column, op: Op::Present, terms: vec![] }
}

fn less(column: &'static str, value: i64) -> Condition {
    Condition { column, op: Op::Lt, terms: vec![Term::Whole(value)] }
}

fn begins(column: &'static str, value: &str) -> Condition {
    Condition { column, op: Op::Prefix, terms: vec![text(value)] }
}

fn lists() -> Vec<List> {
    let time = || ("created_at", Term::Whole(ROWS / 2));
    let rooms = || vec![time(), ("title", text("title 5")), ("channel", text("chat:5"))];
    let of_rooms = || {
        vec![is("created_by", "nobody"), is("title", "none"), begins("title", "title 99"), is("channel", "chat:7"), less("created_at", 9)]
    };
    let users = || vec![time(), ("name", text("name 5")), ("id", text("user-5"))];
    let of_users =
        || vec![is("role", "admin"), is("name", "none"), begins("name", "name 99"), begins("id", "user-99"), less("created_at", 9)];
    let of_uploads = || {
        vec![
            is("name", "none"),
            begins("name", "x"),
            is("media_type", "none"),
            less("size", 1),
            is("sha256", "none"),
            less("created_at", 9),
        ]
    };
    vec![
        List {
            name: "channels",
            ask: asks!(rooms::list),
            always: vec![absent("deleted_at"), is("visibility", "public"), is("kind", "group")],
            is_short: false,
            sorts: rooms(),
            filters: of_rooms(),
        },
        List {
            name: "all channels",
            ask: asks!(rooms::list),
            always: vec![absent("deleted_at")],
            is_short: false,
            sorts: rooms(),
            filters: of_rooms(),
        },
        List {
            name: "members",
            ask: asks!(members::list),
            always: vec![is("channel", CHANNEL)],
            is_short: false,
            sorts: vec![time(), ("user_id", text("user-5"))],
            filters: vec![is("role", "guest"), is("state", "invited"), less("created_at", 9), is("user_id", "user-7")],
        },
        List {
            name: "memberships",
            ask: asks!(members::list_of_user),
            always: vec![is("user_id", OWNER)],
            is_short: false,
            sorts: vec![time()],
            filters: vec![is("role", "guest"), is("state", "invited")],
        },
        List {
            name: "bans",
            ask: asks!(bans::select),
            always: vec![is("channel", CHANNEL)],
            is_short: false,
            sorts: vec![time(), ("user_id", text("user-5"))],
            filters: vec![
                present("expires_at"),
                absent("expires_at"),
                less("expires_at", 9),
                is("user_id", "user-7"),
                less("created_at", 9),
            ],
        },
        List {
            name: "users",
            ask: asks!(people::list),
            always: vec![absent("deleted_at")],
            is_short: false,
            sorts: users(),
            filters: of_users(),
        },
        List {
            name: "deleted users",
            ask: asks!(people::list),
            always: vec![present("deleted_at")],
            is_short: true,
            sorts: users(),
            filters: of_users(),
        },
        List {
            name: "sessions",
            ask: |db, selection| Box::pin(async move { drop(sessions::list(db, OWNER, selection, 5).await.unwrap()) }),
            always: vec![],
            is_short: true,
            sorts: vec![time()],
            filters: vec![is("device", "none"), is("address", "none"), less("used_at", 1), less("expires_at", 6)],
        },
        List {
            name: "api keys",
            ask: asks!(api_keys::list),
            always: vec![],
            is_short: false,
            sorts: vec![time()],
            filters: vec![is("created_by", "nobody"), present("revoked_at"), less("expires_at", 9), present("expires_at")],
        },
        List {
            name: "audit",
            ask: asks!(audit::list),
            always: vec![],
            is_short: false,
            sorts: vec![("id", text("50000"))],
            filters: vec![
                is("actor", "nobody"),
                is("action", "none"),
                begins("action", "none."),
                is("target_id", "none"),
                is("channel", "none"),
                begins("id", "999"),
            ],
        },
        List {
            name: "own uploads",
            ask: asks!(uploads::list),
            always: vec![absent("deleted_at"), is("owner", OWNER)],
            is_short: false,
            sorts: vec![time()],
            filters: of_uploads(),
        },
        List {
            name: "deleted uploads",
            ask: asks!(uploads::list),
            always: vec![present("deleted_at"), is("owner", OWNER)],
            is_short: true,
            sorts: vec![time()],
            filters: of_uploads(),
        },
        List {
            name: "a channel's uploads",
            ask: asks!(uploads::list),
            always: vec![absent("deleted_at"), is("channel", CHANNEL)],
            is_short: false,
            sorts: vec![time()],
            filters: of_uploads(),
        },
    ]
}

impl List {
    /// Every order, both ways, from the start and from the middle, with each filter and without.
    fn selections(&self) -> Vec<(Selection, Sort)> {
        let mut selections = Vec::new();
        for (column, middle) in &self.sorts {
            for descending in [false, true] {
                for after in [None, Some((middle.clone(), "5".to_owned()))] {
                    for filter in [None].into_iter().chain(self.filters.iter().map(Some)) {
                        let conditions = filter.into_iter().chain(&self.always).cloned().collect();
                        let order = Order { column, descending };
                        let sort = if self.is_short || filter.is_some() { Sort::Few } else { Sort::None };
                        selections.push((Selection { conditions, order, after: after.clone(), limit: LIMIT }, sort));
                    }
                }
            }
        }
        selections
    }
}

/// Whether a plan may sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// No: an index has the order.
    None,
    /// What an index has selected.
    Few,
}

/// What is wrong with the plan of a statement.
async fn fault(db: &Db, sql: &str, terms: &[Term], sort: Sort) -> Option<String> {
    let (explain, column) = match db {
        Db::Sqlite(_) => (format!("EXPLAIN QUERY PLAN {sql}"), "detail"),
        Db::Postgres(_) => (format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}"), "QUERY PLAN"),
    };
    let lines: Vec<String> = read!(db, pool => {
        let mut query = sqlx::query(AssertSqlSafe(explain));
        for term in terms {
            query = match term {
                Term::Text(text) => query.bind(text.clone()),
                Term::Whole(number) => query.bind(*number),
            };
        }
        query.fetch_all(pool).await.unwrap().iter().map(|row| row.get::<String, _>(column)).collect()
    });
    let is_bad = match db {
        Db::Sqlite(_) => is_bad_in_sqlite(&lines, sort),
        Db::Postgres(_) => is_bad_in_postgres(&lines, sort),
    };
    is_bad.then(|| format!("{sql} {terms:?}\n    {}", lines.join("\n    ")))
}

/// SQLite says what it would do, not how much of it.
fn is_bad_in_sqlite(plan: &[String], sort: Sort) -> bool {
    // `g` is a page of messages, already grouped.
    let scans = plan.iter().any(|line| line.starts_with("SCAN ") && !line.contains(" USING ") && !line.starts_with("SCAN g"));
    let sorts = plan.iter().any(|line| line.starts_with("USE TEMP B-TREE FOR ORDER BY"));
    scans || sorts && (sort == Sort::None || !plan.iter().any(|line| line.starts_with("SEARCH ")))
}

/// PostgreSQL has counted what it did.
fn is_bad_in_postgres(plan: &[String], sort: Sort) -> bool {
    let is_bad =
        |line: &String| line.contains("Seq Scan") || sort == Sort::None && line.contains("Sort") || counted(line).any(|rows| rows > MOST);
    plan.iter().any(is_bad)
}

/// How many rows a line of PostgreSQL's plan speaks of.
fn counted(line: &str) -> impl Iterator<Item = u64> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    ["actual rows=", "Rows Removed by Filter: "].into_iter().filter_map(move |word| number(line.split_once(word)?.1))
}

/// PostgreSQL counts by itself; SQLite when it is told to, which nobody does: its plans have to be good before and after.
async fn every_list_has_its_index(place: Place) {
    let db = place.open().await;
    fill(&db, LISTS).await;
    let mut wrong = Vec::new();
    if matches!(db, Db::Sqlite(_)) {
        wrong.extend(faults(&db).await);
    }
    count(&db).await;
    wrong.extend(faults(&db).await);
    assert!(wrong.is_empty(), "{}: {} plans\n{}", db.kind(), wrong.len(), wrong.join("\n"));
    db.close().await;
}

/// What is wrong with the lists' plans.
async fn faults(db: &Db) -> Vec<String> {
    let mut wrong = Vec::new();
    for list in lists() {
        for (selection, sort) in list.selections() {
            let ran = statements((list.ask)(db, &selection)).await;
            assert_eq!(ran.len(), 1, "{}: a page is one statement", list.name);
            for (sql, terms) in ran {
                wrong.extend(fault(db, &sql, &terms, sort).await.map(|fault| format!("{}: {fault}", list.name)));
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_has_its_index_in_sqlite() {
    every_list_has_its_index(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_has_its_index_in_postgres() {
    every_list_has_its_index(Place::Postgres(Database::create().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_found_by_their_places() {
    for place in Place::all().await {
        let db = place.open().await;
        fill(&db, LOG).await;
        if matches!(db, Db::Sqlite(_)) {
            messages_are_found(&db).await;
        }
        count(&db).await;
        messages_are_found(&db).await;
        db.close().await;
    }
}

async fn messages_are_found(db: &Db) {
    let channel = ChannelName::parse(CHANNEL).unwrap();
    let (middle, last) = (ROWS as u64 / 2, ROWS as u64);
    for (after, upto, end) in [(0, last, End::Oldest), (0, last, End::Newest), (middle, last, End::Oldest), (0, middle, End::Newest)] {
        let page = Page { after, upto, entries: LIMIT, bytes: 1 << 20 };
        let ran = statements(async { assert_eq!(messages::page(db, &channel, 1, page, end).await.unwrap().0.len(), LIMIT as usize) }).await;
        assert_eq!(ran.len(), 2, "the messages, and what became of them");
        for (sql, terms) in ran {
            assert_eq!(fault(db, &sql, &terms, Sort::Few).await, None, "{}", db.kind());
        }
    }
}

#[test]
fn a_bad_plan_is_seen() {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let sorted = ["SEARCH users USING INDEX users_role (role=?)", "USE TEMP B-TREE FOR ORDER BY"];
    for (plan, sort, is_bad) in [
        (&["SCAN users"][..], Sort::Few, true),
        (&["SCAN users USING INDEX users_name", "USE TEMP B-TREE FOR ORDER BY"], Sort::Few, true),
        (&["SCAN users USING INDEX users_name"], Sort::None, false),
        (&sorted, Sort::Few, false),
        (&sorted, Sort::None, true),
    ] {
        assert_eq!(is_bad_in_sqlite(&lines(plan), sort), is_bad, "{plan:?} {sort:?}");
    }
    for (plan, sort, is_bad) in [
        (&["Limit (actual rows=51 loops=1)", "  ->  Seq Scan on users (actual rows=51 loops=1)"][..], Sort::Few, true),
        (&["Index Scan using rooms_title on rooms (actual rows=51 loops=1)", "  Rows Removed by Filter: 99900"], Sort::Few, true),
        (&["Sort (actual rows=51 loops=1)", "  ->  Index Scan using a on b (actual rows=100000 loops=1)"], Sort::Few, true),
        (&["Sort (actual rows=51 loops=1)", "  ->  Index Scan using a on b (actual rows=100 loops=1)"], Sort::Few, false),
        (&["Sort (actual rows=51 loops=1)", "  ->  Index Scan using a on b (actual rows=100 loops=1)"], Sort::None, true),
        (&["Index Scan using rooms_title on rooms (actual rows=12 loops=1)"], Sort::None, false),
    ] {
        assert_eq!(is_bad_in_postgres(&lines(plan), sort), is_bad, "{plan:?} {sort:?}");
    }
}
