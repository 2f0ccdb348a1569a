//! An echo behind the server's own WebSocket stack (upgrade, tungstenite over an outbox, the connection loop), for conformance
//! suites such as Autobahn's; `tests/autobahn.rs` starts it. No subprotocol, no session. The product does not contain it.
//!
//! `cargo run --example echo -- --listen 127.0.0.1:9001` prints the address it listens on, and serves until its stdin ends.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::serve::ListenerExt as _;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Parser;
use hubbub_protocol::Format;
use hubbub_server::{
    hub::{Outbox, Sink, Wire, message},
    session::Vitals,
    tasks::Tasks,
    transport::websocket::{Peer, accept, drive, handshake, socket},
    world::Clock,
};
use hyper::upgrade::OnUpgrade;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_tungstenite::tungstenite::Message;

/// Bytes of a message; the suites go up to 16 MiB.
const MAX_MESSAGE: usize = 64 << 20;
/// Bytes of echoes that may wait for a peer that does not read; beyond, it is closed as slow.
const OUTBOX: usize = 4 * MAX_MESSAGE;

#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
}

/// Says back what it hears.
struct Echo(Arc<Outbox>);

impl Peer for Echo {
    async fn message(&mut self, heard: Message) {
        let (opcode, payload) = match heard {
            Message::Text(text) => (0x1, text.into()),
            Message::Binary(bytes) => (0x2, bytes),
            // Pings are answered below; pongs and Close call for nothing.
            _ => return,
        };
        self.0.push(message(opcode, |out| out.extend_from_slice(&payload)));
    }

    fn poll_answers(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn is_waiting(&self) -> bool {
        false
    }

    async fn room(&mut self) {}

    fn beat(&mut self) {
        self.0.push(self.0.wire().ping());
        self.0.flush();
    }
}

async fn upgrade(State(tasks): State<Tasks>, mut request: Request<Body>) -> Response {
    match handshake(&mut request) {
        Ok(handshake) => {
            let (response, upgrade) = handshake.accept(None);
            tasks.spawn_until_stop(serve(upgrade));
            response
        }
        Err(error) => (error.status(), error.to_string()).into_response(),
    }
}

async fn serve(upgrade: OnUpgrade) {
    let Some((stream, early)) = socket(upgrade).await else { return };
    let outbox = Outbox::new(Sink::Socket(stream), Wire::Socket(Format::Json), OUTBOX);
    let vitals = Arc::new(Vitals::new(Clock::System.elapsed()));
    let socket = accept(outbox.clone(), vitals, Clock::System, early, MAX_MESSAGE).await;
    drive(socket, outbox.clone(), &mut Echo(outbox)).await;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(Arguments::parse().listen).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;

    let (end, ended) = oneshot::channel();
    // A thread, because a blocked read of stdin would keep a runtime from ending.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let tasks = Tasks::default();
    let router = Router::new().route("/", get(upgrade)).with_state(tasks.clone());
    let serve = axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router).with_graceful_shutdown(async {
        let _ = ended.await;
    });
    serve.await?;
    tasks.stop().await;
    Ok(())
}
