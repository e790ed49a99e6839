//! The built-in hub over its real socket: by hand-written requests, by independent clients, and by attackers.

#[path = "../common/mod.rs"]
mod common;

mod api;
mod attacks;
mod clients;
mod demo;
mod hello;

use common::skipped;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trace_run::digest::Digest;
use trace_run::error::Failure;
use trace_run::hub::{self, Hub, HubError, Options};

const HELLO: &str = "library/hello-world";
const DEMO: &str = "demo/layers";
const ONE_MANIFEST: &str = "Accept: application/vnd.oci.image.manifest.v1+json";

fn start() -> Hub {
    Hub::start("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// What came back on a connection of its own.
struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `code` of the first error.
    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

fn send(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The hub may have refused and closed before it has read all of a hostile request.
    let _ = stream.write_all(request);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    reply
}

fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Reply {
    let extra: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n{extra}\r\n");
    let reply = send(addr, request.as_bytes());
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&reply[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    let headers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Reply { status, headers, body: reply[end + 4..].to_vec() }
}

fn get(hub: &Hub, path: &str) -> Reply {
    ask(hub.addr(), "GET", path, &[])
}

fn manifest(hub: &Hub, name: &str, reference: &str) -> Reply {
    let reply = get(hub, &format!("/v2/{name}/manifests/{reference}"));
    assert_eq!(reply.status, 200, "{reference}: {}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.header("docker-content-digest"), Digest::of(&reply.body).to_string());
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(reply.header("content-type"), reply.json()["mediaType"].as_str().unwrap());
    reply
}

/// The bytes a descriptor names, checked.
fn blob(hub: &Hub, name: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let reply = get(hub, &format!("/v2/{name}/blobs/{digest}"));
    assert_eq!(reply.status, 200);
    assert_eq!(Digest::of(&reply.body).to_string(), digest);
    assert_eq!(reply.body.len() as u64, descriptor["size"].as_u64().unwrap());
    reply.body
}

fn inflate(layer: &Value, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match layer["mediaType"].as_str().unwrap() {
        "application/vnd.oci.image.layer.v1.tar+gzip" => {
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" => plain = zstd::decode_all(bytes).unwrap(),
        "application/vnd.oci.image.layer.v1.tar" => plain = bytes.to_vec(),
        other => panic!("{other}"),
    }
    plain
}

/// One platform of an image: its config and its layers as tars, every digest, size and diff id checked.
fn pull(hub: &Hub, name: &str, tag: &str, arch: &str) -> (Value, Vec<Vec<u8>>) {
    let index = manifest(hub, name, tag).json();
    let entries = index["manifests"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == arch).unwrap();
    let reply = manifest(hub, name, entry["digest"].as_str().unwrap());
    assert_eq!(reply.body.len() as u64, entry["size"].as_u64().unwrap());
    let manifest = reply.json();
    let config: Value = serde_json::from_slice(&blob(hub, name, &manifest["config"])).unwrap();
    assert_eq!(config["architecture"], arch);
    let layers: Vec<Vec<u8>> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| inflate(layer, &blob(hub, name, layer))).collect();
    let diff_ids: Vec<Value> = layers.iter().map(|tar| Digest::of(tar).to_string().into()).collect();
    assert_eq!(config["rootfs"]["diff_ids"], Value::Array(diff_ids));
    assert_eq!(config["history"].as_array().unwrap().len(), layers.len());
    (config, layers)
}

/// Runs a program that may not be there.
fn tool(program: &str, args: &[&str]) -> Option<Output> {
    match common::command(program).args(args).output() {
        Ok(output) => Some(output),
        Err(error) => {
            skipped(&format!("`{program}` did not start: {error}"));
            None
        }
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// The manifest that a client without index support gets.
fn manifest_of(hub: &Hub, name: &str, tag: &str) -> Value {
    ask(hub.addr(), "GET", &format!("/v2/{name}/manifests/{tag}"), &[ONE_MANIFEST]).json()
}

/// Unpacks a program so that it can be run at once. The copy is made by another process: a descriptor open for writing
/// in this one can be inherited for a moment by what a test beside it starts, and then exec fails ("text file busy").
fn unpack_program(entry: &mut tar::Entry<'_, &[u8]>, path: &Path) {
    let made = path.with_extension("made");
    entry.unpack(&made).unwrap();
    let copied = Command::new("cp").arg("-p").args([&made, path]).status().unwrap();
    assert!(copied.success());
}

/// How many nameless files in `dir` this process holds open.
fn open_in(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.starts_with(dir)).count()
}
