//! Who may do what: every operation and every frame, for everybody who may come. `access/table.txt` says what has to come of it.

mod ask;
mod cast;
mod frames;
mod table;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use hubbub_protocol::ClientFrame;

use self::{
    ask::Cell,
    cast::Cast,
    table::{CALLERS, Row, rows},
};
use crate::{
    accounts::{CHEAP, text},
    http::{Answer, Request, request},
    support::{Pair, Transport},
};

crate::on_pair!(
    local_sqlite,
    LOCAL_SQLITE,
    everybody_may_what_the_table_says,
    every_operation_is_in_the_table,
    sessions_over_http_let_in_whom_the_socket_does
);
crate::on_pair!(nats_postgres, NATS_POSTGRES, everybody_may_what_the_table_says);

/// Cells that are asked for at once: less than one address may register at once.
const AT_ONCE: usize = 8;

/// Operations that carry frames, whose lines say who may: `sessions_over_http_let_in_whom_the_socket_does` asks those that open a session, and
/// `browsers` whom a session belongs to.
const CARRIERS: [&str; 8] = [
    "GET /v1/sse",
    "POST /v1/sse",
    "POST /v1/sse/{session}",
    "DELETE /v1/sse/{session}",
    "POST /v1/poll",
    "GET /v1/poll/{session}",
    "POST /v1/poll/{session}",
    "DELETE /v1/poll/{session}",
];

/// Operations that are one: the same rule by another door.
const DOORS: [&[&str]; 4] = [
    &[
        "POST /v1/channels/{channel}/messages",
        "POST /v1/channels/{channel}/entries",
        "POST /v1/server/publish",
        "POST /v1/server/broadcast",
        "FRAME publish",
    ],
    &["GET /v1/channels/{channel}/messages", "GET /v1/channels/{channel}/entries", "FRAME history"],
    &["GET /v1/channels/{channel}/presence", "POST /v1/server/presence", "FRAME presence", "FRAME subscribe+presence"],
    &["FRAME subscribe", "FRAME unsubscribe"],
];

async fn everybody_may_what_the_table_says(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["http.rate=0", "uploads.at_once=64"]].concat()).await;
    let rows = rows();
    let numbered: Vec<(usize, &Row)> = rows.iter().flat_map(|row| CALLERS.map(|_| row)).enumerate().collect();
    let cast = Cast::gather(&server, &numbered).await;
    let cells = numbered.iter().map(|(number, row)| Cell { row, caller: CALLERS[number % CALLERS.len()], number: *number });
    let mut told: Vec<(usize, String)> = stream::iter(cells.map(|cell| tell(cell, &cast))).buffer_unordered(AT_ONCE).collect().await;
    told.sort();
    let found: Vec<Row> = rows
        .iter()
        .zip(told.chunks(CALLERS.len()))
        .map(|(row, told)| Row { cells: told.iter().map(|(_, told)| told.clone()).collect(), ..row.clone() })
        .collect();
    let wrong: Vec<String> =
        rows.iter().zip(&found).filter(|(row, found)| row != found).map(|(row, found)| format!("table  {row}\nserver {found}")).collect();
    assert!(wrong.is_empty(), "the server does not do what the table says:\n{}", wrong.join("\n"));
}

async fn tell(cell: Cell<'_>, cast: &Cast<'_>) -> (usize, String) {
    (cell.number, outcome(&cell, cast).await)
}

/// What came of it, in the table's words.
async fn outcome(cell: &Cell<'_>, cast: &Cast<'_>) -> String {
    if cell.row.is_frame() {
        return cell.by_socket(cast).await.err().map_or("ok".to_owned(), |error| in_short(&error.code).to_owned());
    }
    let answer = cell.by_rest(cast).await;
    let outcome = in_short(&code(&answer)).to_owned();
    // Of a private channel nobody hears from an answer that there is one.
    if outcome == "404" && cell.row.is("private") && !cell.row.is("deleted") && cell.row.what.contains("{channel}") {
        let nothing = cell.by_rest_about_nothing(cast).await;
        assert_eq!(nothing.json()["detail"], answer.json()["detail"], "{} by {} tells of the channel", cell.row.operation(), cell.caller);
    }
    outcome
}

/// The code of an answer, or of the first of its results.
fn code(answer: &Answer) -> String {
    if answer.status >= 400 {
        return text(&answer.json()["code"]).to_owned();
    }
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["results"][0]["error"]["code"].as_str().unwrap_or("ok").to_owned()
}

fn in_short(code: &str) -> &str {
    match code {
        "unauthorized" => "401",
        "revoked" => "rev",
        "forbidden" => "403",
        "banned" => "ban",
        "not_found" => "404",
        "conflict" => "409",
        other => other,
    }
}

/// The other way round: what the server has and the table does not, and what the table still has.
async fn every_operation_is_in_the_table(pair: Pair) {
    let server = pair.server().await;
    let document = request(server.address(), Request::get("/openapi.json")).await.json();
    let methods = |path: &serde_json::Value| path.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect::<Vec<_>>();
    let paths = document["paths"].as_object().unwrap().iter();
    let mut known: BTreeSet<String> =
        paths.flat_map(|(path, item)| methods(item).into_iter().map(move |method| format!("{method} {path}"))).collect();
    assert!(known.len() > 50, "{known:?}");
    for carrier in CARRIERS {
        assert!(known.remove(carrier), "{carrier} is no operation");
    }
    known.extend(ClientFrame::TYPES.map(|name| format!("FRAME {name}")));
    known.insert("FRAME subscribe+presence".to_owned());
    let listed: BTreeSet<String> = rows().iter().map(Row::operation).collect();
    let difference = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!(difference(&known, &listed), Vec::<String>::new(), "operations that are not in the table");
    assert_eq!(difference(&listed, &known), Vec::<String>::new(), "lines of the table without an operation");
}

/// By `connect`, and by what the session carries then.
async fn sessions_over_http_let_in_whom_the_socket_does(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["http.rate=0"]].concat()).await;
    let rows = rows();
    let of = |operation: &str, case: &str| rows.iter().find(|row| row.operation() == operation && row.is(case)).unwrap();
    let cells = [(0, of("FRAME subscribe", "private")), (1, of("GET /v1/users/{user}", "other"))];
    let cast = Cast::gather(&server, &cells).await;
    let connect = rows.iter().find(|row| row.operation() == "FRAME connect").unwrap().by_caller();
    for transport in [Transport::Sse, Transport::Polling] {
        for caller in CALLERS {
            let mut peer = server.open_over(transport).await;
            let connected = peer.connect(cast.caller(caller).token.as_deref().unwrap_or_default()).await;
            assert_eq!(
                connected.as_ref().err().map_or("ok", |error| in_short(&error.code)),
                connect[caller],
                "{caller} over {transport:?}"
            );
            if connected.is_ok() {
                peer.ping().await;
            }
        }
    }
}

#[test]
fn every_door_has_the_same_rule() {
    let rows = rows();
    for doors in DOORS {
        for case in ["private", "public"] {
            let of = |operation: &&str| rows.iter().find(|row| row.operation() == **operation && row.case == case).unwrap();
            for pair in doors.iter().map(of).collect::<Vec<_>>().windows(2) {
                let (one, other) = (pair[0].by_caller(), pair[1].by_caller());
                // Keys of backends are for REST alone.
                let is_for_both = |caller: &str| !pair[1].is_frame() || !["key", "unscoped", "elsewhere"].contains(&caller);
                for caller in CALLERS.into_iter().filter(|caller| is_for_both(caller)) {
                    assert_eq!(one[caller], other[caller], "{caller}, {case}: {} and {}", pair[0].operation(), pair[1].operation());
                }
            }
        }
    }
}

#[test]
fn no_line_is_there_twice() {
    let rows = rows();
    let keys: BTreeSet<_> = rows.iter().map(|row| (&row.method, &row.what, &row.case)).collect();
    assert_eq!(keys.len(), rows.len());
}
