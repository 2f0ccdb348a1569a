//! What a row holds in a column: as a value, as text, as a time.

use std::borrow::Cow;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::Value;

/// Numbers above this are milliseconds: as seconds they would be past the year 5000.
const SECONDS_END: f64 = 100_000_000_000.0;

/// The value of `column` in `row`: the field of that name or, with dots (`properties.mag`), a field of a field.
pub fn value<'r>(row: &'r Value, column: &str) -> Option<&'r Value> {
    row.get(column).or_else(|| {
        let (outer, inner) = column.split_once('.')?;
        value(row.get(outer)?, inner)
    })
}

/// A value as text: strings as they are, null as nothing, others as JSON.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Null => "".into(),
        other => other.to_string().into(),
    }
}

/// A value as Unix milliseconds: a number of seconds or milliseconds, or an ISO 8601 date with or without time and zone
/// (UTC if there is none; slashes for dashes will do).
pub fn unix_ms(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_f64() {
        return Some(number_ms(number));
    }
    let text = value.as_str()?.trim();
    if let Ok(number) = text.parse::<f64>() {
        return Some(number_ms(number));
    }
    let text = text.replace('/', "-");
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let civil = text.parse::<civil::DateTime>().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn number_ms(number: f64) -> i64 {
    (if number.abs() < SECONDS_END { number * 1_000.0 } else { number }) as i64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_may_be_inside_another() {
        let row = json!({"a": 1, "b": {"c": {"d": 2}}, "b.c": 3});
        assert_eq!(value(&row, "a"), Some(&json!(1)));
        assert_eq!(value(&row, "b.c"), Some(&json!(3)));
        assert_eq!(value(&row, "b.c.d"), Some(&json!(2)));
        assert_eq!(value(&row, "b.x"), None);
    }

    #[test]
    fn times_in_several_forms() {
        let noon = Some(1_325_419_200_000);
        for time in [
            json!(1_325_419_200),
            json!(1_325_419_200_000_u64),
            json!("1325419200"),
            json!("2012-01-01T12:00:00Z"),
            json!("2012-01-01T14:00:00+02:00"),
            json!("2012-01-01 12:00"),
            json!("2012/01/01 12:00"),
        ] {
            assert_eq!(unix_ms(&time), noon, "{time}");
        }
        assert_eq!(unix_ms(&json!("2012-01-01")), Some(1_325_376_000_000));
        assert_eq!(unix_ms(&json!("soon")), None);
        assert_eq!(unix_ms(&json!(null)), None);
    }
}
