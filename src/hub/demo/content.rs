//! File contents: log lines that compress well, and noise that does not.

use std::io::{self, Read};

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, the same on every machine. Not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Below `end`, which is not 0. The bias for such small ends does not matter here.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Between `low` and `high`, each doubling about as likely as the next; integers only, so that every machine
    /// agrees.
    pub(super) fn spread(&mut self, low: u64, high: u64) -> u64 {
        let doublings = u64::from((high / low).max(1).ilog2());
        let floor = low << self.below(doublings + 1);
        (floor + self.below(floor)).min(high)
    }
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines of words and numbers; gzip makes a quarter or less of it.
    Text,
    /// Noise; nothing makes it smaller.
    Noise,
}

/// An endless reader of content; the caller takes as much as the file has.
pub(super) struct Content {
    random: Random,
    kind: Kind,
    /// Bytes made and not yet read.
    ready: Vec<u8>,
    at: usize,
}

impl Content {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        Content { random: Random::new(seed), kind, ready: Vec::with_capacity(MADE_AT_ONCE + 256), at: 0 }
    }

    fn make(&mut self) {
        self.ready.clear();
        self.at = 0;
        while self.ready.len() < MADE_AT_ONCE {
            match self.kind {
                Kind::Noise => self.ready.extend(self.random.next().to_le_bytes()),
                Kind::Text => self.line(),
            }
        }
    }

    /// One draw makes one line: the bits choose number, level and words.
    fn line(&mut self) {
        let bits = self.random.next();
        let word = |shift: u32| WORDS[(bits >> shift) as usize % WORDS.len()];
        let level = ["info ", "info ", "info ", "debug ", "debug ", "warn ", "info ", "error "][(bits & 7) as usize];
        self.ready.extend(b"2023-11-14T22:13:20.000Z ");
        self.ready.extend(level.bytes());
        self.ready.extend(b"worker 07 in the pool of the demo service: ");
        self.ready.extend(word(8));
        self.ready.extend(b" of the ");
        self.ready.extend(word(16));
        self.ready.extend(b" took ");
        for digit in 0..3 {
            self.ready.push(b'0' + (bits >> (40 + 8 * digit)) as u8 % 10);
        }
        self.ready.extend(b" us\n");
    }
}

const MADE_AT_ONCE: usize = 8 << 10;

const WORDS: [&[u8]; 32] = [
    b"request",
    b"queue",
    b"worker",
    b"segment",
    b"table",
    b"buffer",
    b"session",
    b"index",
    b"cache",
    b"record",
    b"page",
    b"writer",
    b"reader",
    b"stream",
    b"packet",
    b"signal",
    b"opened",
    b"closed",
    b"flushed",
    b"read",
    b"written",
    b"dropped",
    b"merged",
    b"moved",
    b"counted",
    b"locked",
    b"freed",
    b"resumed",
    b"started",
    b"timeout",
    b"retry",
    b"handshake",
];

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.make();
        }
        let taken = out.len().min(self.ready.len() - self.at);
        out[..taken].copy_from_slice(&self.ready[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_numbers() {
        // The first values for seed 1234567 in the reference implementation by Sebastiano Vigna.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn spread_stays_inside() {
        let mut random = Random::new(7);
        for _ in 0..10_000 {
            let value = random.spread(64, 8192);
            assert!((64..=8192).contains(&value), "{value}");
        }
        assert_eq!(random.spread(10, 10), 10);
    }

    #[test]
    fn text_is_lines_of_ascii() {
        let mut text = vec![0; 100_000];
        Content::new(Kind::Text, 3).read_exact(&mut text).unwrap();
        assert!(text.iter().all(|c| *c == b'\n' || (32..127).contains(c)));
        assert!(text.split(|c| *c == b'\n').all(|line| line.len() < 120));
    }
}
