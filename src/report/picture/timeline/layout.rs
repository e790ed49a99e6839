//! Sizes, and where the columns of a run's picture are.

use crate::report::picture::{WIDTH, font};
use crate::report::rows::Row;
use crate::report::{Style, units};

pub(super) const MARGIN: f64 = 24.0;
/// Font sizes.
pub(super) const TITLE: f64 = 20.0;
pub(super) const BODY: f64 = 13.0;
pub(super) const SMALL: f64 = 11.5;
pub(super) const ROW: f64 = 22.0;
pub(super) const BAR: f64 = 12.0;
pub(super) const INDENT: f64 = 13.0;
pub(super) const MARK: f64 = 16.0;
pub(super) const STRIP: f64 = 44.0;
/// Pieces of the critical path closer than this are drawn as one.
pub(super) const GAP: f64 = 1.0;

/// Pictures have no width in columns and no colours to switch.
pub(crate) const STYLE: Style = Style { width: 160, color: false, unicode: true };

/// Where the columns are.
pub(super) struct Columns {
    pub(super) label: f64,
    pub(super) lane: (f64, f64),
    pub(super) duration: f64,
    pub(super) share: f64,
    pub(super) detail: (f64, f64),
}

impl Columns {
    pub(super) fn new(rows: &[Row]) -> Columns {
        let left = MARGIN + MARK;
        let widest = |width: &dyn Fn(&Row) -> f64| rows.iter().map(width).fold(0.0, f64::max);
        let label = widest(&|r| r.depth as f64 * INDENT + font::width(&r.label, BODY)).clamp(90.0, 250.0);
        let duration = widest(&|r| font::width(&units::duration(r.duration, &STYLE), BODY));
        let wanted =
            widest(&|r| font::width(&r.detail.parts.join(r.detail.joiner), SMALL).max(font::width(&r.error, SMALL)));
        let detail = wanted.min(330.0);
        let right = WIDTH - MARGIN;
        let share = right - if detail > 0.0 { detail + 18.0 } else { 0.0 };
        let times = share - 62.0;
        let lane = (left + label + 12.0, times - duration - 14.0);
        Columns { label: left + label, lane, duration: times, share, detail: (share + 18.0, right) }
    }

    pub(super) fn x(&self, ns: u64, wall: u64) -> f64 {
        let (left, right) = self.lane;
        left + (right - left) * ns.min(wall) as f64 / wall.max(1) as f64
    }
}
