//! Frames come back as they went, alone and in company, and whatever a newer peer adds to them is ignored.

use hubbub_protocol::{ClientFrame, CloseCode, DecodeError, Format};
use proptest::{collection::vec, prelude::*};
use rmpv::Value;

use crate::{client_frames, oracle, server_frames, strategy::*};

proptest! {
    #[test]
    fn client_frames_come_back(format in format(), frames in vec(client_frame(), 0..5)) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| frame.encode(format, &mut message));
        let read: Result<Vec<_>, _> = client_frames(format, &message).into_iter().collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn server_frames_come_back(format in format(), frames in vec(server_frame(), 0..5)) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| frame.encode(format, &mut message));
        let read: Result<Vec<_>, _> = server_frames(format, &message).into_iter().collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn unknown_fields_are_ignored_in_client_frames(frame in client_frame(), junk in junk()) {
        for format in Format::ALL {
            let mut message = Vec::new();
            frame.encode(format, &mut message);
            prop_assert_eq!(client_frames(format, &with_junk(format, &message, &junk)), [Ok(frame.clone())]);
        }
    }

    #[test]
    fn unknown_fields_are_ignored_in_server_frames(frame in server_frame(), junk in junk()) {
        for format in Format::ALL {
            let mut message = Vec::new();
            frame.encode(format, &mut message);
            prop_assert_eq!(server_frames(format, &with_junk(format, &message, &junk)), [Ok(frame.clone())]);
        }
    }

    #[test]
    fn nesting_is_bounded_by_32(format in format(), depth in 0usize..80) {
        let value = nested(depth, Value::Nil);
        let message = match format {
            Format::Msgpack => encoded(&Value::Map(vec![("type".into(), "ping".into()), ("id".into(), 1.into()), ("x".into(), value)])),
            Format::Json => format!(r#"{{"type":"ping","id":1,"x":{}}}"#, oracle::json(&value)).into_bytes(),
        };
        let outcome = if depth < 32 { Ok(ClientFrame::Ping { id: 1 }) } else { Err(DecodeError::Fatal(CloseCode::Malformed)) };
        prop_assert_eq!(client_frames(format, &message), [outcome]);
    }
}

/// A field that this build does not know.
#[derive(Debug)]
struct Junk {
    name: Value,
    value: Value,
    at: prop::sample::Index,
}

fn junk() -> impl Strategy<Value = Junk> {
    // No field of today starts with an x.
    let name = prop_oneof![3 => "x.{0,20}".prop_map(Value::from), 1 => odd_value().prop_filter("a name", |name| !name.is_str())];
    (name, odd_value(), any::<prop::sample::Index>()).prop_map(|(name, value, at)| Junk { name, value, at })
}

/// `message`, a frame, with `junk` in each of its maps. JSON gets what JSON can say of it, at the frame's start and end.
fn with_junk(format: Format, message: &[u8], junk: &Junk) -> Vec<u8> {
    match format {
        Format::Msgpack => {
            let mut frame = rmpv::decode::read_value(&mut &message[..]).unwrap();
            add(&mut frame, junk);
            encoded(&frame)
        }
        Format::Json => {
            let name = junk.name.as_str().unwrap_or("x");
            let field = format!("{}:{}", serde_json::Value::from(name), oracle::json(&junk.value));
            let inner = std::str::from_utf8(message).unwrap().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            format!("{{{field},{inner},{field}}}").into_bytes()
        }
    }
}

fn add(frame: &mut Value, junk: &Junk) {
    let Value::Map(fields) = frame else { return };
    for (name, value) in fields.iter_mut() {
        match value {
            // Not a payload: what is in it belongs to its publisher.
            _ if name.as_str() == Some("payload") => {}
            Value::Array(items) => items.iter_mut().for_each(|item| add(item, junk)),
            value => add(value, junk),
        }
    }
    fields.insert(junk.at.index(fields.len() + 1), (junk.name.clone(), junk.value.clone()));
}
