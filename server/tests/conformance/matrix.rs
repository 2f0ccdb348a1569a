//! Which tests are made of a test: one for each pair of broker and store, and one for each transport.
//!
//! * All pairs speak MessagePack over a WebSocket.
//! * The other transports run on SQLite alone, and where several instances matter on PostgreSQL with NATS. There POSTs and polls go to
//!   another instance than the one that holds the session.
//! * Behind each proxy two instances share a SQLite file, and tests that look inside one instance are left out.

/// Makes a test for each pair of broker and store of each named `async fn(Pair)`, over a WebSocket: for what is about the socket, about
/// REST, or about one instance whatever its clients speak.
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

/// A test for each pair, and one for each of the other transports.
#[macro_export]
macro_rules! over_every_transport {
    ($($test:ident),* $(,)?) => {
        $crate::on_every_pair!($($test),*);
        $crate::over_http!($($test),*);
        $crate::on_pair!(local_sqlite_json, LOCAL_SQLITE over JSON, $($test),*);
    };
}

/// The same, also where sessions are reached through another instance.
#[macro_export]
macro_rules! over_every_transport_and_instance {
    ($($test:ident),* $(,)?) => {
        $crate::over_every_transport!($($test),*);
        $crate::between_instances!($($test),*);
    };
}

/// What takes several instances.
#[macro_export]
macro_rules! in_every_cluster {
    ($($test:ident),* $(,)?) => {
        $crate::on_nats_pairs!($($test),*);
        $crate::between_instances!($($test),*);
    };
}

/// Over both transports that do without WebSockets, on one instance.
#[macro_export]
macro_rules! over_http {
    ($($test:ident),* $(,)?) => {
        $crate::on_pair!(local_sqlite_sse, LOCAL_SQLITE over Sse, $($test),*);
        $crate::on_pair!(local_sqlite_polling, LOCAL_SQLITE over Polling, $($test),*);
    };
}

/// Over every transport but the first on a cluster.
#[macro_export]
macro_rules! between_instances {
    ($($test:ident),* $(,)?) => {
        $crate::on_pair!(nats_postgres_json, NATS_POSTGRES over JSON, $($test),*);
        $crate::on_pair!(nats_postgres_sse, NATS_POSTGRES over Sse, $($test),*);
        $crate::on_pair!(nats_postgres_polling, NATS_POSTGRES over Polling, $($test),*);
    };
}

/// Each named test behind nginx and behind HAProxy, over each transport: two instances on NATS, either of which may get any connection.
#[macro_export]
macro_rules! behind_each_proxy {
    ($($test:ident),* $(,)?) => {
        $crate::behind!(nginx_msgpack, Nginx over MSGPACK, $($test),*);
        $crate::behind!(nginx_json, Nginx over JSON, $($test),*);
        $crate::behind!(nginx_sse, Nginx over Sse, $($test),*);
        $crate::behind!(nginx_polling, Nginx over Polling, $($test),*);
        $crate::behind!(haproxy_msgpack, Haproxy over MSGPACK, $($test),*);
        $crate::behind!(haproxy_json, Haproxy over JSON, $($test),*);
        $crate::behind!(haproxy_sse, Haproxy over Sse, $($test),*);
        $crate::behind!(haproxy_polling, Haproxy over Polling, $($test),*);
    };
}

/// The tests of one proxy and transport, in a module that is named after them.
#[macro_export]
macro_rules! behind {
    ($module:ident, $proxy:ident over $transport:ident, $($test:ident),* $(,)?) => {
        mod $module {
            use $crate::support::{Pair, Proxy, Transport};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Pair::NATS_SQLITE.over(Transport::$transport).behind(Proxy::$proxy)).await;
            })*
        }
    };
}

/// The tests of one pair and transport, in a module that is named after them.
#[macro_export]
macro_rules! on_pair {
    ($module:ident, $pair:ident over $transport:ident, $($test:ident),* $(,)?) => {
        mod $module {
            use $crate::support::{Pair, Transport};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Pair::$pair.over(Transport::$transport)).await;
            })*
        }
    };
    ($module:ident, $pair:ident, $($test:ident),* $(,)?) => {
        $crate::on_pair!($module, $pair over MSGPACK, $($test),*);
    };
}
