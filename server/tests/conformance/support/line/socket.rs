//! A WebSocket in either format.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use hubbub_protocol::{Format, ServerFrame, ServerFrames, frame::ErrorBody};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::unreachable;

/// An open socket.
pub struct Socket {
    pub socket: WebSocketStream<TcpStream>,
    format: Format,
}

impl Socket {
    /// Over a socket of the test's own making, and perhaps with a token in the upgrade.
    pub async fn open(address: SocketAddr, format: Format, socket: TcpSocket, token: Option<&str>) -> Result<Self, tungstenite::Error> {
        let stream = socket.connect(address).await?;
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", format.subprotocol().parse().unwrap());
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { socket, format })
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), ErrorBody> {
        let message = match self.format {
            Format::Msgpack => Message::Binary(bytes.into()),
            Format::Json => Message::Text(String::from_utf8(bytes).unwrap().into()),
        };
        self.socket.send(message).await.map_err(unreachable)
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<ServerFrame>, Option<u16>> {
        loop {
            let bytes = match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => bytes::Bytes::from(text),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Err(None),
            };
            return Ok(ServerFrames::new(self.format, &bytes).map(|frame| frame.unwrap()).collect());
        }
    }
}
