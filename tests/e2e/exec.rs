//! `trace exec`: a later program in a container that runs.

use std::fs;

use serde_json::json;

use super::running::busybox;
use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, Ran, Running, eventually};
use crate::common::shop::Shop;
use crate::common::terminal::{Terminal, same};
use crate::common::user::{self, User};

/// A container in the foreground of another `trace`, ready to be entered; its program waits.
fn container(lab: &Lab, flags: &[&str], image: &str) -> Running {
    let run = ["run", "-q", "--report", "none", "--name", "it"];
    let running =
        lab.start(&[&run, flags, &[image, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]].concat());
    eventually("the container runs", || lab.trace(&["exec", "--report", "none", "it", "true"]).code() == 0);
    running
}

/// Ends it by its own program, so that nothing is left.
fn end(running: Running) {
    running.signal(rustix::process::Signal::TERM);
    running.wait().ok();
}

fn inside(lab: &Lab, args: &[&str]) -> Ran {
    lab.trace(&[&["exec", "--report", "none"], args].concat())
}

#[test]
fn exit_codes_and_sentences_are_dockers() {
    let Some((lab, _shop, image)) = busybox() else { return };
    inside(&lab, &["nosuch", "true"]).exits(1);
    let running = container(&lab, &[], &image);
    for (args, code, says) in [
        (&["it", "true"][..], 0, ""),
        (&["it", "sh", "-c", "exit 42"], 42, ""),
        (&["it", "sh", "-c", "kill -9 $$"], 137, ""),
        (&["it", "nosuch"], 127, "trace: cannot run `nosuch`: no such program in the image's $PATH"),
        (&["it", "/etc/plain"], 126, "trace: cannot run `/etc/plain`: Permission denied"),
        (&["-w", "/no/such", "it", "pwd"], 126, "trace: cannot enter the working directory `/no/such`"),
        (&["-w", "relative", "it", "pwd"], 126, "trace: the working directory `relative` is invalid"),
        (&["-u", "nobody_knows", "it", "id"], 126, "trace: cannot use user `nobody_knows`"),
        (&["-it", "it", "true"], 1, "trace: the input device is not a TTY"),
        (&["it"], 1, "trace: `trace exec` requires at least 2 arguments"),
        (&["other", "true"], 1, "trace: No such container: other"),
        (&["--bogus", "it", "true"], 125, "trace: "),
    ] {
        let ran = inside(&lab, args).exits(code);
        assert!(ran.err().starts_with(says) && ran.err().is_empty() == says.is_empty(), "{args:?}: {}", ran.err());
    }
    assert!(!inside(&lab, &["it", "ls", "/"]).out().contains("no/such"), "a missing directory is not made");
    running.signal(rustix::process::Signal::TERM);
    running.wait().ok();
    let ran = inside(&lab, &["it", "true"]).exits(1);
    assert!(ran.err().starts_with("trace: container ") && ran.err().contains("is not running"), "{}", ran.err());
}

#[test]
fn it_is_a_process_of_the_container() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let flags = [
        "-e",
        "A=1",
        "-e",
        "B=1",
        "-w",
        "/tmp",
        "--hostname",
        "host",
        "--ulimit",
        "nofile=77:99",
        "--group-add",
        "4321",
    ];
    let more = ["--cap-drop", "CHOWN", "--security-opt", "no-new-privileges", "--oom-score-adj", "321"];
    let running = container(&lab, &[&flags[..], &more].concat(), &image);
    // What the kernel says of the first process and of the new one is the same.
    let script = "for p in 1 self; do grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|NSpid)' /proc/$p/status | sed 's/NSpid.*//'; \
        for n in cgroup ipc mnt net pid user uts; do readlink /proc/$p/ns/$n; done; cat /proc/$p/cgroup /proc/$p/limits \
        /proc/$p/oom_score_adj; echo ==; done";
    let said = inside(&lab, &["it", "sh", "-c", script]).ok().out();
    let [first, later] = said.split("==\n").take(2).collect::<Vec<_>>()[..] else { panic!("{said}") };
    // Busybox' loops of shells are one process each; pid namespaces of children are the same.
    assert_eq!(first, later);
    assert!(first.contains("Max open files            77                   99"), "{first}");
    assert!(first.contains("4321") && first.contains("NoNewPrivs:\t1") && first.contains("\n321\n"), "{first}");
    // On the host's side it is in the container's groups.
    let script = "pwd; hostname; env | sort; readlink /proc/self/fd/0";
    let ran = inside(&lab, &["-e", "B=2", "-e", "C=3", "it", "sh", "-c", script]).ok();
    let lines: Vec<_> = ran.out().lines().map(str::to_owned).collect();
    assert_eq!(lines[..2], ["/tmp", "host"]);
    for entry in ["A=1", "B=2", "C=3", "HOME=/root", "HOSTNAME=host"] {
        assert!(lines.iter().any(|l| l == entry), "{entry}: {lines:?}");
    }
    assert_eq!(lines.last().unwrap(), "/dev/null");
    assert!(!lines.iter().any(|l| l.starts_with("TERM=")));
    let ran = inside(&lab, &["-u", "ada", "-w", "/", "it", "sh", "-c", "id -u; id -G; pwd; echo $HOME"]).ok();
    assert!(ran.out().starts_with("1000\n1000 ") && ran.out().contains("4321"), "{}", ran.out());
    // Input passes, and only with -i.
    let fed = |flag: &str| lab.fed(&["exec", "--report", "none", flag, "it", "cat"], b"typed").ok().out();
    assert_eq!(fed("-i"), "typed");
    assert_eq!(fed("--privileged=false").as_str(), "", "-i alone passes input on");
    end(running);
}

#[test]
fn a_terminal_in_a_running_container() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let running = container(&lab, &[], &image);
    let mut user = Terminal::start(&lab.command(&["exec", "--report", "none", "-it", "it", "sh"]));
    let before = user.state();
    user.line("stty size; tty; echo $TERM", "24 80\r\n/dev/pts/0\r\nxterm\r\n");
    user.resize(10, 40);
    user.line("sleep 0.3; stty size", "10 40\r\n");
    user.line("sleep 1000", "");
    std::thread::sleep(std::time::Duration::from_millis(400));
    user.keys("\x03");
    user.sees("# ");
    user.line("echo code $?", "code 130\r\n");
    // A second one has a terminal of its own.
    let ran = inside(&lab, &["-t", "it", "sh", "-c", "tty; echo err >&2"]).ok();
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("/dev/pts/1\r\nerr\r\n", ""));
    user.keys("exit 9\r");
    user.exits(9);
    assert!(same(&user.state(), &before), "the terminal is as it was");
    end(running);
}

#[test]
fn the_keys_leave_the_program_running() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let running = container(&lab, &[], &image);
    for (flags, keys) in [(&[][..], ["\x10", "\x11"]), (&["--detach-keys", "ctrl-a,x"], ["\x01", "x"])] {
        let args = [&["exec", "--report", "none"], flags, &["-it", "it", "sh"]].concat();
        let mut user = Terminal::start(&lab.command(&args));
        let before = user.state();
        user.line("echo $$ > /tmp/shell; trap 'echo > /tmp/hung-up' HUP; echo ready", "ready\r\n");
        // The begin of the keys alone is the program's.
        user.keys(keys[0]);
        user.keys(keys[1]);
        user.sees("read escape sequence");
        user.exits(1);
        assert!(same(&user.state(), &before));
        inside(&lab, &["it", "sh", "-c", "sleep 0.2; kill -0 $(cat /tmp/shell) && [ ! -e /tmp/hung-up ]"]).ok();
    }
    // From the start.
    let script = "tty > /tmp/tty; echo more than nobody reads; sleep 0.2; echo $? > /tmp/over; sleep 1000";
    inside(&lab, &["-dt", "it", "sh", "-c", script]).ok();
    eventually("it runs", || inside(&lab, &["it", "cat", "/tmp/over"]).code() == 0);
    assert!(inside(&lab, &["it", "cat", "/tmp/tty"]).ok().out().starts_with("/dev/pts/"));
    end(running);
}

#[test]
fn a_hostile_container_gains_nothing_from_it() {
    let Some((lab, shop, _)) = busybox() else { return };
    let script = Layer::new().file("bin/evil", 0o755, b"#!/proc/self/exe\n").symlink("bin/exe", "/proc/self/exe").end();
    let name = shop.put("evil:1", Image::new(&[image::busybox_layer(), &script], json!({"Env": ["PATH=/bin"]})));
    let running = container(&lab, &[], &name);
    for program in ["/proc/self/exe", "/bin/evil", "/bin/exe", "/proc/thread-self/exe", "/proc/1/root/bin/exe"] {
        let ran = inside(&lab, &["it", program, "--version"]);
        assert!(matches!(ran.code(), 126 | 127) && !ran.out().contains("trace"), "{program}: {}", ran.out());
    }
    for n in 0..40 {
        let ran = inside(&lab, &["-w", &format!("/proc/self/fd/{n}"), "it", "ls", "-a"]);
        assert_eq!(ran.code(), 126, "{n}: {}", ran.out());
    }
    assert!(!watched(&lab).contains("trace"));
    // Account files that are no files of the container's.
    for make in ["mkfifo /etc/passwd2; mv /etc/passwd2 /etc/passwd", "ln -sf /proc/1/root/etc/shadow /etc/passwd"] {
        inside(&lab, &["it", "sh", "-c", make]).ok();
        inside(&lab, &["-u", "ada", "it", "true"]).exits(126);
    }
    inside(&lab, &["-u", "4294967296", "it", "true"]).exits(126);
    end(running);
}

#[test]
fn a_container_that_may_look_into_processes_finds_no_file_of_ours() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let running = container(&lab, &["--cap-add", "SYS_PTRACE"], &image);
    let seen = watched(&lab);
    assert!(!seen.contains(env!("CARGO_BIN_EXE_trace")), "{seen}");
    let status = fs::metadata(env!("CARGO_BIN_EXE_trace")).unwrap();
    assert!(status.len() > 1_000_000, "the program is whole");
    end(running);
}

/// What a watcher in the container sees of the processes that come and go there.
fn watched(lab: &Lab) -> String {
    let watch = "while [ ! -e /tmp/stop ]; do for p in /proc/[0-9]*; do for f in $p/exe $p/cwd $p/fd/*; \
        do readlink $f; done; done; done > /tmp/seen 2>/dev/null";
    inside(lab, &["-d", "it", "sh", "-c", watch]).ok();
    // So many places to look for the program that our process is there for long.
    let path = format!("PATH={}/bin", "/x:".repeat(30_000));
    for _ in 0..10 {
        inside(lab, &["-e", &path, "it", "true"]).ok();
    }
    // A directory: nobody has it open, as a file that is touched would be for a moment.
    let seen = inside(lab, &["it", "sh", "-c", "mkdir /tmp/stop; cat /tmp/seen"]).ok().out();
    assert!(seen.contains("/bin/busybox"), "the watcher saw something");
    let own = ["/bin/", "/dev/null", "pipe:", "/tmp/seen", "/proc/", "/memfd:trace", "/memfd:launcher"];
    let strange: Vec<_> = seen.lines().filter(|l| *l != "/" && !own.iter().any(|own| l.starts_with(own))).collect();
    assert!(strange.is_empty(), "{strange:?}");
    seen
}

#[test]
fn a_filter_from_a_file_holds_for_later_programs_too() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let profile = lab.dir().join("profile.json");
    let deny = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
    fs::write(&profile, deny.to_string()).unwrap();
    let running = container(&lab, &["--security-opt", &format!("seccomp={}", profile.display())], &image);
    let ran = inside(&lab, &["it", "mkdir", "/tmp/x"]).exits(1);
    assert!(ran.err().contains("Operation not permitted"), "{}", ran.err());
    end(running);
}

#[test]
fn ordinary_users_enter_their_containers() {
    if !user::can_be_made() || !image::needs_busybox() {
        return;
    }
    let (_shop, name) = Shop::with(image::busybox());
    for many_ids in [true, false] {
        let user = User::create(many_ids);
        let lab = user.lab();
        let running = container(&lab, &[], &name);
        let ran = inside(
            &lab,
            &["-t", "it", "sh", "-c", "id -u; tty; readlink /proc/1/ns/user; readlink /proc/self/ns/user"],
        )
        .ok();
        let out = ran.out();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..2], ["0", "/dev/pts/0"]);
        assert_eq!(lines[2], lines[3]);
        if many_ids {
            assert_eq!(inside(&lab, &["-u", "ada", "it", "id", "-u"]).ok().out(), "1000\n");
        }
        end(running);
    }
}

#[test]
fn many_at_once_and_a_trace_of_each() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let running = container(&lab, &["--rm"], &image);
    let all: Vec<_> = (0..16).map(|n| lab.start(&["exec", "--report", "none", "it", "echo", &n.to_string()])).collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.wait().ok().out(), format!("{n}\n"));
    }
    let (ran, trace) = lab.traced(&["exec", "it", "sh", "-c", "echo out; exit 3"]);
    let ran = ran.exits(3);
    assert!(ran.out() == "out\n" && ran.err().contains("exec.start"), "{}", ran.err());
    assert_eq!(super::contract::differences(&trace, "exec"), Vec::<String>::new());
    let root = trace.root().unwrap();
    assert_eq!((root.name.as_ref(), root.attributes.str("container.name")), ("exec", Some("it")));
    end(running);
}
