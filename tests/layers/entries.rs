//! What each kind of entry becomes.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use trace_run::digest::Digest;
use trace_run::layer::{Flavor, LayerError, RawPath, Unmapped};

use crate::support::*;

fn paths(list: &[RawPath]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn files_directories_and_links() {
    let tar = Tar::new()
        .dir("usr/")
        .dir("usr/bin/")
        .with(b'0', "usr/bin/sh", |r| (r.size, r.data, r.mode) = (4, b"text".to_vec(), 0o755))
        .link("usr/bin/bash", "usr/bin/sh")
        .symlink("bin", "usr/bin")
        .file("bin/through", "x")
        .file("empty", "")
        .with(b'7', "contiguous", |r| (r.size, r.data) = (1, b"c".to_vec()));
    let (cage, outcome) = extract(tar);
    assert_eq!(outcome.entries, 8);
    assert_eq!(cage.read("usr/bin/bash"), "text");
    assert_eq!(cage.read("usr/bin/through"), "x");
    assert_eq!(cage.read("contiguous"), "c");
    assert_eq!(cage.stat("usr/bin/sh").nlink(), 2);
    assert_eq!(cage.stat("usr/bin/sh").mode() & 0o7777, 0o644, "the link's own header has the last word");
    assert_eq!(cage.stat("usr/bin").mtime(), 1_000_000_000);
    assert_eq!(cage.stat("bin").mtime(), 1_000_000_000);
    assert_eq!(cage.stat("usr").mode() & 0o7777, 0o755);
    assert!(outcome.notes.implicit_dirs.is_empty());
    assert!(!outcome.notes.root_listed && !outcome.notes.has_setid);
}

#[test]
fn parents() {
    let tar = Tar::new()
        .file("a/b/c", "")
        .symlink("link", "real/deep")
        .file("link/x", "x")
        .symlink("up", "../../../outside")
        .file("up/y", "y")
        .symlink("abs", "/else/../a")
        .file("abs/z", "z")
        .dir("a/");
    let (cage, outcome) = extract(tar);
    // Dangling links lead to directories inside the root, which are made.
    assert_eq!(
        (cage.read("real/deep/x"), cage.read("outside/y"), cage.read("a/z")),
        ("x".into(), "y".into(), "z".into())
    );
    assert_eq!(paths(&outcome.notes.implicit_dirs), ["a/b", "else", "outside", "real", "real/deep"]);
    assert_eq!(cage.stat("a/b").mode() & 0o7777, 0o755);
    assert!(
        refused(Tar::new().symlink("x", "y").symlink("y", "x").file("x/f", "")).contains("symbolic links on its way")
    );
    assert!(refused(Tar::new().file("f", "").file("f/g", "")).contains("`f` is not a directory"));
    // A link replaced later does not change what was done through it.
    let (cage, _) = extract(
        Tar::new()
            .dir("one/")
            .dir("two/")
            .symlink("l", "one")
            .with(b'5', "l/d/", |r| r.mtime = 5)
            .symlink("l", "two")
            .with(b'5', "l/d/", |r| r.mtime = 6)
            .file("l/d/f", ""),
    );
    assert_eq!((cage.stat("one/d").mtime(), cage.stat("two/d").mtime()), (5, 6));
    assert!(cage.exists("two/d/f") && !cage.exists("one/d/f"));
}

#[test]
fn the_root_itself() {
    for name in ["./", "/", "."] {
        let (cage, outcome) = extract(Tar::new().with(b'5', name, |r| (r.mode, r.mtime) = (0o700, 9)).file("f", ""));
        assert!(outcome.notes.root_listed);
        assert_eq!((cage.stat("").mode() & 0o7777, cage.stat("").mtime()), (0o700, 9));
    }
    assert!(refused(Tar::new().file("/", "x")).contains("only a directory can be the root"));
    assert!(refused(Tar::new().symlink("./", "/etc")).contains("only a directory can be the root"));
}

#[test]
fn types_change_and_the_last_wins() {
    let (cage, _) = extract(
        Tar::new()
            .dir("d/")
            .dir("d/sub/")
            .file("d/sub/f", "")
            .file("d", "now a file")
            .file("f", "x")
            .dir("f/")
            .file("f/in", "")
            .symlink("s", "f")
            .dir("s/")
            .file("s/only here", "")
            .file("twice", "first, longer")
            .file("twice", "second")
            .symlink("t", "twice")
            .file("t", "not through")
            .with(b'5', "again/", |r| r.mode = 0o700)
            .file("again/kept", "")
            .with(b'5', "again/", |r| r.mode = 0o711),
    );
    assert_eq!(cage.read("d"), "now a file");
    assert!(cage.exists("f/in") && !cage.exists("f/only here") && cage.exists("s/only here"));
    assert_eq!((cage.read("twice"), cage.read("t")), ("second".into(), "not through".into()));
    assert!(cage.stat("t").is_file() && cage.exists("again/kept"));
    assert_eq!(cage.stat("again").mode() & 0o7777, 0o711);
    // A directory after a file of this layer has nothing to do with one below.
    assert!(cage.is_opaque("f") && cage.is_opaque("s") && !cage.is_opaque("again"));
    // A replaced file is not written through: its other name keeps the content.
    let (cage, _) = extract(Tar::new().file("a", "old").link("b", "a").file("b", "new"));
    assert_eq!((cage.read("a"), cage.read("b")), ("old".into(), "new".into()));
}

#[test]
fn hard_links() {
    let (cage, outcome) = extract(
        Tar::new()
            .link("forward", "later")
            .link("chain", "forward")
            .link("chain2", "./x/../chain")
            .file("later", "L")
            .symlink("sym", "nowhere")
            .link("to-sym", "sym")
            .link("abs", "/later")
            .link("later", "later")
            .dir("real/")
            .symlink("dir", "real")
            .file("real/f", "F")
            .link("through", "dir/f")
            .link("dropped", "missing")
            .file("dropped", "a file after all")
            .link("gone/in", "missing")
            .file("gone", ""),
    );
    for name in ["forward", "chain", "chain2", "abs"] {
        assert_eq!(cage.stat(name).ino(), cage.stat("later").ino(), "{name}");
    }
    assert_eq!(cage.stat("later").nlink(), 5);
    assert_eq!(fs::read_link(cage.dest().join("to-sym")).unwrap(), Path::new("nowhere"));
    assert_eq!(cage.stat("sym").ino(), cage.stat("to-sym").ino());
    assert_eq!(cage.read("through"), "F");
    assert_eq!(cage.read("dropped"), "a file after all");
    assert!(outcome.notes.deferred_links.is_empty());

    let (cage, outcome) =
        extract(Tar::new().file("l", "replaced").link("l", "/lower/../file").link("m", "l").link("m2", "m2"));
    let links: Vec<_> = outcome.notes.deferred_links.iter().map(|(l, t)| format!("{l}>{t}")).collect();
    assert_eq!(links, ["l>file", "m>l", "m2>m2"]);
    assert!(!cage.exists("l"));

    assert!(refused(Tar::new().dir("d/").link("l", "d")).contains("hard link to a directory"));
    assert!(refused(Tar::new().link("l", "d").dir("d/")).contains("hard link to a directory"));
    assert!(refused(Tar::new().link("l", "/")).contains("hard link to the root"));
    assert!(refused(Tar::new().link("l", "")).contains("link target is empty"));
    assert!(refused(Tar::new().dir("d/").file("d/f", "").link("d", "d/f")).contains("inside of what it replaces"));
}

#[test]
fn deletion_marks() {
    let (cage, outcome) = extract(
        Tar::new()
            .file(".wh.top", "")
            .file("a/.wh.x", "")
            .dir("a/")
            .file("a/x", "stays")
            .file("a/y", "stays")
            .file("a/.wh.y", "")
            .symlink("s", "a")
            .file("s/.wh.z", "")
            .file(".wh.d", "")
            .dir("d/")
            .dir("e/")
            .file(".wh.e", "")
            .dir("o/")
            .file("o/.wh..wh..opq", "")
            .file("o/.wh.n", "")
            .file(".wh..wh.aufs", "")
            .dir(".wh..wh.plnk/")
            .file(".wh..wh.plnk/1.2", "x"),
    );
    assert!(cage.is_whiteout("top") && cage.is_whiteout("a/z") && !cage.exists("s/.wh.z"));
    assert_eq!((cage.read("a/x"), cage.read("a/y")), ("stays".into(), "stays".into()));
    assert!(cage.is_opaque("d") && cage.is_opaque("e") && cage.is_opaque("o") && !cage.is_opaque("a"));
    // In an opaque directory a mark hides nothing, and overlayfs would list it.
    assert!(!cage.exists("o/n"));
    assert_eq!(outcome.notes.skipped_metadata, 3);
    assert_eq!(paths(&outcome.notes.whiteout_dirs), ["", "a"]);
    assert!(!outcome.notes.opaque_root);
    let (cage, outcome) = extract(Tar::new().file(".wh.x", "").file("./.wh..wh..opq", ""));
    assert!(outcome.notes.opaque_root && !cage.exists("x"));
    for bad in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh.."] {
        assert!(refused(Tar::new().file(bad, "")).contains("must name what is deleted"), "{bad}");
    }
    assert!(refused(Tar::new().file(".wh.d/f", "")).contains("marked as deleted"));
}

#[test]
fn modes_owners_and_times() {
    let root = may_chown();
    let tar = Tar::new()
        .with(b'0', "suid", |r| (r.mode, r.uid, r.gid) = (0o104755, if root { 1000 } else { r.uid }, r.gid))
        .with(b'0', "none", |r| r.mode = 0)
        .with(b'5', "locked/", |r| (r.mode, r.mtime) = (0o555, 3))
        .file("locked/in", "")
        .with(b'5', "group/", |r| (r.mode, r.gid) = (0o2775, if root { 50 } else { r.gid }))
        .file("group/f", "")
        .dir("group/d/")
        .with(b'0', "old", |r| r.mtime = -1_000_000)
        .pax(b'x', &[("mtime", b"-1.25"), ("atime", b"7.5")])
        .file("fraction", "")
        .pax(b'g', &[("mtime", b"44.5")])
        .file("global", "");
    let (cage, outcome) = extract(tar);
    assert_eq!(cage.stat("suid").mode() & 0o7777, 0o4755);
    assert!(outcome.notes.has_setid);
    assert_eq!(cage.stat("none").mode() & 0o7777, 0);
    assert_eq!((cage.stat("locked").mode() & 0o7777, cage.stat("locked").mtime()), (0o555, 3));
    assert_eq!(cage.stat("group").mode() & 0o7777, 0o2775);
    assert_eq!(cage.stat("group/d").mode() & 0o7777, 0o755);
    assert_eq!(cage.stat("group/f").gid(), rustix::process::getegid().as_raw());
    assert_eq!(cage.stat("old").mtime(), -1_000_000);
    let f = cage.stat("fraction");
    assert_eq!((f.mtime(), f.mtime_nsec(), f.atime(), f.atime_nsec()), (-2, 750_000_000, 7, 500_000_000));
    assert_ne!(cage.stat("global").mtime(), 44, "Go takes nothing from a global header");
    let _ = fs::set_permissions(cage.dest().join("locked"), std::os::unix::fs::PermissionsExt::from_mode(0o755));
    if !needs(root, "root, to change owners") {
        return;
    }
    assert_eq!(cage.stat("suid").uid(), 1000);
    if !needs(is_root(), "the host's root, to give files to any id") {
        return;
    }
    let (cage, outcome) = extract(
        Tar::new()
            .with(b'0', "base256", |r| (r.uid, r.gid) = (4_000_000_000, 3_000_000_000))
            .pax(b'x', &[("uid", b"4294967294"), ("gid", b"5")])
            .symlink("sym", "x")
            .with(b'6', "fifo", |r| (r.uid, r.mode) = (77, 0o4666)),
    );
    assert_eq!((cage.stat("base256").uid(), cage.stat("base256").gid()), (4_000_000_000, 3_000_000_000));
    assert_eq!((cage.stat("sym").uid(), cage.stat("sym").gid()), (4_294_967_294, 5));
    assert_eq!((cage.stat("fifo").uid(), cage.stat("fifo").mode() & 0o7777), (77, 0o4666));
    assert!(!outcome.notes.has_setid);
    for (uid, owner) in [("-1", 0), ("4294967295", 0), ("-2", 4_294_967_294), ("-2147483648", 2_147_483_648)] {
        let (cage, _) = extract(Tar::new().pax(b'x', &[("uid", uid.as_bytes())]).file("f", ""));
        assert_eq!(cage.stat("f").uid(), owner, "{uid}, as docker 20.10 has it");
    }
    for uid in ["99999999999", "4294967296", "-2147483649"] {
        let error = refused(Tar::new().pax(b'x', &[("uid", uid.as_bytes())]).file("f", ""));
        assert!(error.contains("its uid is not between -2147483648 and 4294967295"), "{error}");
    }
}

#[test]
fn a_hard_links_own_header_holds() {
    let root = may_chown();
    let (cage, outcome) = extract(
        Tar::new()
            .with(b'0', "f", |r| (r.mode, r.mtime) = (0o644, 5))
            .with(b'1', "g", |r| {
                (r.link, r.mode, r.mtime, r.uid) = ("f".into(), 0o4711, 9, if root { 7 } else { r.uid })
            })
            .symlink("s", "f")
            .with(b'1', "t", |r| (r.link, r.mode, r.mtime) = ("s".into(), 0o600, 11)),
    );
    let (f, g) = (cage.stat("f"), cage.stat("g"));
    assert_eq!((f.ino(), f.mode() & 0o7777, f.mtime()), (g.ino(), 0o4711, 9), "as with docker 20.10");
    assert!(outcome.notes.has_setid);
    assert_eq!(cage.stat("s").mtime(), 11, "the link itself, not what it leads to");
    if root {
        assert_eq!(f.uid(), 7);
    }
}

#[test]
fn links_of_aufs() {
    let (cage, outcome) = extract(
        Tar::new()
            .dir(".wh..wh.plnk/")
            .file(".wh..wh.plnk/5.1", "shared")
            .file(".wh..wh.plnk/6.1", "of no name")
            .dir("d/")
            .link("d/a", ".wh..wh.plnk/5.1")
            .link("d/b", ".wh..wh.plnk/5.1"),
    );
    assert_eq!((cage.read("d/a"), cage.stat("d/a").ino()), ("shared".into(), cage.stat("d/b").ino()));
    assert_eq!(cage.stat("d/a").nlink(), 2);
    assert!(!cage.exists(".wh..wh.plnk") && outcome.notes.implicit_dirs.is_empty());
    assert!(outcome.notes.deferred_links.is_empty());
}

#[test]
fn devices_fifos_and_sockets() {
    let (cage, outcome) = extract(
        Tar::new()
            .with(b'6', "fifo", |r| r.mode = 0o666)
            .with(b'0', "socket", |r| r.mode = 0o140755)
            .with(b'3', "null", |r| (r.mode, r.device) = (0o666, (1, 3)))
            .with(b'4', "disk", |r| (r.mode, r.device) = (0o660, (259, 70000))),
    );
    assert!(cage.stat("fifo").file_type().is_fifo());
    assert_eq!(cage.stat("fifo").mode() & 0o7777, 0o666);
    assert!(!cage.exists("socket"));
    assert_eq!(outcome.notes.skipped_sockets, 1);
    if is_root() && outcome.notes.skipped_devices == 0 {
        assert_eq!(cage.stat("null").rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(cage.stat("null").mode() & 0o7777, 0o666);
        assert_eq!(cage.stat("disk").rdev(), rustix::fs::makedev(259, 70000));
        assert!(cage.stat("disk").file_type().is_block_device());
    } else {
        assert_eq!(outcome.notes.skipped_devices, 2);
    }
    assert!(refused(Tar::new().with(b'3', "w", |_| {})).contains("0:0"));
    assert!(refused(Tar::new().with(b'Q', "w", |_| {})).contains("its type `Q` is unknown"));
}

#[test]
fn extended_attributes() {
    let cap = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new()
        .pax(b'x', &[("SCHILY.xattr.user.a", b"1\n\0\xff"), ("LIBARCHIVE.xattr.user.b%3dc", b"aGk")])
        .file("f", "")
        .pax(b'x', &[("SCHILY.xattr.user.overlay.opaque", b"y"), ("SCHILY.xattr.user.d", b"")])
        .dir("d/")
        .pax(b'x', &[("SCHILY.xattr.user.no", b"not on a link")])
        .symlink("s", "f");
    let (cage, outcome) = extract(tar);
    let get = |path: &str, name: &str| xattr(&cage.dest().join(path), name);
    assert_eq!(get("f", "user.a").as_deref(), Some(&b"1\n\0\xff"[..]));
    assert_eq!(get("f", "user.b=c").as_deref(), Some(&b"hi"[..]));
    assert_eq!(get("d", "user.d").as_deref(), Some(&b""[..]));
    assert_eq!(outcome.notes.skipped_xattrs, 1);
    if !needs(is_root(), "root, to set trusted attributes") {
        return;
    }
    let tar = Tar::new()
        .pax(b'x', &[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
        .dir("d/")
        .pax(b'x', &[("SCHILY.xattr.security.capability", &cap)])
        .with(b'0', "ping", |r| r.uid = 5)
        .pax(b'x', &[("SCHILY.xattr.trusted.x", b"t")])
        .symlink("s", "ping")
        .pax(b'x', &[("SCHILY.xattr.trusted.x", b"t")])
        .with(b'6', "fifo", |_| {});
    let (cage, outcome) = extract(tar.clone());
    let get = |path: &str, name: &str| xattr(&cage.dest().join(path), name);
    assert!(!cage.is_opaque("d") && get("d", "trusted.overlay.redirect").is_none());
    assert_eq!(get("d", "trusted.overlay.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(get("ping", "security.capability").as_deref(), Some(&cap[..]));
    assert!(outcome.notes.has_setid);
    assert_eq!(get("s", "trusted.x").as_deref(), Some(&b"t"[..]));
    assert_eq!(get("fifo", "trusted.x").as_deref(), Some(&b"t"[..]));
    assert!(get("ping", "trusted.x").is_none());
    // For a user namespace it is the other prefix that means something.
    let cage = Cage::new();
    let tar =
        Tar::new().pax(b'x', &[("SCHILY.xattr.user.overlay.opaque", b"y")]).dir("d/").file(".wh.e", "").dir("e/").end();
    let mut job = job(&cage.dest(), &tar, Digest::of(&tar));
    job.flavor = Flavor::User;
    feed(job, &tar, 512).unwrap();
    assert_eq!(xattr(&cage.dest().join("d"), "user.overlay.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(xattr(&cage.dest().join("e"), "user.overlay.opaque").as_deref(), Some(&b"y"[..]));
}

/// Runs `f` on a thread that has the user and group id 65534 and no capability.
fn as_nobody(f: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // The raw calls change this thread only.
            let id = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_gid(
                rustix::process::Gid::from_raw(65534),
                rustix::process::Gid::from_raw(65534),
                rustix::process::Gid::from_raw(65534),
            )
            .unwrap();
            rustix::thread::set_thread_res_uid(id, id, id).unwrap();
            f();
        });
        thread.join().unwrap();
    });
}

#[test]
fn owners_that_cannot_be_given() {
    if !needs(is_root(), "root, to become somebody else") {
        return;
    }
    let tar = Tar::new()
        .with(b'0', "suid", |r| (r.uid, r.gid, r.mode) = (0, 65534, 0o6755))
        .with(b'0', "mine", |r| (r.uid, r.gid, r.mode) = (65534, 65534, 0o4755))
        .with(b'5', "dir/", |r| (r.uid, r.gid, r.mode) = (3, 4, 0o555))
        .with(b'0', "dir/f", |r| (r.uid, r.gid) = (3, 4))
        .with(b'3', "null", |r| (r.uid, r.gid, r.device) = (65534, 65534, (1, 3)))
        .pax(b'x', &[("SCHILY.xattr.trusted.x", b"t")])
        .with(b'0', "x", |r| (r.uid, r.gid) = (65534, 65534))
        .file(".wh.gone", "")
        .end();
    let cage = Cage::new();
    let open = |p: &Path| std::os::unix::fs::chown(p, Some(65534), Some(65534)).unwrap();
    open(&cage.dest());
    let run = |unmapped, dest: &Path| {
        let mut job = job(dest, &tar, Digest::of(&tar));
        (job.unmapped, job.flavor) = (unmapped, Flavor::User);
        let mut result = None;
        as_nobody(|| result = Some(feed(job, &tar, 512)));
        result.unwrap()
    };
    let error = run(Unmapped::Refuse, &cage.dest()).expect_err("must fail");
    assert!(matches!(&error, LayerError::Unmapped { uid: 0, gid: 65534, .. }), "{error}");
    let cage = Cage::new();
    open(&cage.dest());
    let notes = run(Unmapped::Squash, &cage.dest()).unwrap().notes;
    assert_eq!((notes.squashed_ids, notes.skipped_devices, notes.skipped_xattrs), (3, 1, 1));
    // Setuid for somebody else is not setuid for us; setgid for our own group is.
    assert_eq!((cage.stat("suid").uid(), cage.stat("suid").mode() & 0o7777), (65534, 0o2755));
    assert_eq!(cage.stat("mine").mode() & 0o7777, 0o4755);
    assert_eq!(cage.stat("dir").mode() & 0o7777, 0o555);
    assert!(cage.is_whiteout("gone") && cage.exists("dir/f") && !cage.exists("null"));
}
