//! Says where runs that were sent can be looked at.

use url::Url;

use super::output::{clean, say};
use crate::backend::link;
use crate::record::model::TraceId;

/// More than these are not named one by one.
const FEW: usize = 3;

/// The pages in Jaeger of runs that a receiver at `otlp` has taken; `given` is the value of `--jaeger-url`. Nothing is
/// said where no Jaeger is known.
pub fn tell(given: Option<&str>, otlp: &Url, ids: &[TraceId]) {
    let base = match link::base(given, Some(otlp)) {
        Ok(Some(base)) if !ids.is_empty() => base,
        Ok(_) => return,
        Err(e) => {
            say(&clean(&format!("trace: there is no link to Jaeger: {e}")));
            return;
        }
    };
    if ids.len() > FEW {
        say(&clean(&format!("{} traces to look at: {base}", ids.len())));
        return;
    }
    for id in ids {
        say(&clean(&link::page(&base, *id)));
    }
}
