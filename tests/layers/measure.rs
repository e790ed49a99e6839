//! Figures on demand: `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test --test layers measure -- --ignored --nocapture`.
//! `TRACE_MEASURE_DIR` names the file system to write to.

use std::time::Instant;

use trace_run::digest::Digest;
use trace_run::layer::Compression;

use crate::support::*;

/// Compressible text and incompressible data in large and small files, about `mib` MiB.
fn mixed(seed: u64, mib: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut tar = Tar::new();
    let mut n = 0;
    while tar.0.len() < mib << 20 {
        let dir = n / 50;
        if n % 50 == 0 {
            tar = tar.dir(format!("usr/share/d{dir}/"));
        }
        let size = if n % 40 == 0 { 1 << 20 } else { 500 + (word() % 9000) as usize };
        let mut data = Vec::with_capacity(size + 64);
        while data.len() < size {
            if n % 3 == 0 {
                data.extend_from_slice(&word().to_le_bytes());
            } else {
                data.extend_from_slice(format!("the {} of item {}\n", word() % 100, word() % 1000).as_bytes());
            }
        }
        tar = tar.file(format!("usr/share/d{dir}/file-{n}"), data);
        n += 1;
    }
    tar.end()
}

#[allow(clippy::print_stdout)]
fn measure(what: &str, blobs: &[(Vec<u8>, Vec<u8>)]) {
    let base = std::env::var_os("TRACE_MEASURE_DIR").map_or_else(std::env::temp_dir, Into::into);
    for round in 0..3 {
        let dir = tempfile::tempdir_in(&base).unwrap();
        let dests: Vec<_> = (0..blobs.len()).map(|i| dir.path().join(i.to_string())).collect();
        dests.iter().for_each(|d| std::fs::create_dir(d).unwrap());
        let jobs = blobs.iter().zip(&dests).map(|((blob, tar), dest)| {
            let mut job = job(dest, blob, Digest::of(tar));
            job.compression = Compression::Gzip;
            (job, blob)
        });
        let jobs: Vec<_> = jobs.collect();
        let begin = Instant::now();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let run = |(job, blob): (_, &Vec<u8>)| feed(job, blob, 64 << 10).unwrap();
            let threads: Vec<_> = jobs.into_iter().map(|pair| scope.spawn(move || run(pair))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let wall = begin.elapsed().as_secs_f64();
        let wire: usize = blobs.iter().map(|(b, _)| b.len()).sum();
        let (bytes, entries) = outcomes.iter().fold((0, 0), |(b, e), o| (b + o.unpacked_bytes, e + o.entries));
        println!(
            "{what} round {round}: {:.0} ms, {wire} -> {bytes} bytes, {entries} entries, {:.0} MB/s unpacked, {:.0} \
            entries/s",
            wall * 1e3,
            bytes as f64 / 1e6 / wall,
            entries as f64 / wall
        );
        if round == 2 {
            for (name, pick) in [
                ("verify blob", (|m| m.verify_blob) as fn(trace_run::layer::Meters) -> trace_run::layer::Meter),
                ("decompress", |m| m.decompress),
                ("verify diff", |m| m.verify_diff),
                ("extract", |m| m.extract),
            ] {
                let all = outcomes.iter().map(|o| pick(o.meters));
                let (b, busy, i, o) = all.fold((0, 0, 0, 0), |(b, n, i, o), m| {
                    (b + m.bytes, n + m.busy_ns, i + m.wait_input_ns, o + m.wait_output_ns)
                });
                println!(
                    "  {name:12} busy {:7.1} ms  waits in {:7.1} out {:7.1} ms  {:6.0} MB/s in",
                    busy as f64 / 1e6,
                    i as f64 / 1e6,
                    o as f64 / 1e6,
                    b as f64 / 1e6 / (busy as f64 / 1e9)
                );
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn figures() {
    let layers: Vec<_> = (0..6).map(|i| mixed(77 + i, 16)).map(|tar| (gzip(&tar), tar)).collect();
    measure("one 16 MiB layer", &layers[..1]);
    measure("six 16 MiB layers at once", &layers);
    let small = (0..20_000).fold(Tar::new(), |tar, i| {
        let tar = if i % 100 == 0 { tar.dir(format!("d{}/", i / 100)) } else { tar };
        tar.file(format!("d{}/f{i}", i / 100), vec![b'x'; 4096])
    });
    let small = small.end();
    measure("20000 files of 4 KiB", &[(gzip(&small), small)]);
}
