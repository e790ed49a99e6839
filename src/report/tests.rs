use super::*;
use crate::analyze::samples;

fn show(trace: &Trace, width: usize) -> String {
    render(trace, Format::Waterfall, &Style { width, color: false, unicode: true })
}

#[test]
fn look() {
    for w in [60, 80, 120, 200] {
        for t in [
            samples::warm(),
            samples::cold(1),
            samples::cold(6),
            samples::failed(),
            samples::foreign(),
            samples::cold(200),
        ] {
            std::fs::write("/dev/stderr", show(&t, w)).unwrap();
        }
    }
}
