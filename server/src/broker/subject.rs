//! The subject of a channel: `hubbub.<version>.<shard 0-255>.<encoded name>`. An instance may listen to single names or to whole
//! shards, and publishers need not know which.

use hubbub_protocol::ChannelName;

/// The version of the scheme and of the envelope on it.
pub const VERSION: u8 = 1;

/// The subject of `channel`. NATS tokens hold no dot, blank, `*` or `>`; every byte outside `A-Z a-z 0-9 - _ :` is written as
/// `=` and two hexadecimal digits.
pub fn of(channel: &ChannelName) -> String {
    let mut subject = format!("hubbub.{VERSION}.{}.", shard(channel));
    for byte in channel.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b':' => subject.push(byte.into()),
            _ => subject.push_str(&format!("={byte:02x}")),
        }
    }
    subject
}

/// The subject of every channel in `shard`.
pub fn of_shard(shard: u8) -> String {
    format!("hubbub.{VERSION}.{shard}.*")
}

/// The channel's shard: FNV-1a (32 bits, folded to 8), the same on every instance and release.
pub fn shard(channel: &ChannelName) -> u8 {
    let hash = channel.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_be_bytes().into_iter().fold(0, |fold, byte| fold ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> String {
        of(&ChannelName::parse(name).unwrap())
    }

    #[test]
    fn is_one_token_after_the_shard() {
        for name in ["room:42", "user.name@example.org", "房间:一", "a=b,c~d+e"] {
            let subject = subject(name);
            assert_eq!(subject.split('.').count(), 4, "{subject}");
            assert!(!subject.contains(['*', '>', ' ']), "{subject}");
        }
        assert_eq!(subject("a.b"), format!("hubbub.1.{}.a=2eb", shard(&ChannelName::parse("a.b").unwrap())));
    }

    #[test]
    fn never_moves_between_releases() {
        assert_eq!(subject("room:42"), "hubbub.1.168.room:42");
    }
}
