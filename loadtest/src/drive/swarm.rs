//! The sockets of a load: opened, joined, read and written by one thread.

mod receive;

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
};
use socket2::{Domain, Socket, Type};

use super::{
    link::{Link, Role, Written},
    payload::{Stamp, Stamps},
    speech::Speech,
    tally::Tally,
    transport::Transport,
    wire::{self, opcode},
};

/// Connections that are being opened at once.
const OPENING: usize = 128;
/// How long all connections together may make no progress while they are opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes read at once.
const SCRATCH: usize = 256 << 10;
/// Events taken from epoll at once.
const EVENTS: usize = 512;
/// Connections from one source address: it has some 28,000 ports by default, and those of closed connections rest a minute.
const PORTS_PER_SOURCE: usize = 5_000;

/// Many connections, to one server or to several instances. Single-threaded: nothing happens outside [`Swarm::open`] and [`Swarm::poll`].
pub struct Swarm {
    speech: Speech,
    epoll: OwnedFd,
    links: Vec<Link>,
    joined: usize,
    /// Links with something unsent.
    blocked: Vec<usize>,
    scratch: Vec<u8>,
    stamps: Stamps,
    born: Instant,
    /// What was published and what came since [`Swarm::measure`].
    pub tally: Tally,
}

impl Swarm {
    /// No connections yet.
    pub fn new(speech: Speech) -> Result<Self> {
        Ok(Self {
            speech,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            links: Vec::new(),
            joined: 0,
            blocked: Vec::new(),
            scratch: vec![0; SCRATCH],
            stamps: Stamps::new(),
            born: Instant::now(),
            tally: Tally::new(0),
        })
    }

    /// Opens a connection over `transport` to `server` for each role and returns when all have joined.
    ///
    /// # Errors
    /// The server refuses one, or nothing moves for 20 s.
    pub fn open(&mut self, server: SocketAddr, transport: Transport, roles: impl IntoIterator<Item = Role>) -> Result<()> {
        let mut roles = roles.into_iter().peekable();
        let mut progress = (self.joined, Instant::now());
        while roles.peek().is_some() || self.joined < self.links.len() {
            while self.links.len() - self.joined < OPENING {
                let Some(role) = roles.next() else { break };
                self.connect(server, transport, role).with_context(|| format!("connection {} to {server}", self.links.len() + 1))?;
            }
            self.poll(Duration::from_millis(100))?;
            if let Some(refusal) = &self.tally.refusal {
                bail!("the server refused a connection: {refusal}");
            }
            ensure!(self.tally.closed == 0, "the server closed a connection while {} of {} had joined", self.joined, self.links.len());
            if progress.0 != self.joined {
                progress = (self.joined, Instant::now());
            }
            ensure!(progress.1.elapsed() < OPEN_TIMEOUT, "only {} of {} connections joined", self.joined, self.links.len());
        }
        Ok(())
    }

    fn connect(&mut self, server: SocketAddr, transport: Transport, role: Role) -> Result<()> {
        let index = self.links.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if server.ip().is_loopback() {
            let source = Ipv4Addr::new(127, 0, 0, 2 + (index / PORTS_PER_SOURCE) as u8);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.connect(&server.into())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        let (plain, request) = match transport {
            Transport::Websocket => (None, self.speech.upgrade()),
            Transport::Sse | Transport::Eventsource | Transport::Polling => {
                let (plain, request) = self.speech.plain(transport, &role)?;
                (Some(Box::new(plain)), request)
            }
        };
        self.links.push(Link::new(socket.into(), role, plain));
        self.write(index, &request)
    }

    /// Starts a new window: what was published before does not count any more.
    pub fn measure(&mut self) {
        self.tally = Tally::new(self.tally.next());
    }

    /// Publishes `size` bytes by connection `link`, a WebSocket; `subscribers` connections must receive them.
    pub fn publish(&mut self, link: usize, channel: &str, size: usize, subscribers: u32) -> Result<()> {
        let number = self.tally.publish(subscribers);
        let message = self.speech.publish(channel, Stamp { number, nanos: self.nanos() }, size);
        self.write_frame(link, opcode::BINARY, &message)
    }

    /// How many members connection `link` has been told of, if it watches them.
    pub fn present(&self, link: usize) -> Option<u64> {
        self.links[link].present
    }

    /// Bytes that have come on connection `link`.
    pub fn received(&self, link: usize) -> u64 {
        self.links[link].received
    }

    fn nanos(&self) -> u64 {
        self.born.elapsed().as_nanos() as u64
    }

    /// Waits at most `timeout` for something to come, and handles what has.
    pub fn poll(&mut self, timeout: Duration) -> Result<()> {
        for link in std::mem::take(&mut self.blocked) {
            self.write(link, &[])?;
        }
        let timeout = if self.blocked.is_empty() { timeout } else { timeout.min(Duration::from_millis(1)) };
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Err(Errno::INTR) => return Ok(()),
            other => other?,
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        for event in events {
            self.receive(event.data.u64() as usize, &mut scratch)?;
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Waits for `time`, answering heartbeats.
    ///
    /// # Errors
    /// The server has closed a connection.
    pub fn settle(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            self.poll(left.min(Duration::from_millis(100)))?;
        }
        ensure!(self.tally.closed == 0, "the server closed {} connections: {:?}", self.tally.closed, self.tally.refusal);
        Ok(())
    }

    /// Polls until everything has come, or nothing has for as long as `quiet`; returns when the last delivery came.
    pub fn drain(&mut self, quiet: Duration) -> Result<Instant> {
        let mut last = (self.tally.delivered, Instant::now());
        while self.tally.missing() > 0 && last.1.elapsed() < quiet {
            self.poll(Duration::from_millis(50))?;
            if self.tally.delivered != last.0 {
                last = (self.tally.delivered, Instant::now());
            }
        }
        Ok(last.1)
    }

    fn write_frame(&mut self, index: usize, opcode: u8, body: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(body.len() + 14);
        wire::client_frame(opcode, body, rand::random(), &mut frame);
        self.write(index, &frame)
    }

    /// Writes what waits on `index`, then `bytes`; keeps what the kernel does not take.
    fn write(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        match self.links[index].write(bytes)? {
            Written::All => {}
            Written::Part if self.blocked.contains(&index) => {}
            Written::Part => self.blocked.push(index),
            Written::Broken => self.close(index)?,
        }
        Ok(())
    }
}
