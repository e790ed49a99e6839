//! Damaged and invented layers: any outcome but a panic, an escape or a hang. Seeds are fixed, so a failure repeats.

use std::os::fd::AsFd;

use trace_run::digest::Digest;
use trace_run::layer::stack::{LayerRef, build_fix};
use trace_run::layer::{Compression, Limits, Unmapped};

use crate::support::*;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A tar of entries that are likely to get in each other's way.
/// `wild` names and records are ones that are mostly refused.
fn invent(random: &mut Random, canary: &str, wild: bool) -> Tar {
    let canary_file = format!("{canary}/file");
    let parts = ["a", "b", "c", ".", "..", "", ".wh.a", ".wh..wh..opq", ".wh.", "s", "/", ".wh.b"];
    let targets = ["a", "b/c", "..", "/", "/a/b", "../canary", canary, &canary_file, "s", "../../..", ".", "a/b/c/s"];
    let mut tar = Tar::new();
    for _ in 0..random.below(if wild { 16 } else { 40 }) {
        let flag = *random.pick(if wild { b"00005555222111163S7" } else { b"0005552211600055577" });
        let mut name = Vec::new();
        for _ in 0..random.below(4) {
            let rare = wild && random.below(8) == 0;
            name.push(*random.pick(if wild { &parts[..if rare { 12 } else { 3 }] } else { &["d", "e"] }));
        }
        name.push(*random.pick(match (wild, flag) {
            (true, _) => &parts[..3],
            (false, b'5') => &["d", "e"],
            (false, _) => &["a", "b", "c"],
        }));
        let name = name.join("/");
        // A link to a lower directory or out of the root ends the layer.
        let target = random.pick(&targets[..if wild { 12 } else { 2 }]).to_string();
        if wild && random.below(10) == 0 {
            let key =
                *random.pick(&["path", "linkpath", "size", "mtime", "uid", "GNU.sparse.map", "SCHILY.xattr.user.x"]);
            let value = *random.pick(&["1", "a/b", "../canary/file", "-1.5", "0,1", "", "4294967295"]);
            tar = tar.pax(*random.pick(b"xxxg"), &[(key, value.as_bytes())]);
        }
        tar = tar.with(flag, name, |r| {
            r.link = target.into_bytes();
            r.mode = random.next() as u32 & 0o7777;
            if matches!(flag, b'0' | b'7') {
                r.data = vec![b'x'; random.below(1500)];
                r.size = r.data.len() as u64;
            }
        });
    }
    tar
}

fn one(cage: &Cage, name: &str, blob: &[u8], tar: &[u8], compression: Compression, step: usize) -> bool {
    let dest = cage.dest().join(name);
    std::fs::create_dir(&dest).unwrap();
    let mut job = job(&dest, blob, Digest::of(tar));
    job.compression = compression;
    job.unmapped = Unmapped::Squash;
    job.limits = Limits { unpacked_floor: 1 << 20, unpacked_ratio: 10, entries: 200, ..Limits::default() };
    let result = feed(job, blob, step);
    if let Ok(outcome) = &result {
        // Whatever was accepted must also be stackable or refused, on itself and on nothing.
        let layer = std::fs::File::open(&dest).unwrap();
        for below in [vec![], vec![layer.as_fd()]] {
            let fix = tempfile::tempdir_in(cage.dest()).unwrap();
            let handle = std::fs::File::open(fix.path()).unwrap();
            let layer = LayerRef { dir: layer.as_fd(), notes: &outcome.notes };
            let _ = build_fix(&below, layer, handle.as_fd(), flavor());
        }
        let json = serde_json::to_string(&outcome.notes).unwrap();
        assert_eq!(serde_json::from_str::<trace_run::layer::LayerNotes>(&json).unwrap(), outcome.notes);
    }
    result.is_ok()
}

fn rounds() -> usize {
    std::env::var("TRACE_TEST_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

#[test]
fn invented_layers() {
    let mut random = Random(0x5EED);
    let cage = Cage::new();
    let canary = cage.base().join("canary").to_str().unwrap().to_owned();
    // A header's link field holds 100 bytes.
    let canary = if canary.len() > 90 { "/tmp".to_owned() } else { canary };
    let mut accepted = 0;
    for i in 0..rounds() {
        let tar = invent(&mut random, &canary, true).end();
        accepted += usize::from(one(&cage, &i.to_string(), &tar, &tar, Compression::None, 1 + random.below(5000)));
        cage.check();
    }
    assert!(accepted > rounds() / 20, "only {accepted} got past the first checks");
}

#[test]
fn damaged_tars() {
    let mut random = Random(0xDA7A);
    let cage = Cage::new();
    let mut accepted = 0;
    for i in 0..rounds() {
        let mut tar = invent(&mut random, "/tmp", false).end();
        for _ in 0..1 + random.below(4) {
            let block = random.below(tar.len() / 512) * 512;
            let header = &mut tar[block..block + 512];
            let at = if random.below(2) == 0 { random.below(512) } else { 100 + random.below(60) };
            header[at] = if random.below(4) == 0 { random.next() as u8 } else { b'0' + (random.next() >> 61) as u8 };
            // Mostly past the checksum, where the interesting code is.
            if random.below(8) != 0 && header.iter().any(|b| *b != 0) {
                seal(header);
            }
        }
        if i % 4 == 0 {
            tar.truncate(tar.len() - random.below(tar.len().min(2000)));
        }
        accepted += usize::from(one(&cage, &i.to_string(), &tar, &tar, Compression::None, 1 + random.below(5000)));
        cage.check();
    }
    assert!(accepted > rounds() / 20, "only {accepted} got past the first checks");
}

#[test]
fn damaged_streams() {
    let mut random = Random(0x6219);
    let cage = Cage::new();
    let mut accepted = 0;
    for i in 0..rounds() {
        let tar = invent(&mut random, "/tmp", false).end();
        let mut blob = if i % 2 == 0 { gzip(&tar) } else { zstd::stream::encode_all(&tar[..], 1).unwrap() };
        for _ in 0..random.below(4) {
            let at = random.below(blob.len());
            match random.below(3) {
                0 => blob[at] = random.next() as u8,
                1 => blob.truncate(at.max(1)),
                _ => drop(blob.splice(at..at, [random.next() as u8, 0])),
            }
        }
        accepted += usize::from(one(&cage, &i.to_string(), &blob, &tar, Compression::Gzip, 1 + random.below(300)));
        cage.check();
    }
    assert!(accepted > rounds() / 20, "only {accepted} got past the first checks");
}
