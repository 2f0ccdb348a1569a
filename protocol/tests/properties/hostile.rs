//! Bytes that somebody bent: nothing panics, reading always ends, and one broken frame costs one error.

use hubbub_protocol::{CloseCode, DecodeError, Format, limits::MAX_FRAMES};
use proptest::{collection::vec, prelude::*};

use crate::{client_frames, server_frames, strategy::*};

proptest! {
    #[test]
    fn any_bytes_end_in_order(format in format(), message in vec(any::<u8>(), 0..200)) {
        check(format, &message)?;
    }

    #[test]
    fn bent_client_frames_end_in_order(format in format(), frames in vec(client_frame(), 1..4), bends in vec(bend(), 1..4)) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| frame.encode(format, &mut message));
        bends.iter().for_each(|bend| bend.apply(&mut message));
        check(format, &message)?;
    }

    #[test]
    fn bent_server_frames_end_in_order(format in format(), frames in vec(server_frame(), 1..4), bends in vec(bend(), 1..4)) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| frame.encode(format, &mut message));
        bends.iter().for_each(|bend| bend.apply(&mut message));
        check(format, &message)?;
    }

    #[test]
    fn a_truncated_message_holds_its_whole_frames(format in format(), frames in vec(client_frame(), 1..5), cut in any::<prop::sample::Index>()) {
        let (mut message, mut ends) = (Vec::new(), Vec::new());
        for frame in &frames {
            frame.encode(format, &mut message);
            ends.push(message.len());
        }
        message.truncate(cut.index(message.len()));
        let mut read = client_frames(format, &message).into_iter();
        if format == Format::Json && std::str::from_utf8(&message).is_err() {
            prop_assert_eq!(read.next(), Some(Err(DecodeError::Fatal(CloseCode::InvalidText))));
        } else {
            let whole = ends.iter().filter(|end| **end <= message.len()).count();
            for frame in frames.into_iter().take(whole) {
                prop_assert_eq!(read.next(), Some(Ok(frame)));
            }
            if whole == 0 || ends[whole - 1] < message.len() {
                let nothing = message.is_empty();
                prop_assert_eq!(read.next(), (!nothing).then_some(Err(DecodeError::Fatal(CloseCode::Malformed))));
            }
        }
        prop_assert_eq!(read.next(), None);
    }

    #[test]
    fn frames_are_counted_whatever_they_are(format in format(), count in 250usize..600, filler in prop::sample::select(b" \n\t\r1".to_vec())) {
        let message = vec![filler; count];
        let outcomes = client_frames(format, &message);
        match format {
            Format::Msgpack if count > MAX_FRAMES => {
                prop_assert_eq!(outcomes.len(), MAX_FRAMES + 1);
                prop_assert_eq!(outcomes.last(), Some(&Err(DecodeError::Fatal(CloseCode::TooManyFrames))));
            }
            Format::Msgpack => prop_assert_eq!(outcomes.len(), count),
            Format::Json => prop_assert!(outcomes.len() <= 1),
        }
    }
}

fn check(format: Format, message: &[u8]) -> Result<(), TestCaseError> {
    let client = client_frames(format, message);
    prop_assert!(client.len() <= MAX_FRAMES + 1);
    in_order(message, client)?;
    in_order(message, server_frames(format, message))
}

/// Each outcome used up at least a byte, and nothing follows a fatal error.
fn in_order<T>(message: &[u8], outcomes: Vec<Result<T, DecodeError>>) -> Result<(), TestCaseError> {
    prop_assert!(outcomes.len() <= message.len());
    let fatal = outcomes.iter().position(|outcome| matches!(outcome, Err(DecodeError::Fatal(_))));
    prop_assert!(fatal.is_none_or(|at| at + 1 == outcomes.len()));
    Ok(())
}

/// Something that happens to bytes.
#[derive(Debug)]
enum Bend {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Double(prop::sample::Index, prop::sample::Index),
}

fn bend() -> impl Strategy<Value = Bend> {
    let at = any::<prop::sample::Index>;
    // Markers and punctuation do more harm than letters.
    let byte = || prop_oneof![any::<u8>(), 0xc0..=0xdfu8, prop::sample::select(b"{}[]\",:\\u0".to_vec())];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Bend::Set(at, byte)),
        (at(), byte()).prop_map(|(at, byte)| Bend::Insert(at, byte)),
        at().prop_map(Bend::Remove),
        at().prop_map(Bend::Truncate),
        (at(), at()).prop_map(|(from, to)| Bend::Double(from, to)),
    ]
}

impl Bend {
    fn apply(&self, message: &mut Vec<u8>) {
        if message.is_empty() {
            return;
        }
        match self {
            Bend::Set(at, byte) => *at.get_mut(message) = *byte,
            Bend::Insert(at, byte) => message.insert(at.index(message.len()), *byte),
            Bend::Remove(at) => drop(message.remove(at.index(message.len()))),
            Bend::Truncate(at) => message.truncate(at.index(message.len())),
            Bend::Double(from, to) => {
                let (from, to) = (from.index(message.len()), to.index(message.len()));
                let piece = message[from.min(to)..from.max(to)].to_vec();
                message.splice(from..from, piece);
            }
        }
    }
}
