//! What takes part in a run beside the generator.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::subject::{Site, Subject};

/// The server under test and what it needs. They end in this order.
pub struct Scene {
    /// What is measured.
    pub subject: Subject,
    /// The instance that publishes are made at; without one the subject.
    pub publisher: Option<Subject>,
    /// What the instances run on; the floor needs none.
    pub site: Option<Site>,
}

/// CPU of what runs beside the subject, each apart: times, or microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost<T> {
    /// Of the publishers' instance, if it is another.
    pub publisher: T,
    /// Of NATS.
    pub nats: T,
    /// Of PostgreSQL.
    pub postgres: T,
}

impl Cost<Duration> {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            publisher: self.publisher.saturating_sub(earlier.publisher),
            nats: self.nats.saturating_sub(earlier.nats),
            postgres: self.postgres.saturating_sub(earlier.postgres),
        }
    }

    /// Microseconds for each of `publishes`.
    pub fn per(self, publishes: u64) -> Cost<f64> {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / publishes as f64;
        Cost { publisher: micros(self.publisher), nats: micros(self.nats), postgres: micros(self.postgres) }
    }
}

impl Scene {
    /// A server that needs nothing beside it.
    pub fn alone(subject: Subject) -> Self {
        Self { subject, publisher: None, site: None }
    }

    /// Where those connect who only publish.
    pub fn publishers_at(&self) -> SocketAddr {
        self.publisher.as_ref().unwrap_or(&self.subject).address
    }

    /// What everything but the subject has used.
    pub fn beside(&self) -> Result<Cost<Duration>> {
        let publisher = self.publisher.as_ref().map_or(Ok(Duration::ZERO), Subject::cpu)?;
        let services = self.site.as_ref().map(Site::cpu).transpose()?.unwrap_or_default();
        Ok(Cost { publisher, nats: services.nats, postgres: services.postgres })
    }
}
