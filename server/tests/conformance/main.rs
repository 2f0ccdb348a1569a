//! The conformance suite: every promise and every bound, over real sockets, on every pair of broker and store, in both formats.
//!
//! A test is written once, for a [`Pair`]; `on_every_pair!` makes a test of it for each. NATS and PostgreSQL are those that
//! `.ci/services.sh` starts: `.ci/services.sh cargo nextest run -p hubbub-server --test conformance`.
//!
//! [`Pair`]: support::Pair

mod acknowledged;
mod bounds;
mod cluster;
mod credentials;
mod ephemeral;
mod frames;
mod guests;
mod http;
mod lifecycle;
mod order;
mod page;
mod presence;
mod resume;
mod retry;
mod slow;
mod support;

/// Makes a test for each pair of broker and store of each named `async fn(Pair)`.
#[macro_export]
macro_rules! on_every_pair {
    ($($test:ident),* $(,)?) => {
        $crate::on_local_pairs!($($test),*);
        $crate::on_nats_pairs!($($test),*);
    };
}

/// The same for what holds where there is only one instance.
#[macro_export]
macro_rules! on_local_pairs {
    ($($test:ident),* $(,)?) => {
        $crate::on_pair!(local_sqlite, LOCAL_SQLITE, $($test),*);
        $crate::on_pair!(local_postgres, LOCAL_POSTGRES, $($test),*);
    };
}

/// The same for what holds where there may be several.
#[macro_export]
macro_rules! on_nats_pairs {
    ($($test:ident),* $(,)?) => {
        $crate::on_pair!(nats_sqlite, NATS_SQLITE, $($test),*);
        $crate::on_pair!(nats_postgres, NATS_POSTGRES, $($test),*);
    };
}

/// The tests of one pair, in a module that is named after it.
#[macro_export]
macro_rules! on_pair {
    ($module:ident, $pair:ident, $($test:ident),*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::support::Pair::$pair).await;
            })*
        }
    };
}
