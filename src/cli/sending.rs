//! Handing finished runs to a tracing back end. The container has gone, all is printed and written; nothing here changes the
//! exit code of a run.

use std::time::{Duration, Instant};

use super::CliError;
use super::deliver::{self, ExportOptions, Item};
use super::link;
use super::output::{clean, say};
use crate::backend::batch::Batch;
use crate::backend::send::{self, Delivery, DeliveryReport};
use crate::backend::settings::{self, SettingsError, Signal, Target};
use crate::record::model::{Trace, TraceId};
use crate::report::units;
use crate::store::Store;
use crate::store::containers::now;
use crate::store::pending::{PendingExport, PendingGuard, PendingLock};

/// Refuses a URL that cannot be used, before anything is run.
pub fn check(url: Option<&str>) -> Result<(), CliError> {
    let Some(url) = url else { return Ok(()) };
    settings::target(Signal::Traces, Some(url), &|_| None).map(drop).map_err(|e| CliError::Usage(e.to_string()))
}

/// Where a run is to be sent, and the mark that it is not yet there.
pub enum Plan {
    /// Nobody asks for it.
    Nowhere,
    /// Asked for, with settings that cannot be used: the sentence.
    Wrong(String),
    /// There.
    To(Box<Target>),
}

impl Plan {
    /// By `--otlp` and the environment. To be asked after the container has gone.
    pub fn of(url: Option<&str>) -> Plan {
        let asked = match url {
            Some(_) if settings::disabled(&settings::environment) => {
                say("trace: the run is not exported: `OTEL_SDK_DISABLED` is `true`");
                return Plan::Nowhere;
            }
            Some(url) => settings::target(Signal::Traces, Some(url), &settings::environment).map(Some),
            None => settings::from_environment(Signal::Traces, &settings::environment),
        };
        match asked {
            Ok(None) => Plan::Nowhere,
            Ok(Some(target)) => Plan::To(Box::new(target)),
            // Meant for other programs: there is nothing to be sent later.
            Err(e @ SettingsError::Exporter { .. }) => {
                say(&clean(&format!("trace: the run is not exported: {e}")));
                Plan::Nowhere
            }
            Err(e) => Plan::Wrong(clean(&e.to_string())),
        }
    }

    /// Marks the run as still to be sent, before its file is there: whoever is killed while sending has not lost it, and no other
    /// process sends it too.
    pub fn mark(&self, store: Option<&Store>, id: TraceId) -> Option<PendingGuard> {
        let mark = match self {
            Plan::Nowhere => return None,
            Plan::Wrong(reason) => PendingExport { reason: reason.clone(), at: now(), ..PendingExport::default() },
            Plan::To(target) => PendingExport { url: target.shown(), at: now(), ..PendingExport::default() },
        };
        match store?.mark_pending(id, mark) {
            Ok(PendingLock::Acquired(held)) => Some(held),
            Ok(PendingLock::Busy | PendingLock::NotPending) => None,
            Err(e) => {
                say(&clean(&format!("trace: should the export fail, it cannot be done later: {e}")));
                None
            }
        }
    }

    /// Sends the run. `store` is where it is recorded, if it is, and `held` its mark there; `quiet`: nothing is said if it went well; `stop` says that
    /// the user does not want to wait. Gives where it went.
    pub fn carry_out(
        self,
        trace: &Trace,
        store: Option<&Store>,
        held: Option<PendingGuard>,
        quiet: bool,
        stop: &mut dyn FnMut() -> bool,
    ) -> Option<Target> {
        let target = match self {
            Plan::Nowhere => return None,
            Plan::Wrong(why) => {
                let tail = if held.is_some() {
                    "; it is kept, `trace export --pending --otlp URL` sends it"
                } else {
                    kept(false)
                };
                say(&format!("trace: the run is not exported: {why}{tail}"));
                return None;
            }
            Plan::To(target) => *target,
        };
        let begun = Instant::now();
        let batch = Batch::of(&[trace], target.protocol);
        match send::deliver(&target, &batch, target.timeout.unwrap_or(send::RUN_TIMEOUT), stop) {
            Ok(sent) => {
                if let Some(store) = store {
                    // An older mark is that of another run below the same caller: that one is not there yet.
                    let own = held.filter(PendingGuard::is_new);
                    // Of a caller's trace there may be more in the store than went out now.
                    let alone = trace.root().is_none_or(|r| r.parent.is_none());
                    let noted = if alone { store.note_sent(&target.shown(), &[trace.id]) } else { Ok(()) };
                    let noted = noted.and_then(|()| own.map_or(Ok(()), PendingGuard::remove));
                    noted.unwrap_or_else(|e| say(&clean(&format!("trace: {e}"))));
                }
                if !quiet || sent.rejected > 0 {
                    say(&clean(&delivered(&sent, &target, begun)));
                }
                Some(target)
            }
            Err(e) => {
                let held = held.or_else(|| mark_late(store?, trace.id));
                let is_kept = held.map(|mut held| {
                    let mark =
                        deliver::after_failure(&held, &target, &e.to_string(), e.delivery == Delivery::Indeterminate);
                    held.update(mark)
                });
                let tail = match is_kept {
                    Some(Err(e)) => format!("; {e}"),
                    other => kept(other.is_some()).to_owned(),
                };
                say(&clean(&format!("trace: the run is not exported: {e}{tail}")));
                None
            }
        }
    }
}

/// The mark of a run that another process was at: one that has the same caller, so that both are one trace. It is done soon.
fn mark_late(store: &Store, id: TraceId) -> Option<PendingGuard> {
    for _ in 0..20 {
        match store.mark_pending(id, PendingExport { at: now(), ..PendingExport::default() }) {
            Ok(PendingLock::Acquired(held)) => return Some(held),
            Ok(PendingLock::Busy) => std::thread::sleep(Duration::from_millis(25)),
            Ok(PendingLock::NotPending) | Err(_) => return None,
        }
    }
    None
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { "; it is kept, `trace export --pending` sends it" } else { "; it cannot be sent later" }
}

/// Sends the runs of a `trace bench`, all at once and after the last one: a bench measures nothing of it.
pub fn after_bench(store: &Store, ids: &[TraceId], url: Option<&str>, jaeger: Option<&str>) {
    let target = match Plan::of(url) {
        Plan::Nowhere => return,
        Plan::Wrong(why) => {
            for id in ids {
                let mark = PendingExport { reason: why.clone(), at: now(), ..PendingExport::default() };
                let _ = store.mark_pending(*id, mark);
            }
            say(&format!(
                "trace: the runs are not exported: {why}; they are kept, `trace export --pending --otlp URL` sends them"
            ));
            return;
        }
        Plan::To(target) => *target,
    };
    let order = ExportOptions {
        bound: Some(target.timeout.unwrap_or(send::RUN_TIMEOUT)),
        target,
        keep_marks: true,
        only_marked: false,
        once: false,
    };
    let items: Vec<Item> = ids.iter().copied().map(Item::Stored).collect();
    let otlp = order.target.url.clone();
    match deliver::deliver(Some(store), order, items) {
        Ok(summary) => {
            summary.tell("; they are kept, `trace export --pending` sends them");
            if summary.traces == ids.len() {
                link::tell(jaeger, &otlp, ids);
            }
        }
        Err(e) => say(&clean(&format!("trace: the runs are not exported: {e}"))),
    }
}

/// A line about what was delivered.
fn delivered(sent: &DeliveryReport, target: &Target, begun: Instant) -> String {
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut line = format!("exported to {} in {ms:.0} ms", target.host());
    line.push_str(&remarks(sent, "span"));
    line
}

/// What the receiver said about it, if anything.
pub fn remarks(sent: &DeliveryReport, item: &str) -> String {
    let mut line = String::new();
    if sent.rejected > 0 {
        line.push_str(&format!("; it rejected {}", units::count(sent.rejected, item)));
    }
    if !sent.message.is_empty() {
        line.push_str(&format!("; it says `{}`", sent.message));
    }
    line
}
