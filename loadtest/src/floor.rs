//! The floor: what fan-out costs when nothing but the kernel's work is done.
//!
//! One thread, one epoll, one `send(2)` per subscriber, no allocation on the way of a message. A client sends
//! `S<channel>` to subscribe (answered by `ok`) and `P<channel>\n<data>` to publish; `data` goes to each subscriber as one
//! binary message. A server that writes each message to each socket by itself can only come close to this.
//! The floor keeps no promises: what a socket does not take at once is lost.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{SendFlags, SocketFlags, accept_with, send, sockopt::set_tcp_nodelay},
    process::{Signal, set_parent_process_death_signal},
};
use socket2::{Domain, Socket, Type};

use crate::drive::wire::{self, opcode};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Bytes read at once.
const SCRATCH: usize = 256 << 10;
/// Events taken from epoll at once.
const EVENTS: usize = 256;
/// Bytes of an unfinished request that are kept for one peer; more is a peer that does not speak this protocol.
const MAX_REST: usize = 1 << 20;
const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// `floor`'s arguments.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Serves until stdin closes, SIGTERM comes or the parent dies. The first line of stdout is the bound address.
pub fn run(args: &FloorArgs) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("prctl(PR_SET_PDEATHSIG)")?;
    let listener = listen(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    Floor::new(listener)?.serve()
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What is known of one connection beside its socket.
#[derive(Default)]
struct Peer {
    upgraded: bool,
    /// The beginning of a request that has not come whole.
    rest: Vec<u8>,
}

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor number, apart from `peers` so that a fan-out walks a dense table.
    sockets: Vec<Option<OwnedFd>>,
    peers: Vec<Peer>,
    /// Subscribers of each channel, by descriptor number.
    rooms: HashMap<Vec<u8>, Vec<usize>>,
    scratch: Vec<u8>,
    frame: Vec<u8>,
}

impl Floor {
    fn new(listener: TcpListener) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        match epoll::add(&epoll, std::io::stdin(), epoll::EventData::new_u64(STDIN), epoll::EventFlags::IN) {
            // A file or /dev/null can't be watched, and does not close.
            Err(Errno::PERM) => {}
            other => other?,
        }
        Ok(Self {
            epoll,
            listener,
            sockets: Vec::new(),
            peers: Vec::new(),
            rooms: HashMap::new(),
            scratch: vec![0; SCRATCH],
            frame: Vec::new(),
        })
    }

    fn serve(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    STDIN if rustix::io::read(std::io::stdin(), &mut self.scratch[..])? == 0 => return Ok(()),
                    STDIN => {}
                    fd => self.receive(fd as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // The peer is gone again, or another event is due first.
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        set_tcp_nodelay(&socket, true)?;
        let fd = socket.as_raw_fd() as usize;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(fd as u64), epoll::EventFlags::IN)?;
        if fd >= self.sockets.len() {
            self.sockets.resize_with(fd + 1, || None);
            self.peers.resize_with(fd + 1, Peer::default);
        }
        self.sockets[fd] = Some(socket);
        self.peers[fd] = Peer::default();
        Ok(())
    }

    fn receive(&mut self, fd: usize) {
        let Some(socket) = &self.sockets[fd] else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        match rustix::io::read(socket, &mut scratch[..]) {
            Ok(0) => self.close(fd),
            Ok(length) => self.feed(fd, &mut scratch[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.close(fd),
        }
        self.scratch = scratch;
    }

    fn feed(&mut self, fd: usize, input: &mut [u8]) {
        let mut rest = std::mem::take(&mut self.peers[fd].rest);
        let consumed;
        if rest.is_empty() {
            consumed = self.consume(fd, input);
            if consumed < input.len() {
                rest = input[consumed..].to_vec();
            }
        } else {
            rest.extend_from_slice(input);
            consumed = self.consume(fd, &mut rest);
            rest.drain(..consumed);
        }
        if rest.len() > MAX_REST {
            self.close(fd);
        } else if !rest.is_empty() {
            self.peers[fd].rest = rest;
        }
    }

    /// Handles each whole request in `input`; returns how many bytes they were.
    fn consume(&mut self, fd: usize, input: &mut [u8]) -> usize {
        let mut at = 0;
        if !self.peers[fd].upgraded {
            let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return 0 };
            at = end + 4;
            self.peers[fd].upgraded = true;
            let reply = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                wire::SAMPLE_ACCEPT
            );
            self.send(fd, reply.as_bytes());
        }
        while let Some(head) = wire::head(&input[at..]) {
            let start = at + head.head;
            if !head.masked || head.body > input.len() - start {
                break;
            }
            let key = [input[start - 4], input[start - 3], input[start - 2], input[start - 1]];
            let body = &mut input[start..start + head.body];
            wire::mask(body, key);
            if head.opcode == opcode::BINARY {
                self.request(fd, body);
            }
            at = start + head.body;
        }
        at
    }

    fn request(&mut self, fd: usize, body: &[u8]) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        match body {
            [b'S', channel @ ..] => {
                self.rooms.entry(channel.to_vec()).or_default().push(fd);
                wire::server_frame(opcode::BINARY, b"ok", &mut frame);
                self.send(fd, &frame);
            }
            [b'P', rest @ ..] => {
                if let Some(end) = memchr::memchr(b'\n', rest)
                    && let Some(room) = self.rooms.get(&rest[..end])
                {
                    wire::server_frame(opcode::BINARY, &rest[end + 1..], &mut frame);
                    for subscriber in room {
                        self.send(*subscriber, &frame);
                    }
                }
            }
            _ => {}
        }
        self.frame = frame;
    }

    /// One `send(2)`. A frame that was sent in part ends the connection: the rest of the stream would be noise.
    fn send(&self, fd: usize, bytes: &[u8]) {
        let Some(socket) = &self.sockets[fd] else { return };
        if let Ok(sent) = send(socket.as_fd(), bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
            && sent < bytes.len()
        {
            // It fails only if the peer was faster; either way the next read says so.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }

    fn close(&mut self, fd: usize) {
        self.sockets[fd] = None;
        self.peers[fd] = Peer::default();
        for room in self.rooms.values_mut() {
            room.retain(|member| *member != fd);
        }
    }
}
