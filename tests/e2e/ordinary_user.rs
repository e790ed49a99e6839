//! An ordinary user runs containers: with a range of ids of its own, and with a single one.

use std::os::unix::fs::MetadataExt;

use crate::common::image;
use crate::common::lab::{cgroups_of, names_in};
use crate::common::shop::Shop;
use crate::common::user::{self, User};

#[test]
fn an_ordinary_user_runs_hello_world_cold_and_warm() {
    if !user::can_be_made() {
        return;
    }
    for many_ids in [true, false] {
        let user = User::create(many_ids);
        let lab = user.lab();
        for kind in ["cold", "warm"] {
            let (ran, trace) = lab.traced(&["run", "-q", "--report", "none", "--hub", "builtin", "hello-world"]);
            let ran = ran.ok();
            assert!(ran.out().starts_with("\nHello from trace!\n"), "{}", ran.err());
            let root = trace.root().unwrap();
            assert_eq!(root.attributes.str("trace.run.kind"), Some(kind));
            assert_eq!(root.attributes.str("trace.isolation"), Some("namespaces"));
            let enter = trace.spans.iter().find(|s| s.name == "userns.enter").expect("userns.enter");
            let parent = trace.span(enter.parent.unwrap()).unwrap();
            assert_eq!(parent.name, "startup");
            let id = root.attributes.str("container.id").unwrap();
            assert_eq!(cgroups_of(id).len(), 0);
        }
        lab.assert_clean(&[]);
        for name in names_in(&lab.store("layers")) {
            let layer = std::fs::metadata(lab.store("layers").join(name)).unwrap();
            assert_eq!(layer.uid(), user.uid, "what its root makes belongs to the user");
        }
        for file in lab.trace_files() {
            assert_eq!(std::fs::metadata(file).unwrap().uid(), user.uid);
        }
    }
}

#[test]
fn with_a_range_of_ids_everybody_in_the_image_exists() {
    if !user::can_be_made() || !image::needs_busybox() {
        return;
    }
    let user = User::create(true);
    let lab = user.lab();
    let (_shop, name) = Shop::with(image::busybox());
    let out = |flags: &[&str], script: &str| {
        let ran = lab.quiet_run(&[flags, &[&name, "sh", "-c", script]].concat()).ok();
        (ran.out(), ran.err())
    };
    let (said, err) =
        out(&[], "id -u; stat -c %u:%g /home/ada /bin; touch /tmp/x && chown 1000:50 /tmp/x && stat -c %u:%g /tmp/x");
    assert_eq!(said, "0\n1000:1000\n0:0\n1000:50\n", "{err}");
    assert_eq!(
        out(
            &["-u", "ada"],
            "id -u; id -g; touch /home/ada/f && stat -c %u /home/ada/f; touch /etc/f 2>/dev/null || echo denied"
        )
        .0,
        "1000\n1000\n1000\ndenied\n"
    );
    assert_eq!(out(&[], "grep CapEff /proc/self/status").0, "CapEff:\t00000000a80425fb\n");
    // Outside, the file of the image's user 1000 belongs to the 1000th id of the range.
    let layer = names_in(&lab.store("layers")).remove(0);
    let ada = std::fs::metadata(lab.store("layers").join(layer).join("diff/home/ada")).unwrap();
    assert!(ada.uid() > 300_000_000 && ada.uid() != user.uid, "{}", ada.uid());
    let (said, _) =
        out(&[], "head -c 3 /dev/zero | wc -c; mknod /tmp/n c 1 3 2>/dev/null || echo no; cat /proc/1/comm; true");
    assert_eq!(said, "3\nno\nsh\n");
    lab.quiet_run(&["--keep", &name, "sh", "-c", "touch /root/mine; chown 77 /root/mine; exit 5"]).exits(5);
    let said = lab.trace(&["ps", "-a"]).ok().out();
    assert!(said.contains("Exited (5)"), "{said}");
    lab.trace(&["prune", "-f"]).ok();
    lab.assert_clean(&[]);
    lab.trace(&["image", "rm", &name]).ok();
    assert!(names_in(&lab.store("layers")).is_empty(), "files of other ids are removed too");
}

#[test]
fn with_a_single_id_everything_belongs_to_it() {
    if !user::can_be_made() || !image::needs_busybox() {
        return;
    }
    let user = User::create(false);
    let lab = user.lab();
    let (_shop, name) = Shop::with(image::busybox());
    let script = "id -u; stat -c %u:%g /home/ada /bin /etc/passwd; touch /tmp/x && stat -c %u:%g /tmp/x; chown 1000 \
        /tmp/x 2>/dev/null || echo no";
    let ran = lab.quiet_run(&[&name, "sh", "-c", script]).ok();
    assert_eq!(ran.out(), "0\n0:0\n0:0\n0:0\n0:0\nno\n", "{}", ran.err());
    let refused = lab.quiet_run(&["-u", "ada", &name, "true"]).exits(125);
    assert!(refused.err().starts_with("trace: "), "{}", refused.err());
    assert_eq!(lab.fed(&["run", "-iq", "--report", "none", &name, "cat"], b"piped").ok().out(), "piped");
    lab.quiet_run(&[&name, "sh", "-c", "exit 9"]).exits(9);
    lab.quiet_run(&[&name, "nosuch"]).exits(127);
    lab.assert_clean(&[]);
}

#[test]
fn users_do_not_see_each_others_containers() {
    if !user::can_be_made() || !image::needs_busybox() {
        return;
    }
    let (one, two) = (User::create(false), User::create(false));
    let (_shop, name) = Shop::with(image::busybox());
    let (first, second) = (one.lab(), two.lab());
    first.quiet_run(&["--name", "same", &name, "true"]).ok();
    second.quiet_run(&["--name", "same", &name, "true"]).ok();
    let other = first.root();
    let spy = second.command(&["ps", "-a"]).env("TRACE_ROOT", &other).output().unwrap();
    assert!(!spy.status.success(), "{}", String::from_utf8_lossy(&spy.stdout));
    assert!(
        String::from_utf8_lossy(&spy.stderr).starts_with("trace: cannot "),
        "{}",
        String::from_utf8_lossy(&spy.stderr)
    );
}
