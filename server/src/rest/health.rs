//! `/healthz`, `/readyz` and `/metrics`: for load balancers, orchestrators and Prometheus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use serde_json::json;

use super::Api;
use crate::{broker::Broker, session::Backend, store::Db};

/// How long a dependency may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this instance depends on.
#[derive(Debug)]
pub struct Health {
    db: Db,
    broker: Broker,
    draining: AtomicBool,
}

impl Health {
    /// Depends on these.
    pub fn new(db: Db, broker: Broker) -> Self {
        Self { db, broker, draining: AtomicBool::new(false) }
    }

    /// Not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }
}

pub(super) fn router() -> Router<Api> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

pub(super) fn metrics_router() -> Router<Api> {
    Router::new().route("/metrics", get(metrics))
}

/// The process runs and answers.
async fn alive() -> impl IntoResponse {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// Traffic is welcome: each dependency by name. Without its broker an instance goes on, late by about a second: it is degraded, and
/// ready, since taking every instance out of the load balancer would help nobody.
async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let word = |ok: bool| if ok { "ok" } else { "failing" };
    let store = health.db.is_alive(PATIENCE).await;
    let broker = health.broker.is_alive();
    let draining = health.draining.load(Relaxed);
    let ok = store && !draining;
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if draining { "draining" } else if ok && !broker { "degraded" } else { word(ok) },
        "dependencies": { "store": { "kind": health.db.kind(), "status": word(store) }, "broker": { "kind": health.broker.name(), "status": word(broker) } },
    });
    (status, Json(body))
}

/// Everything that is counted, in Prometheus's text format.
async fn metrics(State(backend): State<Arc<Backend>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], backend.metrics.render())
}
