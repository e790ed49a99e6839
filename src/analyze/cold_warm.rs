//! A run and the newest run of the other kind.

use super::Analysis;
use super::facts::{Facts, facts};
use crate::names::attr;
use crate::record::model::Trace;

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// `cold`, `warm`, `partial`.
    pub kind: String,
    /// Wall time, ns.
    pub wall_ns: u64,
    /// `image.pull` on the critical path, ns; 0 if nothing was pulled.
    pub pull_ns: u64,
    /// `trace.hub`.
    pub hub: Option<String>,
}

/// Two runs of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ColdWarm {
    /// The run that has just ended.
    pub this: Side,
    /// The one it is compared with.
    pub other: Side,
    /// The slower wall time by the faster one, at least 1.
    pub ratio: f64,
    /// What the side that pulled less saved in pulling, ns.
    pub pull_saved_ns: u64,
    /// Both hubs are known and differ: the pull times don't compare.
    pub hubs_differ: bool,
}

/// Holds `this` against `other`. `None` if that would say nothing: one of them failed, took no time, or has no kind,
/// the kinds are equal, or the images differ.
pub fn compare(this: &Trace, other: &Trace) -> Option<ColdWarm> {
    let image = |t: &Trace| t.root()?.attributes.str(attr::CONTAINER_IMAGE_NAME).map(str::to_owned);
    if image(this)? != image(other)? {
        return None;
    }
    let (this, other) = (side(this)?, side(other)?);
    if this.kind == other.kind {
        return None;
    }
    let (slow, fast) = (this.wall_ns.max(other.wall_ns), this.wall_ns.min(other.wall_ns));
    Some(ColdWarm {
        ratio: slow as f64 / fast as f64,
        pull_saved_ns: this.pull_ns.abs_diff(other.pull_ns),
        hubs_differ: this.hub.is_some() && other.hub.is_some() && this.hub != other.hub,
        this,
        other,
    })
}

fn side(trace: &Trace) -> Option<Side> {
    let analysis = Analysis::of(trace)?;
    let Facts { wall_ns, kind, hub, pull_ns, .. } = facts(&analysis);
    let failed = analysis.tree.span(analysis.tree.root()).status.is_error();
    (!failed && wall_ns > 0).then_some(Side { kind: kind?, wall_ns, pull_ns, hub })
}
