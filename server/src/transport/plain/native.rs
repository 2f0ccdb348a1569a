//! For a browser's own `EventSource`, which can send no header: tickets to begin with, and events' ids to come back with.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hubbub_protocol::{ClientFrame, CloseCode, ErrorCode, Format, Retry, frame::Auto, frame::Connect, frame::SubscribeChannel};

use super::Plain;
use crate::{
    auth::{Denied, Identity},
    http::Problem,
    hub::Wire,
    session::{Passport, Trail},
    store::tickets,
};

/// For how long a ticket is good, in milliseconds.
pub const LIFE_MS: u64 = 15_000;
/// Bytes of a ticket's randomness.
const TICKET: usize = 32;

/// What became of an `EventSource` that comes back.
pub(super) enum Return {
    /// It goes on.
    Welcome(Passport),
    /// Its token's time is over, or it was revoked: it should not come back again.
    Over,
}

impl Plain {
    /// Makes a ticket for `passport`, and tells until when it is good, in Unix milliseconds.
    pub(super) async fn ticket(&self, passport: &Passport) -> Result<(String, u64), Problem> {
        if !Trail::fits(passport) {
            let text = "the channels (at most 64) and the token's grants are too long for a native EventSource: use fewer, or shorter ones";
            return Err(Problem::new(ErrorCode::OutOfRange, text));
        }
        let world = &self.endpoint.backend.world;
        let ticket = URL_SAFE_NO_PAD.encode(world.chance.bytes::<TICKET>());
        let now = world.clock.now();
        let hash = digest(&SHA256, ticket.as_bytes());
        tickets::put(&self.db, hash.as_ref(), &passport.encode(), now, LIFE_MS).await.map_err(unavailable)?;
        Ok((ticket, now + LIFE_MS))
    }

    /// Uses a ticket up.
    pub(super) async fn redeem(&self, ticket: &str) -> Result<Passport, Problem> {
        let now = self.endpoint.backend.world.clock.now();
        let hash = digest(&SHA256, ticket.as_bytes());
        let passport = tickets::take(&self.db, hash.as_ref(), now).await.map_err(unavailable)?;
        let refused =
            || Problem::new(ErrorCode::Unauthorized, "the ticket was used, or is too old, or never was: POST /v1/tickets gives a new one");
        let passport = Passport::decode(&passport.ok_or_else(refused)?).map_err(|_| refused())?;
        self.endpoint.backend.access.admits(&passport.identity)?;
        self.is_current(&passport.identity).then_some(passport).ok_or_else(refused)
    }

    /// Who comes back with the id `last`, and to what.
    pub(super) fn returning(&self, last: &str) -> Result<Return, Problem> {
        let passport = self.sealer.open(last).and_then(|bytes| Passport::decode(&bytes).ok()).ok_or_else(|| {
            Problem::new(ErrorCode::Unauthorized, "`Last-Event-ID` is none of this server's: POST /v1/tickets gives a new beginning")
        })?;
        match self.endpoint.backend.access.admits(&passport.identity) {
            Ok(()) if self.is_current(&passport.identity) => Ok(Return::Welcome(passport)),
            Ok(()) | Err(Denied::Revoked) => Ok(Return::Over),
            Err(denied) => Err(denied.into()),
        }
    }

    fn is_current(&self, identity: &Identity) -> bool {
        self.endpoint.backend.world.clock.now() < identity.expires_at
    }

    /// What an `EventSource` is told that cannot be served now: it gives up on every status but 200.
    pub(super) fn later(&self, draining: bool) -> Bytes {
        let code = if draining { CloseCode::Draining } else { CloseCode::Internal };
        debug_assert_ne!(code.retry(), Retry::Never);
        let words = Wire::Events.goodbye(code, None);
        [self.retry()].into_iter().chain(words).fold(Vec::new(), |all, piece| [&all[..], &piece].concat()).into()
    }
}

fn unavailable(error: crate::store::StoreError) -> Problem {
    tracing::warn!(%error, "tickets cannot be kept");
    Problem::new(ErrorCode::Unavailable, "the store does not answer")
}

/// `connect` with the id 1, and if there are channels `subscribe` with the id 2. That one is read first: what the server begins beside it
/// is what is not among them.
pub(super) fn opening(channels: Vec<SubscribeChannel>, auto: Option<Auto>) -> Bytes {
    let mut out = Vec::new();
    ClientFrame::Connect(Connect { id: 1, auto, ..Connect::default() }).encode(Format::Json, &mut out);
    if !channels.is_empty() {
        ClientFrame::Subscribe { id: 2, channels }.encode(Format::Json, &mut out);
    }
    out.into()
}
