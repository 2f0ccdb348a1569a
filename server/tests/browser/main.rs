//! The page, the client module and a native `EventSource` in a real Chromium, against the real server.
//!
//! A test is a scenario, a script in `scenarios/` that drives the browser, and what it plays on: a server of its own ([`place`]) and,
//! where something is to be blocked, nginx before it ([`door`]). `make test` gets what they need.

mod door;
mod place;
mod scenario;

use door::Door;
use scenario::play;

#[test]
fn two_pages_chat() {
    play("two_pages.js", Door::Open, &[]);
}

#[test]
fn without_websockets_events_take_over() {
    play("blocked.js", Door::NoUpgrade, &["sse", "over server-sent events"]);
}

#[test]
fn where_events_are_refused_polling_takes_over() {
    play("blocked.js", Door::NoEvents, &["polling", "by polling"]);
}

#[test]
fn where_events_are_held_back_polling_takes_over() {
    play("blocked.js", Door::Hoarding, &["polling", "by polling"]);
}

#[test]
fn a_killed_server_costs_a_websocket_nothing() {
    play("killed.js", Door::Open, &["websocket"]);
}

#[test]
fn a_killed_server_costs_events_nothing() {
    play("killed.js", Door::Open, &["sse"]);
}

#[test]
fn a_killed_server_costs_polling_nothing() {
    play("killed.js", Door::Open, &["polling"]);
}

#[test]
fn a_native_event_source_resumes() {
    play("event_source.js", Door::Open, &[]);
}

/// In `target/screenshots` afterwards.
#[test]
fn both_views_are_fit_to_be_seen() {
    play("screenshots.js", Door::Open, &[]);
}

#[test]
fn no_mouse_is_needed() {
    play("keyboard.js", Door::Open, &[]);
}
