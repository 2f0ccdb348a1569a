//! What transports and REST share: problems, who is asking, and what happens around every request.

mod around;
mod caller;
mod host;
mod origin;
mod peer;
mod problem;
mod rate;

pub use around::{KeptProblem, REQUEST_ID, RequestId, around, panicked};
pub use caller::{Caller, Somebody, bearer};
pub use host::one_host;
pub use origin::origins;
pub use peer::Peer;
pub use problem::{At, Fault, Problem};
pub use rate::{Rates, rates};
