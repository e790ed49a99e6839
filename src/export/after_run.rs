//! Handing a finished run to a tracing back end. The container has gone, all is printed and written; nothing here
//! changes the exit code of a run.

use std::time::{Duration, Instant};

use super::marks;
use crate::backend::batch::Batch;
use crate::backend::send::{self, Delivery, DeliveryReport, SendError};
use crate::backend::settings::{self, SettingsError, Signal, Target, Variables};
use crate::record::model::{Trace, TraceId};
use crate::store::pending::{PendingGuard, PendingLock};
use crate::store::{Store, StoreError};

/// Where a run is to be sent.
pub enum Destination {
    /// Nobody asks for it.
    Nowhere,
    /// It is asked for by `--otlp`, but `OTEL_SDK_DISABLED` is `true`.
    Disabled,
    /// The environment asks for an exporter that is meant for other programs: there is nothing to be sent later.
    OtherExporter(SettingsError),
    /// Asked for, with settings that cannot be used.
    Unusable(SettingsError),
    /// There.
    Target(Box<Target>),
}

impl Destination {
    /// By `--otlp` and the environment. To be asked after the container has gone.
    pub fn of(url: Option<&str>, env: Variables<'_>) -> Self {
        let target = match url {
            Some(_) if settings::disabled(env) => return Destination::Disabled,
            Some(url) => settings::target(Signal::Traces, Some(url), env).map(Some),
            None => settings::from_environment(Signal::Traces, env),
        };
        match target {
            Ok(None) => Destination::Nowhere,
            Ok(Some(target)) => Destination::Target(Box::new(target)),
            Err(e @ SettingsError::Exporter { .. }) => Destination::OtherExporter(e),
            Err(e) => Destination::Unusable(e),
        }
    }

    /// Marks the run as still to be sent, before its file is there: whoever is killed while sending has not lost it,
    /// and no other process sends it too. `None` if there is nothing to send, or another process is at it.
    pub fn mark(&self, store: &Store, id: TraceId) -> Result<Option<PendingGuard>, StoreError> {
        let mark = match self {
            Destination::Nowhere | Destination::Disabled | Destination::OtherExporter(_) => return Ok(None),
            Destination::Unusable(why) => marks::unsendable(&why.to_string()),
            Destination::Target(target) => marks::new(target),
        };
        Ok(match store.mark_pending(id, mark)? {
            PendingLock::Acquired(held) => Some(held),
            PendingLock::Busy | PendingLock::NotPending => None,
        })
    }
}

/// A run that has been delivered.
pub struct Delivered {
    /// What the receiver reported.
    pub report: DeliveryReport,
    /// How long it took.
    pub took: Duration,
    /// Whether the store knows about it now.
    pub noted: Result<(), StoreError>,
}

/// A run that could not be delivered.
pub struct Undelivered {
    /// Why not.
    pub error: SendError,
    /// Whether it is marked as pending, so that it can be sent later.
    pub pending: Result<bool, StoreError>,
}

/// Sends a run. `store` is where it is recorded, if it is, and `held` its mark there; `stop` says that the user does
/// not want to wait.
pub fn deliver(
    target: &Target,
    trace: &Trace,
    store: Option<&Store>,
    held: Option<PendingGuard>,
    stop: &mut dyn FnMut() -> bool,
) -> Result<Delivered, Box<Undelivered>> {
    let started = Instant::now();
    let batch = Batch::of(&[trace], target.protocol);
    match send::deliver(target, &batch, target.timeout.unwrap_or(send::RUN_TIMEOUT), stop) {
        Ok(report) => {
            let noted = store.map_or(Ok(()), |store| note(store, target, trace, held));
            Ok(Delivered { report, took: started.elapsed(), noted })
        }
        Err(error) => {
            let held = held.or_else(|| marks::mark_late(store?, trace.id));
            let pending = held.map_or(Ok(false), |mut held| {
                let perhaps_delivered = error.delivery == Delivery::Indeterminate;
                let mark = marks::after_failure(&held, target, &error.to_string(), perhaps_delivered);
                held.update(mark).map(|()| true)
            });
            Err(Box::new(Undelivered { error, pending }))
        }
    }
}

/// Notes that a run has been sent, and that it is no longer pending.
fn note(store: &Store, target: &Target, trace: &Trace, held: Option<PendingGuard>) -> Result<(), StoreError> {
    // Of a caller's trace there may be more in the store than went out now.
    if trace.root().is_none_or(|r| r.parent.is_none()) {
        store.note_sent(&target.shown(), &[trace.id])?;
    }
    // An older mark is that of another run below the same caller: that one is not there yet.
    held.filter(PendingGuard::is_new).map_or(Ok(()), PendingGuard::remove)
}

/// Marks runs that cannot be sent now as pending.
pub fn keep_for_later(store: &Store, ids: &[TraceId], why: &SettingsError) {
    for id in ids {
        let _ = store.mark_pending(*id, marks::unsendable(&why.to_string()));
    }
}
