//! What a power cut may leave, and that it is never taken for something whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::json;
use trace_run::record::model::Trace;

use super::running::busybox;
use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, names_in};
use crate::common::shop::Shop;
use crate::common::{have, needs, needs_root};

/// With a library in a layer of its own, and a hard link into that layer from the next one.
fn shop() -> Option<(Lab, Shop, String)> {
    if !needs_root() || !image::needs_busybox() {
        return None;
    }
    let library = Layer::new().file("lib.so", 0o644, &[7; 100_000]).end();
    let linked = Layer::new().link("linked", "lib.so").file("more", 0o644, &[9; 50_000]).end();
    let image = Image::new(&[image::busybox_layer(), &library, &linked], json!({"Env": ["PATH=/bin"]}));
    let (shop, name) = Shop::with(image);
    Some((Lab::new(), shop, name))
}

/// The mark of the first pull.
fn mark(lab: &Lab) -> Vec<u8> {
    let [name] = &names_in(&lab.store("unsynced"))[..] else { panic!("one pull makes one mark") };
    fs::read(lab.store("unsynced").join(name)).unwrap()
}

/// As if the machine had been started anew before storage had everything: what is marked has to be looked at.
fn reboot(lab: &Lab, mark: &[u8]) {
    let marks = lab.store("unsynced");
    names_in(&marks).iter().for_each(|name| fs::remove_file(marks.join(name)).unwrap());
    fs::write(marks.join("before+0"), mark).unwrap();
}

fn find(below: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|n| n == name) {
            found.push(path.clone());
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(find(&path, name));
        }
    }
    found
}

const SIZES: [&str; 3] = ["sh", "-c", "wc -c </lib.so; wc -c </linked; wc -c </more; busybox md5sum /lib.so"];
const RIGHT: &str = "100000\n100000\n50000\n";

fn run(lab: &Lab, image: &str) -> (String, Trace) {
    let (ran, trace) = lab.traced(&["run", "--report", "none", image, SIZES[0], SIZES[1], SIZES[2]]);
    (ran.ok().out(), trace)
}

fn verified(trace: &Trace, key: &str) -> Option<i64> {
    trace.spans.iter().find(|s| s.name == "store.verify").and_then(|s| s.attributes.int(key))
}

/// What storage keeps of a file whose content was not written in time.
type Loss = fn(&Path);
const LOSSES: [Loss; 3] = [
    |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
    |path| File::options().write(true).open(path).unwrap().set_len(40_000).unwrap(),
    |path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        file.set_len(size).unwrap();
        file.set_modified(modified).unwrap();
    },
];

#[test]
fn a_damaged_layer_is_made_again_from_its_blob_without_a_registry() {
    let Some((lab, shop, image)) = shop() else { return };
    let (first, _) = run(&lab, &image);
    assert!(first.starts_with(RIGHT), "{first}");
    drop(shop);
    let mark = mark(&lab);
    for name in ["lib.so", "linked", "more"] {
        for loss in LOSSES {
            reboot(&lab, &mark);
            let found = find(&lab.store("layers"), name).into_iter().chain(find(&lab.store("stacks"), name));
            let found: Vec<_> = found.collect();
            assert!(!found.is_empty());
            found.iter().for_each(|path| loss(path));
            let (again, trace) = run(&lab, &image);
            assert_eq!(again, first, "{name}");
            assert_eq!(verified(&trace, "trace.layers"), Some(3));
            assert_eq!(verified(&trace, "trace.layers.lost"), Some(0));
        }
    }
    // The mark is one of this session now, and the next run looks no further.
    let (_, trace) = run(&lab, &image);
    assert_eq!(verified(&trace, "trace.layers"), None);
    lab.assert_clean(&[]);
}

#[test]
fn what_cannot_be_mended_is_pulled_again() {
    let Some((lab, shop, image)) = shop() else { return };
    let (first, _) = run(&lab, &image);
    let mark = mark(&lab);
    for loss in LOSSES {
        reboot(&lab, &mark);
        for path in find(&lab.store("layers"), "lib.so") {
            loss(&path);
        }
        for name in names_in(&lab.store("images/blobs/sha256")) {
            loss(&lab.store("images/blobs/sha256").join(name));
        }
        let (again, _) = run(&lab, &image);
        assert_eq!(again, first);
    }
    assert!(shop.asked_for("/manifests/latest") >= 4);
}

#[test]
fn a_store_that_is_whole_is_looked_at_once_after_a_reboot() {
    let Some((lab, shop, image)) = shop() else { return };
    let (first, _) = run(&lab, &image);
    let (asked, mark) = (shop.asked_for(""), mark(&lab));
    reboot(&lab, &mark);
    let (again, trace) = run(&lab, &image);
    assert_eq!((again.as_str(), verified(&trace, "trace.layers.repaired")), (first.as_str(), Some(0)));
    assert_eq!(trace.root().unwrap().attributes.str("trace.run.kind"), Some("warm"));
    let (_, trace) = run(&lab, &image);
    assert_eq!(verified(&trace, "trace.layers"), None);
    assert_eq!(shop.asked_for(""), asked);
}

#[test]
fn a_store_of_a_version_without_marks_stays_of_use() {
    let Some((lab, shop, image)) = shop() else { return };
    let (first, _) = run(&lab, &image);
    drop(shop);
    fs::remove_dir_all(lab.store("unsynced")).unwrap();
    fs::remove_file(lab.store("index.copy")).unwrap();
    for record in find(&lab.store("layers"), "files") {
        fs::remove_file(record).unwrap();
    }
    let (again, trace) = run(&lab, &image);
    assert_eq!(again, first);
    assert_eq!(verified(&trace, "trace.layers"), None);
}

#[test]
fn half_written_files_of_the_store_break_no_command() {
    let Some((lab, shop, image)) = busybox() else { return };
    for cut in ["", "{\"resourceSpans\":[{\"re", "\0\0\0\0\0\0\0\0"] {
        // The last round's is removed with what else is damaged.
        lab.trace(&["run", "--report", "none", "--name", "kept", &image, "true"]).ok();
        let id = lab.containers().pop().unwrap();
        let mut files = vec![lab.store("images/index.json"), lab.store("containers").join(&id).join("state.json")];
        for dir in ["traces", "latest", "pending", "sent", "names", "unsynced"] {
            fs::create_dir_all(lab.store(dir)).unwrap();
            files.extend(names_in(&lab.store(dir)).into_iter().map(|name| lab.store(dir).join(name)));
        }
        files.push(lab.store("pending").join(format!("{:032x}", 7)));
        files.push(lab.store("sent").join("0123456789ab"));
        for file in &files {
            fs::write(file, cut).unwrap();
        }
        for words in [&["ls"][..], &["images"], &["ps", "-a"], &["prune", "-f"], &["image", "rm", "nothing:1"]] {
            let ran = lab.trace(words);
            assert!(ran.code() != 101 && !ran.err().contains("panicked"), "{words:?}: {}", ran.err());
            assert!(ran.code() == 0 || words[0] == "image", "{words:?} after {cut:?}: {}", ran.err());
        }
        assert_eq!(lab.trace(&["run", "--report", "none", &image, "echo", "well"]).ok().out(), "well\n");
    }
    drop(shop);
}

#[test]
fn the_power_is_cut_for_real() {
    if !needs_root() || !image::needs_busybox() || !needs(have(&["python3", "mkfs.ext4", "losetup"]), "loop devices") {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/power-cut");
    let ran = std::process::Command::new("python3")
        .args([script.as_os_str(), "--small".as_ref(), "--bin".as_ref(), env!("CARGO_BIN_EXE_trace").as_ref()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("5 of 5 cuts right, 0 skipped"), "{said}");
}
