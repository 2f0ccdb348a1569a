//! Payloads against the oracle, and between the formats.

use hubbub_protocol::{PayloadError, check_payload, json_payload, limits::MAX_PAYLOAD_DEPTH, msgpack_payload};
use proptest::{collection::vec, prelude::*};
use rmpv::Value;

use crate::{oracle, strategy::*};

proptest! {
    #[test]
    fn any_bytes_are_judged_as_the_oracle_does(bytes in vec(byte(), 0..40)) {
        judge(&bytes, oracle::whole_value(&bytes))?;
    }

    #[test]
    fn any_value_is_judged_as_the_oracle_does(value in odd_value()) {
        judge(&encoded(&value), Some(value))?;
    }

    #[test]
    fn a_bent_value_is_judged_as_the_oracle_does(value in odd_value(), at in any::<prop::sample::Index>(), byte in byte()) {
        let mut bytes = encoded(&value);
        bytes.iter_mut().for_each(|byte| *byte = not_reserved(*byte));
        *at.get_mut(&mut bytes) = byte;
        judge(&bytes, oracle::whole_value(&bytes))?;
    }

    #[test]
    fn depth_is_judged_as_the_oracle_does(depth in 0usize..40, innermost in prop::sample::select(vec![Value::Nil, Value::Array(vec![]), Value::Binary(vec![1])])) {
        let value = nested(depth, innermost);
        judge(&encoded(&value), Some(value))?;
    }

    #[test]
    fn plain_values_come_back_from_json(value in plain_value().prop_filter("looks like binary", oracle::unambiguous)) {
        let msgpack = encoded(&value);
        let json = String::from_utf8(json_payload(&msgpack).unwrap()).unwrap();
        prop_assert_eq!(msgpack_payload(&json).unwrap(), msgpack);
    }

    #[test]
    fn json_text_comes_back_from_msgpack(value in odd_value().prop_filter("not portable", oracle::portable)) {
        let json = json_payload(&encoded(&value)).unwrap();
        let msgpack = msgpack_payload(std::str::from_utf8(&json).unwrap()).unwrap();
        prop_assert_eq!(check_payload(&msgpack), Ok(()));
        prop_assert_eq!(json_payload(&msgpack).unwrap(), json);
    }

    #[test]
    fn any_double_survives_json(bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        let msgpack = encoded(&Value::from(float));
        let json = String::from_utf8(json_payload(&msgpack).unwrap()).unwrap();
        let back = if float.is_finite() { msgpack } else { vec![0xc0] };
        prop_assert_eq!(msgpack_payload(&json).unwrap(), back);
    }

    #[test]
    fn any_text_is_json_or_refused(text in ".{0,40}") {
        if let Ok(msgpack) = msgpack_payload(&text) {
            prop_assert_eq!(check_payload(&msgpack), Ok(()));
            prop_assert!(json_payload(&msgpack).is_ok());
        }
    }

    #[test]
    fn json_is_as_deep_as_it_says(depth in 0usize..40) {
        let result = msgpack_payload(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        match depth {
            0 => prop_assert_eq!(result, Err(PayloadError::Malformed)),
            1..=MAX_PAYLOAD_DEPTH => prop_assert!(result.is_ok()),
            _ => prop_assert_eq!(result, Err(PayloadError::TooDeep)),
        }
    }
}

fn judge(bytes: &[u8], value: Option<Value>) -> Result<(), TestCaseError> {
    let portable = value.filter(oracle::portable);
    prop_assert_eq!(check_payload(bytes).is_ok(), portable.is_some(), "{:?}", check_payload(bytes));
    let json = json_payload(bytes);
    prop_assert_eq!(json.is_ok(), portable.is_some(), "{:?}", json);
    if let (Ok(json), Some(value)) = (json, portable) {
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(json, oracle::json(&value));
    }
    Ok(())
}

/// The oracle takes 0xc1, which MessagePack never uses, for nil; `vectors/refused` holds that case.
fn not_reserved(byte: u8) -> u8 {
    if byte == 0xc1 { 0xc0 } else { byte }
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), 0x80..=0xa4u8, 0xc0..=0xdfu8, 0..4u8].prop_map(not_reserved)
}
