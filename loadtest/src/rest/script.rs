//! What is asked: requests of one kind, spread over many channels and users.

use std::fmt::{self, Write as _};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// GET of a page of a channel's messages, behind a seq.
    Read,
    /// GET of a message that the client has already: `If-None-Match`, answered by 304.
    ReadUnchanged,
    /// POST of a message to a durable channel, answered by 201 with the message as it is stored.
    Write,
    /// Nine reads for each write.
    Mixed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Read => "read",
            Kind::ReadUnchanged => "read-unchanged",
            Kind::Write => "write",
            Kind::Mixed => "mixed",
        })
    }
}

/// One request of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A page.
    Page,
    /// A message that has not changed.
    Unchanged,
    /// A new message.
    Post,
}

impl Ask {
    /// How it is answered if all is well.
    pub fn status(self) -> u16 {
        match self {
            Ask::Page => 200,
            Ask::Unchanged => 304,
            Ask::Post => 201,
        }
    }
}

/// Who asks, of what, how much.
#[derive(Debug, Clone)]
pub struct Script {
    tokens: Vec<String>,
    channels: u64,
    /// Messages that each channel has at least.
    filled: u64,
    limit: u64,
    body: String,
}

/// A text of `size` bytes.
pub fn text(size: usize) -> String {
    "what one says to the other ".chars().cycle().take(size).collect()
}

impl Script {
    /// Requests with these tokens in turn, to as many `channels` with at least `filled` messages each. Pages have `limit` messages, a new
    /// message a text of `size` bytes.
    ///
    /// # Errors
    /// A page is longer than what there is to be read.
    pub fn new(tokens: Vec<String>, channels: u64, filled: u64, limit: u64, size: usize) -> Result<Self> {
        ensure!(!tokens.is_empty(), "somebody has to ask: --users 1 or more");
        ensure!(limit <= filled, "a page of --limit {limit} needs --messages {limit} or more in each channel");
        let body = serde_json::json!({ "payload": { "text": text(size) } }).to_string();
        Ok(Self { tokens, channels, filled, limit, body })
    }

    /// What request number `turn` of `kind` is.
    pub fn ask(kind: Kind, turn: u64) -> Ask {
        match kind {
            Kind::Read => Ask::Page,
            Kind::ReadUnchanged => Ask::Unchanged,
            Kind::Write => Ask::Post,
            Kind::Mixed if turn % 10 == 9 => Ask::Post,
            Kind::Mixed => Ask::Page,
        }
    }

    /// Puts the request for `ask` behind `out`. Channels and users follow from `turn`, all of them equally often.
    pub fn write(&self, ask: Ask, turn: u64, out: &mut Vec<u8>) -> Result<()> {
        let spread = spread(turn);
        let (channel, token) = (turn % self.channels, &self.tokens[(spread % self.tokens.len() as u64) as usize]);
        let mut head = String::with_capacity(512 + token.len());
        let seq = spread / 7 % (self.filled - self.limit + 1);
        match ask {
            Ask::Page => write!(head, "GET /v1/channels/room:rest-{channel}/messages?after={seq}&limit={} HTTP/1.1\r\n", self.limit),
            Ask::Unchanged => {
                write!(head, "GET /v1/channels/room:rest-{channel}/messages/{} HTTP/1.1\r\nIf-None-Match: \"1\"\r\n", seq + 1)
            }
            Ask::Post => write!(
                head,
                "POST /v1/channels/room:rest-{channel}/messages HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
                self.body.len()
            ),
        }
        .and_then(|()| write!(head, "Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"))
        .context("a string takes what is written")?;
        out.extend_from_slice(head.as_bytes());
        if ask == Ask::Post {
            out.extend_from_slice(self.body.as_bytes());
        }
        Ok(())
    }
}

/// Numbers in no order, the same in every run (splitmix64).
fn spread(turn: u64) -> u64 {
    let mut mixed = turn.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ask: Ask, turn: u64) -> String {
        let tokens = vec!["a".to_owned(), "b".to_owned()];
        let script = Script::new(tokens, 3, 30, 20, 11).unwrap();
        let mut bytes = Vec::new();
        script.write(ask, turn, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_channel_user_and_page_has_its_turn() {
        let requests: Vec<String> = (0..1_000).map(|turn| request(Ask::Page, turn)).collect();
        let with = |part: &str| requests.iter().filter(|request| request.contains(part)).count();
        for (part, least) in
            [("rest-0/", 333), ("rest-2/", 333), ("Bearer a\r\n", 400), ("Bearer b\r\n", 400), ("after=0&", 50), ("after=10&", 50)]
        {
            assert!(with(part) >= least, "{part}: {}", with(part));
        }
        assert_eq!(with("after=11&"), 0, "a page would not be full");
    }

    #[test]
    fn a_post_says_how_long_it_is() {
        let post = request(Ask::Post, 4);
        let (head, body) = post.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"payload":{"text":"what one sa"}}"#);
        assert!(head.starts_with("POST /v1/channels/room:rest-1/messages HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    }

    #[test]
    fn one_of_ten_of_a_mixed_load_writes() {
        let writes = (0..100).filter(|turn| Script::ask(Kind::Mixed, *turn) == Ask::Post).count();
        assert_eq!(writes, 10);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(Script::new(vec!["a".to_owned()], 1, 19, 20, 1).is_err());
        assert!(Script::new(Vec::new(), 1, 20, 20, 1).is_err());
    }
}
