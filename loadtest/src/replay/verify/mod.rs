//! The verdict: whether every subscriber got every acknowledged row exactly once, in order, in its place.
//!
//! Pure: no socket, no clock. The [`Ledger`] holds what was published and what the publisher was told; a [`Witness`] holds
//! what one subscriber has seen and compares. What does not fit is a [`Violation`].

mod bits;
mod ledger;
#[cfg(test)]
mod tests;
mod violation;
mod witness;

pub use ledger::{Ledger, Ticket};
pub use violation::{Violation, Violations};
pub use witness::{Joined, Seen, SkipPolicy, Witness};

/// The number of a channel in a run.
pub type ChannelIndex = u32;
/// The number of a row in its file, from 0.
pub type RowNumber = u64;
