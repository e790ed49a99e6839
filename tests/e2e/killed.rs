//! Two processes at once, and processes that are killed at any moment: the store stays whole, and nothing is left.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::running::busybox;
use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, cgroups_of, eventually, names_in, processes_with, read_trace};
use crate::common::needs_root;
use crate::common::shop::Shop;

/// An image whose second layer does not compress.
fn bulky(bytes: u32) -> Image {
    let noise: Vec<u8> =
        (0..bytes / 4).flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ (i >> 3)).to_le_bytes()).collect();
    let more = Layer::new().file("noise", 0o644, &noise).end();
    Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]}))
}

#[test]
fn two_processes_that_want_the_same_image_do_the_work_once() {
    if !needs_root() || !image::needs_busybox() {
        return;
    }
    let (lab, made) = (Lab::new(), bulky(400_000));
    let (shop, name) = Shop::with(made.clone());
    shop.pace(20_000, Duration::from_millis(10));
    let running: Vec<_> =
        (0..3).map(|_| lab.start(&["run", "-q", "--report", "none", &name, "sh", "-c", "wc -c </noise"])).collect();
    for one in running {
        assert_eq!(one.wait().ok().out(), "400000\n");
    }
    for layer in &made.layers {
        assert_eq!(shop.asked_for(&format!("/blobs/{layer}")), 1, "downloaded once");
    }
    let traces: Vec<_> = lab.trace_files().iter().map(|f| read_trace(f)).collect();
    let count = |name: &str| traces.iter().flat_map(|t| &t.spans).filter(|s| s.name == name).count();
    assert_eq!(count("layer.download"), 2);
    assert_eq!(count("pull.wait"), 2, "the others say what they waited for");
    for waiting in traces.iter().filter(|t| t.spans.iter().any(|s| s.name == "pull.wait")) {
        let pull = waiting.spans.iter().find(|s| s.name == "image.pull").unwrap();
        assert_eq!(pull.attributes.int("trace.layers.cached"), Some(2));
    }
    lab.assert_clean(&[]);
}

#[test]
fn two_images_that_share_a_layer_pull_it_once() {
    if !needs_root() || !image::needs_busybox() {
        return;
    }
    let (lab, shop) = (Lab::new(), Shop::open());
    let (one, two) = (bulky(300_000), bulky(200_000));
    let names = [shop.put("one:1", one.clone()), shop.put("two:1", two)];
    shop.pace(20_000, Duration::from_millis(10));
    let running: Vec<_> = names.iter().map(|n| lab.start(&["run", "-q", "--report", "none", n, "true"])).collect();
    running.into_iter().for_each(|r| drop(r.wait().ok()));
    assert_eq!(shop.asked_for(&format!("/blobs/{}", one.layers[0])), 1, "the layer that both have");
    shop.full_speed();
    let third = shop.put("three:1", bulky(100_000));
    let (ran, trace) = lab.traced(&["run", "-q", "--report", "none", &third, "true"]);
    ran.ok();
    assert_eq!(trace.root().unwrap().attributes.str("trace.run.kind"), Some("partial"));
    let hits = trace.spans.iter().filter(|s| s.name == "layer.pull" && s.attributes.str("trace.cache") == Some("hit"));
    assert_eq!(hits.count(), 1);
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_behind_but_what_has_come() {
    if !needs_root() || !image::needs_busybox() {
        return;
    }
    let (lab, made) = (Lab::new(), bulky(400_000));
    let (shop, name) = Shop::with(made.clone());
    shop.pace(10_000, Duration::from_millis(20));
    let running = lab.start(&["run", "-q", "--report", "none", &name, "true"]);
    eventually("the pull has begun to write", || !names_in(&lab.store("partial")).is_empty());
    running.signal(Signal::KILL);
    running.wait().exits(137);
    assert!(!names_in(&lab.store("tmp")).is_empty(), "the test kills too late");
    // Any command that opens the store for work takes away what is left.
    lab.trace(&["ps"]).ok();
    lab.assert_clean(&[]);
    assert_eq!(names_in(&lab.store("layers")).len(), 0);
    shop.full_speed();
    assert_eq!(lab.quiet_run(&[&name, "sh", "-c", "wc -c </noise"]).ok().out(), "400000\n");
    lab.assert_clean(&[]);
    assert_eq!(names_in(&lab.store("partial")).len(), 0);
}

#[test]
fn a_run_that_is_killed_takes_its_container_with_it() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for keep in [false, true] {
        let word = format!("{}.{}", 200_000 + std::process::id(), u8::from(keep));
        let mut args = vec!["run", "-q", "--report", "none"];
        if keep {
            args.extend(["--name", "kept"]);
        }
        // A child of the container's first process, and one that left its session.
        let script = format!("sleep {word} & sleep {word}; true");
        args.extend([&image, "sh", "-c", &script]);
        let running = lab.start(&args);
        eventually("both sleep", || processes_with(&word).len() == 2);
        let ids = lab.containers();
        assert_eq!(ids.len(), 1);
        assert!(
            !cgroups_of(&ids[0]).is_empty() || !std::path::Path::new("/sys/fs/cgroup").exists(),
            "the test looks in the wrong place"
        );
        running.signal(Signal::KILL);
        running.wait().exits(137);
        eventually("the container's processes go with their engine", || processes_with(&word).is_empty());
        lab.assert_unmounted();
        // The next command takes away what is left; the one after it if a process was still on its way out.
        eventually("the cgroup goes", || {
            lab.trace(&["ps"]).ok();
            cgroups_of(&ids[0]).is_empty()
        });
        if keep {
            assert!(lab.trace(&["ps", "-a"]).ok().out().contains("Exited (137)"));
            lab.trace(&["rm", "kept"]).ok();
        }
        lab.assert_clean(&ids);
        lab.quiet_run(&[&image, "true"]).ok();
    }
}

/// The death signal of prctl(2) ends there, see `sys::guard`.
const BECOMES_ANOTHER: &str = r#"
#define _GNU_SOURCE
#include <grp.h>
#include <unistd.h>
int main(int argc, char **argv) {
    gid_t group = 0;
    if (geteuid() != getuid()) { setresuid(0, 0, 0); }
    else if (setgroups(1, &group) || setresuid(0, 1000, 0) || setresuid(0, 0, 0)) { }
    execvp(argv[1], argv + 1);
    return 1;
}"#;

#[test]
fn a_program_that_changes_its_user_goes_with_its_engine() {
    if !needs_root() || !image::needs_busybox() || !crate::common::probe::needs_compiler() {
        return;
    }
    if !crate::common::user::can_be_made() {
        return;
    }
    let probe = crate::common::probe::compile(BECOMES_ANOTHER);
    let more = Layer::new().file("bin/become", 0o755, &probe).file("bin/suid", 0o4755, &probe).end();
    let (_shop, name) = Shop::with(Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]})));
    let users = [crate::common::user::User::create(true), crate::common::user::User::create(false)];
    for (n, lab) in [Lab::new(), users[0].lab(), users[1].lab()].iter().enumerate() {
        lab.trace(&["pull", "-q", &name]).ok();
        for (m, (user, program)) in [("0", "become"), ("1000", "suid")].into_iter().enumerate() {
            if (n, user) == (2, "1000") {
                continue;
            }
            for whole_group in [false, true] {
                let word = format!("{}.{n}{m}{}", 400_000 + std::process::id(), u8::from(whole_group));
                let mut command =
                    lab.command(&["run", "-q", "--report", "none", "-u", user, &name, program, "sleep", &word]);
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                let running = crate::common::lab::Running::start(command, &[]);
                let of_container =
                    |p: &i32| std::fs::read(format!("/proc/{p}/cmdline")).is_ok_and(|c| c.starts_with(b"sleep\x00"));
                eventually("it sleeps", || processes_with(&word).iter().any(of_container));
                let pid = rustix::process::Pid::from_raw(running.pid()).unwrap();
                if whole_group {
                    rustix::process::kill_process_group(pid, Signal::KILL).unwrap();
                } else {
                    running.signal(Signal::KILL);
                }
                running.wait().exits(137);
                // The guard has the arguments of its engine.
                eventually("everything goes", || processes_with(&word).is_empty());
            }
        }
        lab.trace(&["ps"]).ok();
    }
}

#[test]
fn a_guard_never_outlives_its_engine_and_a_container_never_its_guard() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let word = format!("{}.9", 500_000 + std::process::id());
    let args = ["run", "-q", "--report", "none", &image, "sleep", &word];
    let mut killed = 0;
    for i in 0..60u64 {
        let running = lab.start(&args);
        std::thread::sleep(Duration::from_micros(i * 400));
        running.signal(Signal::KILL);
        killed += i32::from(running.wait().code() == 137);
    }
    assert_eq!(killed, 60);
    eventually("guards and containers go", || processes_with(&word).is_empty());
    // Killed alone, as by the OOM killer, which takes all who share memory: the container goes at once.
    let running = lab.start(&args);
    let guard = |p: &i32| std::fs::read_to_string(format!("/proc/{p}/comm")).is_ok_and(|c| c == "trace-guard\n");
    let sleeps = |p: &i32| std::fs::read(format!("/proc/{p}/cmdline")).is_ok_and(|c| c.starts_with(b"sleep\x00"));
    eventually("it sleeps", || processes_with(&word).iter().any(sleeps));
    let guard = processes_with(&word).into_iter().find(guard).expect("a guard");
    rustix::process::kill_process(rustix::process::Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    running.wait().exits(137);
    assert_eq!(processes_with(&word), Vec::<i32>::new());
    // Stopped, it is no protection by its waiting; the death signal is.
    let running = lab.start(&args);
    eventually("it sleeps", || processes_with(&word).iter().any(sleeps));
    let all = processes_with(&word);
    let stopped = all.iter().find(|p| **p != running.pid() && !sleeps(p)).expect("a guard");
    rustix::process::kill_process(rustix::process::Pid::from_raw(*stopped).unwrap(), Signal::STOP).unwrap();
    running.signal(Signal::KILL);
    running.wait().exits(137);
    eventually("the stopped guard and its container go", || processes_with(&word).is_empty());
    lab.trace(&["ps"]).ok();
}

#[test]
fn killed_at_any_moment_the_store_stays_whole() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let mut killed = 0;
    let mut ids = Vec::new();
    for i in 0..40u64 {
        let args = ["run", "-q", "--report", "none", "--cold", "--hub", "builtin", "hello-world"];
        // Now and then the image stays, so that warm runs are hit too.
        let args: Vec<_> = args.into_iter().filter(|a| i % 3 != 0 || *a != "--cold").collect();
        let running = lab.start(&args);
        std::thread::sleep(Duration::from_micros(i * i * 40));
        running.signal(Signal::KILL);
        ids.extend(lab.containers());
        killed += i32::from(running.wait().code() == 137);
    }
    assert!(killed > 10, "the test kills too late: {killed}");
    let ran = lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
    assert!(ran.out().starts_with("\nHello from trace!\n"));
    lab.trace(&["prune", "-f"]).ok();
    ids.sort();
    ids.dedup();
    lab.assert_clean(&ids);
    for name in names_in(&lab.store("images/blobs/sha256")) {
        let bytes = std::fs::read(lab.store("images/blobs/sha256").join(&name)).unwrap();
        assert_eq!(trace_run::digest::Digest::of(&bytes).hex(), name, "a blob that is not what its name says");
    }
    assert!(names_in(&lab.store("images")).iter().all(|n| !n.starts_with('.')), "half-written files");
}

#[test]
fn ctrl_c_ends_a_pull_at_once_and_the_trace_tells() {
    if !needs_root() || !image::needs_busybox() {
        return;
    }
    let lab = Lab::new();
    let (shop, name) = Shop::with(bulky(400_000));
    shop.pace(1_000, Duration::from_millis(50));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let before = lab.trace_files();
        let running = lab.start(&["run", &name, "true"]);
        eventually("a layer is on its way", || !names_in(&lab.store("tmp")).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        running.signal(signal);
        let sent = std::time::Instant::now();
        let ran = running.wait().exits(code);
        assert!(sent.elapsed() < Duration::from_secs(5), "the whole pull takes 20 s");
        assert!(
            ran.err().contains(&format!("trace: interrupted by SIG{}", if code == 130 { "INT" } else { "TERM" })),
            "{}",
            ran.err()
        );
        let new = lab.trace_files().difference(&before).next().expect("the trace is written").clone();
        let trace = read_trace(&new);
        let failed: Vec<_> = trace.spans.iter().filter(|s| s.status.is_error()).map(|s| s.name.as_ref()).collect();
        assert!(failed.contains(&"run") && failed.contains(&"image.pull"), "{failed:?}");
        assert_eq!(trace.root().unwrap().attributes.str("error.type"), Some("interrupted"));
        lab.assert_clean(&[]);
    }
}

#[test]
fn a_program_that_ignores_ctrl_c_goes_at_the_third() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let word = format!("{}.7", 300_000 + std::process::id());
    let running = lab.start(&["run", "-q", "--report", "none", &image, "sleep", &word]);
    let of_container = |p: &i32| {
        std::fs::read_link(format!("/proc/{p}/exe")).is_ok_and(|e| e.as_os_str().as_bytes().ends_with(b"/busybox"))
    };
    eventually("it sleeps", || processes_with(&word).iter().any(of_container));
    for _ in 0..3 {
        running.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(150));
    }
    running.wait().exits(137);
    lab.assert_clean(&[]);
}
