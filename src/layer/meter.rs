//! How long each stage of a layer worked and waited. One clock read per chunk, none per file.

use std::sync::atomic::AtomicU64;

use crate::record::Mono;

/// One stage of one layer.
///
/// The stage's span is `first..last`; `busy + waits` make up that span, except where a stage shares its thread with
/// another (see [`Meters`]). Waiting before the first byte and after the last one belongs to nobody and is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// When the first input arrived; 0 if none ever did.
    pub first: Mono,
    /// When the last work ended.
    pub last: Mono,
    /// Nanoseconds of work.
    pub busy_ns: u64,
    /// Nanoseconds spent waiting for the stage before.
    pub wait_input_ns: u64,
    /// Nanoseconds spent waiting for the stage after.
    pub wait_output_ns: u64,
    /// Bytes that went in.
    pub bytes: u64,
}

impl Meter {
    /// Input arrived at `now` after waiting since `since`.
    pub(super) fn input(&mut self, since: Mono, now: Mono, bytes: usize) {
        if self.first == Mono(0) {
            self.first = now;
        } else {
            self.wait_input_ns += now.since(since);
        }
        self.last = now;
        self.bytes += bytes as u64;
    }

    /// Output was handed over at `now` after waiting since `since`.
    pub(super) fn output(&mut self, since: Mono, now: Mono) {
        if self.first != Mono(0) {
            self.wait_output_ns += now.since(since);
            self.last = now;
        }
    }

    /// Work went on until `now`.
    pub(super) fn worked_until(&mut self, now: Mono) {
        if self.first != Mono(0) {
            self.last = now;
        }
    }

    /// What of the span was not waiting was work.
    pub(super) fn settle(&mut self) {
        self.busy_ns = self.last.since(self.first).saturating_sub(self.wait_input_ns + self.wait_output_ns);
    }

    /// Length of `first..last` in nanoseconds.
    pub fn span_ns(&self) -> u64 {
        self.last.since(self.first)
    }
}

/// The stages of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Chunks arriving, as seen by their receiver: `wait_input_ns` is how long it was idle for want of bytes. `busy_ns`
    /// and `wait_output_ns` are the sender's to know and stay 0.
    pub download: Meter,
    /// SHA-256 of the blob, and writing the blob to where it is kept.
    pub verify_blob: Meter,
    /// gzip, zstd, or nothing but a copy.
    pub decompress: Meter,
    /// SHA-256 of the unpacked tar. Shares its thread with `extract`, so only `busy_ns` and `bytes` are its own.
    pub verify_diff: Meter,
    /// The tar applied to the directory, without `verify_diff`.
    pub extract: Meter,
}

impl Meters {
    /// Both checks as one stage. They run on two threads, so `busy_ns` can exceed the span.
    pub fn verify(&self) -> Meter {
        let (a, b) = (self.verify_blob, self.verify_diff);
        let first = match (a.first, b.first) {
            (Mono(0), x) | (x, Mono(0)) => x,
            (x, y) => x.min(y),
        };
        Meter { first, last: a.last.max(b.last), busy_ns: a.busy_ns + b.busy_ns, bytes: a.bytes + b.bytes, ..a }
    }
}

/// What a progress bar polls while the layer is on its way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the blob received.
    pub downloaded: AtomicU64,
    /// Bytes of the unpacked tar applied.
    pub extracted: AtomicU64,
}
