//! The bounds of the wire. Those that an operator may change are defaults here and keys in the configuration.

/// Containers inside containers in one frame, payload included.
pub const MAX_DEPTH: usize = 32;
/// Containers inside containers in a payload, binary data included (in JSON it is an object). Four less than [`MAX_DEPTH`],
/// because the deepest place of a payload is in `history`'s reply: the frame, its result, the entries, the entry.
pub const MAX_PAYLOAD_DEPTH: usize = MAX_DEPTH - 4;
/// The largest integer of a frame outside its payload: what a double holds exactly, and a signed 64-bit column too.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// Bytes of one client frame, and of one client message, encoded.
pub const MAX_FRAME: usize = 1 << 20;
/// Frames in one message from a client.
pub const MAX_FRAMES: usize = 256;
/// Channels in one `subscribe` or `unsubscribe`: each is answered by itself, so a small frame must not ask for a huge answer.
pub const MAX_CHANNELS: usize = 512;
/// Bytes of a payload (in MessagePack), unless configured.
pub const DEFAULT_PAYLOAD: usize = 64 << 10;
/// The largest payload that can be configured.
pub const MAX_PAYLOAD: usize = 512 << 10;
/// Bytes of a channel name in UTF-8.
pub const MAX_CHANNEL_NAME: usize = 128;
/// Bytes of a key in UTF-8.
pub const MAX_KEY: usize = 64;
/// Bytes of a token.
pub const MAX_TOKEN: usize = 16 << 10;
/// Bytes of the client's own description in `connect`.
pub const MAX_CLIENT: usize = 128;
/// Bytes of a user.
pub const MAX_USER: usize = 128;
/// Entries in one page of history.
pub const MAX_HISTORY_PAGE: u32 = 1_000;
/// Members in one page of presence.
pub const MAX_PRESENCE_PAGE: u32 = 1_000;
/// Members of a channel up to which `subscribe`'s reply and `presence` frames list them; above it they only count.
pub const MAX_MEMBERS: usize = 1_000;
/// How far a message id's time may be ahead of the server's clock, in milliseconds.
pub const MAX_ID_AHEAD_MS: u64 = 10 * 60 * 1_000;
