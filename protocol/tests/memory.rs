//! What hostile messages make this crate allocate: a small multiple of their length, and what is kept has no slack.
#![allow(unsafe_code)] // A global allocator is unsafe by its trait.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use hubbub_protocol::{ClientFrame, ClientFrames, Format, ServerFrames, limits};

/// The system's allocator, which counts this thread's bytes.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let live = LIVE.get() + bytes;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to `System` as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may live side by side for a moment.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocated at its worst, in bytes.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before) as usize
}

/// What `work` returned still holds, in bytes.
fn held<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get();
    let result = work();
    ((LIVE.get() - before) as usize, result)
}

/// Room for what does not depend on the message.
const CONSTANT: usize = 64 << 10;

fn check(name: &str, format: Format, message: &[u8]) {
    assert!(message.len() <= limits::MAX_FRAME, "{name} would not reach the decoder");
    let client = peak(|| ClientFrames::new(format, message, limits::MAX_PAYLOAD).for_each(|frame| drop(black_box(frame))));
    assert!(client <= 5 * message.len() + CONSTANT, "{name} in {format:?}: {client} bytes for {}", message.len());
    // A server is trusted more: an array's items are found before they are read.
    let server = peak(|| ServerFrames::new(format, message).for_each(|frame| drop(black_box(frame))));
    assert!(server <= 40 * message.len() + CONSTANT, "{name} in {format:?} from a server: {server} bytes for {}", message.len());
}

/// As much of `unit` as fits into the longest message beside `rest` bytes.
fn fill(unit: &[u8], rest: usize) -> Vec<u8> {
    unit.repeat((limits::MAX_FRAME - rest) / unit.len())
}

/// Enough of `unit` to show a multiple, and little enough for an unoptimised build.
fn some(unit: &str) -> String {
    unit.repeat(100_000 / unit.len())
}

/// `{type, id: 1, name: value}` in MessagePack.
fn msgpack(kind: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let mut message = vec![0x83];
    for text in ["type", kind, "id"] {
        message.push(0xa0 | text.len() as u8);
        message.extend(text.bytes());
    }
    message.extend([1, 0xa0 | name.len() as u8]);
    message.extend(name.bytes());
    message.extend(value);
    message
}

/// The same in JSON.
fn json(kind: &str, name: &str, value: &str) -> Vec<u8> {
    format!(r#"{{"type":"{kind}","id":1,"{name}":{value}}}"#).into_bytes()
}

fn with_length(marker: u8, length: usize, body: &[u8]) -> Vec<u8> {
    [&[marker], &(length as u32).to_be_bytes()[..], body].concat()
}

/// Fields that are read in different ways.
const FIELDS: [(&str, &str); 12] = [
    ("ping", "x"),
    ("ping", "type"),
    ("connect", "token"),
    ("subscribe", "channels"),
    ("unsubscribe", "channels"),
    ("publish", "payload"),
    ("heads", "channels"),
    ("presence", "after"),
    ("presence", "joined"),
    ("presence", "left"),
    ("presence", "members"),
    ("reply", "result"),
];

#[test]
fn nesting() {
    for unit in [&b"\x91"[..], b"\x81\x01", b"\x81\x91"] {
        check("nested", Format::Msgpack, &fill(unit, 0));
    }
    for unit in ["[", "{\"\":", "[{\"a\":"] {
        check("nested", Format::Json, &fill(unit.as_bytes(), 0));
    }
}

#[test]
fn lengths_that_lie() {
    for (kind, name) in FIELDS {
        for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            let value = with_length(marker, u32::MAX as usize, &fill(&[1], 100));
            check(&format!("{kind}.{name} {marker:x}"), Format::Msgpack, &msgpack(kind, name, &value));
        }
    }
    check("a frame of lies", Format::Msgpack, &with_length(0xdf, u32::MAX as usize, &fill(&[1], 5)));
}

#[test]
fn long_strings() {
    let letters = fill(b"a", 100);
    for (kind, name) in FIELDS {
        check(kind, Format::Msgpack, &msgpack(kind, name, &with_length(0xdb, letters.len(), &letters)));
        for unit in ["a", "\\n", "\\u0000", "\\ud83d\\ude00", "é"] {
            check(&format!("{kind}.{name} of {unit}"), Format::Json, &json(kind, name, &format!("\"{}\"", some(unit))));
        }
    }
    let name = String::from_utf8(fill(b"\\n", 100)).unwrap();
    check("a long name", Format::Json, format!(r#"{{"{name}":1}}"#).as_bytes());
    check("base64", Format::Json, &json("publish\",\"channel\":\"r", "payload", &format!(r#"{{"$bin":"{}"}}"#, "AAAA".repeat(100_000))));
}

#[test]
fn many_items() {
    for (kind, name) in FIELDS {
        for unit in [&[0xa0][..], &[0x80], &[0x90], b"\xa1r", b"\x81\xa7channel\xa1r"] {
            let items = 100_000 / unit.len();
            let value = with_length(0xdd, items, &unit.repeat(items));
            check(&format!("{kind}.{name} of {unit:x?}"), Format::Msgpack, &msgpack(kind, name, &value));
        }
        for unit in ["1,", "\"\",", "{},", "[],", "0.1,", "1e9,", "{\"channel\":\"r\"},", "[[[[[[[[1]]]]]]]],"] {
            check(&format!("{kind}.{name} of {unit}"), Format::Json, &json(kind, name, &format!("[{}1]", some(unit))));
        }
    }
    check("numbers", Format::Json, &json("publish\",\"channel\":\"r", "payload", &format!("[{}0.1]", "1e9,".repeat(200_000))));
}

#[test]
fn many_frames() {
    let ping = msgpack("ping", "x", &[0xc0]);
    check("pings", Format::Msgpack, &ping.repeat(limits::MAX_FRAMES));
    check("too many pings", Format::Msgpack, &fill(&ping, 0));
    check("numbers", Format::Msgpack, &fill(&[1], 0));
    let ping = json("ping", "x", "null");
    check("pings", Format::Json, &ping.repeat(limits::MAX_FRAMES));
    check("too many pings", Format::Json, &fill(&ping, 0));
    check("numbers", Format::Json, &fill(b"1 ", 0));
    check("white space", Format::Json, &fill(b" ", 0));
    let channels = format!("[{}1]", "\"\",".repeat(500));
    check("names and names", Format::Json, &json("unsubscribe", "channels", &channels).repeat(limits::MAX_FRAMES));
}

#[test]
fn equal_names() {
    let field = b"\xa7payload\xa1x";
    let fields = fill(field, 5);
    check("equal names", Format::Msgpack, &with_length(0xdf, fields.len() / field.len(), &fields));
    let field = r#""payload":"x","#;
    let fields = String::from_utf8(fill(field.as_bytes(), 20)).unwrap();
    check("equal names", Format::Json, format!(r#"{{{fields}"a":1}}"#).as_bytes());
}

#[test]
fn a_kept_payload_has_no_slack() {
    let space = " ".repeat(limits::MAX_FRAME - 200);
    let messages = [
        (Format::Json, json("publish\",\"channel\":\"r", "payload", &format!("[{space}1]"))),
        (Format::Json, json("publish\",\"channel\":\"r", "payload", &format!(r#"{{"$bin":{space}"AAAA"}}"#))),
        (
            Format::Msgpack,
            [msgpack("ping", "x", &with_length(0xdb, 100_000, &[b'x'; 100_000])), msgpack("publish", "payload", b"x")].concat(),
        ),
    ];
    for (format, message) in messages {
        let (held, frames) = held(|| ClientFrames::new(format, &message, limits::MAX_PAYLOAD).filter_map(Result::ok).last());
        assert!(held < 1_000, "{held} bytes are kept of {frames:?}");
        assert!(matches!(frames, Some(ClientFrame::Publish(_) | ClientFrame::Ping { .. })), "{frames:?}");
    }
}
