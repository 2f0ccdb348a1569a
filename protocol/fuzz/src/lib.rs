//! What the targets share: whatever is read is written, in both formats, and read to the same again.

use hubbub_protocol::{
    ClientFrame, ClientFrames, DecodeError, Format, ServerFrame, ServerFrames,
    frame::{Connected, PresencePage},
    limits,
};

/// Reads `message` as a client's.
pub fn client(format: Format, message: &[u8]) {
    let outcomes: Vec<_> = ClientFrames::new(format, message, limits::MAX_PAYLOAD).collect();
    check_order(message, &outcomes);
    assert!(outcomes.len() <= limits::MAX_FRAMES + 1);
    let frames: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
    for frame in &frames {
        again(format, frame, ClientFrame::encode, |format, out| ClientFrames::new(format, out, usize::MAX).collect());
    }
}

/// Reads `message` as a server's.
pub fn server(format: Format, message: &[u8]) {
    let outcomes: Vec<_> = ServerFrames::new(format, message).collect();
    check_order(message, &outcomes);
    for frame in outcomes.iter().flatten() {
        if let ServerFrame::Reply { result, .. } = frame {
            // A result is passed on in its own format only.
            let _ = (result.history(), result.read::<Connected>(), result.read::<PresencePage>());
            let mut out = Vec::new();
            frame.encode(format, &mut out);
            assert_eq!(ServerFrames::new(format, &out).collect::<Vec<_>>(), [Ok(frame.clone())]);
        } else {
            again(format, frame, ServerFrame::encode, |format, out| ServerFrames::new(format, out).collect());
        }
    }
}

/// A frame is one error at most, and nothing follows a fatal one.
fn check_order<T>(message: &[u8], outcomes: &[Result<T, DecodeError>]) {
    assert!(outcomes.len() <= message.len());
    let fatal = outcomes.iter().position(|outcome| matches!(outcome, Err(DecodeError::Fatal(_))));
    assert!(fatal.is_none_or(|at| at + 1 == outcomes.len()));
}

fn again<T: Clone + PartialEq + std::fmt::Debug>(
    format: Format,
    frame: &T,
    encode: impl Fn(&T, Format, &mut Vec<u8>),
    decode: impl Fn(Format, &[u8]) -> Vec<Result<T, DecodeError>>,
) {
    let rewritten = |frame: &T, format| {
        let mut out = Vec::new();
        encode(frame, format, &mut out);
        match <[_; 1]>::try_from(decode(format, &out)) {
            Ok([Ok(frame)]) => frame,
            other => panic!("{frame:?} in {format:?}: {other:?}"),
        }
    };
    assert_eq!(&rewritten(frame, format), frame);
    // Through the other format a payload may change its form (NaN, integer keys) once, and then no more.
    let other = if format == Format::Json { Format::Msgpack } else { Format::Json };
    let settled = rewritten(frame, other);
    let settled = if other == Format::Json { settled } else { rewritten(&settled, Format::Json) };
    assert_eq!(rewritten(&settled, Format::Msgpack), settled);
    assert_eq!(rewritten(&settled, Format::Json), settled);
}
