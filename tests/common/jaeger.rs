//! A real Jaeger 2.x with memory storage on ports of its own: `$TRACE_TEST_JAEGER`, or `jaeger` on the PATH.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running Jaeger; it ends with this value.
pub struct Jaeger {
    child: Child,
    dir: tempfile::TempDir,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    grpc: u16,
    http: u16,
    query: u16,
    query_grpc: u16,
}

/// Where the program is.
fn program() -> Option<PathBuf> {
    match std::env::var_os("TRACE_TEST_JAEGER").filter(|p| !p.is_empty()) {
        Some(path) => Some(path.into()),
        None => super::find("jaeger"),
    }
}

/// Ports that are free now.
fn free<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|l| l.local_addr().unwrap().port())
}

impl Jaeger {
    /// Starts one, or says why not.
    pub fn start() -> Option<Jaeger> {
        Self::start_with("")
    }

    /// The same with these lines below `protocols: grpc/http` of its OTLP receiver (`auth`, `tls` …), six spaces deep.
    pub fn start_with(receiver: &str) -> Option<Jaeger> {
        let Some(program) = program() else {
            super::skipped("this needs a Jaeger 2.x: `TRACE_TEST_JAEGER`, or `jaeger` on the PATH");
            return None;
        };
        // Another process may take a port between looking and starting.
        for _ in 0..5 {
            let [grpc, http, query, query_grpc] = free();
            let ports = Ports { grpc, http, query, query_grpc };
            if let Some(jaeger) = Self::try_start(&program, ports, receiver) {
                return Some(jaeger);
            }
        }
        panic!("`{}` does not start", program.display());
    }

    fn try_start(program: &PathBuf, ports: Ports, receiver: &str) -> Option<Jaeger> {
        let dir = tempfile::Builder::new().prefix("trace-jaeger-").tempdir().unwrap();
        let config = dir.path().join("config.yaml");
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        std::fs::write(&config, configuration(ports, receiver)).unwrap();
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let mut jaeger = Jaeger { child, dir, ports };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if jaeger.child.try_wait().unwrap().is_some() {
                return None;
            }
            let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            if [ports.grpc, ports.http, ports.query].into_iter().all(listens) {
                return Some(jaeger);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", jaeger.log());
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// OTLP by gRPC.
    pub fn grpc(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.ports.grpc)
    }

    /// OTLP by HTTP.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// UI and query API.
    pub fn query(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.query)
    }

    /// Status and body of a request to the query API.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.query)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
        (status, body.to_owned())
    }

    /// A trace by API v3 (OTLP JSON in `{"result":…}`), once it has at least so many spans.
    pub fn v3(&self, id: &str, spans: usize) -> serde_json::Value {
        self.awaited(&format!("/api/v3/traces/{id}"), |v| count(v, "spanId") >= spans)
    }

    /// A trace by the API that the UI uses, once it has at least so many spans.
    pub fn old(&self, id: &str, spans: usize) -> serde_json::Value {
        self.awaited(&format!("/api/traces/{id}"), |v| {
            v["data"][0]["spans"].as_array().is_some_and(|all| all.len() >= spans)
        })
    }

    fn awaited(&self, path: &str, complete: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let (status, body) = self.get(path);
            let value = serde_json::from_str(&body).unwrap_or_default();
            if status == 200 && complete(&value) {
                return value;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{path}: {status} {body}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How often an object has this key with a span's events and links left out.
fn count(value: &serde_json::Value, key: &str) -> usize {
    match value {
        serde_json::Value::Object(map) => {
            let own = usize::from(map.contains_key(key));
            own + map.iter().filter(|(k, _)| *k != "links").map(|(_, v)| count(v, key)).sum::<usize>()
        }
        serde_json::Value::Array(all) => all.iter().map(|v| count(v, key)).sum(),
        _ => 0,
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(ports: Ports, receiver: &str) -> String {
    let Ports { grpc, http, query, query_grpc } = ports;
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics:
      level: none
    logs:
      level: info
extensions:
  jaeger_query:
    storage:
      traces: memory
    http:
      endpoint: 127.0.0.1:{query}
    grpc:
      endpoint: 127.0.0.1:{query_grpc}
  jaeger_storage:
    backends:
      memory:
        memory:
          max_traces: 100000
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:{grpc}
{receiver}
      http:
        endpoint: 127.0.0.1:{http}
{receiver}
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
"
    )
}
