//! The pairs of broker and store that a server can run on.

use std::fmt;

use clap::ValueEnum;

/// How instances reach one another, and where they store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pair {
    /// One instance, nothing beside it.
    LocalSqlite,
    /// Several processes on one host.
    NatsSqlite,
    /// One instance, its database a server.
    LocalPostgres,
    /// A cluster.
    NatsPostgres,
}

impl Pair {
    /// Whether there is a NATS: several instances can work as one.
    pub fn has_nats(self) -> bool {
        matches!(self, Pair::NatsSqlite | Pair::NatsPostgres)
    }

    /// Whether there is a PostgreSQL.
    pub fn has_postgres(self) -> bool {
        matches!(self, Pair::LocalPostgres | Pair::NatsPostgres)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pair::LocalSqlite => "local-sqlite",
            Pair::NatsSqlite => "nats-sqlite",
            Pair::LocalPostgres => "local-postgres",
            Pair::NatsPostgres => "nats-postgres",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_given() {
        for pair in Pair::value_variants() {
            assert_eq!(Pair::from_str(&pair.to_string(), false), Ok(*pair));
        }
    }
}
