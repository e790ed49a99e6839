//! A real distribution from a real registry: Debian, cut into layers by umoci, pushed by skopeo to docker-registry.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

use crate::common::docker_registry::DockerRegistry;
use crate::common::image::Layer;
use crate::common::lab::Lab;
use crate::common::{have, needs_root, run, text, tree};

/// Debian's minimal root file system as a tar, made once for each build directory.
fn debian() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tar = cache.join("debian-bookworm-minbase.tar");
    if !tar.exists() {
        let dir = tempfile::tempdir_in(cache).unwrap();
        let root = dir.path().join("root");
        // The mirror that this machine's apt uses, if it says one.
        let sources = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"];
        let said = sources.iter().filter_map(|f| fs::read_to_string(f).ok()).collect::<String>();
        let mirror = said
            .split_whitespace()
            .find(|w| w.starts_with("http") && w.trim_end_matches('/').ends_with("/debian"))
            .unwrap_or("http://deb.debian.org/debian");
        run("debootstrap", &["--variant=minbase", "bookworm", text(&root), mirror]);
        let made = dir.path().join("made.tar");
        run("tar", &["--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", text(&root), "-cf", text(&made), "."]);
        fs::rename(made, &tar).unwrap();
    }
    tar
}

fn umoci(args: &[&str]) {
    run("umoci", args);
}

/// Cuts Debian into layers whose every one changes what those before it made.
fn cut(dir: &Path) -> PathBuf {
    let layout = dir.join("layout");
    let image = format!("{}:image", text(&layout));
    umoci(&["init", "--layout", text(&layout)]);
    umoci(&["new", "--image", &image]);
    let mut step = 0;
    let mut layer = |change: &dyn Fn(&Path)| {
        step += 1;
        let bundle = dir.join(format!("bundle{step}"));
        umoci(&["unpack", "--image", &image, text(&bundle)]);
        change(&bundle.join("rootfs"));
        umoci(&["repack", "--image", &image, text(&bundle)]);
        fs::remove_dir_all(bundle).unwrap();
    };
    let tar = debian();
    let unpack = |root: &Path, more: &[&str]| {
        let base = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", text(root), "-xpf", text(&tar)];
        run("tar", &[&base[..], more].concat());
    };
    layer(&|root| unpack(root, &["--exclude=./usr/share/*", "--exclude=./usr/lib/x86_64-linux-gnu/gconv*"]));
    layer(&|root| unpack(root, &["./usr/share", "./usr/lib"]));
    // Deleted: files, a whole tree, and what a directory had while it stays.
    layer(&|root| {
        for gone in ["usr/share/doc", "usr/share/man", "var/cache/apt/archives"] {
            let _ = fs::remove_dir_all(root.join(gone));
        }
        for gone in ["etc/issue", "etc/issue.net", "usr/bin/perror"] {
            let _ = fs::remove_file(root.join(gone));
        }
        for entry in fs::read_dir(root.join("usr/share/zoneinfo")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    });
    // Changed: modes, owners, times, attributes; new hard links, also to what a lower layer has; types.
    layer(&|root| {
        let path = |p: &str| root.join(p);
        let mode = |p: &str, m| fs::set_permissions(path(p), fs::Permissions::from_mode(m)).unwrap();
        mode("etc/hostname", 0o600);
        mode("srv", 0o2770);
        std::os::unix::fs::chown(path("srv"), Some(12_345), Some(54_321)).unwrap();
        mode("usr/bin/id", 0o4755);
        fs::write(path("srv/a"), "linked\n").unwrap();
        fs::hard_link(path("srv/a"), path("srv/b")).unwrap();
        fs::hard_link(path("srv/a"), path("srv/c")).unwrap();
        fs::hard_link(path("usr/bin/env"), path("usr/local/bin/env-too")).unwrap();
        rustix::fs::setxattr(path("srv/a"), "user.colour", b"green\0blue", XattrFlags::empty()).unwrap();
        let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        rustix::fs::setxattr(path("usr/bin/dd"), "security.capability", capability, XattrFlags::empty()).unwrap();
        fs::remove_dir_all(path("opt")).unwrap();
        fs::write(path("opt"), "a file where a directory was\n").unwrap();
        fs::remove_file(path("etc/motd")).unwrap();
        fs::create_dir(path("etc/motd")).unwrap();
        fs::remove_dir_all(path("media")).unwrap();
        symlink("mnt", path("media")).unwrap();
        let at = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
        for (name, time) in [("srv/c", at(1_234_567_890, 123_456_789)), ("etc/motd", at(-1_000, 0)), ("srv", at(0, 1))]
        {
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, path(name), &times, AtFlags::empty()).unwrap();
        }
    });
    // Made again where it was deleted: what was there before stays hidden.
    layer(&|root| {
        fs::create_dir_all(root.join("usr/share/doc/new")).unwrap();
        fs::write(root.join("usr/share/doc/new/file"), "new\n").unwrap();
        fs::remove_file(root.join("opt")).unwrap();
        fs::create_dir(root.join("opt")).unwrap();
        rustix::fs::mknodat(CWD, root.join("srv/fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    });
    // What umoci never writes itself: an opaque directory, and one that is not listed.
    let raw = dir.join("raw.tar");
    let tar = Layer::new()
        .dir("etc/apt/", 0o755)
        .file("etc/apt/.wh..wh..opq", 0o644, b"")
        .file("etc/apt/only", 0o644, b"only this\n")
        .dir("var/lib/dpkg/info/", 0o700)
        .file("var/lib/dpkg/info/.wh..wh..opq", 0o644, b"")
        .end();
    fs::write(&raw, tar).unwrap();
    umoci(&["raw", "add-layer", "--image", &image, text(&raw)]);
    umoci(&["config", "--image", &image, "--config.cmd", "/bin/bash", "--config.workingdir", "/srv"]);
    layout
}

/// The tree that a container of the image begins with, mounted read-only for as long as this lives.
struct Merged(PathBuf);

impl Merged {
    fn of(lab: &Lab, at: PathBuf) -> Merged {
        let stacks: Vec<_> = fs::read_dir(lab.store("stacks")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(stacks.len(), 1);
        let stack: serde_json::Value =
            serde_json::from_slice(&fs::read(stacks[0].join("stack.json")).unwrap()).unwrap();
        let lowers = stack["lowers"].as_array().unwrap();
        let lowers: Vec<_> = lowers.iter().map(|l| text(&lab.store(l.as_str().unwrap())).to_owned()).collect();
        fs::create_dir(&at).unwrap();
        run("mount", &["-t", "overlay", "-o", &format!("ro,lowerdir={}", lowers.join(":")), "merged", text(&at)]);
        Merged(at)
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// What differs between two trees, entry by entry.
fn differences(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = Vec::new();
    for name in ours.keys().chain(theirs.keys().filter(|n| !ours.contains_key(*n))) {
        let of = |tree: &BTreeMap<String, String>| tree.get(name).cloned().unwrap_or_else(|| "(not there)".into());
        let (ours, theirs) = (of(ours), of(theirs));
        if ours != theirs {
            all.push(format!("/{name}\n  trace {ours}\n  umoci {theirs}"));
        }
    }
    all
}

#[test]
fn debian_from_docker_registry_runs_and_is_what_umoci_unpacks() {
    if !needs_root() || !have(&["docker-registry", "skopeo", "umoci", "debootstrap", "tar", "mount"]) {
        return;
    }
    let (lab, registry) = (Lab::new(), DockerRegistry::start());
    let layout = cut(registry.dir());
    registry.push(&layout, "debian:test", &[]);
    let image = registry.image("debian:test").replace("127.0.0.1", "localhost");

    let script = "echo shell; perl -e 'print 6*7, qq(\\n)'; cat /etc/debian_version | cut -d. -f1; pwd; dpkg \
        --version | head -1 | cut -d\" \" -f1; \
        cat /etc/apt/only; ls /usr/share/doc; ls -A /usr/share/zoneinfo /etc/motd /opt | tr '\\n' ' '; cat /usr/local/bin/env-too | cmp - /usr/bin/env && echo same";
    let (ran, trace) = lab.traced(&["run", "-q", "--report", "none", &image, "sh", "-c", script]);
    let ran = ran.ok();
    let want = "shell\n42\n12\n/srv\nDebian\nonly this\nnew\n/etc/motd:  /opt:  /usr/share/zoneinfo: same\n";
    assert_eq!(ran.out(), want, "{}", ran.err());
    let layers = trace.spans.iter().filter(|s| s.name == "layer.pull").count();
    assert_eq!(layers, 6);
    assert_eq!(trace.root().unwrap().attributes.str("trace.run.kind"), Some("cold"));

    let bundle = registry.dir().join("umoci");
    umoci(&["unpack", "--image", &format!("{}:image", text(&layout)), text(&bundle)]);
    let merged = Merged::of(&lab, registry.dir().join("merged"));
    let (mut ours, mut theirs) = (tree::list(&merged.0), tree::list(&bundle.join("rootfs")));
    // How `/` itself looks is settled when a container is made: what it shows is compared below.
    let (_, root) = (ours.remove(""), theirs.remove("").unwrap());
    assert!(ours.len() > 3_000, "{} entries", ours.len());
    let differ = differences(&ours, &theirs);
    assert!(
        differ.is_empty(),
        "{} of {} entries differ:\n{}",
        differ.len(),
        theirs.len(),
        differ[..differ.len().min(30)].join("\n")
    );

    let said = lab.quiet_run(&[&image, "stat", "-c", "%f %u:%g t=%.9Y", "/"]).ok().out();
    let (mode, rest) = said.trim().split_once(' ').unwrap();
    let mode = u32::from_str_radix(mode, 16).unwrap();
    assert_eq!(format!("{mode:o} {rest}"), root, "the root directory");

    // A package manager works in it, as root of its own: it changes users, modes and times of many files.
    let script = "mkdir -p /tmp/p/DEBIAN /tmp/p/opt/x; printf 'Package: x\\nVersion: 1\\nArchitecture: \
        all\\nMaintainer: m\\nDescription: d\\n' >/tmp/p/DEBIAN/control; \
        echo hi >/tmp/p/opt/x/file; dpkg-deb -b /tmp/p /tmp/x.deb >/dev/null && mkdir -p /var/lib/dpkg/info && dpkg -i /tmp/x.deb >/dev/null && cat /opt/x/file && rm -rf /usr/share/doc /usr/lib/apt && mv /srv /srv2 && ls /srv2 | tr '\\n' ' '";
    let ran = lab.quiet_run(&["-w", "/", &image, "sh", "-c", script]).ok();
    assert_eq!(ran.out(), "hi\na b c fifo ", "{}", ran.err());
    let mut after = tree::list(&merged.0);
    after.remove("");
    assert_eq!(differences(&after, &ours), Vec::<String>::new(), "a container changes nothing of the image");
    drop(merged);
    lab.assert_clean(&[]);
}
