//! From chunks to checked bytes: digests, compression, and which error is the cause.

use std::io::{Read, Seek, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use trace_run::digest::Digest;
use trace_run::error::Failure;
use trace_run::layer::{Compression, LayerError, Limits, Outcome, Progress, run};

use crate::support::*;

fn sample() -> Vec<u8> {
    let noise: Vec<u8> = (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    Tar::new().dir("d/").file("d/noise", &noise).file("text", "words ".repeat(100_000)).end()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(data, 3).unwrap()
}

fn go(blob: &[u8], tar: &[u8], compression: Compression, step: usize) -> (Cage, Result<Outcome, LayerError>) {
    let cage = Cage::new();
    let mut job = job(&cage.dest(), blob, Digest::of(tar));
    job.compression = compression;
    let result = feed(job, blob, step);
    (cage, result)
}

fn works(blob: &[u8], tar: &[u8], compression: Compression) {
    for step in [blob.len(), 70_000, 1000] {
        let (cage, result) = go(blob, tar, compression, step);
        let outcome = result.unwrap();
        assert_eq!(outcome.unpacked_bytes, tar.len() as u64);
        assert_eq!(cage.stat("d/noise").len(), 1_200_000);
    }
}

fn fails(blob: &[u8], tar: &[u8], compression: Compression) -> LayerError {
    go(blob, tar, compression, 5000).1.expect_err("must fail")
}

#[test]
fn every_compression_in_every_chunking() {
    let tar = sample();
    works(&tar, &tar, Compression::None);
    works(&gzip(&tar), &tar, Compression::Gzip);
    works(&zstd(&tar), &tar, Compression::Zstd);
    let small = Tar::new().file("a", "b").end();
    for blob in [small.clone(), gzip(&small), zstd(&small)] {
        go(&blob, &small, Compression::Gzip, 1).1.unwrap();
    }
}

#[test]
fn several_members_and_frames() {
    let tar = sample();
    let (a, b) = tar.split_at(777_777);
    let empty = gzip(b"");
    works(&[gzip(a), empty.clone(), gzip(b), empty].concat(), &tar, Compression::Gzip);
    let skippable = [&0x184D_2A53u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"skip!"].concat();
    works(&[zstd(a), skippable.clone(), zstd(b)].concat(), &tar, Compression::Zstd);
    works(&[skippable, zstd(&tar)].concat(), &tar, Compression::Zstd);
}

#[test]
fn the_first_bytes_decide() {
    let tar = sample();
    works(&gzip(&tar), &tar, Compression::Zstd);
    works(&gzip(&tar), &tar, Compression::None);
    works(&zstd(&tar), &tar, Compression::Gzip);
    works(&tar, &tar, Compression::Gzip);
    for (blob, word) in [
        (&b"<html>not found</html>"[..], "begins with `3c 68 74 6d 6c 3e`, expected gzip"),
        (b"BZip2", "begins with `42 5a 69 70 32`, expected gzip"),
    ] {
        let error = fails(blob, b"", Compression::Gzip);
        assert_eq!(error.kind(), "layer_compression");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn xz_and_bzip2_as_docker_reads_them() {
    if !needs(has_program("xz") && has_program("bzip2"), "xz and bzip2") {
        return;
    }
    let tar = sample();
    for tool in ["xz", "bzip2"] {
        let pack = |bytes: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("f"), bytes).unwrap();
            let out = std::process::Command::new(tool).arg("-c").arg(dir.path().join("f")).output().unwrap();
            assert!(out.status.success());
            out.stdout
        };
        let blob = pack(&tar);
        works(&blob, &tar, Compression::Gzip);
        works(&blob, &tar, Compression::None);
        let (a, b) = tar.split_at(tar.len() / 3);
        works(&[pack(a), pack(b)].concat(), &tar, Compression::Gzip);
        let mut damaged = blob.clone();
        let middle = blob.len() / 2;
        damaged[middle] ^= 0x55;
        for bad in [&blob[..blob.len() / 2], &blob[..blob.len() - 1], &damaged[..]] {
            let error = fails(bad, &tar, Compression::Gzip);
            assert_eq!(error.kind(), "layer_corrupt", "{tool}: {error}");
            assert!(error.to_string().contains(&format!("not valid {tool}")), "{error}");
        }
    }
}

#[test]
fn after_the_end_of_gzip() {
    let tar = sample();
    works(&[gzip(&tar), vec![0; 1000]].concat(), &tar, Compression::Gzip);
    for tail in [&b"garbage"[..], b"\0\0garbage", b"\x1f", b"\x1f\x8b\x08", b"\0\x1f\x8b\x08"] {
        let error = fails(&[&gzip(&tar), tail].concat(), &tar, Compression::Gzip);
        assert_eq!(error.kind(), "layer_corrupt", "{error}");
    }
    let error = fails(&[&zstd(&tar)[..], b"garbage"].concat(), &tar, Compression::Zstd);
    assert_eq!(error.kind(), "layer_corrupt", "{error}");
}

#[test]
fn an_empty_layer() {
    for tar in [vec![0; 1024], vec![]] {
        for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
            let (cage, result) = go(&blob, &tar, Compression::Gzip, 7);
            assert_eq!(result.unwrap().entries, 0);
            assert_eq!(list(&cage.dest()).len(), 1);
        }
    }
}

#[test]
fn the_blob_is_kept() {
    let tar = sample();
    let blob = gzip(&tar);
    let cage = Cage::new();
    let mut kept = tempfile::tempfile().unwrap();
    let mut job = job(&cage.dest(), &blob, Digest::of(&tar));
    job.blob = Some(kept.try_clone().unwrap());
    feed(job, &blob, 1000).unwrap();
    let mut read = Vec::new();
    kept.rewind().unwrap();
    kept.read_to_end(&mut read).unwrap();
    assert!(read == blob);
}

#[test]
fn size_and_digests() {
    let tar = sample();
    let blob = gzip(&tar);
    let run = |change: &dyn Fn(&mut trace_run::layer::Job), blob: &[u8]| {
        let cage = Cage::new();
        let mut job = job(&cage.dest(), &gzip(&tar), Digest::of(&tar));
        change(&mut job);
        feed(job, blob, 4096).expect_err("must fail")
    };
    let other = Digest::of(b"other");
    // The cause and not its echo: these are broken gzip streams, too.
    let error = run(&|_| {}, &blob[..blob.len() / 2]);
    assert!(matches!(error, LayerError::Truncated { got, .. } if got == blob.len() as u64 / 2), "{error}");
    assert!(matches!(run(&|_| {}, &[]), LayerError::Truncated { got: 0, .. }));
    let error = run(&|_| {}, &[&blob[..], b"x"].concat());
    assert_eq!(error.kind(), "layer_too_long");
    let mut flipped = blob.clone();
    flipped[20_000] ^= 0x10;
    let error = run(&|_| {}, &flipped);
    assert!(matches!(error, LayerError::DigestMismatch { .. }), "{error}");
    // Broken where it was made: the digest is right.
    let error = run(&|j| j.digest = Digest::of(&flipped), &flipped);
    assert_eq!(error.kind(), "layer_corrupt", "{error}");
    let error = run(&|j| j.digest = other, &blob);
    assert!(matches!(error, LayerError::DigestMismatch { expected, .. } if expected == other));
    let error = run(&|j| j.diff_id = other, &blob);
    assert!(matches!(error, LayerError::DiffIdMismatch { expected, .. } if expected == other));
    // A short gzip stream whose size and digest are right.
    let short = blob[..blob.len() - 9].to_vec();
    let error = run(&|j| (j.digest, j.size) = (Digest::of(&short), short.len() as u64), &short);
    assert!(error.to_string().contains("not valid gzip: it ends in the middle"), "{error}");
    let short = zstd(&tar);
    let short = &short[..short.len() - 5];
    let error = run(&|j| (j.digest, j.size) = (Digest::of(short), short.len() as u64), short);
    assert!(error.to_string().contains("not valid zstd"), "{error}");
}

#[test]
fn a_flip_anywhere_is_a_wrong_digest() {
    let tar = Tar::new().file("a", "some text").symlink("b", "a").end();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        for at in (0..blob.len()).step_by(blob.len() / 60 + 1) {
            let mut bad = blob.clone();
            bad[at] ^= 0x20;
            let cage = Cage::new();
            let job = job(&cage.dest(), &blob, Digest::of(&tar));
            let error = feed(job, &bad, 100).expect_err("must fail");
            assert_eq!(error.kind(), "digest_mismatch", "byte {at}: {error}");
        }
    }
}

#[test]
fn bytes_after_the_end_of_the_tar_count_for_the_diff_id() {
    let mut tar = Tar::new().file("a", "b").end();
    tar.extend_from_slice(&[7; 3000]);
    let (_cage, result) = try_extract(&tar);
    assert_eq!(result.unwrap().unpacked_bytes, tar.len() as u64);
}

/// Runs with a sender that does `send` and then keeps the channel open.
fn stalled(send: Vec<Result<Vec<u8>, std::io::Error>>, blob: &[u8]) -> (LayerError, Duration) {
    let cage = Cage::new();
    let (tx, rx) = tokio::sync::mpsc::channel(64);
    for chunk in send {
        tx.try_send(chunk.map(bytes::Bytes::from)).unwrap();
    }
    let begin = Instant::now();
    let progress = Progress::default();
    let error = run(job(&cage.dest(), blob, Digest::of(blob)), rx, &progress).expect_err("must fail");
    drop(tx);
    (error, begin.elapsed())
}

#[test]
fn errors_end_all_stages_though_the_sender_hangs() {
    let good = Tar::new().file("a", "b").end();
    let (error, time) = stalled(vec![Ok(good[..700].into()), Err(std::io::Error::other("line cut"))], &good);
    assert_eq!(error.to_string(), format!("downloading layer `{}` failed: line cut", Digest::of(&good)));
    assert!(time < Duration::from_secs(1));
    // An error of the system ends it at once: the path cannot be made.
    let dest = Cage::new();
    std::fs::write(dest.dest().join("not empty"), "").unwrap();
    let (_tx, rx) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(4);
    let begin = Instant::now();
    let error = run(job(&dest.dest(), &good, Digest::of(&good)), rx, &Progress::default()).expect_err("must fail");
    assert!(error.to_string().starts_with("cannot start in the root directory"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(1));
    // Bad content waits a moment for the verdict on the digest, not for ever.
    let bad = Tar::new().file("../escape", "").file("x", "y".repeat(100_000)).end();
    let (error, time) = stalled(vec![Ok(bad[..2048].into())], &bad);
    assert_eq!(error.kind(), "layer_refused", "{error}");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[test]
fn a_blob_that_cannot_be_kept() {
    let tar = sample();
    let cage = Cage::new();
    let mut job = job(&cage.dest(), &tar, Digest::of(&tar));
    job.blob = Some(std::fs::File::open("/dev/full").unwrap());
    let error = feed(job, &tar, 4096).expect_err("must fail");
    assert_eq!(error.kind(), "blob_write");
    let mut job = self::job(&cage.dest(), &tar, Digest::of(&tar));
    job.blob = Some(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    // The first try may have left something: another directory.
    let again = Cage::new();
    job.dest = std::fs::File::open(again.dest()).unwrap().into();
    let error = feed(job, &tar, 4096).expect_err("must fail");
    assert_eq!(error.hint().as_deref(), Some("the file system of the image store is full"));
}

#[test]
fn bombs_stop_early() {
    let tar = Tar::new().file("zeroes", vec![0; 8 << 20]).end();
    for blob in [gzip(&tar), zstd(&tar)] {
        let cage = Cage::new();
        let mut job = job(&cage.dest(), &blob, Digest::of(&tar));
        job.limits = Limits { unpacked_floor: 1 << 20, unpacked_ratio: 2, ..Limits::default() };
        let error = feed(job, &blob, 4096).expect_err("must fail");
        assert!(error.to_string().contains("limit on unpacked bytes (1048576)"), "{error}");
    }
    // What a manifest promises raises no limit; what has really come does.
    let blob = gzip(&tar);
    let cage = Cage::new();
    let mut promised = job(&cage.dest(), &blob, Digest::of(&tar));
    promised.size = 10 << 30;
    promised.limits = Limits { unpacked_floor: 1 << 20, unpacked_ratio: 10, ..Limits::default() };
    let error = feed(promised, &blob, 4096).expect_err("must fail");
    assert!(error.to_string().contains("limit on unpacked bytes (1048576)"), "{error}");
    let free = |free| Limits::default().on_disk_with(free).unpacked(1000);
    assert_eq!((free(u64::MAX), free(1 << 30), Limits::default().unpacked(1 << 50)), (2 << 30, 256 << 20, 1 << 40));
    // The window of a frame is memory.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(22).unwrap();
    encoder.write_all(&tar).unwrap();
    let blob = encoder.finish().unwrap();
    let cage = Cage::new();
    let mut job = job(&cage.dest(), &blob, Digest::of(&tar));
    job.limits.zstd_window_log = 20;
    let error = feed(job, &blob, 4096).expect_err("must fail");
    assert_eq!(error.kind(), "layer_corrupt", "{error}");
}

#[test]
fn meters_add_up() {
    let tar = sample();
    let blob = gzip(&tar);
    let cage = Cage::new();
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    let progress = Progress::default();
    let begin = trace_run::record::Mono::now();
    let outcome = std::thread::scope(|scope| {
        let blob = &blob;
        scope.spawn(move || {
            for chunk in blob.chunks(blob.len() / 10) {
                std::thread::sleep(Duration::from_millis(5));
                tx.blocking_send(Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk))).unwrap();
            }
        });
        run(job(&cage.dest(), blob, Digest::of(&tar)), rx, &progress).unwrap()
    });
    let end = trace_run::record::Mono::now();
    let m = outcome.meters;
    for (name, meter) in
        [("download", m.download), ("verify", m.verify_blob), ("decompress", m.decompress), ("extract", m.extract)]
    {
        assert!(begin < meter.first && meter.first <= meter.last && meter.last <= end, "{name}: {meter:?}");
        let sum = meter.busy_ns + meter.wait_input_ns + meter.wait_output_ns;
        assert!(sum <= meter.span_ns(), "{name}: {meter:?}");
    }
    assert_eq!((m.download.bytes, m.verify_blob.bytes), (blob.len() as u64, blob.len() as u64));
    assert_eq!((m.decompress.bytes, m.extract.bytes), (blob.len() as u64, tar.len() as u64));
    assert_eq!(m.verify_diff.bytes, tar.len() as u64);
    assert!(m.download.wait_input_ns > 20_000_000, "{:?}", m.download);
    assert!(m.decompress.wait_input_ns > 10_000_000, "{:?}", m.decompress);
    assert!(m.verify().busy_ns >= m.verify_blob.busy_ns && m.verify_diff.busy_ns > 0);
    assert_eq!(progress.downloaded.load(Ordering::Relaxed), blob.len() as u64);
}

#[test]
fn what_has_arrived_is_applied_without_waiting_for_more() {
    let tar = Tar::new().file("first", "1").file("second", "2".repeat(10_000)).end();
    let cage = Cage::new();
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    // One member, flushed after the first entry and cut a little later.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar[..1024]).unwrap();
    encoder.flush().unwrap();
    let cut = encoder.get_ref().len() + 3;
    encoder.write_all(&tar[1024..]).unwrap();
    let blob = encoder.finish().unwrap();
    std::thread::scope(|scope| {
        let (dest, blob, tar) = (cage.dest(), &blob, &tar);
        let running = scope.spawn(move || run(job(&dest, blob, Digest::of(tar)), rx, &Progress::default()));
        tx.blocking_send(Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(&blob[..cut]))).unwrap();
        let begin = Instant::now();
        while !cage.exists("first") {
            assert!(begin.elapsed() < Duration::from_secs(5), "the first entry waits for the second");
            std::thread::sleep(Duration::from_millis(1));
        }
        tx.blocking_send(Ok(bytes::Bytes::copy_from_slice(&blob[cut..]))).unwrap();
        drop(tx);
        running.join().unwrap().unwrap();
    });
}
