//! Two clocks: the monotonic one that all stamps use, and the wall clock that anchors them once per trace.

/// `CLOCK_MONOTONIC` in nanoseconds. The container's init reads the same clock, so its stamps compare with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// Now.
    pub fn now() -> Self {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Mono(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
    }

    /// Nanoseconds from `earlier` to this, 0 if it was not earlier.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The wall clock: nanoseconds since the Unix epoch.
pub fn unix_now() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    // A clock that is set to before 1970 counts as 1970.
    u64::try_from(t.tv_sec).map_or(0, |seconds| seconds * 1_000_000_000 + t.tv_nsec as u64)
}

/// A pair of readings of both clocks, taken together at the begin of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    wall: u64,
    mono: Mono,
}

impl Anchor {
    /// Reads both clocks.
    pub fn now() -> Self {
        let mono = Mono::now();
        Anchor { wall: unix_now(), mono }
    }

    /// Nanoseconds since the Unix epoch at `at`, unaffected by steps of the wall clock after the anchor.
    pub fn unix_ns(&self, at: Mono) -> u64 {
        if at >= self.mono {
            self.wall.saturating_add(at.0 - self.mono.0)
        } else {
            self.wall.saturating_sub(self.mono.0 - at.0)
        }
    }
}
