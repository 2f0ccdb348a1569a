//! How a client is put together.

use std::{future::Future, sync::Arc, time::Duration};

use hubbub_protocol::{Format, limits::MAX_CLIENT};
use thiserror::Error;
use tokio::sync::mpsc;
use url::Url;

use crate::{
    AutoOptions, Begun, Client,
    backoff::Backoff,
    begun::{Starts, WAITING},
    token::{BoxError, Tokens},
};

/// Where a server answers when the address names no path.
const DEFAULT_PATH: &str = "/v1/ws";
/// The dedup window of a server that is configured by default.
const MAX_PUBLISH_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// Why an address cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("it is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// This build connects by `ws://` (or `http://`) only.
    #[error("only ws:// and http:// are supported")]
    Scheme,
    /// It carries a user or password; credentials go into the token.
    #[error("it carries credentials: use a token instead")]
    Credentials,
}

/// What a task needs to know of its builder.
#[derive(Debug)]
pub(crate) struct Settings {
    /// At least one; each attempt to connect takes the next.
    pub urls: Result<Vec<Url>, UrlError>,
    pub tokens: Tokens,
    pub format: Format,
    pub name: Option<String>,
    pub backoff: Backoff,
    pub publish_timeout: Duration,
    pub buffer: usize,
}

/// Options of a [`Client`], made by [`Client::builder`]. Its `Debug` does not print the token.
///
/// ```no_run
/// use std::time::Duration;
/// use hubbub_client::{Client, Format};
///
/// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// # #[tokio::main] async fn main() {
/// let client = Client::builder("ws://127.0.0.1:8080/v1/ws")
///     .token_provider(|| async { Ok(fetch_token().await?) })
///     .format(Format::Msgpack)
///     .name("my-app/1.0")
///     .publish_timeout(Duration::from_secs(10))
///     .connect();
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            settings: Settings {
                urls: parse(url).map(|url| vec![url]),
                tokens: Tokens::None,
                format: Format::Msgpack,
                name: None,
                backoff: Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(20) },
                publish_timeout: Duration::from_secs(30),
                buffer: 1_024,
            },
        }
    }

    /// Another server of the same cluster, where no load balancer stands before it. Each attempt to connect goes to the next
    /// one, in the order given and from the first again, after the pause that any attempt waits for. The first connection
    /// goes to the first one: shuffle them to spread many clients. Subscriptions resume on whichever answers.
    ///
    /// ```no_run
    /// # use hubbub_client::Client;
    /// # #[tokio::main] async fn main() {
    /// let client = Client::builder("ws://hub-1.example").also_at("ws://hub-2.example").also_at("ws://hub-3.example").connect();
    /// # }
    /// ```
    pub fn also_at(mut self, url: impl AsRef<str>) -> Self {
        self.settings.urls = self.settings.urls.and_then(|mut urls| {
            urls.push(parse(url.as_ref())?);
            Ok(urls)
        });
        self
    }

    /// The token, a JWT, for every connection. When the server no longer takes it the client ends; see
    /// [`Self::token_provider`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.settings.tokens = Tokens::Fixed(token.into().into());
        self
    }

    /// Who is asked for a token before each connect, and at 75 % of a token's life for the next one. A failure is retried
    /// with the same growing pause as a failed connection.
    pub fn token_provider<F, T>(mut self, ask: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.settings.tokens = Tokens::Provider(Arc::new(move || Box::pin(ask())));
        self
    }

    /// The encoding on the wire; MessagePack by default. Payloads are MessagePack for the program either way.
    pub fn format(mut self, format: Format) -> Self {
        self.settings.format = format;
        self
    }

    /// The program's name and version, for the server's logs; what is beyond 128 bytes is cut off.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let mut name = name.into();
        name.truncate(name.floor_char_boundary(MAX_CLIENT));
        self.settings.name = Some(name);
        self
    }

    /// The pause before the nth attempt in a row is random between 0 and `min(cap, base × 2ⁿ)`; 250 ms and 20 s by default.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.settings.backoff = Backoff { base, cap };
        self
    }

    /// How long a publish is retried, across reconnects; 30 s by default, a day at most (that is how long the server
    /// remembers message ids).
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.settings.publish_timeout = timeout.min(MAX_PUBLISH_TIMEOUT);
        self
    }

    /// Events buffered for each subscription whose consumer is busy, at least 1; 1,024 by default.
    pub fn buffer(mut self, events: usize) -> Self {
        self.settings.buffer = events;
        self
    }

    /// Starts the client and returns at once; [`Client::ready`] waits for the connection. An address that cannot be used
    /// ends the client with [`crate::Error::InvalidUrl`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(self) -> Client {
        Client::start(self.settings, None)
    }

    /// The same, and the server subscribes the client by itself: see [`Begun`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_auto(self, options: AutoOptions) -> (Client, Begun) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let starts = Starts { options, buffer: self.settings.buffer, sender };
        let client = Client::start(self.settings, Some(starts));
        (client.clone(), Begun::new(client, receiver))
    }
}

fn parse(text: &str) -> Result<Url, UrlError> {
    let mut url = Url::parse(text)?;
    match url.scheme() {
        "ws" => {}
        "http" => url.set_scheme("ws").map_err(|()| UrlError::Scheme)?,
        _ => return Err(UrlError::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.path() == "/" {
        url.set_path(DEFAULT_PATH);
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("ws://127.0.0.1:8080/v1/ws", "ws://127.0.0.1:8080/v1/ws"),
            ("http://hub.example", "ws://hub.example/v1/ws"),
            ("HTTP://[::1]:8080/", "ws://[::1]:8080/v1/ws"),
            ("ws://hub.example/edge/ws?shard=3#x", "ws://hub.example/edge/ws?shard=3"),
        ];
        for (given, url) in cases {
            assert_eq!(parse(given).as_ref().map(Url::as_str), Ok(url));
        }
        assert_eq!(parse("wss://hub.example"), Err(UrlError::Scheme));
        assert_eq!(parse("ws://me:secret@hub.example"), Err(UrlError::Credentials));
        assert!(matches!(parse("hub.example"), Err(UrlError::Syntax(_))));
    }

    #[test]
    fn one_address_that_cannot_be_used_is_enough() {
        let builder = Builder::new("ws://a.example").also_at("http://b.example");
        assert_eq!(builder.settings.urls.as_ref().map(Vec::len), Ok(2));
        assert_eq!(builder.also_at("wss://c.example").also_at("ws://d.example").settings.urls, Err(UrlError::Scheme));
    }

    #[test]
    fn a_token_is_never_printed() {
        let builder = Builder::new("ws://hub.example").token("s3cret");
        assert!(!format!("{builder:?}").contains("s3cret"));
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let builder = Builder::new("ws://hub.example").name(format!("{}é", "x".repeat(127)));
        assert_eq!(builder.settings.name.map(|name| name.len()), Some(127));
    }
}
