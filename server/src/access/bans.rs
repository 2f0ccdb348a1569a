//! Bans from channels, with their traces. Whether the banner may is asked before ([`super::Access::may`], `Act::Moderate`).

use hubbub_protocol::ChannelName;
use serde_json::json;

use crate::{
    store::{
        Db, StoreError,
        audit::{self, Deed, Trace},
        bans::{self, Ban, NewBan},
    },
    world::World,
};

/// Bans somebody from a channel, and notes who did. A ban that is there already is replaced.
///
/// # Errors
/// [`StoreError`]: nothing was changed, unless the commit itself failed.
pub async fn put(db: &Db, world: &World, trace: &Trace, new: NewBan<'_>) -> Result<Ban, StoreError> {
    let now = world.clock.now();
    let mut tx = db.begin().await?;
    let detail = json!({ "reason": new.reason, "expires_at": new.expires_at });
    let deed = Deed { action: "ban.put", target: "user", id: new.user, channel: Some(new.channel.as_str()), detail };
    audit::append(&mut tx, &world.id().to_string(), trace, &deed, now).await?;
    let ban = bans::put(&mut tx, new, now).await?;
    tx.commit().await?;
    Ok(ban)
}

/// Lifts a ban, and notes who did. Returns whether there was one.
///
/// # Errors
/// [`StoreError`]: nothing was changed, unless the commit itself failed.
pub async fn lift(db: &Db, world: &World, trace: &Trace, channel: &ChannelName, user: &str) -> Result<bool, StoreError> {
    let now = world.clock.now();
    let mut tx = db.begin().await?;
    let deed = Deed { action: "ban.lifted", target: "user", id: user, channel: Some(channel.as_str()), detail: json!({}) };
    audit::append(&mut tx, &world.id().to_string(), trace, &deed, now).await?;
    let was_there = bans::lift(&mut tx, channel, user, now).await?;
    if was_there {
        tx.commit().await?;
    }
    Ok(was_there)
}
