//! What of the host crosses the border into a container: devices, descriptors, input, what the store's directories hand
//! down. As root, and as ordinary users with many ids and with one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::common::image::{self, Entry, Image, Layer};
use crate::common::lab::{Lab, Ran, Running};
use crate::common::shop::Shop;
use crate::common::user::{self, User};
use crate::common::{find, have};

const QUIET: [&str; 4] = ["run", "-q", "--report", "none"];

/// The same image for root and for two ordinary users.
struct Everybody {
    labs: Vec<(&'static str, Lab)>,
    shop: Shop,
    image: String,
    _users: Vec<User>,
}

impl Everybody {
    fn with(image: Image) -> Option<Everybody> {
        if !user::can_be_made() || !image::needs_busybox() {
            return None;
        }
        let users = vec![User::create(true), User::create(false)];
        let labs = vec![("root", Lab::new()), ("many ids", users[0].lab()), ("one id", users[1].lab())];
        let (shop, image) = Shop::with(image);
        for (_, lab) in &labs {
            lab.trace(&["pull", "-q", &image]).ok();
        }
        Some(Everybody { labs, shop, image, _users: users })
    }
}

/// A command of the lab, started by a shell that does `before` it; `"$@"` is the command.
fn through_shell(lab: &Lab, script: &str, args: &[&str]) -> Ran {
    let inner = lab.command(args);
    let mut outer = Command::new("sh");
    outer.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        outer.env(key, value.unwrap());
    }
    outer.current_dir(lab.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(outer, &[]).wait()
}

#[test]
fn device_nodes_of_the_host_cannot_be_changed() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let host = || {
        DEVICES.map(|d| {
            let m = fs::metadata(format!("/dev/{d}")).unwrap();
            // What is read and written elsewhere moves the times of a device; a time of the past is set by hand.
            (d, m.mode(), m.uid(), m.gid(), m.rdev(), m.mtime() == 12_345)
        })
    };
    let before = host();
    let script = "cd /dev; for d in null zero full random urandom tty; do chmod 0640 $d; chown 1000 $d; chown :1000 $d; \
        touch -d @12345 $d; done 2>/tmp/said; true";
    for (who, lab) in &everybody.labs {
        let ran = lab.quiet_run(&[&everybody.image, "sh", "-c", script]);
        // The host's are mended before anybody else meets them.
        let after = host();
        for (d, mode, uid, gid, ..) in before {
            let path = format!("/dev/{d}");
            if after.iter().any(|a| a.0 == d && (a.1, a.2, a.3) != (mode, uid, gid)) {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            }
        }
        assert_eq!(after, before, "{who}");
        ran.ok();
        // They work as ever, read and written.
        let use_them = "echo x >/dev/null && echo x >>/dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c; \
            echo x 2>/dev/null >/dev/full || echo full; cat /proc/keys 2>/dev/null | wc -c";
        assert_eq!(lab.quiet_run(&[&everybody.image, "sh", "-c", use_them]).ok().out(), "3\n3\nfull\n0\n", "{who}");
        // No directory of the container is one where a node of its own would work.
        let make = "for d in $(find / -type d -not -path '/proc/*' -not -path '/sys/*' 2>/dev/null); do \
            mknod $d/canary c 1 5 2>/dev/null || continue; head -c 1 $d/canary >/dev/null 2>&1 && echo $d; done; true";
        assert_eq!(lab.quiet_run(&[&everybody.image, "sh", "-c", make]).ok().out(), "", "{who}");
        lab.assert_clean(&[]);
    }
}

#[test]
fn no_descriptor_of_the_host_is_in_a_container() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    let look = "for p in 1 self; do for n in $(seq 0 30); do [ -e /proc/$p/fd/$n ] && readlink /proc/$p/fd/$n; \
        ls /proc/$p/fd/$n/ 2>/dev/null; cat /proc/$p/fd/$n/passwd /proc/$p/fd/$n/../etc/passwd 2>/dev/null; done; \
        readlink /proc/$p/cwd; readlink /proc/$p/root; done";
    let open: String = (3..=20).map(|n| format!("exec {n}</etc; ")).collect();
    for (who, lab) in &everybody.labs {
        for flags in [&[][..], &["-i"], &["--network", "host"]] {
            let args = [&QUIET[..], flags, &[&everybody.image, "sh", "-c", look]].concat();
            // The shells that POSIX leaves free to refuse descriptors of two digits do not take them.
            let bash = format!("exec bash -c '{open} exec \"$@\" </etc' bash \"$@\"");
            let said = through_shell(lab, &bash, &args).ok().out();
            for line in said.lines() {
                let harmless =
                    line == "/" || line == "/dev/null" || line.starts_with("pipe:[") || line.starts_with("/proc/");
                assert!(harmless, "{who} {flags:?}: {line}\nof\n{said}");
            }
        }
        lab.assert_clean(&[]);
    }
}

#[test]
fn input_is_passed_on_by_pipe_and_only_when_asked_for() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    let file = everybody.labs[0].1.dir().join("big");
    let bytes: Vec<u8> = (0..8 << 20u32).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&file, &bytes).unwrap();
    fs::set_permissions(everybody.labs[0].1.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sum = crate::common::run("sha256sum", &[file.to_str().unwrap()]);
    let sum = sum.split_whitespace().next().unwrap();
    for (who, lab) in &everybody.labs {
        let image = everybody.image.as_str();
        let run = |flags: &[&str], script: &str, redirected: &str| {
            let args = [&QUIET[..], flags, &[image, "sh", "-c", script]].concat();
            through_shell(lab, redirected, &args).ok().out()
        };
        let big = format!("exec \"$@\" <{}", file.display());
        assert!(run(&["-i"], "sha256sum", &big).starts_with(sum), "{who}: a file");
        assert!(
            run(&["-i"], "sha256sum", &format!("cat {} | \"$@\"", file.display())).starts_with(sum),
            "{who}: a pipe"
        );
        assert_eq!(run(&[], "wc -c", &big), "0\n", "{who}: no -i");
        assert_eq!(run(&["-i"], "readlink /proc/self/fd/0 | cut -c1-6", &big), "pipe:[\n", "{who}");
        // What has no bytes to give is an empty input.
        for nothing in ["exec \"$@\" </etc", "exec \"$@\" <&-", "exec \"$@\" </dev/null"] {
            assert_eq!(run(&["-i"], "wc -c", nothing), "0\n", "{who}: {nothing}");
        }
        // A program that does not read, or stops reading, ends when it likes.
        let open = "exec bash -c 'exec \"$@\" < <(exec sleep 30 2>/dev/null)' bash \"$@\"";
        let begun = Instant::now();
        assert_eq!(run(&["-i"], "head -n 1", "yes | \"$@\""), "y\n", "{who}");
        assert_eq!(run(&["-i"], "echo ends", open), "ends\n", "{who}");
        assert_eq!(run(&["-i"], "exec <&-; sleep 1; echo closed", "yes | \"$@\""), "closed\n", "{who}");
        assert!(begun.elapsed().as_secs() < 25, "{who}: {:?}", begun.elapsed());
        lab.assert_clean(&[]);
    }
}

/// A job in the background that reads its terminal would be stopped, and its container with it.
#[test]
fn a_background_job_with_the_terminal_as_input_goes_on() {
    if !have(&["script"]) {
        return;
    }
    let Some((lab, _shop, image)) = super::running::busybox() else { return };
    let inner = lab.command(&[&QUIET[..], &["-i", &image, "sh", "-c", "sleep 1; echo went on"]].concat());
    let words: Vec<_> = [inner.get_program()].into_iter().chain(inner.get_args()).collect();
    let quoted: Vec<_> = words.iter().map(|w| format!("'{}'", w.to_str().unwrap())).collect();
    let mut outer = Command::new(find("script").unwrap());
    let job = format!("set -m; {} & wait $!; echo code $?", quoted.join(" "));
    outer.args(["-qefc", &format!("bash -c \"{}\"", job.replace('$', "\\$"))]).arg("/dev/null");
    for (key, value) in inner.get_envs() {
        outer.env(key, value.unwrap());
    }
    outer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let ran = Running::start(outer, b"typed\n").wait();
    assert!(ran.out().contains("went on") && ran.out().contains("code 0"), "{}{}", ran.out(), ran.err());
    assert!(begun.elapsed().as_secs() < 30);
}

#[test]
fn links_where_the_kernels_filesystems_go_lead_nowhere() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    let canary = everybody.labs[0].1.dir().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::set_permissions(everybody.labs[0].1.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&canary, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(canary.join("file"), "untouched").unwrap();
    let target = canary.to_str().unwrap();
    let busybox = fs::read(find("busybox").unwrap()).unwrap();
    let points =
        ["dev", "proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "dev/console", "dev/null", "dev/ptmx", "sys/fs"];
    for point in points {
        let to = if point.ends_with("null") || point.ends_with("console") {
            format!("{target}/file")
        } else {
            target.into()
        };
        let own = Layer::new().dir("bin/", 0o755).file("bin/busybox", 0o755, &busybox);
        let own = match point.split_once('/') {
            Some((above, _)) => own.dir(&format!("{above}/"), 0o755),
            None => own,
        };
        let tag = format!("link:{}", point.replace('/', "-"));
        let name = everybody.shop.put(&tag, Image::new(&[&own.symlink(point, &to).end()], json!({})));
        for (who, lab) in &everybody.labs {
            let script = "echo x >/dev/null; echo x >/dev/shm/x; echo x >/dev/console; true";
            let ran = lab.quiet_run(&[&name, "/bin/busybox", "sh", "-c", script]);
            assert!(matches!(ran.code(), 0 | 125), "{who} {point}: {}", ran.err());
            assert_eq!(fs::read_dir(&canary).unwrap().count(), 1, "{who}: {point} led outside");
            assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "untouched", "{who}: {point}");
        }
    }
}

#[test]
fn no_magic_link_of_proc_is_entered_or_executed() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    let script = |line: &str| Entry { mode: 0o755, data: line.as_bytes().to_vec().leak(), ..Entry::default() };
    let more = Layer::new()
        .entry("bin/itself", script("#!/proc/self/exe\n"))
        .entry("bin/one", script("#!/proc/1/exe run\n"))
        .symlink("bin/linked", "/proc/self/exe")
        .end();
    let config = json!({"Env": ["PATH=/bin"]});
    let name = everybody.shop.put("magic:1", Image::new(&[image::busybox_layer(), &more], config));
    let engine = env!("CARGO_BIN_EXE_trace");
    let before = fs::metadata(engine).map(|m| (m.len(), m.mtime_nsec(), m.ino())).unwrap();
    for (who, lab) in &everybody.labs {
        let open: String = (3..=9).map(|n| format!("exec {n}</etc; ")).collect();
        for n in 0..=40 {
            let dir = format!("/proc/self/fd/{n}");
            let args = [&QUIET[..], &["-w", &dir, &name, "ls"]].concat();
            let ran = through_shell(lab, &format!("{open} exec \"$@\" </etc"), &args).exits(125);
            assert_eq!(ran.out(), "", "{who}: {dir}");
        }
        for program in
            ["/proc/self/exe", "/proc/1/exe", "itself", "one", "linked", "/proc/self/fd/3", "/proc/thread-self/exe"]
        {
            let ran = lab.quiet_run(&[&name, program, "--version"]);
            assert!(
                matches!(ran.code(), 126 | 127) && ran.out().is_empty(),
                "{who} {program}: {}{}",
                ran.out(),
                ran.err()
            );
        }
        lab.assert_clean(&[]);
    }
    assert_eq!(fs::metadata(engine).map(|m| (m.len(), m.mtime_nsec(), m.ino())).unwrap(), before);
}

#[test]
fn hostile_account_files_name_nobody_and_keep_nobody_waiting() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    let canary = everybody.labs[0].1.dir().join("canary");
    fs::set_permissions(everybody.labs[0].1.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(&canary, "secret:x:0:0::/:/bin/sh\n").unwrap();
    let fifo = Entry { kind: tar::EntryType::Fifo, ..Entry::default() };
    let link = Entry { kind: tar::EntryType::Symlink, link: canary.to_str().unwrap(), ..Entry::default() };
    let ids = "secret:x:4294967296:0::/:\nsecret:x:-1:0::/:\nsecret:x:4294967295:0::/:\n";
    let overflow = Entry { data: ids.as_bytes(), ..Entry::default() };
    let long = vec![b'a'; 64 << 20];
    let huge = Entry { data: &long, ..Entry::default() };
    for (what, entry) in [("fifo", fifo), ("link", link), ("overflow", overflow), ("huge", huge)] {
        let own = Layer::new()
            .dir("bin/", 0o755)
            .file("bin/busybox", 0o755, &fs::read(find("busybox").unwrap()).unwrap())
            .dir("etc/", 0o755)
            .entry("etc/passwd", entry)
            .entry("etc/group", entry)
            .end();
        let name = everybody.shop.put(&format!("accounts:{what}"), Image::new(&[&own], json!({})));
        for (who, lab) in &everybody.labs {
            let begun = Instant::now();
            let ran = lab.quiet_run(&["-u", "secret", &name, "/bin/busybox", "id"]).exits(125);
            assert!(ran.err().starts_with("trace: cannot use user `secret`"), "{who} {what}: {}", ran.err());
            assert_eq!(lab.quiet_run(&[&name, "/bin/busybox", "echo", "root"]).ok().out(), "root\n", "{who} {what}");
            assert!(begun.elapsed().as_secs() < 60, "{who} {what}");
            lab.assert_clean(&[]);
        }
    }
}

/// An access list by default, and the setgid bit, of the directory that the store is made in or of one of its own.
#[test]
fn nothing_of_the_stores_directory_is_handed_down_into_a_container() {
    let Some(everybody) = Everybody::with(image::busybox()) else { return };
    // Version 2; user rwx, user 77 rwx, group r-x, mask rwx, other r-x: linux/posix_acl_xattr.h.
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, mode, id) in [(1u16, 7u16, u32::MAX), (2, 7, 77), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        list.extend([&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let hand_down = |dir: &std::path::Path| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(dir, c"system.posix_acl_default", &list, flags).unwrap();
        let m = fs::metadata(dir).unwrap();
        std::os::unix::fs::chown(dir, Some(m.uid()), Some(50)).unwrap();
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o2755)).unwrap();
    };
    for (who, lab) in &everybody.labs {
        let image = everybody.image.as_str();
        let look = || {
            let script =
                "umask 022; stat -c '%A %U:%G' / /bin /etc /tmp; touch /new; mkdir /dir; stat -c '%A %U:%G' /new /dir";
            lab.quiet_run(&[image, "sh", "-c", script]).ok().out()
        };
        let before = look();
        assert!(before.starts_with("drwxr-xr-x root:root\n"), "{who}: {before}");
        // A store that is there: the directory that containers are made in.
        hand_down(&lab.store("containers"));
        assert_eq!(look(), before, "{who}: of the store");
        // One that is yet to be made.
        fs::remove_dir_all(lab.store("")).unwrap();
        hand_down(&lab.root());
        lab.trace(&["pull", "-q", image]).ok();
        assert_eq!(look(), before, "{who}: of the directory above it");
        lab.assert_clean(&[]);
    }
}
