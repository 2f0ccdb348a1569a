//! The payload of a measured publish: a marker to find it by, its number, the time it left, then filler.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hubbub_protocol::Format;
use memchr::memmem::Finder;

/// Marks a measured payload in the bytes; not valid UTF-8, so that no name or text can hold it.
const MARKER: [u8; 8] = [0xff, b'h', b'b', b'-', b'l', b'o', b'a', 0xfe];
const BODY: usize = MARKER.len() + 16;
/// The same in Base64, as JSON has it: 24 bytes are 32 characters, and the last of the marker's share theirs with a number.
const TEXT: usize = BODY.div_ceil(3) * 4;
const TEXT_MARKER: &[u8] = b"/2hiLWxvYf";
/// The smallest payload: the marker, two numbers, and at most five bytes that say it is MessagePack binary.
pub const MIN_SIZE: usize = BODY + 5;

/// What a payload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which publish of the run it is.
    pub number: u64,
    /// When it left, in nanoseconds on the generator's clock.
    pub nanos: u64,
}

/// Appends `size` bytes that carry `stamp`.
pub fn write_raw(stamp: Stamp, size: usize, out: &mut Vec<u8>) {
    let end = out.len() + size;
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&stamp.number.to_be_bytes());
    out.extend_from_slice(&stamp.nanos.to_be_bytes());
    out.resize(end, b'.');
}

/// One MessagePack binary value of `size` bytes in all (at least [`MIN_SIZE`]) that carries `stamp`.
pub fn msgpack(stamp: Stamp, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    // The head's length depends on the body's, which depends on the head's: of two heads that fit take the shorter.
    match size {
        ..=257 => out.extend_from_slice(&[0xc4, (size - 2) as u8]),
        258..=65_538 => {
            out.push(0xc5);
            out.extend_from_slice(&((size - 3) as u16).to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&((size - 5) as u32).to_be_bytes());
        }
    }
    let body = size - out.len();
    write_raw(stamp, body, &mut out);
    out
}

/// Finds stamps in received bytes.
#[derive(Debug)]
pub struct Stamps {
    raw: Finder<'static>,
    text: Finder<'static>,
}

impl Stamps {
    /// A finder; made once, used for every message.
    pub fn new() -> Self {
        Self { raw: Finder::new(&MARKER).into_owned(), text: Finder::new(TEXT_MARKER).into_owned() }
    }

    /// Each stamp in `body`, which is in `format`.
    pub fn of<'a>(&'a self, format: Format, body: &'a [u8]) -> impl Iterator<Item = Stamp> + 'a {
        let finder = match format {
            Format::Msgpack => &self.raw,
            Format::Json => &self.text,
        };
        finder.find_iter(body).filter_map(move |at| match format {
            Format::Msgpack => read_raw(&body[at..]),
            Format::Json => read_text(&body[at..]),
        })
    }
}

fn read_raw(bytes: &[u8]) -> Option<Stamp> {
    let (number, rest) = bytes[MARKER.len()..].split_first_chunk()?;
    Some(Stamp { number: u64::from_be_bytes(*number), nanos: u64::from_be_bytes(*rest.first_chunk()?) })
}

fn read_text(bytes: &[u8]) -> Option<Stamp> {
    let mut raw = [0; BODY];
    STANDARD.decode_slice(bytes.get(..TEXT)?, &mut raw).ok()?;
    raw.starts_with(&MARKER).then(|| read_raw(&raw)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_value_of_the_size_asked_for() {
        let stamp = Stamp { number: 7, nanos: u64::MAX };
        for size in [MIN_SIZE, 128, 256, 257, 258, 65_538, 65_539, 100_000] {
            let payload = msgpack(stamp, size);
            assert_eq!(payload.len(), size);
            hubbub_protocol::check_payload(&payload).unwrap_or_else(|error| panic!("{size}: {error:?}"));
            assert_eq!(Stamps::new().of(Format::Msgpack, &payload).collect::<Vec<_>>(), [stamp], "{size}");
        }
    }

    #[test]
    fn finds_each_of_several_and_ignores_one_that_is_cut() {
        let mut bytes = b"head".to_vec();
        write_raw(Stamp { number: 1, nanos: 10 }, 40, &mut bytes);
        write_raw(Stamp { number: 2, nanos: 20 }, 24, &mut bytes);
        let stamps = Stamps::new();
        assert_eq!(stamps.of(Format::Msgpack, &bytes).map(|stamp| stamp.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(stamps.of(Format::Msgpack, &bytes[..bytes.len() - 1]).map(|stamp| stamp.number).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn finds_them_in_the_json_that_a_server_makes_of_them() {
        for stamp in [Stamp { number: 0, nanos: 0 }, Stamp { number: u64::MAX, nanos: 1 }] {
            for size in [MIN_SIZE, 128, 1_000] {
                let mut json = br#"{"type":"entry","payload":"#.to_vec();
                json.extend_from_slice(&hubbub_protocol::json_payload(&msgpack(stamp, size)).unwrap());
                let stamps = Stamps::new();
                assert_eq!(stamps.of(Format::Json, &json).collect::<Vec<_>>(), [stamp], "{size}");
                let marked = memchr::memmem::find(&json, TEXT_MARKER).unwrap();
                assert_eq!(stamps.of(Format::Json, &json[..marked + TEXT - 1]).count(), 0);
            }
        }
    }
}
