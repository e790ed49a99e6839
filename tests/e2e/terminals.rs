//! Containers with a terminal (`-t`): what somebody at a real one sees and does.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::running::busybox;
use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, processes_with};
use crate::common::shop::Shop;
use crate::common::terminal::{Terminal, same};
use crate::common::user::{self, User};
use crate::common::{command, have};

const RUN: [&str; 4] = ["run", "-q", "--report", "none"];

/// What was typed last runs by now: a shell that has not yet started it would take the key for itself.
fn begun() {
    std::thread::sleep(Duration::from_millis(400));
}

fn start(lab: &Lab, args: &[&str]) -> Terminal {
    Terminal::start(&lab.command(&[&RUN, args].concat()))
}

#[test]
fn a_shell_is_worked_with_as_on_any_terminal() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let mut user = start(&lab, &["-it", &image, "sh"]);
    let before = user.state();
    user.sees("/ # ");
    assert!(!same(&user.state(), &before), "raw mode");
    user.line("stty size", "24 80\r\n");
    user.resize(33, 101);
    // The size arrives by a signal of ours, a moment after it has changed.
    user.line("sleep 0.3; stty size; tty; echo $TERM", "33 101\r\n/dev/pts/0\r\nxterm\r\n");
    user.line("tty < /dev/console", "/dev/console");
    // A line is edited: the wrong letter goes.
    user.line("echo abX\x7fc", "abc\r\n");
    // Ctrl-C reaches the program and nobody else.
    user.sees("/ # ");
    user.line("sleep 1000", "");
    begun();
    user.keys("\x03");
    user.sees("/ # ");
    user.line("echo code $?", "code 130\r\n");
    // Ctrl-Z stops it, `fg` brings it back.
    user.sees("/ # ");
    user.line("sleep 1000", "");
    begun();
    user.keys("\x1a");
    user.sees("Stopped");
    user.line("fg", "sleep 1000");
    begun();
    user.keys("\x03");
    user.sees("/ # ");
    // Programs with a screen of their own.
    user.line("printf 'one\\ntwo\\n' > /tmp/f; vi /tmp/f", "two");
    user.sees("/tmp/f");
    user.keys("Gothree\x1b");
    // Apart from what follows, Escape is a key of its own.
    begun();
    user.keys(":wq\r");
    user.line("clear; cat /tmp/f", "three\r\n");
    user.keys("exit 7\r");
    user.exits(7);
    assert!(same(&user.state(), &before), "the terminal is as it was");
    lab.assert_clean(&[]);
}

#[test]
fn the_terminal_is_whole_after_any_end() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let word = format!("{}.25", 100_000 + std::process::id());
    // Whom to kill by what: the container's program, or the engine. A panic of a release build is SIGABRT.
    for (engine, signals, code) in [
        (false, vec![Signal::KILL], Some(137)),
        (true, vec![Signal::TERM; 3], Some(137)),
        (true, vec![Signal::HUP, Signal::INT, Signal::INT, Signal::INT], Some(137)),
        (true, vec![Signal::ABORT], None),
        (true, vec![Signal::ALARM], None),
    ] {
        let mut user = start(
            &lab,
            &["-it", &image, "sh", "-c", "trap '' TERM INT HUP; echo up; sleep $0 & wait; wait; wait; wait", &word],
        );
        let before = user.state();
        user.sees("up");
        assert!(!same(&user.state(), &before));
        let program = || processes_with("trap '' TERM INT HUP; echo up; sleep $0 & wait; wait; wait; wait");
        let engine_pid = user.pid();
        for signal in &signals {
            let inside = program().into_iter().find(|p| *p != engine_pid);
            let pid = if engine { engine_pid } else { inside.expect("the program runs") };
            let _ = kill_process(Pid::from_raw(pid).unwrap(), *signal);
            std::thread::sleep(Duration::from_millis(50));
        }
        let status = user.ends();
        if let Some(code) = code {
            assert_eq!(status.code(), Some(code), "{signals:?}: {}", user.text());
        }
        assert!(same(&user.state(), &before), "{signals:?}");
    }
    lab.trace(&["ps"]).ok();
    lab.assert_clean(&[]);
}

#[test]
fn without_input_or_without_a_terminal_of_ours() {
    let Some((lab, _shop, image)) = busybox() else { return };
    // Both streams are one, and lines end as on a terminal.
    let ran = lab.quiet_run(&["-t", &image, "sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("out\r\nerr\r\n", ""));
    // Docker's sentence and exit code; nothing has been started.
    let ran = lab.fed(&[&RUN, &["-it", &image, "true"][..]].concat(), b"x").exits(1);
    assert_eq!(ran.err(), "trace: the input device is not a TTY\n");
    // With -t alone nothing that is typed reaches the program, and our terminal stays as it is.
    let mut user = start(&lab, &["-t", &image, "sh", "-c", "stty size; timeout 1 cat; echo over"]);
    let before = user.state();
    user.sees("24 80");
    user.keys("typed\r");
    assert!(same(&user.state(), &before));
    let between = user.sees("over");
    assert_eq!(between.matches("typed").count(), 1, "our own echo alone: {between:?}");
    user.exits(0);
    // With -i alone the program has no terminal, whatever ours is.
    let mut user = start(&lab, &["-i", &image, "sh", "-c", "tty; read x; echo got $x"]);
    user.sees("not a tty");
    user.keys("word\r");
    user.sees("got word");
    user.exits(0);
    lab.assert_clean(&[]);
}

#[test]
fn streams_and_terminal_belong_to_the_programs_user() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script = "stat -c '%u %g %a' $(tty) /dev/console; echo again > /dev/stdout; echo more > /dev/tty";
    let ran = lab.quiet_run(&["-t", "-u", "ada", &image, "sh", "-c", script]).ok();
    assert_eq!(ran.out(), "1000 5 620\r\n1000 5 620\r\nagain\r\nmore\r\n");
    let ran = lab.quiet_run(&["-u", "ada", &image, "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]).ok();
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("out\n", "err\n"));
}

#[test]
fn nothing_is_lost_at_the_end_of_much_output() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for _ in 0..5 {
        let ran = lab.quiet_run(&["-t", &image, "seq", "300000"]).ok();
        let expected: String = (1..=300_000).map(|n| format!("{n}\r\n")).collect();
        assert!(ran.out() == expected, "{} of {} bytes", ran.stdout.len(), expected.len());
    }
}

#[test]
fn an_image_cannot_redirect_its_terminal() {
    let Some((lab, shop, _)) = busybox() else { return };
    let canary = lab.dir().join("canary");
    fs::write(&canary, "untouched").unwrap();
    let target = canary.to_str().unwrap();
    let in_dev = Layer::new()
        .dir("dev/", 0o755)
        .symlink("dev/console", target)
        .symlink("dev/ptmx", target)
        .symlink("dev/pts", "/etc")
        .end();
    let name = shop.put("indev:1", Image::new(&[image::busybox_layer(), &in_dev], json!({"Env": ["PATH=/bin"]})));
    let ran = lab.quiet_run(&["-t", &name, "sh", "-c", "tty; echo x > /dev/console; ls /dev/pts"]).ok();
    assert_eq!(ran.out(), "/dev/pts/0\r\nx\r\n0     ptmx\r\n");
    let link = Layer::new().symlink("dev", "/etc").end();
    let name = shop.put("dev:1", Image::new(&[image::busybox_layer(), &link], json!({"Env": ["PATH=/bin"]})));
    let ran = lab.quiet_run(&["-t", &name, "tty"]).exits(125);
    assert!(ran.err().contains("`/dev`"), "{}", ran.err());
    // A user who puts a directory of his own at /dev gets what is there, and never a link of it followed.
    let dev = lab.dir().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::create_dir(dev.join("pts")).unwrap();
    let ran = lab.quiet_run(&["-t", "-v", &format!("{}:/dev", dev.display()), &name, "tty"]);
    assert_eq!(ran.code(), 125, "no devpts there: {}", ran.out());
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    lab.assert_clean(&[]);
}

#[test]
fn ordinary_users_have_terminals_too() {
    if !user::can_be_made() || !image::needs_busybox() {
        return;
    }
    let (_shop, name) = Shop::with(image::busybox());
    for many_ids in [true, false] {
        let user = User::create(many_ids);
        let lab = user.lab();
        lab.trace(&["pull", "-q", &name]).ok();
        let mut at = start(&lab, &["-it", &name, "sh"]);
        let before = at.state();
        at.line("tty; stty size", "/dev/pts/0\r\n24 80\r\n");
        // Group `tty` where there is one.
        at.line("stat -c '%u %a' /dev/console", "0 620\r\n");
        at.keys("exit 5\r");
        at.exits(5);
        assert!(same(&at.state(), &before));
        lab.assert_clean(&[]);
    }
}

#[test]
fn a_program_without_a_container_has_a_terminal_of_the_host() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let mut user = start(&lab, &["--isolation", "none", "-it", &image, "/bin/busybox", "sh"]);
    let before = user.state();
    user.line("busybox stty size", "24 80\r\n");
    user.line("busybox sleep 1000", "");
    begun();
    user.keys("\x03");
    user.sees(" # ");
    user.line("echo code $?", "code 130\r\n");
    user.keys("exit 4\r");
    user.exits(4);
    assert!(same(&user.state(), &before));
}

#[test]
fn making_a_terminal_is_a_stage_of_the_start() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let (ran, trace) = lab.traced(&["run", "-qt", "--report", "none", &image, "true"]);
    ran.ok();
    let stage = |name: &str| trace.spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}"));
    let open = stage("pty.open");
    assert_eq!(trace.span(open.parent.unwrap()).unwrap().name, "container.start");
    assert_eq!((open.start, open.end), (stage("init.mounts").end, stage("init.pivot_root").start));
}

/// A terminal as people have it, in tmux: what stands on its screen.
struct Screen {
    socket: std::path::PathBuf,
}

impl Screen {
    fn start(lab: &Lab, args: &[&str]) -> Screen {
        let screen = Screen { socket: lab.dir().join("tmux") };
        let command = lab.command(&[&RUN, args].concat());
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<String> = words.map(|w| format!("'{}'", w.to_str().unwrap())).collect();
        let root = format!("TRACE_ROOT={} {}; echo code=$?; exec cat", lab.root().display(), words.join(" "));
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &root]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        let out = command("tmux").arg("-S").arg(&self.socket).args(args).env_remove("TMUX").output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    #[track_caller]
    fn shows(&self, so: impl Fn(&str) -> bool) {
        let mut screen = String::new();
        for _ in 0..600 {
            screen = self.tmux(&["capture-pane", "-p"]);
            if so(&screen) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{screen}");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn programs_draw_their_screens_in_tmux() {
    let Some((lab, _shop, image)) = busybox() else { return };
    if !have(&["tmux"]) {
        return;
    }
    let at = Screen::start(&lab, &["-it", &image, "sh"]);
    at.shows(|s| s.contains("/ #"));
    at.keys(&["seq 100 > /tmp/f; less /tmp/f", "Enter"]);
    at.shows(|s| s.starts_with("1\n2\n3\n") && s.contains("\n23\n"));
    at.keys(&["Space"]);
    at.shows(|s| s.starts_with("24\n") && s.contains("\n46\n"));
    at.keys(&["q"]);
    at.keys(&["vi /tmp/f", "Enter"]);
    at.shows(|s| s.starts_with("1\n2\n") && s.contains("/tmp/f 1/100"));
    // The program draws itself anew where the window changes.
    at.tmux(&["resize-window", "-x", "60", "-y", "12"]);
    at.shows(|s| s.lines().nth(11).is_some_and(|l| l.contains("/tmp/f 1/100")));
    at.keys(&["G"]);
    at.shows(|s| s.contains("/tmp/f 100/100"));
    at.keys(&[":q!", "Enter"]);
    at.keys(&["stty size", "Enter"]);
    at.shows(|s| s.contains("12 60"));
    at.keys(&["exit 6", "Enter"]);
    at.shows(|s| s.contains("code=6"));
    // Echo and lines are those of a terminal that is whole.
    at.keys(&["whole", "Enter"]);
    at.shows(|s| s.matches("whole").count() == 2);
}
