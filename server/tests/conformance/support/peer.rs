//! One connection, frame by frame.

use std::collections::VecDeque;

use hubbub_protocol::{
    ClientFrame, Entry, Format, ServerFrame,
    frame::{Disconnect, ErrorBody, RawResult, Skip, Subscribed},
};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use super::{
    Doors, PATIENCE, Transport,
    line::{Buffer, Line, Socket},
};

/// One connection, or what stands for one.
pub struct Peer {
    pub(super) line: Line,
    format: Format,
    pub(super) id: u32,
    inbox: VecDeque<ServerFrame>,
}

impl Peer {
    /// One that has said nothing. Over HTTP its first frames open the session.
    pub async fn open(doors: &Doors, transport: Transport) -> Self {
        Self::try_open(doors, transport).await.unwrap()
    }

    /// The same where nobody may be there.
    pub async fn try_open(doors: &Doors, transport: Transport) -> Result<Self, ErrorBody> {
        Ok(Self::of(Line::open(doors, transport, Buffer::Usual).await?, transport.format()))
    }

    /// The same with a tiny receive buffer.
    pub async fn open_slowly(doors: &Doors, transport: Transport) -> Self {
        Self::of(Line::open(doors, transport, Buffer::Tiny).await.unwrap(), transport.format())
    }

    /// One that speaks MessagePack over a socket of the test's own making.
    pub fn over_socket(socket: Socket) -> Self {
        Self::of(Line::Socket(socket), Format::Msgpack)
    }

    fn of(line: Line, format: Format) -> Self {
        Self { line, format, id: 0, inbox: VecDeque::new() }
    }

    /// Its WebSocket.
    pub fn socket(&mut self) -> &mut WebSocketStream<TcpStream> {
        match &mut self.line {
            Line::Socket(socket) => &mut socket.socket,
            Line::Stream(_) | Line::Polls(_) => panic!("it has none"),
        }
    }

    /// What its session is called, over HTTP.
    pub fn session(&self) -> Option<&str> {
        match &self.line {
            Line::Socket(_) => None,
            Line::Stream(stream) => stream.session.id(),
            Line::Polls(polls) => polls.session.id(),
        }
    }

    pub async fn send(&mut self, frames: &[ClientFrame]) {
        self.try_send(frames).await.unwrap();
    }

    /// Over HTTP frames may be refused as a whole.
    pub async fn try_send(&mut self, frames: &[ClientFrame]) -> Result<(), ErrorBody> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(self.format, &mut bytes));
        self.line.send(bytes).await
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.line.send(bytes).await.unwrap();
    }

    pub fn next_id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }

    /// The next frame; `Err` when the connection has been closed, with the code if there was one.
    pub async fn step(&mut self) -> Result<ServerFrame, Option<u16>> {
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Ok(frame);
            }
            let frames = tokio::time::timeout(PATIENCE, self.line.receive()).await.expect("nothing came")?;
            self.inbox.extend(frames);
        }
    }

    /// The next frame but for heartbeats.
    pub async fn next(&mut self) -> ServerFrame {
        loop {
            match self.step().await {
                Ok(ServerFrame::Heads { .. }) => {}
                Ok(frame) => return frame,
                Err(code) => panic!("closed with {code:?}"),
            }
        }
    }

    pub async fn entry(&mut self) -> Entry {
        match self.next().await {
            ServerFrame::Entry(entry) => entry,
            other => panic!("not an entry: {other:?}"),
        }
    }

    pub async fn skip(&mut self) -> Skip {
        match self.next().await {
            ServerFrame::Skip(skip) => skip,
            other => panic!("not a skip: {other:?}"),
        }
    }

    /// The server has begun a subscription, or says why not.
    pub async fn subscribed(&mut self) -> Subscribed {
        match self.next().await {
            ServerFrame::Subscribed(subscribed) => *subscribed,
            other => panic!("not the beginning of a subscription: {other:?}"),
        }
    }

    /// The server has ended a subscription: why.
    pub async fn unsubscribed(&mut self) -> ErrorBody {
        match self.next().await {
            ServerFrame::Unsubscribed { error, .. } => error,
            other => panic!("not the end of a subscription: {other:?}"),
        }
    }

    /// Reads to the end: the last `disconnect` and the close code. Over HTTP the code is the one of `disconnect`.
    pub async fn closed(&mut self) -> (Option<Disconnect>, Option<u16>) {
        let mut disconnect = None;
        loop {
            match self.step().await {
                Ok(ServerFrame::Disconnect(last)) => disconnect = Some(last),
                Ok(_) => {}
                Err(code) => return (disconnect, code),
            }
        }
    }

    /// Goes, so that the server notices at once: whoever polls has to say it.
    pub async fn leave(self) {
        self.line.leave().await;
    }

    /// The answer to request `id`; other frames wait.
    pub async fn answer(&mut self, id: u32) -> Result<RawResult, ErrorBody> {
        let mut others = VecDeque::new();
        let answer = loop {
            match self.next().await {
                ServerFrame::Reply { id: of, result } if of == id => break Ok(result),
                ServerFrame::Error { id: Some(of), error } if of == id => break Err(error),
                other => others.push_back(other),
            }
        };
        others.append(&mut self.inbox);
        self.inbox = others;
        answer
    }

    /// Sends one frame made for the next id, and waits for its answer.
    pub async fn request(&mut self, make: impl FnOnce(u32) -> ClientFrame) -> Result<RawResult, ErrorBody> {
        let id = self.next_id();
        self.try_send(&[make(id)]).await?;
        self.answer(id).await
    }
}
