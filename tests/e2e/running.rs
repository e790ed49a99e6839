//! What a container's program gets and what becomes of what it gives: exit code, streams, signals, user, environment.

use rustix::process::Signal;
use serde_json::json;

use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, eventually, processes_with};
use crate::common::shop::Shop;
use crate::common::{have, needs_root};

/// A lab and the name of the Busybox image in a shop; nothing where the test is skipped.
pub fn busybox() -> Option<(Lab, Shop, String)> {
    if !needs_root() || !image::needs_busybox() {
        return None;
    }
    let (shop, name) = Shop::with(image::busybox());
    let lab = Lab::new();
    lab.trace(&["pull", "-q", &name]).ok();
    Some((lab, shop, name))
}

fn sh<'a>(image: &'a str, script: &'a str) -> [&'a str; 4] {
    [image, "sh", "-c", script]
}

#[test]
fn exit_codes_are_dockers() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for (args, code, says) in [
        (&["true"][..], 0, ""),
        (&["sh", "-c", "exit 42"], 42, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -TERM $$; sleep 9"], 143, ""),
        (&["nosuch"], 127, "trace: cannot run `nosuch`: no such program in the image's $PATH\n"),
        (&["/bin/nosuch"], 127, "trace: cannot run `/bin/nosuch`: no such file in the image\n"),
        (&["/etc/plain"], 126, "trace: cannot run `/etc/plain`: Permission denied"),
        (&["/etc"], 126, "trace: cannot run `/etc`: Permission denied"),
    ] {
        // As pid 1 a program is spared what it does not handle, as with docker; a child of the shell is not.
        let wrapped = args.get(2).is_some_and(|s| s.starts_with("kill"));
        let all = if wrapped {
            vec![&image, "sh", "-c", "sh -c \"$0\"; exit $?", args[2]]
        } else {
            [&[image.as_str()], args].concat()
        };
        let ran = lab.quiet_run(&all).exits(code);
        assert!(
            ran.err().starts_with(says) && (wrapped || ran.err().is_empty() == says.is_empty()),
            "{args:?}: {}",
            ran.err()
        );
    }
    // Killed by a signal from outside, pid 1 itself.
    for (flag, value) in [("-u", "nobody_knows"), ("-w", "relative/path"), ("--network", "nosuch")] {
        let code = lab.quiet_run(&[flag, value, &image, "true"]).code();
        assert!(code == 125 || code == 2, "{flag} {value}: {code}");
    }
    lab.quiet_run(&["127.0.0.1:1/no/such", "true"]).exits(125);
    lab.quiet_run(&["UPPER/case"]).exits(125);
    lab.assert_clean(&[]);
}

#[test]
fn a_program_killed_by_a_signal_gives_128_and_the_number() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let word = format!("{}.5", 100_000 + std::process::id());
    let running = lab.start(&["run", "-q", "--report", "none", &image, "sleep", &word]);
    let mut pid = 0;
    eventually("the program runs", || {
        let program = |p: &i32| std::fs::read_link(format!("/proc/{p}/exe")).is_ok_and(|e| e.ends_with("busybox"));
        pid = processes_with(&word).into_iter().find(program).unwrap_or(0);
        pid != 0
    });
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    running.wait().exits(137);
    lab.assert_clean(&[]);
}

#[test]
fn bytes_pass_through_unchanged_in_both_directions_at_once() {
    let Some((lab, _shop, image)) = busybox() else { return };
    // Every byte value, no line structure, more than any pipe holds; both streams at the same time.
    let bytes: Vec<u8> =
        (0..10 * 1024 * 1024 / 4u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let ran = lab.fed(&["run", "-iq", "--report", "none", &image, "tee", "/dev/stderr"], &bytes).ok();
    assert!(ran.stdout == bytes, "stdout: {} of {} bytes", ran.stdout.len(), bytes.len());
    assert!(ran.stderr == bytes, "stderr: {} of {} bytes", ran.stderr.len(), bytes.len());
    // A program that reads nothing does not keep us from ending.
    lab.fed(&["run", "-iq", "--report", "none", &image, "true"], &bytes).ok();
    // One that writes first and reads later.
    let ran =
        lab.fed(&[&["run", "-iq", "--report", "none"], &sh(&image, "seq 200000; wc -c")[..]].concat(), &bytes).ok();
    assert!(ran.out().ends_with(&format!("\n{}\n", bytes.len())));
    // The end of input is seen.
    assert_eq!(lab.quiet_run(&["-i", &image, "cat"]).ok().stdout, b"");
    // Without -i there is none, whatever we have.
    let ran = lab
        .fed(&[&["run", "-q", "--report", "none"], &sh(&image, "cat; readlink /proc/self/fd/0")[..]].concat(), &bytes);
    assert_eq!(ran.ok().out(), "/dev/null\n");
    // Output that a background process of the container still holds open does not keep us.
    let ran = lab.quiet_run(&sh(&image, "sleep 600 & echo done")).ok();
    assert_eq!(ran.out(), "done\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_writer() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let mut command = lab.command(&["run", "-q", "--report", "none", &image, "yes"]);
    let mut child = command.spawn().unwrap();
    use std::io::Read;
    let mut some = [0; 64];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    // Dropped with the pipe above: `yes` gets SIGPIPE or an error, whatever way it ends.
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed().as_secs() > 60 {
            let _ = child.kill();
            panic!("it goes on although nobody reads");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    lab.assert_clean(&[]);
}

#[test]
fn signals_reach_the_program() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let ready = format!("ready-{name}-{}", std::process::id());
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo up; while :; do sleep 0.02; done");
        let running = lab.start(&["run", "-q", "--report", "none", &image, "sh", "-c", &script, &ready]);
        eventually("the shell runs", || {
            processes_with(&ready).iter().any(|p| {
                *p != running.pid()
                    && std::fs::read_to_string(format!("/proc/{p}/status")).is_ok_and(|s| {
                        let caught = s.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
                        u64::from_str_radix(&caught, 16).unwrap_or(0) & (1 << (signal.as_raw() - 1)) != 0
                    })
            })
        });
        running.signal(signal);
        assert_eq!(running.wait().exits(7).out(), format!("up\ngot {name}\n"));
    }
    lab.assert_clean(&[]);
}

#[test]
fn who_and_where_the_program_is() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let out = |flags: &[&str], script: &str| lab.quiet_run(&[flags, &sh(&image, script)[..]].concat()).ok().out();
    for (user, id) in [
        ("", "uid=0(root) gid=0(root) groups=0(root)"),
        ("ada", "uid=1000(ada) gid=1000(ada) groups=50(staff),100(users),1000(ada)"),
        ("1000", "uid=1000(ada) gid=1000(ada) groups=50(staff),100(users),1000(ada)"),
        ("1000:50", "uid=1000(ada) gid=50(staff) groups=50(staff)"),
        ("ada:users", "uid=1000(ada) gid=100(users) groups=100(users)"),
        ("4242:4343", "uid=4242 gid=4343 groups=4343"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
    ] {
        let flags = if user.is_empty() { vec![] } else { vec!["-u", user] };
        let said = out(&flags, "id");
        let (said, want) = (sorted_groups(said.trim()), sorted_groups(id));
        assert_eq!(said, want, "-u {user}");
    }
    let wrong = lab.quiet_run(&["-u", "4294967296", &image, "true"]).exits(125);
    assert!(wrong.err().starts_with("trace: cannot use user `4294967296`: "), "{}", wrong.err());
    lab.quiet_run(&["-u", "nosuch", &image, "true"]).exits(125);

    assert_eq!(out(&[], "pwd; echo $$"), "/\n1\n");
    assert_eq!(out(&["-w", "/home/ada"], "pwd"), "/home/ada\n");
    // Made where it is missing, as docker does.
    assert_eq!(out(&["-w", "/new/deep/one"], "pwd; stat -c %u:%g:%a ."), "/new/deep/one\n0:0:755\n");
    assert_eq!(out(&["--entrypoint", "echo"], "x"), "sh -c x\n");
    assert_eq!(out(&["--hostname", "box.example"], "hostname; cat /etc/hostname"), "box.example\nbox.example\n");
    let (ran, trace) = lab.traced(&[&["run", "-q"], &sh(&image, "hostname")[..]].concat());
    let id = trace.root().unwrap().attributes.str("container.id").unwrap().to_owned();
    assert_eq!(ran.out().trim(), &id[..12]);
    assert_eq!(id.len(), 64);
}

/// `id` of Busybox lists groups in the kernel's order.
fn sorted_groups(id: &str) -> String {
    let Some((head, groups)) = id.split_once(" groups=") else { return id.to_owned() };
    let mut groups: Vec<_> = groups.split(',').collect();
    groups.sort();
    format!("{head} groups={}", groups.join(","))
}

#[test]
fn the_environment_is_dockers() {
    let Some((lab, shop, image)) = busybox() else { return };
    let mut command = lab.command(&[
        "run",
        "-q",
        "--report",
        "none",
        "-e",
        "GIVEN=one two",
        "-e",
        "FROM_HERE",
        "-e",
        "NOT_HERE",
        "-e",
        "FROM_IMAGE=changed",
        "--hostname",
        "h",
        &image,
        "env",
    ]);
    command.env("FROM_HERE", "taken").env("SECRET_OF_THE_HOST", "x");
    let ran = crate::common::lab::Running::start(command, &[]).wait().ok();
    let mut lines: Vec<_> = ran.out().lines().map(str::to_owned).collect();
    lines.sort();
    let want = [
        "FROM_HERE=taken",
        "FROM_IMAGE=changed",
        "GIVEN=one two",
        "HOME=/root",
        "HOSTNAME=h",
        "PATH=/usr/local/bin:/bin",
    ];
    assert_eq!(lines, want);

    let file = lab.dir().join("env");
    std::fs::write(&file, "# comment\n\nA=1\nB=with = sign\nC=\"quoted\"\n").unwrap();
    let ran = lab.quiet_run(&["--env-file", file.to_str().unwrap(), "-u", "ada", &image, "env"]).ok();
    for line in ["A=1", "B=with = sign", "C=\"quoted\"", "HOME=/home/ada"] {
        assert!(ran.out().lines().any(|l| l == line), "{line} in {}", ran.out());
    }
    // Without a PATH of the image, docker's; of its configuration everything counts.
    let config = json!({"Entrypoint": ["echo", "entry"], "Cmd": ["and", "cmd"], "WorkingDir": "/tmp", "User": "ada"});
    let other = shop.put("other:1", Image::new(&[image::busybox_layer()], config));
    assert_eq!(lab.quiet_run(&[&other]).ok().out(), "entry and cmd\n");
    assert_eq!(lab.quiet_run(&[&other, "mine"]).ok().out(), "entry mine\n");
    let ran = lab.quiet_run(&["--entrypoint", "sh", &other, "-c", "pwd; id -u; echo $PATH"]).ok();
    assert_eq!(ran.out(), "/tmp\n1000\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
    let empty = shop.put("empty:1", Image::new(&[&Layer::new().dir("x/", 0o755).end()], json!({})));
    let ran = lab.quiet_run(&[&empty]).exits(125);
    assert!(ran.err().contains("no command given"), "{}", ran.err());
}

#[test]
fn an_image_with_very_many_variables_runs_or_says_why_not() {
    let Some((lab, shop, _)) = busybox() else { return };
    for (count, code) in [(40_000, 0), (250_000, 126)] {
        let env: Vec<_> = (0..count).map(|i| format!("V{i}=x")).chain(["PATH=/bin".into(), "V7=y".into()]).collect();
        let name = shop.put(&format!("env:{count}"), Image::new(&[image::busybox_layer()], json!({"Env": env})));
        lab.trace(&["pull", "-q", &name]).ok();
        let begun = std::time::Instant::now();
        let ran = lab.quiet_run(&[&name, "sh", "-c", "echo $V7"]).exits(code);
        assert!(begun.elapsed().as_secs() < 4, "{count} variables took {:?}", begun.elapsed());
        if code == 0 {
            assert_eq!(ran.out(), "y\n", "the later of two holds");
        } else {
            assert!(ran.err().contains("larger than the kernel allows"), "{}", ran.err());
        }
    }
    // One that is too large by itself, and a search path of which every directory would be tried.
    let path = format!("PATH={}/bin", "/:".repeat(100_000));
    let name = shop.put("path:1", Image::new(&[image::busybox_layer()], json!({"Env": [path]})));
    let ran = lab.quiet_run(&[&name, "true"]).exits(126);
    assert!(ran.err().contains("larger than the kernel allows"), "{}", ran.err());
    lab.assert_clean(&[]);
}

#[test]
fn signals_that_the_caller_ignores_are_the_programs_own_again() {
    let Some((lab, _shop, image)) = busybox() else { return };
    if !have(&["python3"]) {
        return;
    }
    let ignoring = |script: &str| {
        let inner = lab.command(&[&["run", "-q", "--report", "none"], &sh(&image, script)[..]].concat());
        let mut outer = std::process::Command::new("python3");
        // CHLD too: the kernel then throws exit statuses away. 32 and 33 are the C library's own, which speaks of them
        // to nobody, so the kernel is asked.
        let ignore = "import ctypes, os, platform, sys\n\
            number = {'x86_64': 13, 'aarch64': 134}[platform.machine()]\n\
            ignored = (ctypes.c_ulong * 4)(1)\n\
            for s in [1, 2, 3, 10, 13, 15, 17, 20, 32, 33, 40, 64]:\n \
            assert ctypes.CDLL(None).syscall(number, s, ignored, None, 8) == 0\n\
            os.execv(sys.argv[1], sys.argv[1:])";
        outer.args(["-c", ignore]);
        outer.arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            outer.env(key, value.unwrap());
        }
        outer.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        crate::common::lab::Running::start(outer, &[]).wait()
    };
    let ran = ignoring("grep -E '^Sig(Ign|Blk)' /proc/self/status; exit 3").exits(3);
    assert_eq!(ran.out(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n", "{}", ran.err());
    let ran = ignoring("trap 'echo got it; exit 0' INT; kill -INT $$; echo ignored").ok();
    assert_eq!(ran.out(), "got it\n");
}
