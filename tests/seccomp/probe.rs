//! Every system call, under trace and under docker.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use trace_run::container::seccomp::calls::CALLS;
use trace_run::container::seccomp::policy::Arch;

use super::support::{MODULE, compiled, image_with, module_file, said};
use crate::common::lab::{Lab, eventually};
use crate::common::user::{self, User};
use crate::common::{find, have, needs_root, text};

/// What current docker allows and docker 20.10 refused, see docs/docker-parity.md.
const ALLOWED_SINCE: &[&str] = &[
    "cachestat",
    "clock_settime64",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "mseal",
    "name_to_handle_at",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_vm_readv",
    "process_vm_writev",
    "removexattrat",
    "setxattrat",
    "statmount",
    "uretprobe",
];
/// What docker 20.10 allowed and current docker refuses.
const REFUSED_SINCE: &[&str] = &["io_uring_enter", "io_uring_register", "io_uring_setup", "socket"];

/// A call as a line of the probe names it.
fn name(line: &str) -> String {
    let (abi, number) = line.split_once(' ').unwrap();
    let arch = if abi == "x86" { Arch::X86 } else { Arch::NATIVE };
    let number = number.parse().unwrap();
    let call = CALLS.iter().find(|c| c.number(arch) == Some(number));
    call.map_or_else(|| line.to_owned(), |c| c.name.to_owned())
}

fn lines(told: &str) -> BTreeSet<String> {
    let all: BTreeSet<_> = told.lines().map(str::to_owned).collect();
    assert!(all.iter().filter(|l| l.starts_with("native")).count() > 60, "{told}");
    all
}

fn names(lines: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    lines.into_iter().map(|l| name(&l)).collect()
}

/// A docker daemon of the test's own.
struct Docker {
    dir: tempfile::TempDir,
    daemon: Child,
}

impl Docker {
    fn start() -> Option<Docker> {
        if !needs_root() || !have(&["docker", "dockerd"]) {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("trace-docker-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let log = std::fs::File::create(path("log")).unwrap();
        let daemon = Command::new(find("dockerd").unwrap())
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("sock")), "--iptables=false", "--bridge=none"])
            .args(["--storage-driver", "vfs"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Docker { dir, daemon };
        eventually("dockerd answers", || docker.command(&["version"]).output().is_ok_and(|o| o.status.success()));
        Some(docker)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(find("docker").unwrap());
        command.args(["-H", &format!("unix://{}/sock", text(self.dir.path()))]).args(args);
        command
    }

    fn said(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// An image with the probe alone.
    fn import(&self, program: &[u8]) {
        let root = self.dir.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let probe = root.join("bin/probe");
        std::fs::write(&probe, program).unwrap();
        std::fs::set_permissions(&probe, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let tar = self.dir.path().join("root.tar");
        crate::common::run("tar", &["-C", text(&root), "-cf", text(&tar), "."]);
        self.said(&["import", text(&tar), "probe"]);
    }

    fn probe(&self, flags: &[&str]) -> BTreeSet<String> {
        lines(&self.said(&[&["run", "--rm", "--network", "none"], flags, &["probe", "/bin/probe"]].concat()))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}

#[test]
fn what_is_refused_is_what_docker_refuses() {
    let Some((_shop, image)) = image_with("probe") else { return };
    let Some(docker) = Docker::start() else { return };
    docker.import(&compiled("probe").unwrap());
    let lab = Lab::new();
    let ours = lines(&said(&lab, &[], &image, &["probe"]));

    // By its own default: all differences are between versions of the profile.
    let version = docker.said(&["version", "--format", "{{.Server.Version}}"]);
    let theirs = docker.probe(&[]);
    let only_theirs = names(theirs.difference(&ours).cloned());
    let only_ours = names(ours.difference(&theirs).cloned());
    let unlisted = |found: &BTreeSet<String>, listed: &[&str]| {
        found.iter().filter(|n| !listed.contains(&n.as_str())).cloned().collect::<Vec<_>>()
    };
    assert_eq!(unlisted(&only_theirs, ALLOWED_SINCE), Vec::<String>::new(), "refused by docker {version} alone");
    assert_eq!(unlisted(&only_ours, REFUSED_SINCE), Vec::<String>::new(), "refused by trace alone");

    // By the profile that ours follows, on the same docker: what is left is what its libseccomp has not heard of.
    let Some(profile) = module_file(MODULE, "default.json") else { return };
    let option = format!("seccomp={}", text(&profile));
    let theirs = docker.probe(&["--security-opt", &option]);
    let (more, less) = (names(theirs.difference(&ours).cloned()), names(ours.difference(&theirs).cloned()));
    let number = |name: &str| CALLS.iter().find(|c| c.name == name).and_then(|c| c.number(Arch::NATIVE));
    let unheard: Vec<_> = more.iter().filter(|n| number(n).is_none_or(|n| n < 450) && *n != "uretprobe").collect();
    assert_eq!((unheard, less), (Vec::new(), BTreeSet::new()), "with the same profile");

    // And trace reads the file as it has it built in.
    assert_eq!(lines(&said(&lab, &["--security-opt", &option], &image, &["probe"])), ours);
}

#[test]
fn an_ordinary_users_container_refuses_the_same() {
    let Some((_shop, image)) = image_with("probe") else { return };
    if !user::can_be_made() {
        return;
    }
    let ours = lines(&said(&Lab::new(), &[], &image, &["probe"]));
    for many_ids in [true, false] {
        let user = User::create(many_ids);
        let theirs = lines(&said(&user.lab(), &[], &image, &["probe"]));
        let missing: Vec<_> = ours.difference(&theirs).collect();
        assert!(missing.is_empty(), "refused to root alone: {missing:?}");
        // What the kernel refuses an ordinary user beyond the filter.
        let more = names(theirs.difference(&ours).cloned());
        assert!(more.iter().all(|n| KERNEL.contains(&n.as_str())), "{more:?}");
    }
}

/// Calls that ask for a capability of the host's, which the root of a user namespace does not have.
const KERNEL: &[&str] = &["mknod", "mknodat", "setgroups", "setgroups32"];
