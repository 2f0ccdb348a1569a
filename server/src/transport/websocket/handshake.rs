//! The upgrade from HTTP/1.1 (RFC 6455 section 4.2), and the plain socket out of hyper's hands.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why a request is not an upgrade to WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// HTTP/2 has no `Upgrade`.
    #[error("a WebSocket begins with a GET over HTTP/1.1")]
    Method,
    /// Nobody asked for a WebSocket.
    #[error("this address speaks WebSocket: send `Connection: Upgrade` and `Upgrade: websocket`")]
    NotUpgrade,
    /// Another version than 13.
    #[error("only WebSocket version 13 is spoken here")]
    Version,
    /// Not 16 bytes in base64.
    #[error("`Sec-WebSocket-Key` is not 16 bytes in base64")]
    Key,
    /// It has a body: a proxy may take for that what is to be frames.
    #[error("a request that begins a WebSocket has no body")]
    Body,
}

impl HandshakeError {
    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            HandshakeError::Method => StatusCode::METHOD_NOT_ALLOWED,
            HandshakeError::NotUpgrade | HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
            HandshakeError::Key | HandshakeError::Body => StatusCode::BAD_REQUEST,
        }
    }
}

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Handshake {
    key: String,
    upgrade: OnUpgrade,
}

/// Checks the headers, and takes the connection's upgrade out of `request`.
///
/// # Errors
/// [`HandshakeError`]: answer with its status.
pub fn handshake(request: &mut Request<Body>) -> Result<Handshake, HandshakeError> {
    let headers = request.headers();
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return Err(HandshakeError::Method);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") || !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(HandshakeError::NotUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(HandshakeError::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if BASE64.decode(key).map_or(0, |bytes| bytes.len()) != 16 {
        return Err(HandshakeError::Key);
    }
    let is_empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !is_empty || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HandshakeError::Body);
    }
    let key = key.to_owned();
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(HandshakeError::Method)?;
    Ok(Handshake { key, upgrade })
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

impl Handshake {
    /// The 101, and what becomes the socket once it has been sent.
    pub fn accept(self, subprotocol: Option<&'static str>) -> (Response<Body>, OnUpgrade) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(self.key.as_bytes())) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(subprotocol) = subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        (response, self.upgrade)
    }
}

/// The plain socket of an upgrade, and the bytes that came early. `None` if the peer is gone.
pub async fn socket(upgrade: OnUpgrade) -> Option<(TcpStream, Vec<u8>)> {
    let parts = downcast::<TokioIo<TcpStream>>(upgrade.await.ok()?).ok()?;
    let stream = parts.io.into_inner();
    // Copied, because a slice would keep hyper's whole buffer.
    let early = parts.read_buf.to_vec();
    Some((stream, early))
}
