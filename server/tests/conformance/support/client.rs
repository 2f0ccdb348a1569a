//! A small HTTP client: one connection that is kept, opened again when it is gone, at the first address that answers.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hubbub_protocol::{ErrorCode, Retry, frame::ErrorBody};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{PATIENCE, line::Buffer};

/// How often all addresses are tried.
const ROUNDS: usize = 3;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);

/// A request without an address.
#[derive(Debug, Clone)]
pub struct Request {
    inner: http::request::Parts,
    body: Bytes,
}

impl Request {
    pub fn new(method: &str, path: &str, body: impl Into<Bytes>) -> Self {
        let (inner, ()) = http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        Self { inner, body: body.into() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path, "")
    }

    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", path, body).with("content-type", "application/json")
    }

    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path, "")
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.inner.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn with_token(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    fn to(&self, address: SocketAddr, version: Version) -> http::Request<Full<Bytes>> {
        let mut parts = self.inner.clone();
        match version {
            Version::Http1 => _ = parts.headers.entry("host").or_insert(address.to_string().parse().unwrap()),
            Version::Http2 => parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap(),
        }
        http::Request::from_parts(parts, Full::new(self.body.clone()))
    }
}

/// Which HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    /// By prior knowledge, without TLS.
    Http2,
}

enum Sender {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: http::Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// One connection to the first of some addresses that answers.
pub struct Client {
    doors: Vec<SocketAddr>,
    at: usize,
    buffer: Buffer,
    version: Version,
    sender: Option<Sender>,
    opened: usize,
}

/// Nobody answered; the last failure.
#[derive(Debug)]
pub struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Client {
    pub fn new(doors: &[SocketAddr]) -> Self {
        Self::with_buffer(doors, Buffer::Usual)
    }

    pub fn with_buffer(doors: &[SocketAddr], buffer: Buffer) -> Self {
        Self { doors: doors.to_vec(), at: 0, buffer, version: Version::Http1, sender: None, opened: 0 }
    }

    pub fn speaking(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// How many connections it has opened.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Asks until somebody answers. A request may arrive more than once: the protocol's may be repeated. A proxy that found no instance is asked
    /// again, and where there are several addresses one that is about to stop is left for the next.
    pub async fn ask(&mut self, request: &Request) -> Result<Response, Unreachable> {
        let mut last = String::new();
        for attempt in 1..=self.doors.len() * ROUNDS {
            match self.attempt(request).await {
                Ok(response) if self.is_from_nobody(&response) => last = format!("{} answered {}", self.doors[self.at], response.status()),
                Ok(response) => return Ok(response),
                Err(error) => last = format!("{}: {error}", self.doors[self.at]),
            }
            self.sender = None;
            self.at = (self.at + 1) % self.doors.len();
            if attempt % self.doors.len() == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Err(Unreachable(last))
    }

    /// An answer behind which is no instance, or one that leaves when there is another to ask.
    fn is_from_nobody(&self, response: &Response) -> bool {
        match response.status() {
            502 | 504 => true,
            503 => self.doors.len() > 1 || response.header("content-type") != Some("application/problem+json"),
            _ => false,
        }
    }

    async fn attempt(&mut self, request: &Request) -> Result<Response, String> {
        let address = self.doors[self.at];
        if self.sender.is_none() {
            self.sender = Some(self.connect(address).await?);
            self.opened += 1;
        }
        let sender = self.sender.as_mut().expect("it was just made");
        let answer = tokio::time::timeout(PATIENCE + Duration::from_secs(10), sender.send(request.to(address, self.version)));
        let response = answer.await.map_err(|_| "it does not answer".to_owned())?.map_err(|error| format!("{error:?}"))?;
        Ok(Response { inner: response })
    }

    async fn connect(&self, address: SocketAddr) -> Result<Sender, String> {
        let stream = self.buffer.socket().connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let io = TokioIo::new(stream);
        Ok(match self.version {
            Version::Http1 => {
                let (sender, connection) = conn::http1::handshake(io).await.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        })
    }
}

/// An answer, its body yet to be read.
pub struct Response {
    inner: http::Response<Incoming>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub fn version(&self) -> http::Version {
        self.inner.version()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// Each header of that name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.headers().get_all(name).iter().map(|value| value.to_str().unwrap())
    }

    /// The next piece of its body; `None` at its end, also when it is cut off.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.inner.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                return Some(data);
            }
        }
    }

    pub async fn bytes(self) -> Bytes {
        let body: Result<_, hyper::Error> = self.inner.into_body().collect().await;
        body.unwrap().to_bytes()
    }

    pub async fn text(self) -> String {
        let body: Result<_, hyper::Error> = self.inner.into_body().collect().await;
        String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
    }

    pub async fn json(self) -> serde_json::Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    /// The problem that it tells.
    pub async fn refusal(self) -> ErrorBody {
        let status = self.status();
        let kind = self.header("content-type").map(str::to_owned);
        let body = self.json().await;
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{body}");
        let code = body["code"].as_str().and_then(ErrorCode::parse).unwrap_or_else(|| panic!("no code: {body}"));
        assert_eq!(status, code.status(), "{body}");
        let retry: Retry = serde_json::from_value(body["retry"].clone()).unwrap();
        ErrorBody { code: code.as_str().to_owned(), message: body["detail"].as_str().unwrap().to_owned(), retry, retry_after: None }
    }
}
