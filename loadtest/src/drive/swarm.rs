//! The sockets of a load: opened, joined, read and written by one thread.

use std::{
    io::{ErrorKind, Read as _},
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
    link::{Link, Role, Stage, Written},
    payload::{Stamp, Stamps},
    speech::{Heard, Speech},
    tally::Tally,
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
/// One connection in so many measures latency.
const SAMPLE_EVERY: usize = 64;
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

    /// Opens a connection to `server` for each role and returns when all have joined.
    ///
    /// # Errors
    /// The server refuses one, or nothing moves for 20 s.
    pub fn open(&mut self, server: SocketAddr, roles: impl IntoIterator<Item = Role>) -> Result<()> {
        let mut roles = roles.into_iter().peekable();
        let mut progress = (self.joined, Instant::now());
        while roles.peek().is_some() || self.joined < self.links.len() {
            while self.links.len() - self.joined < OPENING {
                let Some(role) = roles.next() else { break };
                self.connect(server, role).with_context(|| format!("connection {} to {server}", self.links.len() + 1))?;
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

    fn connect(&mut self, server: SocketAddr, role: Role) -> Result<()> {
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
        self.links.push(Link::new(socket.into(), role));
        self.write(index, &self.speech.upgrade())
    }

    /// Starts a new window: what was published before does not count any more.
    pub fn measure(&mut self) {
        self.tally = Tally::new(self.tally.next());
    }

    /// Publishes `size` bytes by connection `link`; `subscribers` connections must receive them.
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

    fn receive(&mut self, index: usize, scratch: &mut [u8]) -> Result<()> {
        let link = &mut self.links[index];
        let length = match link.socket.read(scratch) {
            Ok(0) => return self.close(index),
            Ok(length) => {
                link.received += length as u64;
                length
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return self.close(index),
        };
        if link.rest.is_empty() {
            let consumed = self.consume(index, &scratch[..length])?;
            self.links[index].rest.extend_from_slice(&scratch[consumed..length]);
        } else {
            let mut rest = std::mem::take(&mut link.rest);
            rest.extend_from_slice(&scratch[..length]);
            let consumed = self.consume(index, &rest)?;
            rest.drain(..consumed);
            // A kept capacity would count for the generator only, but thousands of them add up.
            self.links[index].rest = if rest.is_empty() { Vec::new() } else { rest };
        }
        Ok(())
    }

    fn close(&mut self, index: usize) -> Result<()> {
        let link = &mut self.links[index];
        if link.stage != Stage::Closed {
            link.stage = Stage::Closed;
            epoll::delete(&self.epoll, &link.socket)?;
            self.tally.closed += 1;
        }
        Ok(())
    }

    /// Handles each whole frame in `input`; returns how many bytes they were.
    fn consume(&mut self, index: usize, input: &[u8]) -> Result<usize> {
        let mut at = 0;
        if self.links[index].stage == Stage::Upgrading {
            let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(0) };
            let answer = String::from_utf8_lossy(&input[..end]);
            ensure!(answer.starts_with("HTTP/1.1 101 "), "the upgrade was refused: {answer}");
            at = end + 4;
            self.upgraded(index)?;
        }
        let now = index.is_multiple_of(SAMPLE_EVERY).then(|| self.nanos());
        while let Some(head) = wire::head(&input[at..]) {
            let start = at + head.head;
            if head.body > input.len() - start {
                break;
            }
            let body = &input[start..start + head.body];
            match head.opcode {
                opcode::PING => self.write_frame(index, opcode::PONG, body)?,
                opcode::PONG => {}
                opcode::CLOSE => self.closing(body),
                _ => self.message(index, body, now),
            }
            at = start + head.body;
        }
        Ok(at)
    }

    fn upgraded(&mut self, index: usize) -> Result<()> {
        let link = &mut self.links[index];
        match self.speech.join(&link.role) {
            Some(message) => {
                link.stage = Stage::Joining;
                self.write_frame(index, opcode::BINARY, &message)
            }
            None => {
                link.stage = Stage::Joined;
                self.joined += 1;
                Ok(())
            }
        }
    }

    /// One data message: deliveries, or, if it holds none, something to be understood.
    fn message(&mut self, index: usize, body: &[u8], now: Option<u64>) {
        let mut delivered = false;
        for stamp in self.stamps.of(body) {
            delivered = true;
            self.tally.deliver(stamp);
            if let Some(now) = now {
                self.tally.sample(now.saturating_sub(stamp.nanos));
            }
        }
        if delivered {
            return;
        }
        let link = &mut self.links[index];
        for heard in self.speech.hear(body, &link.role) {
            match heard {
                Heard::Joined if link.stage == Stage::Joining => {
                    link.stage = Stage::Joined;
                    self.joined += 1;
                }
                Heard::Joined => {}
                Heard::Present(count) => link.present = Some(count),
                Heard::Acknowledged => self.tally.acknowledged += 1,
                Heard::Refused(reason) => self.tally.refuse(reason),
            }
        }
    }

    fn closing(&mut self, body: &[u8]) {
        let code = body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        self.tally.refuse(format!("closed with {code} {}", String::from_utf8_lossy(body.get(2..).unwrap_or_default())));
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
