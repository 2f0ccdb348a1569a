//! Finds where a MessagePack value ends without building it: one pass, no recursion, no allocation.

use rmp::Marker;

use crate::limits::{MAX_DEPTH, MAX_PAYLOAD_DEPTH};

/// What a scan refuses beside truncated values.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Containers inside containers.
    depth: usize,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Anything well-formed: unknown fields of a frame.
    Any,
    /// What every format can carry: a payload.
    Portable,
}

impl Rules {
    /// A whole frame.
    pub(crate) const FRAME: Rules = Rules { depth: MAX_DEPTH, content: Content::Any };
    /// A value inside a frame.
    pub(crate) const FIELD: Rules = Rules { depth: MAX_DEPTH - 1, content: Content::Any };
    /// A payload.
    pub(crate) const PAYLOAD: Rules = Rules { depth: MAX_PAYLOAD_DEPTH, content: Content::Portable };

    fn portable(self) -> bool {
        self.content == Content::Portable
    }
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Truncated,
    TooDeep,
    Reserved,
    Extension,
    MapKey,
    Text,
}

/// One open container: how many values it still wants, and whether it is a map.
#[derive(Clone, Copy)]
struct Open {
    left: u64,
    map: bool,
}

/// Length of the value at the start of `input`.
pub(crate) fn scan(input: &[u8], rules: Rules) -> Result<usize, Fault> {
    match step(input, 0, 0, rules)? {
        (end, None) => Ok(end),
        (at, Some(open)) => walk(input, at, open, rules),
    }
}

/// The end of a container that opened before `at`.
fn walk(input: &[u8], mut at: usize, outermost: Open, rules: Rules) -> Result<usize, Fault> {
    let mut stack = [outermost; MAX_DEPTH];
    let mut depth = 1;
    loop {
        while stack[depth - 1].left == 0 {
            depth -= 1;
            if depth == 0 {
                return Ok(at);
            }
        }
        let parent = &mut stack[depth - 1];
        if parent.map && parent.left % 2 == 0 && rules.portable() {
            check_key(input, at)?;
        }
        parent.left -= 1;
        let (after, opened) = step(input, at, depth, rules)?;
        at = after;
        if let Some(open) = opened {
            stack[depth] = open;
            depth += 1;
        }
    }
}

fn check_key(input: &[u8], at: usize) -> Result<(), Fault> {
    use Marker::*;
    match Marker::from_u8(*input.get(at).ok_or(Fault::Truncated)?) {
        FixStr(_) | Str8 | Str16 | Str32 | FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => Ok(()),
        _ => Err(Fault::MapKey),
    }
}

/// Passes a scalar, or a container's head, at `at` inside `depth` containers.
fn step(input: &[u8], at: usize, depth: usize, rules: Rules) -> Result<(usize, Option<Open>), Fault> {
    let rest = input.get(at..).ok_or(Fault::Truncated)?;
    let (first, rest) = rest.split_first().ok_or(Fault::Truncated)?;
    let marker = Marker::from_u8(*first);
    if matches!(marker, Marker::FixPos(_) | Marker::FixNeg(_)) {
        return Ok((at + 1, None));
    }
    let shape = shape(marker, rest)?;
    let body = at + 1 + shape.head;
    // Every value has at least one byte: a length that is not there is refused before anything waits for it.
    let left = input.len().checked_sub(body).ok_or(Fault::Truncated)? as u64;
    if shape.body > left {
        return Err(Fault::Truncated);
    }
    let end = || body + shape.body as usize;
    if rules.portable() {
        match shape.kind {
            Kind::Text if std::str::from_utf8(&input[body..end()]).is_err() => return Err(Fault::Text),
            Kind::Extension => return Err(Fault::Extension),
            // In JSON it is an object.
            Kind::Binary if depth == rules.depth => return Err(Fault::TooDeep),
            _ => {}
        }
    }
    match shape.kind {
        Kind::Array | Kind::Map if depth == rules.depth => Err(Fault::TooDeep),
        Kind::Array | Kind::Map => Ok((body, Some(Open { left: shape.body, map: shape.kind == Kind::Map }))),
        Kind::Plain | Kind::Text | Kind::Binary | Kind::Extension => Ok((end(), None)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Text,
    Binary,
    Extension,
    Array,
    Map,
}

/// What follows a marker: `head` bytes of length and type, then `body` bytes, or values if it is a container.
struct Shape {
    kind: Kind,
    head: usize,
    body: u64,
}

fn shape(marker: Marker, rest: &[u8]) -> Result<Shape, Fault> {
    use Marker::*;
    let fixed = |kind, body: u8| Ok(Shape { kind, head: 0, body: body.into() });
    let sized = |kind, head: usize| {
        let length = rest.get(..head).ok_or(Fault::Truncated)?;
        Ok(Shape { kind, head, body: length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) })
    };
    let typed = |shape: Shape| Shape { head: shape.head + 1, ..shape };
    let doubled = |shape: Shape| Shape { body: shape.body * 2, ..shape };
    match marker {
        FixPos(_) | FixNeg(_) | Null | True | False => fixed(Kind::Plain, 0),
        U8 | I8 => fixed(Kind::Plain, 1),
        U16 | I16 => fixed(Kind::Plain, 2),
        U32 | I32 | F32 => fixed(Kind::Plain, 4),
        U64 | I64 | F64 => fixed(Kind::Plain, 8),
        FixStr(n) => fixed(Kind::Text, n),
        Str8 => sized(Kind::Text, 1),
        Str16 => sized(Kind::Text, 2),
        Str32 => sized(Kind::Text, 4),
        Bin8 => sized(Kind::Binary, 1),
        Bin16 => sized(Kind::Binary, 2),
        Bin32 => sized(Kind::Binary, 4),
        FixExt1 => fixed(Kind::Extension, 1).map(typed),
        FixExt2 => fixed(Kind::Extension, 2).map(typed),
        FixExt4 => fixed(Kind::Extension, 4).map(typed),
        FixExt8 => fixed(Kind::Extension, 8).map(typed),
        FixExt16 => fixed(Kind::Extension, 16).map(typed),
        Ext8 => sized(Kind::Extension, 1).map(typed),
        Ext16 => sized(Kind::Extension, 2).map(typed),
        Ext32 => sized(Kind::Extension, 4).map(typed),
        FixArray(n) => fixed(Kind::Array, n),
        Array16 => sized(Kind::Array, 2),
        Array32 => sized(Kind::Array, 4),
        FixMap(n) => fixed(Kind::Map, n).map(doubled),
        Map16 => sized(Kind::Map, 2).map(doubled),
        Map32 => sized(Kind::Map, 4).map(doubled),
        Reserved => Err(Fault::Reserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_every_kind() {
        for value in [
            &[0xc0][..],
            &[0xc2],
            &[0x7f],
            &[0xe0],
            &[0xcc, 0x80],
            &[0xcd, 0x10, 0x00],
            &[0xca, 0x3f, 0x80, 0x00, 0x00],
            &[0xcb, 0x3f, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
            &[0xa1, 0x61],
            &[0xd9, 0x01, 0x61],
            &[0xc4, 0x01, 0x00],
            &[0x91, 0x01],
            &[0x81, 0xa1, 0x61, 0x01],
            &[0xdc, 0x00, 0x01, 0x01],
            &[0xde, 0x00, 0x01, 0xa1, 0x61, 0x01],
            &[0x80],
            &[0x90],
            &[0x92, 0x80, 0x81, 0x01, 0x90],
        ] {
            assert_eq!(scan(value, Rules::PAYLOAD), Ok(value.len()), "{value:02x?}");
            assert_eq!(scan(&[value, &[0xc1]].concat(), Rules::PAYLOAD), Ok(value.len()), "{value:02x?}");
            for cut in 0..value.len() {
                assert_eq!(scan(&value[..cut], Rules::PAYLOAD), Err(Fault::Truncated), "{value:02x?} cut at {cut}");
            }
        }
        for extension in [&[0xd4, 0x01, 0x00][..], &[0xd6, 0xff, 0, 0, 0, 0], &[0xc7, 0x00, 0x05], &[0xc8, 0, 1, 5, 0]] {
            assert_eq!(scan(extension, Rules::FIELD), Ok(extension.len()), "{extension:02x?}");
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_at_its_head() {
        for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            let value = [marker, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61];
            assert_eq!(scan(&value, Rules::FRAME), Err(Fault::Truncated), "{value:02x?}");
        }
    }

    #[test]
    fn depth_counts_containers() {
        let nested = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
        assert_eq!(scan(&nested(MAX_DEPTH), Rules::FRAME), Ok(MAX_DEPTH));
        assert_eq!(scan(&nested(MAX_DEPTH + 1), Rules::FRAME), Err(Fault::TooDeep));
        assert_eq!(scan(&nested(MAX_DEPTH), Rules::FIELD), Err(Fault::TooDeep));
    }
}
