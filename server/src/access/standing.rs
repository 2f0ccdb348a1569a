//! Changes of how users stand on the instance, with their traces: for the command line, and for whoever answers requests.

use serde_json::json;

use crate::{
    store::{
        Db, StoreError,
        audit::{self, Deed, Trace},
        standing::{self, Change},
    },
    world::World,
};

/// Changes how `user` stands, and notes in the audit log who did. Returns the ruling's number, for [`super::Access::settle`].
///
/// # Errors
/// [`StoreError`]: nothing was changed, unless the commit itself failed.
pub async fn change(db: &Db, world: &World, trace: &Trace, user: &str, change: Change) -> Result<u64, StoreError> {
    let now = world.clock.now();
    let (action, detail) = match change {
        Change::Block => ("user.blocked", json!({})),
        Change::Unblock => ("user.unblocked", json!({})),
        Change::Role(role) => ("user.role_given", json!({ "role": role.as_str() })),
    };
    let mut tx = db.begin().await?;
    let deed = Deed { action, target: "user", id: user, channel: None, detail };
    audit::append(&mut tx, &world.id().to_string(), trace, &deed, now).await?;
    let number = standing::change(&mut tx, user, change, now).await?;
    tx.commit().await?;
    Ok(number)
}
