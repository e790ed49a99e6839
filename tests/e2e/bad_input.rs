//! What goes wrong outside of us: one clear sentence, the right exit code, the failing span marked, nothing left.

use serde_json::json;

use super::running::busybox;
use crate::common::image::{Entry, Image, Layer, gzip};
use crate::common::lab::{Lab, read_trace};
use crate::common::server::{Reply, Server, status};
use crate::common::shop::Shop;
use crate::common::{have, needs_root};

/// Runs what must fail in `span`; gives the sentence.
#[track_caller]
fn fails_in(lab: &Lab, image: &str, span: &str) -> String {
    let before = lab.trace_files();
    let ran = lab.quiet_run(&[image, "true"]).exits(125);
    let err = ran.err();
    let sentences: Vec<_> = err.lines().filter(|l| l.starts_with("trace: ")).collect();
    assert_eq!(sentences.len(), 1, "{err}");
    assert!(!err.contains("panicked") && !err.contains("stack backtrace"), "{err}");
    let new = lab.trace_files().difference(&before).next().expect("the trace is written").clone();
    let trace = read_trace(&new);
    let failed: Vec<_> = trace.spans.iter().filter(|s| s.status.is_error()).map(|s| s.name.as_ref()).collect();
    assert!(failed.contains(&"run") && failed.contains(&span), "{failed:?} for {err}");
    for failed in trace.spans.iter().filter(|s| s.status.is_error()) {
        assert!(failed.attributes.str("error.type").is_some(), "{}", failed.name);
        let parent = failed.parent.and_then(|p| trace.span(p));
        assert!(parent.is_none_or(|p| p.status.is_error()), "the span above `{}` is not marked", failed.name);
    }
    lab.assert_clean(&[]);
    assert!(lab.trace(&["images", "--json"]).ok().out().is_empty(), "the image is not in the store");
    sentences[0].to_owned()
}

#[test]
fn images_that_are_not_there() {
    if !needs_root() {
        return;
    }
    let (lab, shop) = (Lab::new(), Shop::open());
    let missing = format!("{}/no/such:1", shop.address());
    let said = fails_in(&lab, &missing, "manifest.fetch");
    assert!(said.contains(&format!("manifest for {missing} not found")), "{said}");
    let said = fails_in(&lab, "127.0.0.1:1/app", "manifest.fetch");
    assert!(said.contains("127.0.0.1:1") && said.contains("refused"), "{said}");
    let said = fails_in(&lab, "no-such-host.invalid/app", "manifest.fetch");
    assert!(said.contains("no-such-host.invalid"), "{said}");
    let broken = Server::in_background(|_| status(500));
    let said = fails_in(&lab, &format!("{}/app", broken.address), "manifest.fetch");
    assert!(said.contains("500"), "{said}");
    let nonsense = Server::in_background(|_| Reply::Close(b"SSH-2.0-OpenSSH\r\n".to_vec()));
    fails_in(&lab, &format!("{}/app", nonsense.address), "manifest.fetch");
    for name in ["Upper/case", "a b", "..", "http://x/y", "x@sha256:1234", ""] {
        let ran = lab.quiet_run(&[name, "true"]);
        assert!(matches!(ran.code(), 125 | 2), "{name}: {} {}", ran.code(), ran.err());
    }
}

#[test]
fn blobs_that_are_not_what_the_manifest_says() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let tar = Layer::new().file("f", 0o644, &[7; 50_000]).end();
    let good = || Image::new(&[&tar], json!({}));
    let with_blob = |blob: Vec<u8>| {
        let mut image = good();
        *image.blobs.get_mut(&image.layers[0]).unwrap() = blob;
        image
    };
    let blob = good().blobs[&good().layers[0]].clone();
    let mut flipped = blob.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for (what, image, span, word) in [
        ("a bit flipped", with_blob(flipped), "layer.pull", ""),
        ("cut off", with_blob(blob[..blob.len() / 2].to_vec()), "layer.pull", "got "),
        ("too long", with_blob([blob.as_slice(), b"more"].concat()), "layer.pull", "bytes"),
        ("another gzip of the same size", with_blob(vec![0; blob.len()]), "layer.pull", ""),
        ("no gzip at all", Image::packed(&[(&tar, b"\x1f\x8bnonsense".to_vec())], json!({})), "layer.decompress", ""),
        ("cut gzip", Image::packed(&[(&tar, blob[..blob.len() - 9].to_vec())], json!({})), "layer.decompress", ""),
        ("wrong diff id", Image::packed(&[(b"other", blob.clone())], json!({})), "layer.verify", "sha256:"),
        ("no tar", Image::packed(&[(b"x", gzip(&[0x55; 5000]))], json!({})), "layer.extract", ""),
    ] {
        let (_shop, name) = Shop::with(image);
        let said = fails_in(&lab, &name, span);
        assert!(
            said.contains(word) && said.contains(&format!("`{name}`")) && said.contains("sha256:"),
            "{what}: {said}"
        );
    }
    let mut config = good();
    let key = config.blobs.keys().find(|k| **k != config.layers[0]).unwrap().clone();
    config.blobs.insert(key, b"{}".to_vec());
    let (_shop, name) = Shop::with(config);
    fails_in(&lab, &name, "config.fetch");
    let mut manifest = good();
    manifest.manifest = b"{\"schemaVersion\":1}".to_vec();
    let (_shop, name) = Shop::with(manifest);
    fails_in(&lab, &name, "manifest.fetch");
}

#[test]
fn layers_that_try_to_write_outside() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let canary = lab.dir().join("canary");
    std::fs::create_dir(&canary).unwrap();
    let outside = canary.to_str().unwrap();
    let link = |target: &str| Entry {
        kind: tar::EntryType::Symlink,
        mode: 0o777,
        link: Box::leak(target.to_owned().into_boxed_str()),
        ..Entry::default()
    };
    let up = "../../../../../../../../../../..";
    let hostile = [
        Layer::new().entry("out", link(outside)).file("out/evil", 0o644, b"x").end(),
        Layer::new().entry("out", link(&format!("{up}{outside}"))).file("out/evil", 0o644, b"x").end(),
        Layer::new().entry("out", link(outside)).file("out/.wh.keep", 0o644, b"").end(),
    ];
    std::fs::write(canary.join("keep"), "kept").unwrap();
    for (i, tar) in hostile.iter().enumerate() {
        let (_shop, name) = Shop::with(Image::new(&[tar], json!({"Cmd": ["/x"]})));
        let ran = lab.quiet_run(&[&name]);
        assert!(matches!(ran.code(), 125 | 127), "{i}: {}", ran.err());
        let left: Vec<_> = std::fs::read_dir(&canary).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["keep"], "{i} wrote outside");
    }
    lab.assert_clean(&[]);
}

#[test]
fn a_store_that_is_full_or_cannot_be_written() {
    if !needs_root() || !have(&["unshare", "mount"]) {
        return;
    }
    // A file system of its own in a mount namespace of its own, which goes with the command; what is left is listed
    // first.
    let script = |options: &str| {
        format!(
            "mkdir -p \"$TRACE_ROOT\"; mount -t tmpfs -o {options} x \"$TRACE_ROOT\" || exit 99; \"$@\"; code=$?; \
                 find \"$TRACE_ROOT\"/v1/tmp \"$TRACE_ROOT\"/v1/containers -mindepth 1 2>/dev/null; exit $code"
        )
    };
    let noise: Vec<u8> = (0..500_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (_shop, name) =
        Shop::with(Image::new(&[&Layer::new().file("big", 0o644, &noise).end()], json!({"Cmd": ["/x"]})));
    for (options, word) in [("size=600k", "No space left"), ("ro", "Read-only file system")] {
        let script = script(options);
        let lab = Lab::new().through(&["unshare", "-m", "sh", "-c", &script, "sh"], 0);
        let ran = lab.quiet_run(&[&name]).exits(125);
        let sentences = ran.err().lines().filter(|l| l.starts_with("trace: ")).count();
        assert!(sentences >= 1 && ran.err().contains(word), "{options}: {}", ran.err());
        assert_eq!(ran.out(), "", "left behind");
    }
}

/// Runs the rest of its arguments as user 4242 of a user namespace in which no further one may be made, as in an
/// unprivileged build container.
const DENIED: &str = "unshare -U sleep 100 & pid=$!; trap 'kill $pid' EXIT; \
    for map in uid_map gid_map; do until echo '0 0 100000' >/proc/$pid/$map; do sleep 0.02; done 2>/dev/null; done; \
    nsenter --user -t $pid sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && \
    exec setpriv --reuid 4242 --regid 4242 --clear-groups \"$@\"' sh \"$@\"";

#[test]
fn where_no_namespaces_can_be_made_only_our_own_images_run() {
    let Some((_, _shop, image)) = busybox() else { return };
    if !have(&["setpriv", "unshare", "nsenter"]) {
        return;
    }
    let lab = Lab::new().through(&["sh", "-c", DENIED, "sh"], 4242);
    let (ran, trace) = lab.traced(&["run", "--hub", "builtin", "--report", "none", "hello-world"]);
    let ran = ran.ok();
    assert!(ran.out().starts_with("\nHello from trace!\n"));
    let notes: Vec<_> = ran.err().lines().filter(|l| l.starts_with("Note: ")).map(str::to_owned).collect();
    assert_eq!(notes.len(), 1, "said in one line: {}", ran.err());
    assert!(notes[0].contains("without isolation"), "{}", notes[0]);
    assert_eq!(trace.root().unwrap().attributes.str("trace.isolation"), Some("none"));

    let refused = lab.quiet_run(&[&image, "/bin/busybox", "true"]).exits(125);
    let want = "trace: cannot create namespaces here: No space left on device (os error 28)\n\
        hint: the host allows no user namespaces: `sysctl user.max_user_namespaces=15000` as root, or run as root\n";
    assert_eq!(refused.err(), want);
    let ran = lab.quiet_run(&["--isolation", "none", &image, "/bin/busybox", "id", "-u"]).ok();
    assert_eq!(ran.out(), "4242\n", "{}", ran.err());
    lab.assert_clean(&[]);
}
