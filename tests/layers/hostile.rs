//! Attacks: each row of the table that is about layers. Every [`Cage`] checks on drop that nothing beside the
//! destination was touched or made.

use std::fs;
use std::path::Path;

use trace_run::digest::Digest;
use trace_run::layer::Limits;

use crate::support::*;

/// A tar made with the real path of the canary, extracted beside it.
fn attack(tar: impl FnOnce(&str) -> Tar) -> Result<Cage, String> {
    let cage = Cage::new();
    let canary = cage.base().join("canary").to_str().unwrap().to_owned();
    let tar = tar(&canary).end();
    let result = feed(job(&cage.dest(), &tar, Digest::of(&tar)), &tar, 65536);
    cage.check();
    result.map(|_| cage).map_err(|e| e.to_string())
}

#[test]
fn names_that_leave_the_root() {
    for name in ["../file", "a/../../file", "/../file", "./../canary/file", "a/b/../../../canary/new", ".."] {
        for flag in [b'0', b'5', b'2', b'1', b'6'] {
            let error = attack(|_| Tar::new().with(flag, name, |r| r.link = b"x".to_vec())).err().unwrap();
            assert!(error.contains("its path leaves the root of the layer"), "{name}: {error}");
        }
        let error = attack(|_| Tar::new().pax(b'x', &[("path", name.as_bytes())]).file("f", "x")).err().unwrap();
        assert!(error.contains("leaves the root"), "{error}");
    }
    // An absolute name is one below the root.
    let cage =
        attack(|canary| Tar::new().pax(b'x', &[("path", format!("{canary}/file").as_bytes())]).file("f", "x")).unwrap();
    let inside = cage.dest().join(cage.base().strip_prefix("/").unwrap()).join("canary/file");
    assert_eq!(fs::read_to_string(inside).unwrap(), "x");
}

#[test]
fn symbolic_links_on_the_way() {
    let cages = [
        attack(|canary| Tar::new().symlink("l", canary).file("l/file", "dead").file("l/new", "")),
        attack(|_| Tar::new().symlink("l", "../canary").file("l/file", "dead")),
        attack(|_| Tar::new().symlink("l", "/").symlink("m", "l/../../../").file("m/file", "dead")),
        attack(|canary| Tar::new().symlink("a", "b").symlink("b", canary).dir("a/new/").file("a/file", "dead")),
        attack(|canary| Tar::new().symlink("l", canary).dir("l/")),
        attack(|canary| Tar::new().symlink("l", canary).with(b'5', "l", |r| r.mode = 0o777)),
        attack(|canary| Tar::new().dir("d/").symlink("d", canary).file("d/file", "dead")),
        attack(|_| {
            Tar::new().dir("d/").file("d/x", "").symlink("d", "../canary").with(b'5', "d/sub/", |r| r.mode = 0o777)
        }),
        attack(|_| Tar::new().symlink("p", "/proc/self/root").file("p/file", "")),
        attack(|_| Tar::new().symlink("cwd", "/proc/self/cwd").file("cwd/file", "")),
    ];
    for (i, cage) in cages.into_iter().enumerate() {
        cage.unwrap_or_else(|e| panic!("{i}: {e}"));
    }
}

#[test]
fn the_last_component_is_never_followed() {
    attack(|canary| Tar::new().symlink("f", format!("{canary}/file")).file("f", "dead")).unwrap();
    attack(|canary| Tar::new().symlink("f", format!("{canary}/new")).file("f", "dead")).unwrap();
    // Owner, mode, times and attributes are the link's own.
    attack(|canary| {
        Tar::new()
            .pax(b'x', &[("SCHILY.xattr.trusted.x", b"dead"), ("SCHILY.xattr.user.x", b"dead")])
            .with(b'2', "f", |r| (r.link, r.mode) = (format!("{canary}/file").into_bytes(), 0o777))
            .link("g", "f")
    })
    .unwrap();
    let cage = attack(|_| Tar::new().symlink("f", "../file").with(b'6', "f", |_| {}).symlink("f", "../file")).unwrap();
    assert_eq!(fs::read_link(cage.dest().join("f")).unwrap(), Path::new("../file"));
}

#[test]
fn hard_links_that_leave_the_root() {
    for target in ["../file", "a/../../file", "../canary/file"] {
        let error = attack(|_| Tar::new().link("l", target).file("l", "dead")).err().unwrap();
        assert!(error.contains("its link target leaves the root of the layer"), "{error}");
    }
    // Through a symbolic link, absolute, and late: looked up inside, where there is nothing.
    for forward in [false, true] {
        let cage = attack(|canary| {
            let (link, sym) = (Tar::new().link("l", "s/file").link("m", "t"), Tar::new().symlink("s", canary));
            let sym = sym.symlink("t", format!("{canary}/file"));
            Tar([if forward { [link.0, sym.0] } else { [sym.0, link.0] }.concat(), Vec::new()].concat())
                .file("m", "dead")
        })
        .unwrap();
        assert!(!cage.exists("l"));
    }
    attack(|canary| Tar::new().link("l", format!("{canary}/file")).file("l", "dead")).unwrap();
}

#[test]
fn deletions_that_leave_the_root() {
    for name in ["../.wh.file", "a/../../.wh.canary", "../canary/.wh..wh..opq"] {
        assert!(attack(|_| Tar::new().file(name, "")).err().unwrap().contains("leaves the root"), "{name}");
    }
    for name in ["s/.wh.file", "s/.wh..wh..opq", "s/../.wh.canary"] {
        attack(|canary| Tar::new().symlink("s", canary).file(name, "")).unwrap();
    }
    // Replacing a directory removes what is in it, not where its links lead.
    let cage = attack(|canary| {
        Tar::new().dir("d/").dir("d/e/").symlink("d/e/s", canary).symlink("d/t", "../../canary").file("d", "")
    })
    .unwrap();
    assert!(cage.stat("d").is_file());
}

#[test]
fn dev_and_proc_as_links() {
    let cage = attack(|canary| {
        Tar::new()
            .symlink("dev", canary)
            .with(b'3', "dev/null", |r| r.device = (1, 3))
            .symlink("proc", canary)
            .file("proc/self", "x")
            .symlink("etc", canary)
            .file("etc/passwd", "x")
    })
    .unwrap();
    assert!(cage.stat("etc").is_symlink());
}

#[test]
fn names_the_kernel_cannot_have() {
    let long = "n".repeat(256);
    for (name, word) in [(&b""[..], "its path is empty"), (long.as_bytes(), "256 bytes, at most 255")] {
        let tar = if name.is_empty() {
            Tar::new().with(b'0', "", |_| {})
        } else {
            Tar::new().pax(b'x', &[("path", name)]).file("f", "")
        };
        let error = refused(tar);
        assert!(error.contains(word), "{error}");
    }
    assert!(refused(Tar::new().pax(b'x', &[("path", b"a\0b")]).file("f", "")).contains("bad value"));
    assert!(refused(Tar::new().symlink("s", "")).contains("empty"));
    assert!(refused(Tar::new().pax(b'x', &[("linkpath", b"a\0b")]).symlink("s", "t")).contains("bad value"));
    // Bytes that are no text are names all the same; in messages they cannot move a terminal's cursor.
    let (cage, _) = extract(Tar::new().file(b"\xff\x1b[2J\n", "x"));
    assert_eq!(fs::read_dir(cage.dest()).unwrap().count(), 1);
    let error = refused(Tar::new().with(b'Q', b"\x1b[2J\xff", |_| {}));
    assert!(error.contains("`\\x1b[2J\\xff`"), "{error}");
}

fn limited(tar: Tar, change: impl FnOnce(&mut Limits)) -> String {
    let cage = Cage::new();
    let tar = tar.end();
    let mut job = job(&cage.dest(), &tar, Digest::of(&tar));
    change(&mut job.limits);
    feed(job, &tar, 4096).expect_err("must be refused").to_string()
}

#[test]
fn every_limit_names_itself() {
    let many = |n: usize| (0..n).fold(Tar::new(), |t, i| t.dir(format!("d{i}/")));
    let deep = |n: usize| Tar::new().file("d/".repeat(n) + "f", "");
    for (error, what) in [
        (limited(many(20), |l| l.entries = 10), "entries (10)"),
        (limited(deep(20), |l| l.depth = 10), "path depth (10)"),
        (
            limited(Tar::new().pax(b'x', &[("path", "d/".repeat(2100).as_bytes())]).file("f", ""), |_| {}),
            "path bytes (4095)",
        ),
        (
            limited(Tar::new().pax(b'x', &[("linkpath", "d/".repeat(2100).as_bytes())]).symlink("f", ""), |_| {}),
            "path bytes",
        ),
        (
            limited(Tar::new().pax(b'x', &[("comment", &[b'c'; 3000])]), |l| l.extension = 2000),
            "extended header bytes (2000)",
        ),
        (limited(Tar::new().with(b'L', "l", |r| r.size = 1 << 33), |_| {}), "extended header bytes (1048576)"),
        (limited(many(50), |l| l.remembered = 2000), "remembered bytes (2000)"),
        (limited(Tar::new().link("a", "x").link("b", "x"), |l| l.late_links = 1), "late links (1)"),
        (
            limited(
                Tar::new().pax(b'x', &[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.b", b"1")]).file("f", ""),
                |l| {
                    l.xattrs = 1;
                },
            ),
            "extended attributes (1)",
        ),
        (
            limited(Tar::new().pax(b'x', &[("SCHILY.xattr.user.a", &[b'1'; 70_000])]).file("f", ""), |_| {}),
            "extended attribute bytes (65536)",
        ),
    ] {
        assert!(error.contains(&format!("the limit on {what}")), "{error}");
    }
    // Links that double the way each time.
    let tar =
        (0..30).fold(Tar::new().symlink("l0", "a"), |t, i| t.symlink(format!("l{}", i + 1), format!("l{i}/../l{i}")));
    let error = limited(tar.file("l30/f", ""), |_| {});
    assert!(error.contains("symbolic links on its way"), "{error}");
}

#[test]
fn late_links_in_a_long_chain_take_no_quadratic_time() {
    let n = 3000;
    let tar = (0..n).fold(Tar::new(), |t, i| t.link(format!("l{i:05}"), format!("l{:05}", i + 1)));
    let begin = std::time::Instant::now();
    let (cage, _) = extract(tar.file(format!("l{n:05}"), "end"));
    assert_eq!(cage.read("l00000"), "end");
    assert!(begin.elapsed().as_secs() < 10);
}
