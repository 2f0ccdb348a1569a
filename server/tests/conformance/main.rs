//! The conformance suite: every promise and every bound, over real sockets, on every pair of broker and store, in both formats.
//!
//! A test is written once, for a [`Pair`]; `on_every_pair!` makes a test of it for each. A new broker or store is a new line there.

mod acknowledged;
mod bounds;
mod credentials;
mod ephemeral;
mod frames;
mod http;
mod lifecycle;
mod order;
mod resume;
mod retry;
mod slow;
mod support;

/// Makes a test for each pair of broker and store of each named `async fn(Pair)`.
#[macro_export]
macro_rules! on_every_pair {
    ($($test:ident),* $(,)?) => {
        mod local_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::support::Pair::LOCAL_SQLITE).await;
            })*
        }
    };
}
