//! What holds for every frame, every payload and every byte, not only for those of `vectors/`.

mod frames;
mod hostile;
mod names;
mod oracle;
mod payloads;
mod results;
mod strategy;

use hubbub_protocol::{ClientFrame, ClientFrames, DecodeError, Format, ServerFrame, ServerFrames, limits};

fn client_frames(format: Format, message: &[u8]) -> Vec<Result<ClientFrame, DecodeError>> {
    ClientFrames::new(format, message, limits::MAX_PAYLOAD).collect()
}

fn server_frames(format: Format, message: &[u8]) -> Vec<Result<ServerFrame, DecodeError>> {
    ServerFrames::new(format, message).collect()
}
