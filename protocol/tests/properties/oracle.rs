//! PROTOCOL.md section 5 over a value tree: slow and recursive, and nothing of it is this crate's.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hubbub_protocol::limits::MAX_PAYLOAD_DEPTH;
use rmpv::Value;
use serde_json::{Map, Number, Value as Json};

/// The one value that `bytes` are, if they are one. Not for bytes that hold 0xc1, which `rmpv` takes for nil.
pub fn whole_value(mut bytes: &[u8]) -> Option<Value> {
    let value = rmpv::decode::read_value(&mut bytes).ok()?;
    bytes.is_empty().then_some(value)
}

/// Whether every format can carry `value`.
pub fn portable(value: &Value) -> bool {
    fits(value, MAX_PAYLOAD_DEPTH)
}

fn fits(value: &Value, depth: usize) -> bool {
    match value {
        Value::Nil | Value::Boolean(_) | Value::Integer(_) | Value::F32(_) | Value::F64(_) => true,
        Value::String(text) => text.as_str().is_some(),
        Value::Binary(_) => depth > 0,
        Value::Array(items) => depth > 0 && items.iter().all(|item| fits(item, depth - 1)),
        Value::Map(items) => depth > 0 && items.iter().all(|(key, item)| is_key(key) && fits(item, depth - 1)),
        Value::Ext(..) => false,
    }
}

fn is_key(key: &Value) -> bool {
    matches!(key, Value::Integer(_)) || key.as_str().is_some()
}

/// Whether JSON gives `value` back as it was: no map in it looks like binary.
pub fn unambiguous(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(unambiguous),
        Value::Map(items) => {
            let marked = |(key, item): &(Value, Value)| key.as_str() == Some("$bin") && item.is_str();
            !(items.len() == 1 && marked(&items[0])) && items.iter().all(|(_, item)| unambiguous(item))
        }
        _ => true,
    }
}

/// A portable value as JSON. Of equal keys the last counts.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Ext(..) => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => value.as_u64().map(Json::from).or(value.as_i64().map(Json::from)).unwrap(),
        Value::F32(value) => Number::from_f64(f64::from(*value)).map_or(Json::Null, Json::Number),
        Value::F64(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::from(text.as_str().unwrap()),
        Value::Binary(bytes) => Json::from_iter([("$bin", BASE64.encode(bytes))]),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Map(items) => {
            let name = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Json::Object(items.iter().map(|(key, item)| (name(key), json(item))).collect::<Map<_, _>>())
        }
    }
}
