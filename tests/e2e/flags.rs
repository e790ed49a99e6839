//! What docker's flags do here that cannot be held against docker: volumes of our store, limits as the kernel has them,
//! the trace of it all.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde_json::{Value, json};

use super::running::busybox;
use crate::common::image::{self, Entry, Image, Layer};
use crate::common::lab::{Lab, Running, eventually};
use crate::common::shop::Shop;
use crate::common::user::User;
use crate::common::{have, needs_root};

fn sh(lab: &Lab, flags: &[&str], image: &str, script: &str) -> String {
    lab.quiet_run(&[flags, &[image, "sh", "-c", script]].concat()).ok().out()
}

fn volumes(lab: &Lab) -> Vec<String> {
    lab.trace(&["volume", "ls", "-q"]).ok().out().lines().map(str::to_owned).collect()
}

#[test]
fn volumes_outlive_their_containers_and_are_managed() {
    let Some((lab, _shop, image)) = busybox() else { return };
    assert_eq!(lab.trace(&["volume", "create", "data", "--label", "a=b"]).ok().out(), "data\n");
    sh(&lab, &["-v", "data:/d"], &image, "echo kept > /d/file");
    assert_eq!(sh(&lab, &["-v", "data:/elsewhere:ro"], &image, "cat /elsewhere/file"), "kept\n");
    let told: Value = serde_json::from_str(&lab.trace(&["volume", "inspect", "data"]).ok().out()).unwrap();
    assert_eq!(
        (&told[0]["Name"], &told[0]["Labels"]["a"], &told[0]["Driver"]),
        (&json!("data"), &json!("b"), &json!("local"))
    );
    assert_eq!(fs::read_to_string(Path::new(told[0]["Mountpoint"].as_str().unwrap()).join("file")).unwrap(), "kept\n");
    // One that a kept container uses stays.
    lab.quiet_run(&["--name", "user", "-v", "data:/d", &image, "true"]).ok();
    let refused = lab.trace(&["volume", "rm", "data"]).exits(1);
    assert!(refused.err().contains("volume `data` is in use by container"), "{}", refused.err());
    lab.trace(&["volume", "prune", "-f", "-a"]).ok();
    assert_eq!(volumes(&lab), ["data"]);
    lab.trace(&["rm", "user"]).ok();
    assert_eq!(lab.trace(&["volume", "rm", "data"]).ok().out(), "data\n");
    lab.trace(&["volume", "rm", "data"]).exits(1);
    lab.trace(&["volume", "rm", "-f", "data"]).ok();
    lab.trace(&["volume", "inspect", "../containers"]).exits(1);
    assert!(volumes(&lab).is_empty());
}

#[test]
fn volumes_without_a_name_go_with_their_container() {
    let Some((lab, shop, _)) = busybox() else { return };
    let owned = Entry { kind: tar::EntryType::Directory, mode: 0o2770, owner: (7, 8), ..Entry::default() };
    let more =
        Layer::new().entry("data/", owned).file("data/seed", 0o640, b"seed\n").link("data/again", "data/seed").end();
    let config = json!({"Env": ["PATH=/bin"], "Volumes": {"/data": {}, "/fresh/": {}}});
    let image = shop.put("volumes:1", Image::new(&[image::busybox_layer(), &more], config));
    let script = "stat -c %a:%u:%g /data; cat /data/seed; stat -c %h /data/again; echo x > /fresh/x && ls /fresh";
    assert_eq!(sh(&lab, &[], &image, script), "2770:7:8\nseed\n2\nx\n");
    assert!(volumes(&lab).is_empty(), "removed with the container");
    lab.quiet_run(&["--name", "first", &image, "sh", "-c", "echo shared > /data/new"]).ok();
    assert_eq!(volumes(&lab).len(), 2);
    assert_eq!(sh(&lab, &["--volumes-from", "first"], &image, "cat /data/new"), "shared\n");
    lab.quiet_run(&["--volumes-from", "first:ro", &image, "touch", "/data/no"]).exits(1);
    assert_eq!(volumes(&lab).len(), 2, "what another container has is not removed");
    lab.trace(&["rm", "-v", "first"]).ok();
    assert!(volumes(&lab).is_empty());
    lab.assert_clean(&[]);
}

#[test]
fn a_mount_is_a_span() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let (ran, trace) = lab.traced(&["run", "-v", "/etc:/host:ro", "--tmpfs", "/t", "-v", "new:/v", &image, "true"]);
    ran.ok();
    let spans: Vec<_> = trace.spans.iter().filter(|s| s.name == "volume.mount").collect();
    let kinds: Vec<_> = spans.iter().map(|s| s.attributes.str("trace.mount.type").unwrap()).collect();
    assert_eq!(kinds, ["bind", "tmpfs", "volume"]);
    assert_eq!(spans[2].attributes.bool("trace.volume.created"), Some(true));
}

#[test]
fn limits_are_what_the_kernel_has_and_hold() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let own = format!("limits-{}", std::process::id());
    let flags =
        ["-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "40"];
    let sets = ["--cpuset-cpus", "0", "--cpuset-mems", "0", "--name", &own, "--rm", &image, "sleep", "60"];
    let running = lab.start(&[&["run", "-q", "--report", "none"], &flags[..], &sets].concat());
    let mut id = String::new();
    eventually("it runs", || {
        let listed = lab.trace(&["ps", "--json"]).ok().out();
        let state: Value = serde_json::from_str(listed.lines().next().unwrap_or("{}")).unwrap();
        id = state["id"].as_str().unwrap_or_default().to_owned();
        !id.is_empty()
    });
    let read = |v1: &str, v2: &str| {
        let paths = [
            format!("/sys/fs/cgroup/{}", v1.replace("ID", &format!("trace/{id}"))),
            format!("/sys/fs/cgroup/trace/{id}/{v2}"),
        ];
        paths.iter().find_map(|p| fs::read_to_string(p).ok()).unwrap_or_default().trim().to_owned()
    };
    let unified = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let both = |v1: &'static str, v2: &'static str| if unified { v2 } else { v1 };
    eventually("it has its limits", || read("memory/ID/memory.limit_in_bytes", "memory.max") == "67108864");
    assert_eq!(read("memory/ID/memory.soft_limit_in_bytes", "memory.low"), "33554432");
    assert_eq!(read("cpu/ID/cpu.cfs_quota_us", "cpu.max"), both("50000", "50000 100000"));
    assert_eq!(read("cpu/ID/cpu.shares", "cpu.weight"), both("512", "20"));
    assert_eq!(read("cpuset/ID/cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(read("pids/ID/pids.max", "pids.max"), "40");
    running.signal(rustix::process::Signal::KILL);
    drop(running);
    // A process that is killed for want of memory is named in the trace and in the report.
    let hungry =
        ["run", "-q", "-m", "16m", "--memory-swap", "16m", &image, "sh", "-c", "exec yes | tr -d '\\n' | sort"];
    let (ran, trace) = lab.traced(&hungry);
    let exit = trace.spans.iter().find(|s| s.name == "container.exit").unwrap();
    assert!(exit.attributes.int("trace.memory.oom_kills").is_some_and(|n| n > 0), "{}", ran.err());
    assert!(ran.err().contains("out of memory"), "{}", ran.err());
    // A limit that makes no sense is refused before anything is done.
    let refused = lab.quiet_run(&["-m", "1m", &image, "true"]).exits(125);
    assert!(refused.err().contains("6MB"), "{}", refused.err());
}

#[test]
fn arguments_are_any_bytes() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let odd = OsStr::from_bytes(b"a\xff\xfeb");
    let mut env = OsString::from("ODD=");
    env.push(odd);
    let name = OsString::from_vec(b"/d\xfcr".to_vec());
    let mut volume = OsString::from("/etc:");
    volume.push(&name);
    let words: [&OsStr; 14] = [
        OsStr::new("run"),
        OsStr::new("-q"),
        OsStr::new("--report"),
        OsStr::new("none"),
        OsStr::new("-e"),
        &env,
        OsStr::new("-v"),
        &volume,
        OsStr::new("-w"),
        &name,
        OsStr::new(&image),
        OsStr::new("sh"),
        OsStr::new("-c"),
        OsStr::new("pwd; printf %s \"$ODD\"; ls -d passwd"),
    ];
    let ran = Running::start(lab.command(&words), &[]).wait().ok();
    assert_eq!(ran.stdout, [name.as_bytes(), b"\n", odd.as_bytes(), b"passwd\n"].concat());
}

#[test]
fn an_init_takes_in_orphans_and_passes_signals_on() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let file = lab.dir().join("id");
    let cidfile = format!("--cidfile={}", file.display());
    let script =
        "trap 'echo term; exit 9' TERM; readlink /proc/1/exe; (sleep 0.1 &); echo up; while :; do sleep 0.1; done";
    let running = lab.start(&["run", "-q", "--report", "none", "--init", &cidfile, &image, "sh", "-c", script]);
    eventually("it is up", || fs::read_to_string(&file).is_ok_and(|id| id.len() == 64));
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal(rustix::process::Signal::TERM);
    let ran = running.wait().exits(9);
    assert_eq!(ran.out(), "/memfd:init (deleted)\nup\nterm\n");
    lab.quiet_run(&["--init", &image, "/bin/nosuch"]).exits(127);
}

#[test]
fn a_mount_stays_inside_the_root() {
    let Some((lab, shop, _)) = busybox() else { return };
    let outside = lab.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    let more = Layer::new().symlink("way", outside.to_str().unwrap()).symlink("up", "../../../../../../..").end();
    let image = shop.put("ways:1", Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]})));
    for target in ["/way/x", "/up/way/y", "/proc/self/root/z", "/proc/self/fd/5/z"] {
        let _ = lab.quiet_run(&["-v", &format!("/etc:{target}"), &image, "true"]);
        let _ = lab.quiet_run(&["--tmpfs", target, &image, "true"]);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // Of a path in a volume the container is the master: a link there leads nowhere either.
    lab.quiet_run(&["-v", "shared:/v", &image, "ln", "-s", outside.to_str().unwrap(), "/v/link"]).ok();
    let _ = lab.quiet_run(&["-v", "shared:/v", "--tmpfs", "/v/link/below", &image, "true"]);
    let _ = lab.quiet_run(&["--mount", "type=volume,src=shared,dst=/x,volume-subpath=link", &image, "touch", "/x/f"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_has_the_flags_too() {
    if !needs_root() || !image::needs_busybox() || !have(&["newuidmap", "setpriv"]) {
        return;
    }
    let user = User::create(true);
    let lab = user.lab();
    let (_shop, image) = Shop::with(image::busybox());
    let ran = |flags: &[&str], script: &str| sh(&lab, flags, &image, script);
    assert_eq!(ran(&["-v", "./made:/d"], "echo x > /d/file; stat -c %u /d"), "0\n");
    assert_eq!(fs::read_to_string(lab.dir().join("made/file")).unwrap(), "x\n");
    assert_eq!(ran(&["-v", "vol:/home/ada"], "stat -c %u:%g /home/ada"), "1000:1000\n", "filled from the image");
    assert_eq!(
        ran(&["--tmpfs", "/t:mode=700", "-v", "vol:/v:ro"], "stat -c %a /t; touch /v/x 2>/dev/null || echo no"),
        "700\nno\n"
    );
    assert_eq!(ran(&["--init", "--oom-score-adj", "200"], "cat /proc/self/oom_score_adj"), "200\n");
    assert_eq!(ran(&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    assert_eq!(
        ran(&["--pid", "host", "--ipc", "host", "--uts", "host"], "hostname"),
        ran(&["--network", "host"], "hostname")
    );
    // What an ordinary user cannot limit is said, not left out.
    let limited = lab.quiet_run(&["-m", "64m", &image, "true"]);
    assert!(limited.code() == 0 || limited.err().contains("gives no control over memory"), "{}", limited.err());
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for flag in
        ["-d", "-p=80", "--health-cmd=x", "--log-opt=a=b", "--restart=always", "--network=bridge", "--pid=container:x"]
    {
        let refused = lab.quiet_run(&[flag, &image, "true"]).exits(125);
        let name = flag.split('=').next().unwrap();
        assert!(refused.err().contains("built yet") && refused.err().lines().count() == 1, "{name}: {}", refused.err());
    }
    let unknown = lab.quiet_run(&["--nosuch", &image, "true"]).exits(125);
    assert_eq!(unknown.err(), "trace: unknown flag: `--nosuch`\nSee 'trace run --help'.\n");
}
