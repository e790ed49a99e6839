//! What keeps a container apart: capabilities, devices, hidden and read-only paths, namespaces, network.

use std::fs;

use serde_json::json;

use super::running::busybox;
use crate::common::image::{self, Entry, Image, Layer};
use crate::common::lab::Lab;
use crate::common::{find, needs_root};

/// Docker's 14 capabilities as /proc/self/status shows them.
const DOCKERS: &str = "00000000a80425fb";
/// Ways to the outside, in a shell with the flags given before the image.
fn out(lab: &Lab, flags: &[&str], image: &str, script: &str) -> String {
    lab.quiet_run(&[flags, &[image, "sh", "-c", script]].concat()).ok().out()
}

#[test]
fn capabilities_are_dockers_fourteen() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let status = |flags: &[&str]| {
        let text = out(&lab, flags, &image, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
        text.lines().map(|l| l.split_whitespace().nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let none = "0000000000000000";
    assert_eq!(status(&[]), [none, DOCKERS, DOCKERS, DOCKERS, none, "0"], "Inh Prm Eff Bnd Amb NoNewPrivs");
    assert_eq!(status(&["-u", "ada"]), [none, none, none, DOCKERS, none, "0"]);
}

#[test]
fn an_image_with_a_setuid_program_may_use_it() {
    let Some((lab, shop, _)) = busybox() else { return };
    let busybox = fs::read(find("busybox").unwrap()).unwrap();
    let more = Layer::new().dir("suid/", 0o755).file("suid/id", 0o4755, &busybox).end();
    let name = shop.put("suid:1", Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]})));
    let said = lab.quiet_run(&["-u", "ada", &name, "grep", "NoNewPrivs", "/proc/self/status"]).ok().out();
    assert_eq!(said.split_whitespace().last(), Some("0"));
    let said = lab.quiet_run(&["-u", "ada", &name, "/suid/id", "-u"]).ok().out();
    // Busybox drops what it got by setuid for applets that don't need it; stat of the process shows it was given.
    assert!(said == "0\n" || said == "1000\n", "{said}");
}

#[test]
fn paths_of_the_host_are_hidden_and_read_only() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script = "for p in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
        /proc/scsi /proc/timer_list /proc/timer_stats /sys/firmware /sys/devices/virtual/powercap; do \
        [ -e $p ] || continue; if [ -d $p ]; then [ -z \"$(ls -A $p)\" ] || echo visible $p; else \
        [ \"$(head -c 1 $p | wc -c)\" = 0 ] || echo visible $p; fi; done; \
        for p in /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger /sys /sys/fs/cgroup; do [ -e $p ] || continue; \
        awk=$(cut -d' ' -f5,6 /proc/self/mountinfo | grep \"^$p ro\"); [ -n \"$awk\" ] || echo writable $p; done; \
        echo 1 2>/dev/null >/proc/sys/kernel/panic && echo wrote sysctl; \
        echo b 2>/dev/null >/proc/sysrq-trigger && echo wrote sysrq; \
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo made a cgroup; \
        mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; umount /proc/keys 2>/dev/null && echo unmounted; \
        mount -t tmpfs x /tmp 2>/dev/null && echo mounted; chroot /tmp /bin/true 2>/dev/null; true";
    assert_eq!(out(&lab, &[], &image, script), "");
    // The container's root may be read-only too; /dev/shm stays writable.
    let script = "touch /x 2>&1; touch /tmp/x 2>&1; touch /dev/shm/x && echo shm";
    let said = out(&lab, &["--read-only"], &image, script);
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    assert!(said.ends_with("shm\n"), "{said}");
}

#[test]
fn only_harmless_devices_can_be_used() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script = "head -c 4 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c; head -c 9 /dev/random | wc -c; \
        echo x >/dev/null && echo null; echo x 2>/dev/null >/dev/full || echo full; \
        for l in fd stdin stdout stderr; do readlink /dev/$l; done; [ -c /dev/ptmx ] && echo ptmx; [ -d /dev/pts ] && echo pts; \
        stat -c %a /dev/shm /dev/mqueue; stat -c %F:%t:%T:%a /dev/null";
    let said = out(&lab, &[], &image, script);
    let want = "00 00 00 00\n9\n9\nnull\nfull\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\nptmx\npts\n1777\n1777\n\
        character special file:1:3:666\n";
    assert_eq!(said.trim_start(), want);
    // Everything in /dev that is a device is one of these.
    let said = out(&lab, &[], &image, "find /dev -type b -o -type c | sort | tr '\\n' ' '");
    assert_eq!(said.trim(), "/dev/full /dev/null /dev/pts/ptmx /dev/random /dev/tty /dev/urandom /dev/zero");
    // The host's disk and memory, by nodes of one's own in every place that can be written.
    let script = "for d in /tmp /dev /dev/shm; do mknod $d/mem c 1 1 2>/dev/null; mknod $d/disk b 254 0 2>/dev/null; \
        mknod $d/null2 c 1 3 2>/dev/null; for n in mem disk; do head -c 1 $d/$n >/dev/null 2>&1 && echo read $d/$n; done; done; true";
    assert_eq!(out(&lab, &[], &image, script), "");
}

#[test]
fn devices_of_an_image_cannot_be_used() {
    let Some((lab, shop, _)) = busybox() else { return };
    let disk = fs::metadata("/").map(|m| std::os::unix::fs::MetadataExt::dev(&m)).unwrap();
    let (major, minor) = (rustix::fs::major(disk), rustix::fs::minor(disk));
    let node = |kind, device| Entry { kind, mode: 0o666, device, ..Entry::default() };
    let more = Layer::new()
        .entry("disk", node(tar::EntryType::Block, (major, minor)))
        .entry("mem", node(tar::EntryType::Char, (1, 1)))
        .end();
    let name = shop.put("dev:1", Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]})));
    let script = "for n in /disk /mem; do head -c 1 $n >/dev/null 2>&1 && echo read $n; done; stat -c %F /disk /mem";
    assert_eq!(out(&lab, &[], &name, script), "block special file\ncharacter special file\n");
}

#[test]
fn namespaces_are_the_containers_own() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let said = out(&lab, &[], &image, "cd /proc/self/ns; for n in mnt pid ipc uts net cgroup; do readlink $n; done");
    for line in said.lines() {
        let name = line.split(':').next().unwrap();
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), line, "{name} is shared");
    }
    assert_eq!(said.lines().count(), 6);
    assert_eq!(out(&lab, &[], &image, "ls -d /proc/[0-9]* | wc -l"), "3\n", "the shell, ls and wc");
    let said = out(&lab, &[], &image, "cut -d: -f3 /proc/self/cgroup | sort -u");
    assert!(said.lines().any(|l| l == "/"), "its own cgroup is the root that it sees: {said}");
    // Nothing of ours is open in it beyond the standard streams, and nothing leads out of its root.
    assert_eq!(out(&lab, &[], &image, "ls /proc/1/fd | tr '\\n' ' '").trim(), "0 1 2");
    assert_eq!(
        out(&lab, &[], &image, "ls /.. | sort | tr '\\n' ' '"),
        out(&lab, &[], &image, "ls / | sort | tr '\\n' ' '")
    );
    let said = out(&lab, &[], &image, "cut -d' ' -f5 /proc/self/mountinfo | sort -u");
    let root = lab.root();
    assert!(!said.contains(root.to_str().unwrap()), "{said}");
    assert_eq!(
        out(&lab, &[], &image, "stat -c %a /; stat -c %a /proc /sys /dev | sort -u | tr '\\n' ' '"),
        "755\n555 755 "
    );
}

#[test]
fn networks_are_none_and_the_hosts() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script =
        "ip -o addr | cut -d' ' -f2,6,7 | sort -u; ping -c1 -W1 127.0.0.1 >/dev/null && echo loopback; cat /etc/hosts";
    let said = out(&lab, &[], &image, script);
    let (interfaces, hosts) = said.split_once("loopback\n").unwrap_or_else(|| panic!("{said}"));
    assert!(interfaces.lines().all(|l| l.starts_with("lo")), "{interfaces}");
    let want = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
        ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    assert_eq!(hosts, want);

    let host = ["--network", "host"];
    let said = out(&lab, &host, &image, "readlink /proc/self/ns/net; hostname");
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(said, format!("{}\n{name}\n", ours.display()));
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        let theirs = lab.quiet_run(&[&host[..], &[&image, "cat", file]].concat()).ok();
        assert_eq!(theirs.stdout, fs::read(file).unwrap_or_default(), "{file}");
    }
    // They are the container's own files: writing them changes nothing here.
    let before = fs::read("/etc/hosts").unwrap_or_default();
    out(&lab, &host, &image, "echo 1.2.3.4 x >>/etc/hosts; echo x >/etc/resolv.conf; tr a-z A-Z </etc/hosts");
    assert_eq!(fs::read("/etc/hosts").unwrap_or_default(), before);
}

#[test]
fn what_a_container_writes_is_its_own() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script = "ls /tmp /etc; echo new >/tmp/new; echo changed >/etc/plain; rm /etc/group; cat /etc/plain";
    let first = out(&lab, &[], &image, script);
    assert_eq!(out(&lab, &[], &image, script), first, "the second sees nothing of the first");
    assert!(first.contains("group") && first.ends_with("changed\n"));
}

#[test]
fn no_image_can_redirect_our_mounts() {
    if !needs_root() || !image::needs_busybox() {
        return;
    }
    let shop = crate::common::shop::Shop::open();
    let lab = Lab::new();
    let canary = lab.dir().join("canary");
    fs::create_dir(&canary).unwrap();
    for point in ["dev", "proc", "sys", "etc/resolv.conf", "etc/hosts"] {
        let target = canary.to_str().unwrap();
        // An image that has it as a link from the begin, since a lower directory would win over a link on top.
        let own =
            Layer::new().dir("bin/", 0o755).file("bin/busybox", 0o755, &fs::read(find("busybox").unwrap()).unwrap());
        let own = if point.starts_with("etc/") { own.dir("etc/", 0o755) } else { own };
        let own = own.symlink(point, target).end();
        let name = shop.put(&format!("link:{}", point.replace('/', "-")), Image::new(&[&own], json!({})));
        let ran = lab.quiet_run(&[&name, "/bin/busybox", "true"]);
        assert!(matches!(ran.code(), 0 | 125), "{point}: {}", ran.err());
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{point} led outside");
    }
    lab.assert_clean(&[]);
}
