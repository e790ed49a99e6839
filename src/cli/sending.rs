//! Handing a finished run to a tracing back end. The container has gone, all is printed and written; nothing here changes the
//! exit code.

use std::time::Instant;

use super::CliError;
use super::output::{clean, say};
use crate::backend::batch;
use crate::backend::send::{self, Fate, Sent};
use crate::backend::settings::{self, Signal, Target};
use crate::record::model::Trace;
use crate::report::units;
use crate::store::Store;
use crate::store::containers::now;
use crate::store::pending::Mark;

/// Refuses a URL that cannot be used, before anything is run.
pub fn check(url: Option<&str>) -> Result<(), CliError> {
    let Some(url) = url else { return Ok(()) };
    settings::target(Signal::Traces, Some(url), &|_| None).map(drop).map_err(|e| CliError::Usage(e.to_string()))
}

/// Sends the trace of a finished run if `--otlp` or the environment asks for it. `kept`: whether it is recorded in the store.
/// Gives where it went, for a link.
pub fn after_run(trace: &Trace, store: Option<&Store>, kept: bool, url: Option<&str>, quiet: bool) -> Option<Target> {
    let asked = match url {
        Some(_) if settings::disabled(&settings::environment) => {
            say("trace: the run is not exported: `OTEL_SDK_DISABLED` is `true`");
            return None;
        }
        Some(url) => settings::target(Signal::Traces, Some(url), &settings::environment).map(Some),
        None => settings::from_environment(Signal::Traces, &settings::environment),
    };
    let target = match asked {
        Ok(target) => target?,
        Err(e) => {
            say(&clean(&format!("trace: the run is not exported: {e}")));
            return None;
        }
    };
    let begun = Instant::now();
    let mark = Mark { url: target.shown(), at: now(), ..Mark::default() };
    // First the mark: whoever is killed while sending has not lost the run.
    let held = match store.filter(|_| kept).map(|s| s.mark_pending(trace.id, mark.clone())) {
        Some(Ok(held)) => held,
        Some(Err(e)) => {
            say(&clean(&format!("trace: should the export fail, it will not be noted: {e}")));
            None
        }
        None => None,
    };
    let parcel = batch::parcel(&[trace], target.protocol);
    let result = send::deliver(&target, &parcel, target.timeout.unwrap_or(send::RUN_BOUND));
    match result {
        Ok(sent) => {
            if let Some(held) = held
                && let Err(e) = held.take_away()
            {
                say(&clean(&format!("trace: {e}")));
            }
            if !quiet || sent.rejected > 0 {
                say(&clean(&delivered(&sent, &target, begun)));
            }
            Some(target)
        }
        Err(e) => {
            let tail = match held {
                Some(mut held) => {
                    let perhaps_delivered = held.mark().perhaps_delivered || e.fate == Fate::Unknown;
                    let tries = held.mark().tries + 1;
                    match held.keep(Mark { reason: clean(&e.to_string()), tries, perhaps_delivered, ..mark }) {
                        Ok(()) => "; it is kept, `trace export --pending` sends it".to_owned(),
                        Err(e) => format!("; {e}"),
                    }
                }
                None => "; it is not recorded either".to_owned(),
            };
            say(&clean(&format!("trace: the run is not exported: {e}{tail}")));
            None
        }
    }
}

/// A line about what was delivered.
fn delivered(sent: &Sent, target: &Target, begun: Instant) -> String {
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut line = format!("exported to {} in {ms:.0} ms", target.host());
    if sent.rejected > 0 {
        line.push_str(&format!("; it rejected {}", units::count(sent.rejected, "span")));
    }
    if !sent.message.is_empty() {
        line.push_str(&format!("; it says `{}`", sent.message));
    }
    line
}
