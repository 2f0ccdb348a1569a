//! What comes in: bytes become frames, frames deliveries.

use std::io::{ErrorKind, Read as _};

use anyhow::{Result, ensure};
use hubbub_protocol::Format;

use super::{
    super::{
        link::Stage,
        plain::{Plain, Said},
        speech::Heard,
        wire::{self, opcode},
    },
    Swarm,
};
use rustix::event::epoll;

/// One connection in so many measures latency.
const SAMPLE_EVERY: usize = 64;

impl Swarm {
    pub(super) fn receive(&mut self, index: usize, scratch: &mut [u8]) -> Result<()> {
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

    pub(super) fn close(&mut self, index: usize) -> Result<()> {
        let link = &mut self.links[index];
        if link.stage != Stage::Closed {
            link.stage = Stage::Closed;
            epoll::delete(&self.epoll, &link.socket)?;
            self.tally.closed += 1;
        }
        Ok(())
    }

    /// Handles what has come whole in `input`; returns how many bytes it was.
    fn consume(&mut self, index: usize, input: &[u8]) -> Result<usize> {
        let now = index.is_multiple_of(SAMPLE_EVERY).then(|| self.nanos());
        match self.links[index].plain.take() {
            Some(mut plain) => {
                let consumed = self.consume_plain(index, &mut plain, input, now);
                self.links[index].plain = Some(plain);
                consumed
            }
            None => self.consume_frames(index, input, now),
        }
    }

    fn consume_plain(&mut self, index: usize, plain: &mut Plain, input: &[u8], now: Option<u64>) -> Result<usize> {
        let format = plain.transport().format();
        plain.consume(input, |said| {
            match said {
                Said::Frame(frame) => self.message(index, format, frame, now),
                Said::Id => self.tally.ids += 1,
                Said::Ask(request) => self.write(index, &request)?,
                Said::End => self.close(index)?,
            }
            Ok(())
        })
    }

    fn consume_frames(&mut self, index: usize, input: &[u8], now: Option<u64>) -> Result<usize> {
        let mut at = 0;
        if self.links[index].stage == Stage::Upgrading {
            let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(0) };
            let answer = String::from_utf8_lossy(&input[..end]);
            ensure!(answer.starts_with("HTTP/1.1 101 "), "the upgrade was refused: {answer}");
            at = end + 4;
            self.upgraded(index)?;
        }
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
                _ => self.message(index, Format::Msgpack, body, now),
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
    fn message(&mut self, index: usize, format: Format, body: &[u8], now: Option<u64>) {
        let mut delivered = false;
        for stamp in self.stamps.of(format, body) {
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
        for heard in self.speech.hear(format, body, &link.role) {
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
}
