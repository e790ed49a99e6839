//! The marks of runs that are still to be sent: what they say before and after a try.

use std::time::Duration;

use crate::backend::settings::Target;
use crate::net::text::printable;
use crate::record::clock::unix_now;
use crate::record::model::TraceId;
use crate::store::Store;
use crate::store::pending::{PendingExport, PendingGuard, PendingLock};

/// The mark of a run that is to go to `target`, before the first try.
pub fn new(target: &Target) -> PendingExport {
    PendingExport { url: target.shown(), at: unix_now(), ..PendingExport::default() }
}

/// The mark of a run that cannot be sent anywhere yet.
pub fn unsendable(reason: &str) -> PendingExport {
    PendingExport { reason: printable(reason), at: unix_now(), ..PendingExport::default() }
}

/// What a mark says after a failure. Where the run should have gone first stays: another address was only a try.
pub fn after_failure(held: &PendingGuard, target: &Target, reason: &str, perhaps_delivered: bool) -> PendingExport {
    let before = &held.mark().url;
    PendingExport {
        url: if held.is_new() || before.is_empty() { target.shown() } else { before.clone() },
        reason: printable(reason),
        at: unix_now(),
        tries: held.mark().tries + 1,
        perhaps_delivered: held.mark().perhaps_delivered || perhaps_delivered,
    }
}

/// The mark of a run that another process was working on: one that has the same caller, so that both are one trace. It
/// is done soon.
pub fn mark_late(store: &Store, id: TraceId) -> Option<PendingGuard> {
    for _ in 0..20 {
        match store.mark_pending(id, PendingExport { at: unix_now(), ..PendingExport::default() }) {
            Ok(PendingLock::Acquired(held)) => return Some(held),
            Ok(PendingLock::Busy) => std::thread::sleep(Duration::from_millis(25)),
            Ok(PendingLock::NotPending) | Err(_) => return None,
        }
    }
    None
}
