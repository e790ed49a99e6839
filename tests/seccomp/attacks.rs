//! What a container must not be able to do, tried.

use super::support::{image_with, said};
use crate::common::lab::Lab;
use crate::common::user::{self, User};

const EPERM: &str = "1";
const ENOSYS: &str = "38";

fn outcomes(told: &str) -> Vec<(&str, &str)> {
    told.lines().filter_map(|line| line.split_once(' ')).collect()
}

fn assert_refused(told: &str) {
    let outcomes = outcomes(told);
    assert!(outcomes.len() > 35, "{told}");
    for (name, outcome) in outcomes {
        let want = match name {
            "clone3" => ENOSYS,
            // Where the kernel runs such programs at all, they can open an ordinary socket.
            "x86-socketcall" => "done",
            _ => EPERM,
        };
        assert_eq!(outcome, want, "{name}");
    }
}

#[test]
fn attacks_are_refused() {
    let Some((_shop, image)) = image_with("attacks") else { return };
    let lab = Lab::new();
    let attacks = ["sh", "-c", "attacks; exit 0"];
    assert_refused(&said(&lab, &[], &image, &attacks));
    // Without the filter, root of a container can do some of that: the test sees a difference.
    let open = said(&lab, &["--security-opt", "seccomp=unconfined"], &image, &attacks);
    for name in ["unshare-user", "keyctl", "userfaultfd", "io_uring_setup"] {
        let outcome = outcomes(&open).into_iter().find(|(n, _)| *n == name).unwrap().1;
        assert_ne!(outcome, EPERM, "{name} without a filter");
    }
    // An applet, as a person would try it.
    let ran = lab.quiet_run(&[&image, "busybox", "unshare", "-Ur", "true"]);
    assert_eq!(ran.code(), 1, "{}", ran.err());
    assert!(ran.err().contains("Operation not permitted"), "{}", ran.err());
}

#[test]
fn attacks_are_refused_to_an_ordinary_user() {
    if !user::can_be_made() {
        return;
    }
    for many_ids in [true, false] {
        let Some((_shop, image)) = image_with("attacks") else { return };
        let user = User::create(many_ids);
        let lab = user.lab();
        let told = said(&lab, &[], &image, &["sh", "-c", "attacks; exit 0"]);
        assert_refused(&told);
        assert_eq!(told.contains("process_vm_readv"), many_ids, "a single id has nobody else to be");
    }
}
