//! Pages of a catch-up: entries, and skips for those that are missing between them.

use hubbub_protocol::{
    Cursor, ServerFrame,
    frame::{Skip, SkipRange, SkipReason},
};

use crate::{
    hub::{Step, Subscription},
    telemetry::Metrics,
};

/// Bytes of a page of a catch-up.
pub(in crate::channel) const PAGE: usize = 64 << 10;

/// About a page of steps from `from`, at most half an outbox: each entry, and a skip before it where some are missing.
pub(in crate::channel) fn steps(
    subscription: &Subscription,
    from: Cursor,
    entries: impl Iterator<Item = (Cursor, bytes::Bytes)>,
    missing: SkipReason,
) -> Vec<Step> {
    let page = PAGE.min(subscription.outbox.limit() / 2);
    let mut steps = Vec::new();
    let mut size = 0;
    let mut at = from.seq;
    for (cursor, bytes) in entries {
        size += bytes.len();
        if size > page && !steps.is_empty() {
            break;
        }
        if cursor.seq > at + 1 {
            let before = Cursor { epoch: cursor.epoch, seq: cursor.seq - 1 };
            steps.push(Step { bytes: skip(subscription, at + 1, before, missing), cursor: before, skips: true });
        }
        at = cursor.seq;
        steps.push(Step { bytes, cursor, skips: false });
    }
    steps
}

/// Counts what a page delivers and leaves out.
pub(in crate::channel) fn count(metrics: &Metrics, from: Cursor, steps: &[Step], missing: SkipReason) {
    let Some(last) = steps.last() else { return };
    let entries = steps.iter().filter(|step| !step.skips).count() as u64;
    metrics.deliveries.increment(entries);
    metrics.skipped_entries.of(missing).increment(last.cursor.seq - from.seq - entries);
}

/// A skip of `from` to `to.seq`.
pub(in crate::channel) fn skip(subscription: &Subscription, from: u64, to: Cursor, reason: SkipReason) -> bytes::Bytes {
    let range = SkipRange { epoch: to.epoch, from, to: to.seq };
    let skip = Skip { channel: subscription.channel.clone(), range: Some(range), count: to.seq + 1 - from, reason };
    subscription.outbox.wire().frame(&ServerFrame::Skip(skip))
}
