//! The dialects of tar, read as Go's `archive/tar` reads them.

use std::os::unix::fs::MetadataExt;

use crate::support::*;

const GNU: [u8; 8] = *b"ustar  \0";

/// An old GNU sparse header: pieces, real size, and whether extension blocks follow.
fn old_sparse(name: &str, pieces: &[(u64, u64)], real: u64, more: bool, data: usize) -> [u8; 512] {
    let mut r = raw(b'S', name);
    (r.magic, r.size) = (GNU, data as u64);
    let mut h = r.header();
    map(&mut h[386..482], pieces);
    h[482] = u8::from(more);
    h[483..494].copy_from_slice(format!("{real:011o}").as_bytes());
    seal(&mut h);
    h
}

fn map(at: &mut [u8], pieces: &[(u64, u64)]) {
    for (slot, (offset, len)) in at.chunks_exact_mut(24).zip(pieces) {
        slot[..11].copy_from_slice(format!("{offset:011o}").as_bytes());
        slot[12..23].copy_from_slice(format!("{len:011o}").as_bytes());
    }
}

fn check_sparse(cage: &Cage, name: &str, pieces: &[(usize, &str)], size: usize) {
    let mut expected = vec![0; size];
    for (at, text) in pieces {
        expected[*at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    assert!(std::fs::read(cage.dest().join(name)).unwrap() == expected, "{name}");
}

#[test]
fn long_names() {
    let long = format!("{}/{}", "d".repeat(180), "f".repeat(200));
    let target = "t".repeat(300);
    let nul = |s: &str| [s.as_bytes(), b"\0"].concat();
    let gnu = |tar: Tar, flag, text: &str| {
        let data = nul(text);
        tar.with(flag, "././@LongLink", |r| (r.magic, r.size, r.data) = (GNU, data.len() as u64, data))
    };
    let tar = gnu(Tar::new(), b'L', &long).with(b'0', "cut", |r| r.magic = GNU);
    let tar = gnu(gnu(tar, b'K', &target), b'L', "sym").with(b'2', "cut", |r| r.magic = GNU);
    let tar = tar.pax(b'x', &[("path", format!("pax/{long}").as_bytes()), ("linkpath", b"")]).symlink("cut", "kept");
    let tar = tar.pax(b'x', &[("linkpath", target.as_bytes())]).symlink("sym2", "cut");
    // The prefix field of ustar, and of GNU, where the same bytes are times.
    let tar = tar.with(b'0', "name", |r| r.prefix = b"usr/prefix".to_vec());
    let tar = tar.with(b'0', "gnu", |r| (r.magic, r.prefix) = (GNU, b"14000000000\0".to_vec()));
    let (cage, _) = extract(tar);
    assert!(cage.stat(&long).is_file() && cage.exists("usr/prefix/name") && cage.exists("gnu"));
    let link = |n: &str| std::fs::read_link(cage.dest().join(n)).unwrap().to_str().unwrap().to_owned();
    assert_eq!((link("sym"), link("sym2"), link(&format!("pax/{long}"))), (target.clone(), target, "kept".into()));
}

#[test]
fn v7() {
    let (cage, _) = extract(Tar::new().with(0, "dir/", |r| (r.magic, r.mode) = ([0; 8], 0o755)).with(
        0,
        "dir/file",
        |r| (r.magic, r.size, r.data) = ([0; 8], 2, b"hi".to_vec()),
    ));
    assert!(cage.stat("dir").is_dir());
    assert_eq!(cage.read("dir/file"), "hi");
}

#[test]
fn sizes() {
    // A size in a pax record is the true one; one that is too large for octal is base-256.
    let (cage, _) = extract(
        Tar::new()
            .pax(b'x', &[("size", b"5")])
            .with(b'0', "pax", |r| (r.size, r.data) = (0, b"12345".to_vec()))
            .file("after", "ok")
            .with(b'5', "dir-with-size/", |r| r.size = 99)
            .link("link-with-size", "after"),
    );
    assert_eq!((cage.read("pax"), cage.read("after")), ("12345".into(), "ok".into()));
    let error = refused(Tar::new().with(b'0', "huge", |r| r.size = 1 << 40));
    assert!(error.contains("it ends here, expected"), "{error}");
    let mut header = raw(b'0', "f").header();
    header[124..136].copy_from_slice(&[0xff; 12]);
    seal(&mut header);
    assert!(refused_bytes(&header).contains("bad size field"));
    for size in ["-1", "x", "99999999999999999999"] {
        assert!(
            refused(Tar::new().pax(b'x', &[("size", size.as_bytes())]).file("f", "")).contains("bad value"),
            "{size}"
        );
    }
    assert!(refused(Tar::new().pax(b'x', &[("size", b"9223372036854775807")]).file("f", "")).contains("cannot be"));
}

#[test]
fn old_gnu_sparse() {
    let mut tar = Tar::new();
    // Two pieces and the empty one that ends the map at the real size.
    let h = old_sparse("a", &[(0, 3), (1000, 4), (5000, 0)], 5000, false, 7);
    tar.0.extend_from_slice(&h);
    tar = tar.data(b"onefour");
    // More pieces than fit in the header.
    let pieces: Vec<(u64, u64)> = (0..30).map(|i| (i * 100, 2)).collect();
    tar.0.extend_from_slice(&old_sparse("b", &pieces[..4], 2902, true, 60));
    for (chunk, more) in [(&pieces[4..25], 1), (&pieces[25..], 0)] {
        let mut block = [0; 512];
        map(&mut block[..504], chunk);
        block[504] = more;
        tar.0.extend_from_slice(&block);
    }
    tar = tar.data(&b"ab".repeat(30));
    tar.0.extend_from_slice(&old_sparse("c", &[(1 << 30, 0)], 1 << 30, false, 0));
    let (cage, _) = extract(tar.file("after", "ok"));
    check_sparse(&cage, "a", &[(0, "one"), (1000, "four")], 5000);
    let all: Vec<(usize, &str)> = (0..30).map(|i| (i * 100, "ab")).collect();
    check_sparse(&cage, "b", &all, 2902);
    assert_eq!((cage.stat("c").len(), cage.stat("c").blocks()), (1 << 30, 0));
    assert_eq!(cage.read("after"), "ok");
}

#[test]
fn pax_sparse() {
    let at = |m: &'static str| ("GNU.sparse.map", m.as_bytes());
    let tar = Tar::new()
        .pax(
            b'x',
            &[
                ("GNU.sparse.size", b"3000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"10"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.offset", b"2000"),
                ("GNU.sparse.numbytes", b"4"),
            ],
        )
        .file("v00", "onefour")
        .pax(b'x', &[("GNU.sparse.name", b"v01"), ("GNU.sparse.size", b"3000"), at("10,3,2000,4,3000,0")])
        .file("GNUSparseFile.0/v01", "onefour");
    let mut data = b"3\n10\n3\n2000\n4\n3000\n0\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"onefour");
    let version = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
    let v10 = [&version[..], &[("GNU.sparse.name", b"v10"), ("GNU.sparse.realsize", b"3000")]].concat();
    let (cage, _) = extract(tar.pax(b'x', &v10).file("GNUSparseFile.0/v10", &data).file("after", "ok"));
    for name in ["v00", "v01", "v10"] {
        check_sparse(&cage, name, &[(10, "one"), (2000, "four")], 3000);
    }
    assert!(!cage.exists("GNUSparseFile.0"));
    assert_eq!(cage.read("after"), "ok");

    for (records, data, word) in [
        (vec![("GNU.sparse.size", &b"10"[..]), at("0,3")], "four", "describes 3 bytes, the entry has 4"),
        (vec![("GNU.sparse.size", b"10"), at("8,4")], "four", "outside"),
        (vec![("GNU.sparse.size", b"10"), at("4,2,0,2")], "four", "out of order"),
        (vec![("GNU.sparse.size", b"10"), at("0,4,9")], "four", "without a length"),
        (vec![("GNU.sparse.size", b"10"), at("0,x")], "four", "bad value"),
        (vec![("GNU.sparse.size", b"99999999999999"), at("0,4")], "four", "limit on sparse file bytes"),
        (vec![at("0,4")], "four", "without a size"),
        (vec![("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")], "", "unknown GNU.sparse version"),
        (version.to_vec(), "1\n", "does not end"),
    ] {
        let error = refused(Tar::new().pax(b'x', &records).file("s", data));
        assert!(error.contains(word), "{error}");
    }
    let big = format!("{:<512}", "99999999\n");
    assert!(refused(Tar::new().pax(b'x', &version).file("s", big)).contains("limit on sparse map entries"));
    let bad = format!("{:<512}", "1\nnonsense\n");
    assert!(refused(Tar::new().pax(b'x', &version).file("s", bad)).contains("no number"));
}

#[test]
fn global_headers() {
    let (cage, _) = extract(
        Tar::new()
            .pax(b'g', &[("comment", b"0123"), ("mtime", b"11")])
            .file("a", "")
            .pax(b'x', &[("mtime", b"12")])
            .file("b", ""),
    );
    assert_eq!(cage.stat("b").mtime(), 12);
    assert_ne!(cage.stat("a").mtime(), 11, "docker takes nothing from it");
    for key in ["path", "linkpath", "size", "uid", "GNU.sparse.map", "SCHILY.xattr.user.a"] {
        let (cage, outcome) = extract(Tar::new().pax(b'g', &[(key, b"1")]).file("a", "xyz"));
        assert_eq!((cage.read("a").as_str(), outcome.entries), ("xyz", 1), "{key}");
    }
    assert!(
        refused(Tar::new().with(b'g', "g", |r| (r.size, r.data) = (6, b"9 path".to_vec())).file("a", ""))
            .contains("malformed pax record")
    );
}

#[test]
fn how_it_ends() {
    let whole = Tar::new().file("a", "b");
    // Without end blocks, with one, and with anything after two.
    for tail in [vec![], vec![0; 512], [vec![0; 1024], vec![1; 700]].concat()] {
        let (cage, result) = try_extract(&[&whole.0[..], &tail].concat());
        assert_eq!(result.unwrap().entries, 1);
        assert_eq!(cage.read("a"), "b");
    }
    let error = refused_bytes(&[&whole.0[..], &[0; 512], &whole.0].concat());
    assert_eq!(
        error,
        "the layer's tar is malformed at byte 1024: a lone block of zeroes, expected two at the end or an entry"
    );
    // Without the last padding, as `tar | head -c` and some builders leave it.
    for end in [513, 600, 1023] {
        let (cage, result) = try_extract(&whole.0[..end]);
        assert_eq!((result.unwrap().entries, cage.read("a").as_str()), (1, "b"), "{end}");
    }
    let error = refused_bytes(&whole.0[..512]);
    assert_eq!(error, "the layer's tar is malformed at byte 512: it ends here, expected 1 more bytes");
    assert!(refused_bytes(&whole.0[..100]).contains("at byte 100: it ends here, expected 412"));
    // A header without its entry changes nothing.
    extract(Tar::new().file("a", "").pax(b'x', &[("path", b"b")]));
}

#[test]
fn bad_headers() {
    let mut tar = Tar::new().file("a", "b").file("c", "d").end();
    tar[1024] = b'C';
    let error = refused_bytes(&tar);
    assert!(error.starts_with("the layer's tar is malformed at byte 1024: wrong header checksum: got "), "{error}");
    assert!(refused_bytes(&[b'x'; 2048]).contains("not a tar header"));
    // Some old tars summed the bytes as signed ones.
    let mut header = raw(b'0', b"caf\xe9").header();
    header[148..156].fill(b' ');
    let sum: i32 = header.iter().map(|b| i32::from(*b as i8)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(try_extract(&header).1.is_ok());
    for (at, word) in [(100, "mode"), (108, "uid"), (136, "mtime")] {
        let mut header = raw(b'0', "f").header();
        header[at] = b'z';
        seal(&mut header);
        assert!(refused_bytes(&header).contains(&format!("{word} field")), "{word}");
    }
    assert!(
        refused(Tar::new().with(b'x', "p", |r| (r.size, r.data) = (5, b"junk!".to_vec())).file("f", ""))
            .contains("pax record")
    );
}
