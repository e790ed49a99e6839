//! Hostile clients, and too many of them.

use super::*;

#[test]
fn hostile_requests_harm_nobody() {
    let hub = start();
    let addr = hub.addr();
    let long = "a".repeat(1 << 20);
    let long_path = format!("GET /v2/{long}/manifests/latest HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n");
    let long_header = format!("GET /v2/ HTTP/1.1\r\nHost: hub\r\nX: {long}\r\n\r\n");
    let many_headers = format!("GET /v2/ HTTP/1.1\r\nHost: hub\r\n{}\r\n", "X: y\r\n".repeat(5000));
    let deep = format!("GET /v2/{}manifests/x HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n", "a/".repeat(20_000));
    for request in [
        &long_path,
        &long_header,
        &many_headers,
        &deep,
        "GET /v2/../../../../etc/passwd HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/blobs/../../../../../etc/passwd HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/blobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/manifests/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/manifests/%00 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/manifests/%f0%28%8c%28 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/tags/list?n=-1&last=%ff HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/demo/layers/tags/list?n=99999999999999999999 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET http://elsewhere/v2/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "CONNECT elsewhere:443 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: hub\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        "GET /v2/ HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let reply = String::from_utf8_lossy(&send(addr, request.as_bytes())).into_owned();
        let shown: String = request.chars().take(80).collect();
        let start: String = reply.chars().take(40).collect();
        assert!(reply.is_empty() || reply.starts_with("HTTP/1."), "{shown}: {start}");
        assert!(!reply.contains("root:"), "{shown}");
        assert!(!reply.starts_with("HTTP/1.1 5"), "{shown}: {start}");
        let fine = ["GET /v2/ ", "GET http:"].iter().any(|prefix| request.starts_with(prefix));
        assert!(fine || !reply.starts_with("HTTP/1.1 2"), "{shown}: {start}");
    }
    for range in ["bytes=18446744073709551615-18446744073709551615", "bytes=-18446744073709551616", "bytes=0-\u{ff}"] {
        let digest = manifest_of(&hub, HELLO, "latest")["config"]["digest"].as_str().unwrap().to_owned();
        let reply = ask(addr, "GET", &format!("/v2/{HELLO}/blobs/{digest}"), &[&format!("Range: {range}")]);
        assert!([200, 206, 416].contains(&reply.status));
    }
    assert_eq!(get(&hub, "/v2/").status, 200);
}

#[test]
fn many_connections_wait_for_their_turn() {
    let hub = start();
    // More than the hub holds open; they all say nothing.
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(hub.addr()).unwrap()).collect();
    let addr = hub.addr();
    let late = std::thread::spawn(move || ask(addr, "GET", "/v2/", &[]).status);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!late.is_finished(), "the number of connections is not bounded");
    drop(silent);
    assert_eq!(late.join().unwrap(), 200);
}

#[test]
fn the_same_image_asked_for_at_once_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(dir.path().to_owned()), ..Options::default() };
    let hub = Hub::with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let addr = hub.addr();
    let askers: Vec<_> = (0..16)
        .map(|_| std::thread::spawn(move || ask(addr, "GET", "/v2/demo/layers/manifests/2x512KiB", &[]).body))
        .collect();
    let bodies: HashSet<Vec<u8>> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
    assert_eq!(bodies.len(), 1);
    // Two threads made it, each with one file that has no name any more.
    assert_eq!(open_in(dir.path()), 2);
}
