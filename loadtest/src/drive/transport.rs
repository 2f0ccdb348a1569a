//! The ways in which a connection can reach a server.

use std::fmt;

use clap::ValueEnum;
use hubbub_protocol::Format;

/// What a connection runs over. PROTOCOL.md, sections 1 and 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// A WebSocket, with MessagePack. Publishers are always on one.
    Websocket,
    /// A stream of events that a POST opens, as a fetch-based client does.
    Sse,
    /// A stream of events as a browser's own `EventSource` has it: opened with a ticket, with ids.
    Eventsource,
    /// Long polling.
    Polling,
}

impl Transport {
    /// The format of its frames.
    pub fn format(self) -> Format {
        match self {
            Transport::Websocket => Format::Msgpack,
            Transport::Sse | Transport::Eventsource | Transport::Polling => Format::Json,
        }
    }

    /// As it is given on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Websocket => "websocket",
            Transport::Sse => "sse",
            Transport::Eventsource => "eventsource",
            Transport::Polling => "polling",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_given() {
        for transport in Transport::value_variants() {
            assert_eq!(Transport::from_str(&transport.to_string(), false), Ok(*transport));
        }
    }
}
