//! The line that compares a run with the newest run of the other kind.

use crate::analyze::cold_warm::ColdWarm;
use crate::report::{Style, units};

/// `warm 4.1 ms · cold 312.4 ms · 76× · pull 301.0 ms saved`; no line break. Different hubs are named.
pub fn closing_line(comparison: &ColdWarm, style: &Style) -> String {
    let ColdWarm { this, other, ratio, pull_saved_ns, hubs_differ } = comparison;
    let kind = |kind: &str| style.clean(kind).into_owned();
    let mut parts = vec![
        format!("{} {}", kind(&this.kind), units::duration(this.wall_ns, style)),
        format!("{} {}", kind(&other.kind), units::duration(other.wall_ns, style)),
    ];
    let slower = if this.wall_ns >= other.wall_ns { this } else { other };
    let pulled = if this.pull_ns >= other.pull_ns { this } else { other };
    if slower.kind == "cold" || slower.kind == pulled.kind {
        parts.push(units::times(*ratio, style));
    } else {
        // The run that pulled nothing was the slower one: a bare factor would be read the other way round.
        parts.push(format!("{} {} slower", kind(&slower.kind), units::times(*ratio, style)));
    }
    if *pull_saved_ns > 0 {
        let time = units::duration(*pull_saved_ns, style);
        // The cold run that has just ended saved nothing: it paid.
        let word = if pulled.kind == this.kind { "paid" } else { "saved" };
        parts.push(format!("pull {time} {word}"));
    }
    if *hubs_differ {
        let hub = |hub: &Option<String>| style.clean(hub.as_deref().unwrap_or("?")).into_owned();
        parts.push(format!(
            "{} from {}, {} from {}",
            kind(&this.kind),
            hub(&this.hub),
            kind(&other.kind),
            hub(&other.hub)
        ));
    }
    parts.join(style.dot())
}
