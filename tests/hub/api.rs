//! Each endpoint, by hand-written requests.

use super::*;

#[test]
fn every_endpoint_answers_as_the_specification_says() {
    let hub = start();
    let none = Digest::of(b"nothing has this content");
    for (method, path, status, code) in [
        ("GET", "/v2/", 200, ""),
        ("GET", "/v2", 200, ""),
        ("GET", "/v2/_catalog", 200, ""),
        ("GET", "/v2/library/hello-world/manifests/latest", 200, ""),
        ("GET", "/v2/library/hello-world/manifests/linux", 200, ""),
        ("GET", "/v2/library/hello-world/manifests/other", 404, "MANIFEST_UNKNOWN"),
        ("GET", &format!("/v2/library/hello-world/manifests/{none}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", &format!("/v2/demo/layers/manifests/{none}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/demo/layers/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/demo/layers/manifests/201x1KiB", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/hello-world/manifests/latest", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/nobody/nothing/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", &format!("/v2/nobody/nothing/blobs/{none}"), 404, "NAME_UNKNOWN"),
        ("GET", &format!("/v2/library/hello-world/blobs/{none}"), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/library/hello-world/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/UPPER/manifests/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/_catalog?n=some", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET", "/", 404, "UNSUPPORTED"),
        ("GET", "/v2/library/hello-world/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", "/v2/library/hello-world/blobs/uploads/", 405, "UNSUPPORTED"),
        ("PUT", "/v2/library/hello-world/manifests/latest", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/library/hello-world/manifests/latest", 405, "UNSUPPORTED"),
        ("PATCH", "/v2/library/hello-world/blobs/uploads/x", 405, "UNSUPPORTED"),
        ("BREW", "/v2/", 405, "UNSUPPORTED"),
    ] {
        let reply = ask(hub.addr(), method, path, &[]);
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
        if status == 200 {
            let head = ask(hub.addr(), "HEAD", path, &[]);
            assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
            let without_date = |reply: &Reply| {
                let mut headers = reply.headers.clone();
                headers.remove("date");
                headers
            };
            assert_eq!(without_date(&head), without_date(&reply), "{path}");
        } else {
            assert_eq!(reply.code(), code, "{method} {path}");
            assert_eq!(reply.header("content-type"), "application/json");
            assert!(!reply.json()["errors"][0]["message"].as_str().unwrap().is_empty());
        }
        if status == 405 {
            assert_eq!(reply.header("allow"), "GET, HEAD");
        }
    }
}

#[test]
fn lists_come_in_pages() {
    let hub = start();
    for (path, key) in [("/v2/_catalog", "repositories"), ("/v2/demo/layers/tags/list", "tags")] {
        let whole = get(&hub, path);
        assert_eq!(whole.header("link"), "");
        let whole = whole.json()[key].as_array().unwrap().clone();
        for size in 1..=whole.len() + 1 {
            let (mut pieces, mut next) = (Vec::new(), format!("{path}?n={size}"));
            loop {
                let page = get(&hub, &next);
                pieces.extend(page.json()[key].as_array().unwrap().clone());
                let link = page.header("link");
                if link.is_empty() {
                    break;
                }
                let target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                next = target.to_owned();
            }
            assert_eq!(pieces, whole, "{path} by {size}");
        }
        assert_eq!(get(&hub, &format!("{path}?n=0")).json()[key].as_array().unwrap().len(), 0);
        assert_eq!(get(&hub, &format!("{path}?last=zzz")).json()[key].as_array().unwrap().len(), 0);
    }
    for tag in get(&hub, "/v2/demo/layers/tags/list").json()["tags"].as_array().unwrap() {
        assert!(hub::has(DEMO, tag.as_str().unwrap()));
    }
}

#[test]
fn accept_decides_between_index_and_manifest() {
    let hub = start();
    let path = "/v2/library/hello-world/manifests/latest";
    let index = "application/vnd.oci.image.index.v1+json";
    let one = "application/vnd.oci.image.manifest.v1+json";
    for (accept, expected) in [
        (vec!["Accept: */*"], index),
        (vec!["Accept: application/*;q=0.5"], index),
        (
            vec![
                "Accept: application/vnd.docker.distribution.manifest.v2+json",
                "Accept: application/vnd.oci.image.index.v1+json;q=0.9",
            ],
            index,
        ),
        (vec![&format!("Accept: {one}, {index}")], index),
        (vec![ONE_MANIFEST], one),
    ] {
        let reply = ask(hub.addr(), "GET", path, &accept);
        assert_eq!((reply.status, reply.header("content-type")), (200, expected), "{accept:?}");
        assert_eq!(reply.json()["mediaType"], expected);
        assert_eq!(reply.header("docker-content-digest"), Digest::of(&reply.body).to_string());
    }
    let docker = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let refused = ask(hub.addr(), "GET", path, &[docker]);
    assert_eq!((refused.status, refused.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    // Who asks for the index by its digest must not get something with another digest.
    let digest = manifest(&hub, HELLO, "latest").header("docker-content-digest").to_owned();
    let by_digest = ask(hub.addr(), "GET", &format!("/v2/{HELLO}/manifests/{digest}"), &[ONE_MANIFEST]);
    assert_eq!(by_digest.status, 404);
    let demo = ask(hub.addr(), "GET", "/v2/demo/layers/manifests/1x1KiB", &[ONE_MANIFEST]);
    assert_eq!((demo.status, demo.header("content-type")), (200, one));
}

#[test]
fn ranges_of_blobs_in_memory_and_in_files() {
    let hub = start();
    let config = manifest_of(&hub, HELLO, "latest")["config"].clone();
    let layer = manifest_of(&hub, DEMO, "2x1MiB-none")["layers"][1].clone();
    for (name, descriptor) in [(HELLO, config), (DEMO, layer)] {
        let whole = blob(&hub, name, &descriptor);
        let (size, digest) = (whole.len(), descriptor["digest"].as_str().unwrap());
        let path = format!("/v2/{name}/blobs/{digest}");
        let ask_for = |headers: &[&str]| ask(hub.addr(), "GET", &path, headers);
        let third = size / 3;
        for (range, start, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            (format!("bytes={third}-{}", 2 * third), third, 2 * third + 1),
            (format!("bytes={third}-"), third, size),
            (format!("bytes=-{third}"), size - third, size),
            (format!("bytes=-{}", size + 5), 0, size),
            (format!("bytes=1-{}", size + 5), 1, size),
            (format!("bytes={}-", size - 1), size - 1, size),
        ] {
            let reply = ask_for(&[&format!("Range: {range}")]);
            assert_eq!(reply.status, 206, "{range}");
            assert_eq!(reply.header("content-range"), format!("bytes {start}-{}/{size}", end - 1));
            assert_eq!(reply.header("content-length"), (end - start).to_string());
            assert!(reply.body == whole[start..end], "{range}");
        }
        for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
            let reply = ask_for(&[&format!("Range: {range}")]);
            assert_eq!((reply.status, reply.code().as_str()), (416, "RANGE_INVALID"));
            assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
        }
        for headers in [&["Range: bytes=9-3"][..], &["Range: bytes=0-0,2-2"], &["Range: bytes=0-0", "If-Range: \"x\""]]
        {
            let reply = ask_for(headers);
            assert_eq!((reply.status, reply.header("accept-ranges")), (200, "bytes"), "{headers:?}");
            assert!(reply.body == whole);
        }
        let same = format!("If-Range: \"{digest}\"");
        assert_eq!(ask_for(&["Range: bytes=0-0", &same]).status, 206);
        let head = ask(hub.addr(), "HEAD", &path, &["Range: bytes=0-0"]);
        assert_eq!((head.status, head.header("content-length")), (200, size.to_string().as_str()));
        assert_eq!(head.header("docker-content-digest"), digest);
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let hub = start();
    let mut stream = TcpStream::connect(hub.addr()).unwrap();
    for _ in 0..100 {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
        let mut reply = Vec::new();
        let mut byte = [0];
        while !reply.ends_with(b"\r\n\r\n{}") {
            stream.read_exact(&mut byte).unwrap();
            reply.push(byte[0]);
        }
        assert!(reply.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn the_observer_hears_of_every_request() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let observer: hub::Observer = Arc::new(move |access| listener.lock().unwrap().push(access.clone()));
    let options = Options { observer: Some(observer), ..Options::default() };
    let hub = Hub::with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    get(&hub, "/v2/");
    ask(hub.addr(), "HEAD", "/v2/demo/layers/manifests/1x2KiB?token=secret", &[]);
    get(&hub, &format!("/v2/\u{9b}31m/{}", "x".repeat(5000)));
    let size = blob(&hub, DEMO, &manifest_of(&hub, DEMO, "1x2KiB")["layers"][0]).len();
    hub.stop();
    let heard = heard.lock().unwrap();
    let seen: Vec<_> = heard.iter().map(|one| (one.method.as_str(), one.path.as_str(), one.status)).collect();
    assert_eq!(seen[0], ("GET", "/v2/", 200));
    assert_eq!(seen[1], ("HEAD", "/v2/demo/layers/manifests/1x2KiB", 200));
    assert_eq!((heard[0].bytes, heard[1].bytes), (2, 0));
    assert!(heard[2].path.is_ascii() && heard[2].path.len() < 400 && heard[2].path.starts_with("/v2/"));
    let last = heard.last().unwrap();
    assert_eq!((last.status, last.bytes as usize), (200, size));
}

#[test]
fn what_it_has_is_known_without_a_hub() {
    let hub = start();
    let digest = manifest(&hub, HELLO, "latest").header("docker-content-digest").to_owned();
    for (name, reference, expected) in [
        (HELLO, "latest", true),
        (HELLO, "linux", true),
        (HELLO, &digest, true),
        (HELLO, "edge", false),
        (DEMO, "6x16MiB", true),
        (DEMO, "1x16GiB-none", true),
        (DEMO, "latest", false),
        (DEMO, &digest, false),
        ("hello-world", "latest", false),
        ("library/../library/hello-world", "latest", false),
        ("", "", false),
    ] {
        assert_eq!(hub::has(name, reference), expected, "{name}:{reference}");
    }
    assert!(hub::catalogue().iter().any(|entry| entry.example == "hello-world"));
}

#[test]
fn an_address_in_use_is_one_clear_error() {
    let hub = start();
    let error = Hub::start(hub.addr()).unwrap_err();
    assert!(matches!(error, HubError::Listen { .. }));
    assert_eq!(error.kind(), "hub_listen");
    assert!(error.to_string().contains(&hub.addr().to_string()), "{error}");
    assert!(error.hint().unwrap().contains("--listen"));
}
