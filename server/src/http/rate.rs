//! How often one caller may ask: a bucket for each (GCRA), told in `RateLimit-…` headers.

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use http::{HeaderName, HeaderValue};
use hubbub_protocol::ErrorCode;

use super::{Peer, Problem, bearer, caller::Known};
use crate::session::Backend;

type Limiter = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// A caller may ask at once for as many as in so many seconds.
const BURST_SECONDS: u32 = 10;

/// The buckets of this instance.
#[derive(Debug)]
pub struct Rates {
    limiter: Option<Limiter>,
    burst: u32,
    per_minute: u32,
}

impl Rates {
    /// So many requests a minute for each caller; 0: no bound.
    pub fn new(per_minute: u32) -> Self {
        let burst = NonZeroU32::new((per_minute * BURST_SECONDS).div_ceil(60));
        let limiter = NonZeroU32::new(per_minute).zip(burst).map(|(rate, burst)| {
            RateLimiter::dashmap_with_hasher(Quota::per_minute(rate).allow_burst(burst), Default::default())
                .with_middleware::<StateInformationMiddleware>()
        });
        Self { limiter, burst: burst.map_or(0, NonZeroU32::get), per_minute }
    }

    /// Forgets callers whose bucket is full again.
    pub fn forget(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// The layer. A caller is known by the credentials, whether they are good or not, or else by the address.
pub async fn rates(State((backend, rates)): State<(Arc<Backend>, Arc<Rates>)>, mut request: Request, next: Next) -> Response {
    let Some(limiter) = &rates.limiter else { return next.run(request).await };
    let peer = Peer::of(request.headers(), request.extensions(), &backend.config.http.trusted_proxies);
    let key = match bearer(request.headers()).and_then(|token| backend.identify(token).ok()) {
        Some(identity) => {
            let key = format!("user {}", identity.user);
            request.extensions_mut().insert(Known(identity));
            key
        }
        None => format!("address {}", peer.network()),
    };
    let (left, seconds, mut response) = match limiter.check_key(&key) {
        Ok(state) => {
            let left = state.remaining_burst_capacity();
            (left, u64::from(rates.burst - left.min(rates.burst)) * 60 / u64::from(rates.per_minute), next.run(request).await)
        }
        Err(until) => {
            let seconds = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
            let problem = Problem::new(ErrorCode::RateLimited, "too many requests in a short time: wait as long as `Retry-After` says");
            (0, seconds, problem.retry_after(seconds).into_response())
        }
    };
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(rates.burst));
    headers.insert(REMAINING, HeaderValue::from(left));
    headers.insert(RESET, HeaderValue::from(seconds));
    response
}
