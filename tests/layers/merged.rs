//! Several layers on each other, as the kernel shows them.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use trace_run::digest::Digest;
use trace_run::layer::LayerNotes;
use trace_run::layer::stack::{Element, LayerRef, StackError, build_fix, copy_root, plan};

use crate::support::*;

/// Extracted layers, their fixes, and an overlay of them.
pub struct Stacked {
    base: tempfile::TempDir,
    pub fixes: usize,
}

impl Stacked {
    pub fn try_new(layers: &[Vec<u8>]) -> Result<Self, StackError> {
        let base = tempfile::tempdir().unwrap();
        let mut outcomes = Vec::new();
        for (i, tar) in layers.iter().enumerate() {
            let dir = base.path().join(format!("l{i}"));
            fs::create_dir(&dir).unwrap();
            outcomes.push(feed(job(&dir, tar, Digest::of(tar)), tar, 65536).unwrap());
        }
        let notes: Vec<&LayerNotes> = outcomes.iter().map(|o| &o.notes).collect();
        let mut dirs: Vec<(fs::File, PathBuf)> = Vec::new();
        let mut fixes = 0;
        for element in plan(&notes) {
            let open = |path: PathBuf| (fs::File::open(&path).unwrap(), path);
            match element {
                Element::Layer(i) => dirs.push(open(base.path().join(format!("l{i}")))),
                Element::Fix(i) => {
                    let path = base.path().join(format!("f{i}"));
                    fs::create_dir(&path).unwrap();
                    let fix = open(path);
                    let below: Vec<_> = dirs[..dirs.len() - 1].iter().map(|(f, _)| f.as_fd()).collect();
                    let layer = LayerRef { dir: dirs.last().unwrap().0.as_fd(), notes: notes[i] };
                    let needed = build_fix(&below, layer, fix.0.as_fd(), flavor())?;
                    assert_eq!(needed, fs::read_dir(&fix.1).unwrap().next().is_some());
                    if needed {
                        fixes += 1;
                        dirs.push(fix);
                    }
                }
            }
        }
        for dir in ["upper", "work", "merged"] {
            fs::create_dir(base.path().join(dir)).unwrap();
        }
        let handles: Vec<_> =
            (0..layers.len()).map(|i| fs::File::open(base.path().join(format!("l{i}"))).unwrap()).collect();
        let refs: Vec<_> = handles.iter().zip(&notes).map(|(f, notes)| LayerRef { dir: f.as_fd(), notes }).collect();
        let upper = fs::File::open(base.path().join("upper")).unwrap();
        copy_root(&refs, upper.as_fd(), flavor()).unwrap();
        let path = |p: &Path| p.to_str().unwrap().to_owned();
        let lower: Vec<_> = dirs.iter().rev().map(|(_, p)| path(p)).collect();
        let data = format!(
            "lowerdir={},upperdir={},workdir={}{}",
            lower.join(":"),
            path(&base.path().join("upper")),
            path(&base.path().join("work")),
            if is_root() { "" } else { ",userxattr" }
        );
        let data = std::ffi::CString::new(data).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", base.path().join("merged"), "overlay", flags, Some(data.as_c_str())).unwrap();
        Ok(Stacked { base, fixes })
    }

    pub fn new(layers: Vec<Tar>) -> Self {
        Self::try_new(&layers.into_iter().map(Tar::end).collect::<Vec<_>>()).unwrap()
    }

    pub fn root(&self) -> PathBuf {
        self.base.path().join("merged")
    }

    pub fn list(&self) -> BTreeMap<String, String> {
        list(&self.root())
    }

    fn names(&self) -> Vec<String> {
        self.list().into_keys().filter(|n| !n.is_empty()).collect()
    }

    fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

impl Drop for Stacked {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.root(), rustix::mount::UnmountFlags::DETACH);
    }
}

fn base() -> Tar {
    Tar::new()
        .dir("./")
        .dir("a/")
        .dir("a/b/")
        .file("a/b/old", "old")
        .file("a/f", "f")
        .file("a/g", "g")
        .symlink("s", "a")
        .with(b'5', "tmp/", |r| (r.mode, r.mtime) = (0o1777, 77))
        .file("top", "top")
}

fn mark(tar: Tar, name: &str) -> Tar {
    tar.file(name, "")
}

#[test]
fn deletions() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    let s = Stacked::new(vec![base(), mark(mark(mark(Tar::new().dir("a/"), "a/.wh.f"), ".wh.top"), "a/.wh.none")]);
    assert_eq!(s.names(), ["a", "a/b", "a/b/old", "a/g", "s", "tmp"]);
    assert_eq!(s.fixes, 0);
}

#[test]
fn opaque_directories_in_any_order() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    for tar in [
        mark(Tar::new().dir("a/"), "a/.wh..wh..opq").file("a/new", "n"),
        mark(Tar::new().dir("a/").file("a/new", "n"), "a/.wh..wh..opq"),
        mark(Tar::new(), "a/.wh..wh..opq").file("a/new", "n").dir("a/"),
        // With deletions in it, which must not show.
        mark(mark(mark(Tar::new().dir("a/").dir("a/b/"), "a/b/.wh.old"), "a/.wh.f"), "a/.wh..wh..opq")
            .file("a/new", "n")
            .file(".wh.top", "")
            .file("top", "again")
            .file("a/.wh.b", ""),
    ] {
        let Ok(s) = std::panic::catch_unwind(|| Stacked::new(vec![base(), tar.clone()])) else {
            panic!("failed");
        };
        let names = s.names();
        assert!(!names.contains(&"a/f".into()) && !names.contains(&"a/b/old".into()), "{names:?}");
        assert!(names.contains(&"a/new".into()));
    }
}

#[test]
fn deleted_and_made_again() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    // Deleted in one layer, made again in the next: what was nested stays hidden.
    let s = Stacked::new(vec![base(), mark(Tar::new(), ".wh.a"), Tar::new().dir("a/").dir("a/b/").file("a/b/new", "")]);
    assert_eq!(s.names(), ["a", "a/b", "a/b/new", "s", "tmp", "top"]);
    // Both in one layer, in both orders, also where the new directory is not listed.
    for tar in [
        mark(Tar::new(), ".wh.a").dir("a/").file("a/new", ""),
        mark(Tar::new().dir("a/").file("a/new", ""), ".wh.a"),
        mark(Tar::new(), ".wh.a").file("a/new", ""),
        mark(Tar::new().file("a/new", ""), ".wh.a"),
    ] {
        let s = Stacked::new(vec![base(), tar]);
        assert_eq!(s.names(), ["a", "a/new", "s", "tmp", "top"]);
        assert_eq!(s.stat("a").mode() & 0o7777, 0o755);
    }
    // A file with the same name stays.
    let s = Stacked::new(vec![base(), mark(Tar::new().file("top", "new"), ".wh.top")]);
    assert_eq!(s.read("top"), "new");
    let s = Stacked::new(vec![base(), mark(Tar::new(), ".wh.a").file("a", "file")]);
    assert_eq!(s.read("a"), "file");
}

#[test]
fn deletions_where_nothing_is() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    // No directory appears only because something was to be deleted from it.
    let s = Stacked::new(vec![base(), mark(mark(Tar::new(), "no/such/.wh.x"), "a/none/.wh.y")]);
    assert_eq!(s.names(), ["a", "a/b", "a/b/old", "a/f", "a/g", "s", "tmp", "top"]);
    assert_eq!(s.fixes, 1);
    // A new directory with marks in it: the marks do not show.
    let s = Stacked::new(vec![
        mark(Tar::new().dir("x/").dir("x/y/"), "x/y/.wh.gone"),
        mark(Tar::new().dir("z/").file("z/f", ""), "z/.wh.gone"),
    ]);
    assert_eq!(s.names(), ["x", "x/y", "z", "z/f"]);
    // Under a symbolic link of the layer below it is the target that is deleted from.
    let s = Stacked::new(vec![base(), mark(mark(Tar::new(), "s/.wh.f"), "s/b/.wh.old")]);
    assert_eq!(s.names(), ["a", "a/b", "a/g", "s", "tmp", "top"]);
    assert!(s.stat("s").is_symlink());
    // Under a file: nothing to delete, and the file stays.
    let s = Stacked::new(vec![base(), mark(Tar::new(), "top/.wh.x")]);
    assert_eq!(s.read("top"), "top");
}

#[test]
fn unlisted_directories_look_like_those_below() {
    if !needs(may_chown(), "root and more ids than one") {
        return;
    }
    let base = base()
        .with(b'5', "var/", |r| (r.uid, r.gid, r.mode) = (7, 8, 0o2750))
        .pax(b'x', &[("SCHILY.xattr.user.color", b"red"), ("mtime", b"5.25")]);
    let base = base.dir("var/lib/");
    let s = Stacked::new(vec![
        base.clone(),
        Tar::new().file("tmp/x", "x").file("var/lib/y", "y"),
        Tar::new().file("tmp/z", "z").file("var/lib/w/v", "v"),
    ]);
    assert_eq!(s.fixes, 2);
    let tmp = s.stat("tmp");
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 77));
    let var = s.stat("var");
    assert_eq!((var.uid(), var.gid(), var.mode() & 0o7777), (7, 8, 0o2750));
    assert_eq!((s.stat("var/lib").mtime(), s.stat("var/lib").mtime_nsec()), (5, 250_000_000));
    assert_eq!(xattr(&s.root().join("var/lib"), "user.color").as_deref(), Some(&b"red"[..]));
    assert_eq!(s.stat("var/lib/w").mode() & 0o7777, 0o755);
    assert_eq!((s.read("tmp/x"), s.read("tmp/z"), s.read("var/lib/y")), ("x".into(), "z".into(), "y".into()));
    // A directory that was deleted first takes nothing over.
    let s = Stacked::new(vec![base, mark(Tar::new().file("tmp/x", "x"), ".wh.tmp")]);
    assert_eq!(s.stat("tmp").mode() & 0o7777, 0o755);
    assert_eq!(s.stat("").mode() & 0o7777, 0o755);
}

#[test]
fn hard_links_across_layers() {
    if !needs(may_chown(), "root and more ids than one") {
        return;
    }
    let s = Stacked::new(vec![
        base().with(b'0', "bin", |r| (r.mode, r.uid, r.size, r.data) = (0o4755, 9, 3, b"bin".to_vec())),
        Tar::new()
            .link("one", "bin")
            .link("dir/two", "/bin")
            .link("three", "one")
            .link("four", "s/f")
            .link("five", "s"),
    ]);
    for name in ["one", "dir/two", "three"] {
        assert_eq!(s.read(name), "bin");
        assert_eq!((s.stat(name).mode() & 0o7777, s.stat(name).uid()), (0o4755, 9), "{name}");
        assert_eq!(s.stat(name).ino(), s.stat("bin").ino(), "{name}");
        assert_eq!(s.stat(name).nlink(), 4);
    }
    assert_eq!(s.read("four"), "f");
    assert_eq!(s.stat("four").ino(), s.stat("a/f").ino());
    assert_eq!(fs::read_link(s.root().join("five")).unwrap(), Path::new("a"));
    // A rename: the target is deleted by the layer that links to it.
    let s = Stacked::new(vec![base(), mark(Tar::new().link("new", "top"), ".wh.top")]);
    assert_eq!(s.read("new"), "top");
    assert!(!s.names().contains(&"top".into()));
    // Through two layers: the target is itself a link to a lower layer.
    let s = Stacked::new(vec![base(), Tar::new().link("x", "top"), Tar::new().link("y", "x")]);
    assert_eq!(s.read("y"), "top");
    for (target, word) in [("nowhere", "neither"), ("a", "directory"), ("loop", "neither")] {
        let tars = [base().end(), Tar::new().link("l", target).link("loop", "l").end()];
        let Err(e) = Stacked::try_new(&tars) else { panic!("{target} was accepted") };
        assert!(e.to_string().contains(word) && e.to_string().contains(&format!("`{target}`")), "{e}");
    }
}

#[test]
fn an_opaque_root_hides_everything() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    let s = Stacked::new(vec![base(), mark(mark(Tar::new().file("only", "1"), ".wh..wh..opq"), ".wh.top")]);
    assert_eq!(s.names(), ["only"]);
    let s = Stacked::new(vec![base(), mark(Tar::new(), ".wh..wh..opq"), Tar::new().file("tmp/x", "")]);
    assert_eq!(s.names(), ["tmp", "tmp/x"]);
    assert_eq!(s.stat("tmp").mode() & 0o7777, 0o755);
}

#[test]
fn types_change_between_layers() {
    if !needs(may_mount(), "root, to mount") {
        return;
    }
    let s = Stacked::new(vec![base(), Tar::new().file("a", "file").symlink("top", "a").dir("s/").file("s/in", "x")]);
    assert_eq!(s.names(), ["a", "s", "s/in", "tmp", "top"]);
    assert_eq!(s.read("top"), "file");
    assert!(s.stat("s").is_dir());
    // Writing below a lower symbolic link makes it a directory, as everywhere.
    let s = Stacked::new(vec![base(), Tar::new().file("s/in", "x")]);
    assert!(s.stat("s").is_dir());
    assert_eq!(s.stat("s").permissions().mode() & 0o7777, 0o755);
    assert!(s.names().contains(&"a/f".into()) && !s.names().contains(&"a/in".into()));
}
