//! What the user is told about the export of finished runs.

use super::Bar;
use super::summary::{remarks, tell};
use crate::backend::send;
use crate::backend::settings::{self, SettingsError, Target};
use crate::cli::link;
use crate::cli::output::{clean, say};
use crate::export::after_run::{self, Delivered, Destination};
use crate::export::{self, ExportOptions, Item};
use crate::record::model::{Trace, TraceId};
use crate::store::Store;
use crate::store::pending::PendingGuard;

/// Where a run is to be sent, by `--otlp` and the environment. Says why it is sent nowhere, where that is not what was
/// asked for.
pub fn destination(url: Option<&str>) -> Destination {
    let destination = Destination::of(url, &settings::environment);
    match &destination {
        Destination::Disabled => say("trace: the run is not exported: `OTEL_SDK_DISABLED` is `true`"),
        Destination::OtherExporter(e) => say(&clean(&format!("trace: the run is not exported: {e}"))),
        Destination::Nowhere | Destination::Unusable(_) | Destination::Target(_) => {}
    }
    destination
}

/// Marks a run as still to be sent, see [`Destination::mark`].
pub fn mark(destination: &Destination, store: Option<&Store>, id: TraceId) -> Option<PendingGuard> {
    destination.mark(store?, id).unwrap_or_else(|e| {
        say(&clean(&format!("trace: should the export fail, it cannot be done later: {e}")));
        None
    })
}

/// Sends a run and says what became of it; with `quiet` only if something is wrong. Gives where it went.
pub fn deliver(
    destination: Destination,
    trace: &Trace,
    store: Option<&Store>,
    held: Option<PendingGuard>,
    quiet: bool,
    stop: &mut dyn FnMut() -> bool,
) -> Option<Target> {
    let target = match destination {
        Destination::Nowhere | Destination::Disabled | Destination::OtherExporter(_) => return None,
        Destination::Unusable(why) => {
            let tail = match held {
                Some(_) => "; it is kept, `trace export --pending --otlp URL` sends it",
                None => kept(false),
            };
            say(&format!("trace: the run is not exported: {}{tail}", clean(&why.to_string())));
            return None;
        }
        Destination::Target(target) => *target,
    };
    match after_run::deliver(&target, trace, store, held, stop) {
        Ok(Delivered { report, took, noted }) => {
            noted.unwrap_or_else(|e| say(&clean(&format!("trace: {e}"))));
            if !quiet || report.rejected > 0 {
                let ms = took.as_secs_f64() * 1e3;
                say(&clean(&format!("exported to {} in {ms:.0} ms{}", target.host(), remarks(&report, "span"))));
            }
            Some(target)
        }
        Err(undelivered) => {
            let tail = match undelivered.pending {
                Err(e) => format!("; {e}"),
                Ok(pending) => kept(pending).to_owned(),
            };
            say(&clean(&format!("trace: the run is not exported: {}{tail}", undelivered.error)));
            None
        }
    }
}

fn kept(pending: bool) -> &'static str {
    if pending { "; it is kept, `trace export --pending` sends it" } else { "; it cannot be sent later" }
}

/// Sends the runs of a `trace bench`, all at once and after the last one: a bench measures nothing of it.
pub fn after_bench(store: &Store, ids: &[TraceId], url: Option<&str>, jaeger: Option<&str>) {
    let target = match destination(url) {
        Destination::Nowhere | Destination::Disabled | Destination::OtherExporter(_) => return,
        Destination::Unusable(why) => return not_now(store, ids, &why),
        Destination::Target(target) => *target,
    };
    let timeout = Some(target.timeout.unwrap_or(send::RUN_TIMEOUT));
    let otlp = target.url.clone();
    let options = ExportOptions { timeout, target, keep_marks: true, only_marked: false, once: false };
    let items: Vec<Item> = ids.iter().copied().map(Item::Stored).collect();
    match export::export(Some(store), options, items, &Bar::default()) {
        Ok(summary) => {
            tell(&summary, "; they are kept, `trace export --pending` sends them");
            if summary.traces == ids.len() {
                link::tell(jaeger, &otlp, ids);
            }
        }
        Err(e) => say(&clean(&format!("trace: the runs are not exported: {e}"))),
    }
}

fn not_now(store: &Store, ids: &[TraceId], why: &SettingsError) {
    after_run::keep_for_later(store, ids, why);
    let why = clean(&why.to_string());
    say(&format!(
        "trace: the runs are not exported: {why}; they are kept, `trace export --pending --otlp URL` sends them"
    ));
}
