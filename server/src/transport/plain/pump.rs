//! One session's task: it applies what comes up, and does what the outbox leaves to it. Bytes are taken by whoever is connected.

use std::task::Poll;

use bytes::Bytes;
use hubbub_protocol::CloseCode;

use super::upstream::{Post, Posts, Upstream};
use crate::{hub::Drive, session::Client};

enum Event {
    Post(Post),
    Drive(Drive),
}

/// Runs a session to its end, from the frames with which it was opened.
pub(super) async fn run(client: &mut Client, session: &Upstream, mut posts: Posts, opening: Bytes) {
    let outbox = &session.outbox;
    said(client, session, &opening).await;
    drop(opening);
    posts.opened();
    let mut dirty = true;
    loop {
        let event = std::future::poll_fn(|cx| {
            if let Poll::Ready(drive) = outbox.poll_drive(cx) {
                return Poll::Ready(Event::Drive(drive));
            }
            dirty |= client.poll_answers(cx).is_ready();
            if let Poll::Ready(Some(post)) = posts.receiver.poll_recv(cx) {
                return Poll::Ready(Event::Post(post));
            }
            if std::mem::take(&mut dirty) {
                outbox.flush();
                if let Poll::Ready(drive) = outbox.poll_drive(cx) {
                    return Poll::Ready(Event::Drive(drive));
                }
            }
            Poll::Pending
        })
        .await;
        match event {
            // Who posts is told that it is gone.
            Event::Post(post) if outbox.is_closing() => drop(post),
            Event::Post(post) => {
                posts.sort(post);
                while let Some((body, waiting)) = posts.ready() {
                    said(client, session, &body).await;
                    posts.applied(waiting);
                }
                dirty = true;
            }
            Event::Drive(Drive::Room) => {
                client.catch_up().await;
                dirty = true;
            }
            Event::Drive(Drive::Review) => {
                client.review().await;
                dirty = true;
            }
            Event::Drive(Drive::Beat) => {
                client.heartbeat();
                posts.forget();
            }
            Event::Drive(Drive::Retire(reconnect_after)) => {
                while client.is_waiting() && !outbox.is_closing() {
                    std::future::poll_fn(|cx| client.poll_answers(cx)).await;
                }
                outbox.close(CloseCode::Draining, Some(reconnect_after));
            }
            Event::Drive(Drive::Over) => return,
        }
    }
}

/// Applies frames. A token in `connect` may be another one than the request's, but not another user's: requests speak for one.
async fn said(client: &mut Client, session: &Upstream, frames: &[u8]) {
    client.message(frames).await;
    match client.identity() {
        Some(identity) if identity.user == session.user => session.follow(identity),
        Some(_) => client.close(CloseCode::Unauthorized),
        None => {}
    }
}
