//! Ways out of a container that were open once. Each has a canary on the host.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::json;

use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, cgroups_of, eventually};
use crate::common::probe;
use crate::common::shop::Shop;
use crate::common::{find, needs, needs_root};

/// A lab and an image of Busybox with this program in it as `/bin/probe`.
pub fn with_probe(source: &str) -> Option<(Lab, Shop, String)> {
    if !needs_root() || !image::needs_busybox() || !probe::needs_compiler() {
        return None;
    }
    let shop = Shop::open();
    let more = Layer::new().file("bin/probe", 0o755, &probe::compile(source)).end();
    let name = shop.put("probe:1", Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]})));
    let lab = Lab::new();
    lab.trace(&["pull", "-q", &name]).ok();
    Some((lab, shop, name))
}

/// Makes namespaces in which it has every power, mounts each hierarchy, and says what of the host it finds there.
const MOUNT_CGROUPS: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    char line[512], file[600];
    if (unshare(CLONE_NEWUSER) || unshare(CLONE_NEWNS | CLONE_NEWCGROUP)) { puts("unshare refused"); return 0; }
    FILE *groups = fopen("/proc/self/cgroup", "r");
    while (fgets(line, sizeof line, groups)) {
        char *name = strchr(line, ':') + 1;
        *strchr(name, ':') = 0;
        mkdir("/tmp/h", 0755);
        if (mount("x", "/tmp/h", *name ? "cgroup" : "cgroup2", 0, name)) continue;
        printf("mounted %s\n", name);
        DIR *dir = opendir("/tmp/h");
        for (struct dirent *e; (e = readdir(dir));) {
            if (strcmp(e->d_name, "release_agent") && strcmp(e->d_name, "trace") && !strstr(e->d_name, "canary")) continue;
            printf("the host's %s in %s\n", e->d_name, name);
            snprintf(file, sizeof file, "/tmp/h/%s/freezer.state", e->d_name);
            int fd = open(file, O_WRONLY);
            if (fd >= 0 && strstr(e->d_name, "canary")) write(fd, "FROZEN", 6);
        }
        closedir(dir);
        umount2("/tmp/h", MNT_DETACH);
    }
    return 0;
}"#;

/// A process of the host in a group of its own in every version 1 hierarchy.
struct Canary {
    groups: Vec<PathBuf>,
    process: Child,
}

impl Canary {
    fn new() -> Canary {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let mut groups = Vec::new();
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = entry.path().join(format!("canary-{}", process.id()));
            if entry.path().join("tasks").exists() && fs::create_dir(&group).is_ok() {
                let _ = fs::write(group.join("tasks"), process.id().to_string());
                groups.push(group);
            }
        }
        Canary { groups, process }
    }

    fn frozen(&self) -> bool {
        let states = self.groups.iter().filter_map(|g| fs::read_to_string(g.join("freezer.state")).ok());
        states.into_iter().any(|s| s.trim() != "THAWED")
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = fs::write(group.join("freezer.state"), "THAWED");
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for group in &self.groups {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Names of the version 1 hierarchies of this host.
fn hierarchies() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let names = text.lines().map(|l| l.split(':').nth(1).unwrap().to_owned());
    names.filter(|n| !n.is_empty()).collect()
}

#[test]
fn no_cgroup_of_the_host_can_be_mounted() {
    let Some((lab, _shop, image)) = with_probe(MOUNT_CGROUPS) else { return };
    if !needs(!hierarchies().is_empty(), "cgroups of version 1") {
        return;
    }
    let canary = Canary::new();
    assert!(!canary.groups.is_empty(), "no canary could be made");
    // The filter alone stops it, and so do the groups that the container is in.
    let said = lab.quiet_run(&[&image, "probe"]).ok().out();
    assert_eq!(said, "unshare refused\n");
    let said = lab.quiet_run(&["--security-opt", "seccomp=unconfined", &image, "probe"]).ok().out();
    assert!(said.contains("mounted ") && !said.contains("the host's"), "{said}");
    assert!(!canary.frozen(), "a process of the host is frozen: {said}");
    lab.assert_clean(&[]);
}

/// With the protection of namespaces and filters thought away: where the kernel says that the process is.
#[test]
fn every_hierarchy_has_a_group_of_the_container() {
    let Some((lab, _shop, image)) = super::running::busybox() else { return };
    for layout in ["as it is", "unified"] {
        let running = match layout {
            "unified" => {
                // A host with the unified hierarchy where it belongs, and others that are mounted nowhere.
                let mut command = lab.command(&["run", "-q", "--report", "none", &image, "sleep", "600"]);
                let words: Vec<_> = command.get_args().map(|a| a.to_str().unwrap().to_owned()).collect();
                let program = command.get_program().to_owned();
                let script = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
                let mut wrapped = Command::new(find("unshare").unwrap());
                wrapped.args(["-m", "sh", "-c", script, "sh"]).arg(program).args(words);
                for (key, value) in command.get_envs() {
                    wrapped.env(key, value.unwrap());
                }
                wrapped.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
                command = wrapped;
                crate::common::lab::Running::start(command, &[])
            }
            _ => lab.start(&["run", "-q", "--report", "none", &image, "sleep", "600"]),
        };
        let mut ids = Vec::new();
        let mut groups = String::new();
        eventually("the container sleeps", || {
            ids = lab.containers();
            let below = |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            let guards = below(&running.pid().to_string());
            let children: String = guards.split_whitespace().map(below).collect();
            children.split_whitespace().any(|pid| {
                let sleeps = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"sleep\x00600"));
                groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                sleeps
            })
        });
        let own = format!("/trace/{}", ids[0]);
        for line in groups.lines() {
            assert!(line.ends_with(&own), "{layout}: {groups}");
        }
        assert!(groups.lines().count() >= hierarchies().len(), "{layout}: {groups}");
        // Killed, nothing of it is left anywhere after the next command.
        running.signal(rustix::process::Signal::KILL);
        running.wait().exits(137);
        eventually("all its groups go", || {
            lab.trace(&["ps"]).ok();
            cgroups_of(&ids[0]).is_empty()
        });
        // And after a run that ends by itself, in every hierarchy.
        let seen = lab.quiet_run(&[&image, "cat", "/proc/self/cgroup"]).ok().out();
        assert!(seen.lines().all(|l| l.ends_with(":/")), "{seen}");
        lab.assert_clean(&ids);
    }
}

/// A group of the `cpu` hierarchy may have no time for real-time processes.
#[test]
fn a_caller_of_a_real_time_class_runs_containers() {
    let Some((lab, _shop, image)) = super::running::busybox() else { return };
    if !crate::common::have(&["chrt"]) {
        return;
    }
    let lab = lab.through(&[find("chrt").unwrap().to_str().unwrap(), "-f", "10"], 0);
    assert_eq!(lab.quiet_run(&[&image, "echo", "runs"]).ok().out(), "runs\n");
    let said = lab.quiet_run(&[&image, "cat", "/proc/self/cgroup"]).ok().out();
    assert!(said.lines().all(|l| l.ends_with(":/")), "{said}");
}

/// With an argument, the caller: puts a key into a session keyring of its own and into its user's session, and becomes
/// what follows. Without, the program in the container: looks for it.
const KEYS: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long session = -3;
    if (argc > 1) {
        syscall(SYS_keyctl, 1L, "trace-test");
        if (syscall(SYS_add_key, "user", "trace-canary", "secret", 6L, session) < 0) { puts("no keyrings"); return 0; }
        execvp(argv[1], argv + 1);
        return 1;
    }
    char text[64] = "";
    long key = syscall(SYS_keyctl, 10L, session, "user", "trace-canary", 0L);
    if (key < 0) key = syscall(SYS_request_key, "user", "trace-canary", 0L, 0L);
    long n = key < 0 ? -1 : syscall(SYS_keyctl, 11L, key, text, sizeof text);
    printf("found %s\n", n > 0 ? text : "nothing");
    return 0;
}"#;

#[test]
fn keys_of_the_callers_session_are_not_the_containers() {
    let Some((lab, _shop, image)) = with_probe(KEYS) else { return };
    let caller = lab.dir().join("caller");
    fs::write(&caller, probe::compile(KEYS)).unwrap();
    fs::set_permissions(&caller, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let with_key = |args: &[&str]| {
        let inner = lab.command(args);
        let mut outer = Command::new(&caller);
        outer.arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            outer.env(key, value.unwrap());
        }
        outer.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        crate::common::lab::Running::start(outer, &[]).wait()
    };
    // The caller itself finds it.
    let itself = Command::new(&caller).arg(&caller).output().unwrap();
    if !needs(itself.stdout == b"found secret\n", "a kernel with keyrings") {
        return;
    }
    let ran = with_key(&["run", "-q", "--report", "none", &image, "probe"]).ok();
    assert_eq!(ran.out(), "found nothing\n");
    lab.assert_clean(&[]);
}

/// The program lies on a volume and is swapped all the time for a link to /proc/self/exe. Were our file executed, it
/// would say its version: the image has all that it needs.
#[test]
fn a_program_that_is_swapped_while_it_starts_is_never_ours() {
    if !needs_root() || !image::needs_busybox() || !crate::common::have(&["ldd"]) {
        return;
    }
    let mut libraries = Layer::new();
    let listed = Command::new("ldd").arg(env!("CARGO_BIN_EXE_trace")).output().unwrap();
    for path in String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        libraries = libraries.file(&path[1..], 0o755, &fs::read(path).unwrap());
    }
    let shop = Shop::open();
    let layers = [image::busybox_layer(), &libraries.end()];
    let image = shop.put("libraries:1", Image::new(&layers, json!({"Env": ["PATH=/bin"]})));
    let lab = Lab::new();
    let user = crate::common::user::can_be_made().then(|| crate::common::user::User::create(true));
    let ordinary = user.as_ref().map(|user| user.lab());
    for lab in [Some(&lab), ordinary.as_ref()].into_iter().flatten() {
        let volume = lab.dir().join("volume");
        fs::create_dir(&volume).unwrap();
        let [program, link] = ["program", "link"].map(|name| volume.join(name));
        fs::write(&program, "#!/bin/sh\necho honest\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", &link).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let exchange = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(rustix::fs::CWD, &program, rustix::fs::CWD, &link, exchange).unwrap();
                }
            });
            let at = format!("{}:/v", volume.display());
            let begin = std::time::Instant::now();
            let (mut ours, mut honest) = (Vec::new(), 0);
            while begin.elapsed().as_secs() < 8 {
                let ran = lab.quiet_run(&["-v", &at, &image, "/v/program", "--version"]);
                honest += u32::from(ran.out() == "honest\n");
                if ran.out().contains(env!("CARGO_PKG_VERSION")) {
                    ours.push(ran.out());
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(ours.is_empty(), "{} times, such as {}", ours.len(), ours[0]);
            assert!(honest > 0, "the program never ran");
        });
    }
}
