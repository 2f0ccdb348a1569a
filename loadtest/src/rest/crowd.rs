//! The clients: connections that are kept, each with one request on its way, driven by one thread and one epoll.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
};

use super::script::{Ask, Kind, Script};
use crate::drive::http::{self, Body};

/// Bytes read at once.
const SCRATCH: usize = 256 << 10;
/// Events taken from epoll at once.
const EVENTS: usize = 256;
/// How long nothing may be answered.
const QUIET: Duration = Duration::from_secs(10);
/// The longest time from a request to its answer that is told apart, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// When the next request is due.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as a connection has its answer.
    Full,
    /// So many a second, however long answers take: time counts from when a request was due.
    Rate(f64),
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// For so long.
    Time(Duration),
    /// So many requests.
    Count(u64),
}

/// What a load came to.
#[derive(Debug)]
pub struct Tally {
    /// Answers.
    pub answers: u64,
    /// Bytes of them, heads included.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub time: Duration,
    /// Nanoseconds from request to answer.
    pub latency: Histogram<u64>,
}

struct Line {
    socket: TcpStream,
    input: Vec<u8>,
    /// What was asked, and since when the answer is awaited.
    asked: Option<(Ask, Instant)>,
}

/// Connections to one server.
pub struct Crowd {
    epoll: OwnedFd,
    lines: Vec<Line>,
    /// Those that await nothing.
    idle: Vec<usize>,
    scratch: Vec<u8>,
    request: Vec<u8>,
    /// Requests that were ever made.
    turn: u64,
}

impl Crowd {
    /// Opens so many connections to `server`.
    pub fn open(server: SocketAddr, connections: u32) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut lines = Vec::with_capacity(connections as usize);
        for index in 0..u64::from(connections) {
            let socket = TcpStream::connect(server).with_context(|| format!("connection {} to {server}", index + 1))?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(index), epoll::EventFlags::IN)?;
            lines.push(Line { socket, input: Vec::new(), asked: None });
        }
        let idle = (0..lines.len()).collect();
        Ok(Self { epoll, lines, idle, scratch: vec![0; SCRATCH], request: Vec::new(), turn: 0 })
    }

    /// Asks what `script` says, and awaits every answer.
    ///
    /// # Errors
    /// The server answers otherwise than it should, or not at all.
    pub fn ask(&mut self, script: &Script, kind: Kind, pace: Pace, until: Until) -> Result<Tally> {
        let latency = Histogram::new_with_max(LONGEST, 3)?;
        let mut tally = Tally { answers: 0, bytes: 0, time: Duration::ZERO, latency };
        let (begun, mut asked, mut heard) = (Instant::now(), 0, Instant::now());
        loop {
            let now = Instant::now();
            let is_over = match until {
                Until::Time(time) => now - begun >= time,
                Until::Count(count) => asked >= count,
            };
            let mut wait = QUIET;
            while !is_over && !self.idle.is_empty() {
                let due = match pace {
                    Pace::Full => Instant::now(),
                    Pace::Rate(rate) => begun + Duration::from_secs_f64(asked as f64 / rate),
                };
                if let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                    wait = left;
                    break;
                }
                if matches!(until, Until::Count(count) if asked >= count) {
                    break;
                }
                self.send(script, kind, due)?;
                asked += 1;
            }
            if is_over && self.idle.len() == self.lines.len() {
                tally.time = begun.elapsed();
                return Ok(tally);
            }
            if let Until::Time(time) = until {
                wait = wait.min((begun + time).saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            }
            if self.receive(wait, &mut tally)? {
                heard = Instant::now();
            }
            ensure!(heard.elapsed() < QUIET + Duration::from_secs(1), "the server has answered nothing for {} s", QUIET.as_secs());
        }
    }

    fn send(&mut self, script: &Script, kind: Kind, due: Instant) -> Result<()> {
        let Some(index) = self.idle.pop() else { return Ok(()) };
        let (line, ask) = (&mut self.lines[index], Script::ask(kind, self.turn));
        self.request.clear();
        script.write(ask, self.turn, &mut self.request)?;
        self.turn += 1;
        // Nothing is on its way on this connection: the kernel has room.
        let sent = line.socket.write(&self.request).context("the server does not take a request")?;
        ensure!(sent == self.request.len(), "the server does not take a request of {} bytes", self.request.len());
        line.asked = Some((ask, due));
        Ok(())
    }

    /// Waits at most `wait` for something to come. Whether an answer was among it.
    fn receive(&mut self, wait: Duration, tally: &mut Tally) -> Result<bool> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Err(Errno::INTR) => return Ok(false),
            other => other?,
        };
        let before = tally.answers;
        for event in events {
            self.read(event.data.u64() as usize, tally)?;
        }
        Ok(tally.answers > before)
    }

    fn read(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        let line = &mut self.lines[index];
        let length = match line.socket.read(&mut self.scratch) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        line.input.extend_from_slice(&self.scratch[..length]);
        let Some(head) = http::head(&line.input)? else { return Ok(()) };
        let Body::Length(body) = head.body else { bail!("an answer in chunks, where none was expected") };
        if line.input.len() < head.length + body {
            return Ok(());
        }
        let (ask, since) = line.asked.take().context("an answer to no request")?;
        if head.status != ask.status() || line.input.len() != head.length + body {
            bail!("a request was answered by {}, not {}: {}", head.status, ask.status(), String::from_utf8_lossy(&line.input));
        }
        tally.answers += 1;
        tally.bytes += line.input.len() as u64;
        tally.latency.saturating_record(since.elapsed().as_nanos() as u64);
        line.input.clear();
        self.idle.push(index);
        Ok(())
    }
}
