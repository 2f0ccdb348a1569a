//! The subjects of a cluster. A channel's entries are on `<prefix>.<version>.<shard 0-255>.<encoded name>`, who comes and goes in it on
//! `<prefix>.<version>.presence.<shard>.<encoded name>`. An instance may listen to single names or to whole shards, and publishers need
//! not know which.

use std::fmt::Write;

use hubbub_protocol::ChannelName;

use super::{Plane, To};

/// The version of the scheme and of the envelope on it.
pub const VERSION: u8 = 1;

/// Writes and reads the subjects below one prefix.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// The prefix and the version, with a dot after each.
    root: Box<str>,
}

impl Subjects {
    /// Below `prefix`, one token.
    pub fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}.{VERSION}.").into() }
    }

    /// The subject of one plane of `channel`.
    pub fn channel(&self, plane: Plane, channel: &ChannelName) -> String {
        let mut subject = format!("{}{}{}.", self.root, start(plane), shard(channel));
        push_token(&mut subject, channel.as_str());
        subject
    }

    /// The subject of one plane of every channel in `shard`.
    pub fn shard(&self, plane: Plane, shard: u8) -> String {
        format!("{}{}{shard}.*", self.root, start(plane))
    }

    /// The subject of whom a message is for.
    pub fn to(&self, to: To<'_>) -> String {
        match to {
            To::Presence(channel) => self.channel(Plane::Presence, channel),
            To::Everybody => format!("{}all", self.root),
            To::Instance(id) => self.own("to.", id),
        }
    }

    /// The start of the subjects on which answers to the instance `id` alone come; a token follows.
    pub(super) fn answers(&self, id: &str) -> String {
        self.own("answer.", id) + "."
    }

    /// The subject to which no instance listens.
    pub(super) fn nobody(&self) -> String {
        format!("{}nobody", self.root)
    }

    /// Which plane `subject` is of; `None` when it is not a channel's.
    pub fn plane(&self, subject: &str) -> Option<Plane> {
        let rest = subject.strip_prefix(&*self.root)?;
        match rest.strip_prefix(start(Plane::Presence)) {
            Some(_) => Some(Plane::Presence),
            None => rest.starts_with(|first: char| first.is_ascii_digit()).then_some(Plane::Entries),
        }
    }

    fn own(&self, kind: &str, id: &str) -> String {
        let mut subject = format!("{}{kind}", self.root);
        push_token(&mut subject, id);
        subject
    }
}

fn start(plane: Plane) -> &'static str {
    match plane {
        Plane::Entries => "",
        Plane::Presence => "presence.",
    }
}

/// NATS tokens hold no dot, blank, `*` or `>`; every byte outside `A-Z a-z 0-9 - _ :` is written as `=` and two hexadecimal digits.
fn push_token(subject: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b':' => subject.push(byte.into()),
            _ => write!(subject, "={byte:02x}").expect("writing to a String cannot fail"),
        }
    }
}

/// The channel's shard: FNV-1a (32 bits, folded to 8), the same on every instance and release.
pub fn shard(channel: &ChannelName) -> u8 {
    let hash = channel.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_be_bytes().into_iter().fold(0, |fold, byte| fold ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn subject(text: &str) -> String {
        Subjects::new("hubbub").channel(Plane::Entries, &name(text))
    }

    #[test]
    fn is_one_token_after_the_shard() {
        for name in ["room:42", "user.name@example.org", "房间:一", "a=b,c~d+e"] {
            let subject = subject(name);
            assert_eq!(subject.split('.').count(), 4, "{subject}");
            assert!(!subject.contains(['*', '>', ' ']), "{subject}");
        }
        assert_eq!(subject("a.b"), format!("hubbub.1.{}.a=2eb", shard(&name("a.b"))));
    }

    #[test]
    fn never_moves_between_releases() {
        assert_eq!(subject("room:42"), "hubbub.1.168.room:42");
        let subjects = Subjects::new("chat");
        assert_eq!(subjects.to(To::Presence(&name("room:42"))), "chat.1.presence.168.room:42");
        assert_eq!(subjects.to(To::Everybody), "chat.1.all");
        assert_eq!(subjects.to(To::Instance("0198-a.b")), "chat.1.to.0198-a=2eb");
        assert_eq!(subjects.shard(Plane::Entries, 168), "chat.1.168.*");
        assert_eq!(subjects.shard(Plane::Presence, 168), "chat.1.presence.168.*");
    }

    #[test]
    fn tells_a_channel_from_the_rest() {
        let subjects = Subjects::new("chat");
        for plane in [Plane::Entries, Plane::Presence] {
            assert_eq!(subjects.plane(&subjects.channel(plane, &name("presence"))), Some(plane));
        }
        for other in [subjects.to(To::Everybody), subjects.to(To::Instance("1")), subjects.nobody(), subject("room:42")] {
            assert_eq!(subjects.plane(&other), None, "{other}");
        }
    }
}
