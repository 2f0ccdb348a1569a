//! How every change of who may what ends: it is noted, ruled and committed at once, and counts here when the call returns.

use super::Access;
use crate::{
    auth::Identity,
    store::{
        StoreError, Tx,
        audit::{self, Deed, Trace},
        rulings::{self, Ruling},
    },
};

/// Who asks, and what is noted of it.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// What the audit log says.
    pub trace: &'a Trace,
}

impl Access {
    /// Writes what was done and whom it concerns as the last statements of `tx`, commits, and waits until it counts on this instance.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed, unless the commit itself failed.
    pub(crate) async fn conclude(&self, mut tx: Tx, trace: &Trace, deeds: &[Deed<'_>], rulings: &[Ruling]) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        for deed in deeds {
            audit::append(&mut tx, &self.world.id().to_string(), trace, deed, now).await?;
        }
        let mut number = None;
        for ruling in rulings {
            number = Some(rulings::append(&mut tx, ruling, now).await?);
        }
        tx.commit().await?;
        if let Some(number) = number {
            self.settle(number).await;
        }
        Ok(())
    }
}
