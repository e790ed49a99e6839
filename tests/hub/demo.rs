//! `demo/layers`: what the tags promise, checked with independent decoders.

use super::*;

#[test]
fn demo_images_are_the_same_from_every_hub() {
    let (first, second) = (start(), start());
    let mut digests = HashSet::new();
    for tag in ["3x256KiB", "3x256KiB-zstd", "3x256KiB-none", "2x256KiB", "3x257KiB"] {
        let [one, other] = [&first, &second].map(|hub| manifest(hub, DEMO, tag).body);
        assert_eq!(one, other, "{tag}");
        assert!(digests.insert(one), "{tag}");
    }
    assert_eq!(manifest(&first, DEMO, "3x256KiB").body, manifest(&first, DEMO, "3x256KiB-gzip").body);
}

#[test]
fn demo_layers_are_what_the_tag_says() {
    let hub = start();
    for (tag, count, size) in [
        ("6x1MiB", 6, 1 << 20),
        ("6x1MiB-zstd", 6, 1 << 20),
        ("2x3MiB-none", 2, 3 << 20),
        ("200x1KiB", 200, 1 << 10),
        ("7x4KiB", 7, 4 << 10),
    ] {
        let (config, layers) = pull(&hub, DEMO, tag, "amd64");
        assert_eq!(layers.len(), count, "{tag}");
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/demo-amd64"]));
        let mut below = HashSet::new();
        let (mut setuid, mut deleted, mut changed, mut opaque) = (0, 0, 0, 0);
        for (number, layer) in layers.iter().enumerate() {
            let mut seen = HashSet::new();
            let (mut bytes, mut links, mut hard) = (0, 0, 0);
            for entry in tar::Archive::new(&layer[..]).entries().unwrap() {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
                assert!(parent.is_empty() || seen.contains(parent), "{tag}: {path} has no directory");
                assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
                assert_eq!(header.mtime().unwrap(), 1_700_000_000 + 3600 * number as u64);
                setuid += header.mode().unwrap() >> 11 & 1;
                match header.entry_type() {
                    tar::EntryType::Regular if name == ".wh..wh..opq" => opaque += 1,
                    tar::EntryType::Regular if name.starts_with(".wh.") => {
                        let victim = format!("{parent}/{}", &name[4..]);
                        assert!(below.contains(&victim), "{tag}: {path} deletes nothing");
                        deleted += 1;
                    }
                    tar::EntryType::Regular => {
                        let base = path.starts_with("bin/") || path.starts_with("etc/");
                        bytes += if base { 0 } else { entry.size() };
                        changed += u32::from(below.contains(&path));
                    }
                    tar::EntryType::Symlink => links += 1,
                    tar::EntryType::Link => {
                        let target = entry.link_name().unwrap().unwrap();
                        assert!(seen.contains(target.to_str().unwrap()), "{tag}: {path} before its target");
                        hard += 1;
                    }
                    tar::EntryType::Directory => {}
                    other => panic!("{tag}: {path} is {other:?}"),
                }
                assert!(seen.insert(path.clone()), "{tag}: {path} twice");
            }
            assert_eq!(bytes, size, "{tag}, layer {number}");
            assert!(links > 0 && hard > 0, "{tag}, layer {number}");
            below.extend(seen);
        }
        assert_eq!((setuid, deleted, changed), (1, 2 * (count as u32 - 1), count as u32 - 1), "{tag}");
        assert_eq!(opaque, count / 5, "{tag}");
    }
}

#[test]
fn demo_platforms_share_layers_and_gzip_about_halves_them() {
    let hub = start();
    let index = manifest(&hub, DEMO, "2x4MiB").json();
    let both: Vec<Value> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| manifest(&hub, DEMO, entry["digest"].as_str().unwrap()).json())
        .collect();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0]["layers"], both[1]["layers"]);
    assert_ne!(both[0]["config"], both[1]["config"]);
    let wire: u64 = both[0]["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    let ratio = (8 << 20) as f64 / wire as f64;
    assert!((1.6..2.2).contains(&ratio), "{ratio}");
}

#[test]
fn demo_programs_say_what_the_image_is() {
    let (hub, dir) = (start(), tempfile::tempdir().unwrap());
    let (_, layers) = pull(&hub, DEMO, "3x8KiB", "amd64");
    for entry in tar::Archive::new(&layers[0][..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().starts_with("bin/demo-amd64") {
            let path = dir.path().join("demo");
            unpack_program(&mut entry, &path);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
            if !cfg!(target_arch = "x86_64") {
                return skipped("this machine is not x86_64");
            }
            let output = Command::new(&path).output().unwrap();
            assert_eq!(output.stdout, b"demo/layers: 3 layers of 8 KiB\n");
            return;
        }
    }
    panic!("no bin/demo-amd64");
}

#[test]
fn making_images_leaves_no_files_and_failing_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("not yet");
    let options = Options { dir: Some(place.clone()), ..Options::default() };
    let hub = Hub::with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let failed = get(&hub, "/v2/demo/layers/manifests/1x4KiB");
    assert_eq!((failed.status, failed.code().as_str()), (500, "UNKNOWN"));
    assert!(failed.json()["errors"][0]["message"].as_str().unwrap().contains("not yet"));
    fs::create_dir(&place).unwrap();
    // Asked again, it tries again.
    hub.prepare(DEMO, "1x4KiB").unwrap();
    hub.prepare(DEMO, "2x1MiB").unwrap();
    pull(&hub, DEMO, "2x1MiB", "arm64");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    let error = hub.prepare(DEMO, "2x1MB").unwrap_err();
    assert!(error.to_string().contains("`2x1MB`: expected `<layers>x<size>`"), "{error}");
}

#[test]
fn the_hub_stops_at_once_whatever_it_is_doing() {
    let gone = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&gone);
    let observer: hub::Observer = Arc::new(move |access| heard.lock().unwrap().push((access.status, access.bytes)));
    let dir = tempfile::tempdir().unwrap();
    let options = Options { observer: Some(observer), dir: Some(dir.path().to_owned()) };
    let hub = Hub::with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let layer = manifest_of(&hub, DEMO, "1x8MiB-none")["layers"][0]["digest"].as_str().unwrap().to_owned();
    let request = |path: &str| {
        let mut stream = TcpStream::connect(hub.addr()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
        stream
    };
    // One transfer that nobody reads, and an image that takes long to make.
    let mut unread = request(&format!("/v2/demo/layers/blobs/{layer}"));
    let mut unmade = request("/v2/demo/layers/manifests/2x8GiB");
    unread.read_exact(&mut [0]).unwrap();
    let begun = Instant::now();
    while open_in(dir.path()) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the second image was not begun");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (addr, stopped) = (hub.addr(), Instant::now());
    hub.stop();
    assert!(stopped.elapsed() < Duration::from_secs(4), "{:?}", stopped.elapsed());
    assert!(TcpStream::connect(addr).is_err());
    let mut rest = Vec::new();
    let _ = unread.read_to_end(&mut rest);
    assert!(rest.len() < 8 << 20);
    let answered = unmade.read_to_end(&mut Vec::new());
    assert!(matches!(answered, Ok(0) | Err(_)), "{answered:?}");
    let gone = gone.lock().unwrap();
    assert!(gone.iter().any(|(status, bytes)| *status == 200 && (1..8 << 20).contains(bytes)), "{gone:?}");
    assert!(gone.contains(&(0, 0)), "the request without an answer: {gone:?}");
}
