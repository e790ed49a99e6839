//! `--security-opt`, and what is recorded of it.

use std::fs;

use super::support::{image_with, said};
use crate::common::image;
use crate::common::lab::Lab;
use crate::common::shop::Shop;
use crate::common::{needs_root, text};

fn busybox() -> Option<(Lab, Shop, String)> {
    if !needs_root() || !image::needs_busybox() {
        return None;
    }
    let (shop, name) = Shop::with(image::busybox());
    Some((Lab::new(), shop, name))
}

/// NoNewPrivs and Seccomp of the program.
fn status(lab: &Lab, flags: &[&str], image: &str) -> String {
    let told = said(lab, flags, image, &["grep", "-E", "^(NoNewPrivs|Seccomp):", "/proc/self/status"]);
    told.split_whitespace().filter(|w| !w.ends_with(':')).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_filter_is_there_unless_it_is_not_wanted() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    assert_eq!(status(&lab, &[], &image), "0 2");
    assert_eq!(status(&lab, &["-u", "ada"], &image), "0 2");
    assert_eq!(status(&lab, &unconfined, &image), "0 0");
    assert_eq!(status(&lab, &["--security-opt", "seccomp:unconfined"], &image), "0 0");
    assert_eq!(status(&lab, &["--security-opt", "seccomp=builtin"], &image), "0 2");
    for (option, want) in [
        ("no-new-privileges", "1 2"),
        ("no-new-privileges:true", "1 2"),
        ("no-new-privileges=1", "1 2"),
        ("no-new-privileges=false", "0 2"),
        ("no-new-privileges:false", "0 2"),
    ] {
        assert_eq!(status(&lab, &["--security-opt", option], &image), want, "{option}");
        assert_eq!(status(&lab, &["-u", "ada", "--security-opt", option], &image), want, "{option}");
    }
    let both = [&unconfined[..], &["--security-opt", "no-new-privileges"]].concat();
    assert_eq!(status(&lab, &both, &image), "1 0");
    // Whoever becomes another user keeps nothing of what it took to load the filter.
    let caps = said(&lab, &["-u", "ada"], &image, &["grep", "-E", "^Cap(Prm|Eff|Amb)", "/proc/self/status"]);
    assert!(caps.split_whitespace().filter(|w| !w.ends_with(':')).all(|set| set == "0000000000000000"), "{caps}");
    assert_eq!(status(&lab, &["--isolation", "none"], &image), "0 2");
}

#[test]
fn spans_say_what_was_loaded() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let profile = lab.dir().join("p.json");
    fs::write(&profile, r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#).unwrap();
    let file = format!("seccomp={}", text(&profile));
    for (flags, loaded, name) in [
        (&[][..], "filter", "default"),
        (&["--security-opt", "seccomp=unconfined"], "none", "unconfined"),
        (&["--security-opt", &file], "filter", "file"),
    ] {
        let (ran, trace) = lab.traced(&[&["run", "-q", "--report", "none"], flags, &[&image, "true"]].concat());
        ran.ok();
        let span = trace.spans.iter().find(|s| s.name == "init.hardening").unwrap();
        assert_eq!(span.attributes.str("trace.seccomp"), Some(loaded));
        assert_eq!(span.attributes.str("trace.seccomp.profile"), Some(name));
        assert_eq!(span.attributes.int("trace.seccomp.instructions").is_some(), loaded == "filter");
    }
}

#[test]
fn a_profile_is_what_its_file_says() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let file = lab.dir().join("profile.json");
    let option = format!("seccomp={}", text(&file));
    let with = |json: &str, flags: &[&str], command: &[&str]| {
        fs::write(&file, json).unwrap();
        lab.quiet_run(&[&["--security-opt", &option], flags, &[&image], command].concat())
    };
    let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    let mkdir = ["mkdir", "/tmp/x"];
    let refused = |json: &str, says: &str| {
        let ran = with(json, &[], &mkdir).exits(1);
        assert!(ran.err().contains(says), "{json}: {}", ran.err());
    };
    let both = r#""names": ["mkdir", "mkdirat", "nobody_knows_this_call"]"#;
    refused(&rule(&format!(r#"{{{both}, "action": "SCMP_ACT_ERRNO"}}"#)), "Operation not permitted");
    refused(&rule(&format!(r#"{{{both}, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}}"#)), "No space left on device");
    // Keys in any case, null for nothing, the older spelling of one name.
    let odd = r#"{"DefaultAction": "SCMP_ACT_ALLOW", "archMap": null,
        "SysCalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": null}]}"#;
    refused(odd, "Input/output error");
    // The mode is the second argument: 0777 on its way to mkdir.
    for (op, value, second, hit) in [
        ("EQ", 0o777, 0, true),
        ("EQ", 0o755, 0, false),
        ("NE", 0o755, 0, true),
        ("LT", 0o777, 0, false),
        ("LE", 0o777, 0, true),
        ("GT", 0o776, 0, true),
        ("GE", 0o1000, 0, false),
        ("MASKED_EQ", 0o7, 0o7, true),
        ("MASKED_EQ", 0o1000, 0o1000, false),
    ] {
        let args = format!(r#"[{{"index": 1, "value": {value}, "valueTwo": {second}, "op": "SCMP_CMP_{op}"}}]"#);
        let json = rule(&format!(r#"{{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": {args}}}"#));
        with(&json, &[], &mkdir).exits(if hit { 1 } else { 0 });
    }
    for (when, there) in [
        (r#""includes": {"caps": ["CAP_CHOWN"]}"#, true),
        (r#""includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}"#, false),
        (r#""excludes": {"caps": ["CAP_CHOWN"]}"#, false),
        (r#""includes": {"arches": ["amd64", "arm64"]}"#, true),
        (r#""includes": {"arches": ["s390x"]}"#, false),
        (r#""includes": {"minKernel": "4.8"}"#, true),
        (r#""includes": {"minKernel": "250.1"}"#, false),
        (r#""excludes": {"minKernel": "4.8"}"#, false),
    ] {
        let json = rule(&format!(r#"{{{both}, "action": "SCMP_ACT_ERRNO", {when}}}"#));
        with(&json, &[], &mkdir).exits(if there { 1 } else { 0 });
    }
    // A signal in place of an error.
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let json = rule(&format!(r#"{{{both}, "action": "{action}"}}"#));
        with(&json, &[], &mkdir).exits(128 + 31);
    }
    with(&rule(&format!(r#"{{{both}, "action": "SCMP_ACT_LOG"}}"#)), &[], &mkdir).ok();
    // No filter at all, as docker reads it.
    fs::write(&file, "{}").unwrap();
    assert_eq!(status(&lab, &["--security-opt", &option], &image), "0 0");
    // With no_new_privs the filter comes last, and may refuse what came before.
    let json = rule(r#"{"names": ["capset", "prctl"], "action": "SCMP_ACT_ERRNO"}"#);
    with(&json, &["--security-opt", "no-new-privileges"], &["true"]).ok();
    let ran = with(&json, &[], &["true"]).exits(125);
    assert!(ran.err().contains("cannot set the capabilities in the container"), "{}", ran.err());
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let file = lab.dir().join("profile.json");
    let option = format!("seccomp={}", text(&file));
    let profile = |json: &str, says: &str| {
        fs::write(&file, json).unwrap();
        let ran = lab.quiet_run(&["--security-opt", &option, &image, "true"]).exits(125);
        assert!(ran.err().contains(says) && ran.err().lines().count() == 1, "{json}: {}", ran.err());
    };
    let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    profile("{", "it is no JSON");
    profile("[]", "the profile is no object");
    profile(r#"{"defaultAction": "SCMP_ACT_FOO"}"#, "`SCMP_ACT_FOO` is no action");
    profile(r#"{"syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"}]}"#, "`defaultAction` is missing");
    profile(r#"{"defaultAction": 1}"#, "`defaultAction` is no string");
    profile(r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}"#, "`syscalls` is no list");
    profile(r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#, "`X` is no flag");
    profile(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}"#, "`X` is no architecture");
    let arches = r#""architectures": ["SCMP_ARCH_X86_64"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]"#;
    profile(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {arches}}}"#), "both `architectures` and `archMap`");
    profile(&rule(r#"{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}"#), "both `name` and `names`");
    profile(&rule(r#"{"names": ["mkdir"]}"#), "in `syscalls[0]` `action` is missing");
    profile(&rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#), "which is not built in");
    profile(&rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": -1}"#), "`errnoRet`");
    let args = |args: &str| rule(&format!(r#"{{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{args}]}}"#));
    profile(&args(r#"{"index": 6, "op": "SCMP_CMP_EQ"}"#), "`index` is above 5");
    profile(&args(r#"{"index": 0, "op": "=="}"#), "`==` is no comparison");
    profile(
        &rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4"}}"#),
        "no kernel version",
    );
    // More than the kernel takes.
    let one = |n| {
        let args = format!(r#"[{{"index": 1, "value": {n}, "op": "SCMP_CMP_GT"}}]"#);
        format!(r#"{{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": {args}}}"#)
    };
    let many: Vec<_> = (0..3000).map(one).collect();
    profile(&rule(&many.join(",")), "the kernel takes 4096 at most");
    for (option, says) in [
        ("seccomp=/no/such/file", "cannot read the seccomp profile `/no/such/file`"),
        ("seccomp=", "expected `KEY=VALUE`"),
        ("foo", "expected `KEY=VALUE`"),
        ("foo=bar", "`foo` is no security option"),
        ("no-new-privileges:maybe", "`maybe` is neither `true` nor `false`"),
        ("systempaths=x", "expected `systempaths=unconfined`"),
    ] {
        let ran = lab.quiet_run(&["--security-opt", option, &image, "true"]).exits(125);
        assert!(ran.err().contains(says) && ran.err().lines().count() == 1, "{option}: {}", ran.err());
    }
    // What docker takes on a host with neither AppArmor nor SELinux.
    for option in ["apparmor=unconfined", "label=disable", "label:disable"] {
        lab.quiet_run(&["--security-opt", option, &image, "true"]).ok();
    }
    let shown = said(&lab, &["--security-opt", "systempaths=unconfined"], &image, &["cat", "/proc/self/mountinfo"]);
    assert!(!shown.contains(" /proc/sys "), "{shown}");
}

#[test]
fn a_setuid_bit_set_at_run_time_counts() {
    let Some((_shop, image)) = image_with("euid") else { return };
    let lab = Lab::new();
    let script = "chmod 4755 /bin/euid; su -s /bin/sh ada -c euid 2>&1 || setuidgid ada euid";
    let told = said(&lab, &[], &image, &["sh", "-c", script]);
    assert!(told.trim_end().ends_with("euid 0"), "{told}");
    let flags = ["--security-opt", "no-new-privileges"];
    let told = said(&lab, &flags, &image, &["sh", "-c", script]);
    assert!(!told.trim_end().ends_with("euid 0"), "{told}");
}
