//! How a subscription ends, or loses its place.

use bytes::Bytes;
use hubbub_protocol::Cursor;

use super::{Outbox, Standing, Subscription, queue::Phase};

impl Outbox {
    /// Nothing of the subscription's channel is put into the outbox after this.
    pub fn end(&self, subscription: &Subscription) {
        let mut inner = self.lock();
        subscription.stand(Standing::Ended);
        inner.forget(subscription);
    }

    /// Ends a subscription by the server's own will: `farewell`, sealed for this outbox's wire, is the last of its channel. One that
    /// has not been answered yet is marked instead, and ends when it first pulls: its reply comes first. Flush afterwards.
    pub fn revoke(&self, subscription: &Subscription, farewell: Bytes) {
        let mut inner = self.lock();
        match subscription.standing() {
            Standing::Ended => {}
            Standing::Joining => {
                subscription.make_void();
                subscription.stand(Standing::Behind);
            }
            Standing::Behind | Standing::Live => {
                subscription.stand(Standing::Ended);
                inner.forget(subscription);
                if inner.phase == Phase::Open {
                    inner.append(farewell);
                }
            }
        }
    }

    /// The channel has come to `position` without anything to deliver: a live subscription that is not there yet pulls, and is told.
    pub fn nudge(&self, subscription: &Subscription, position: Cursor) {
        let mut inner = self.lock();
        if subscription.standing() == Standing::Live && subscription.cursor().seq < position.seq {
            inner.fall_behind(subscription);
            self.waker.wake();
        }
    }
}
