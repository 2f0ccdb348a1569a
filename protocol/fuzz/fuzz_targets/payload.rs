#![no_main]

use hubbub_protocol::{check_payload, json_payload, msgpack_payload};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let json = json_payload(bytes);
    assert_eq!(json.is_ok(), check_payload(bytes).is_ok());
    if let Ok(json) = json {
        from_json(std::str::from_utf8(&json).unwrap()).expect("what was written is JSON");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = from_json(text);
    }
});

/// JSON may spell one value in many ways; what comes back from MessagePack spells it in one.
fn from_json(text: &str) -> Option<()> {
    let msgpack = msgpack_payload(text).ok()?;
    assert_eq!(check_payload(&msgpack), Ok(()));
    let json = json_payload(&msgpack).unwrap();
    assert_eq!(msgpack_payload(std::str::from_utf8(&json).unwrap()).unwrap(), msgpack);
    let (read, written): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(text).unwrap(), serde_json::from_slice(&json).unwrap());
    assert_eq!(read, written);
    Some(())
}
