//! One HTTP request to a server under test, each on a connection of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// 200 and the like.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Gets `path` from `address`, as whom `token` names if there is one.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).with_context(|| format!("http://{address}{path} did not answer in HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!((answer.status, &answer.body[..]), (503, "no"));
        assert!(parse("SSH-2.0").is_none());
    }
}
