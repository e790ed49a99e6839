//! A second receiver that shares no code with ours: Python's gRPC and protobuf, with OpenTelemetry's own generated
//! messages. The packages come from PyPI into an environment below `target/`, once; `$TRACE_TEST_PYTHON` names a Python
//! that has them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use trace_run::record::collect::Collect;
use trace_run::record::file;
use trace_run::record::model::Trace;

use super::common;

const PACKAGES: [&str; 3] = ["grpcio==1.85.1", "opentelemetry-proto==1.45.2", "prometheus_client==0.26.0"];

/// A Python with the packages, or why there is none.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(find_python) {
        Ok(path) => Some(path.clone()),
        Err(why) => {
            common::skipped(why);
            None
        }
    }
}

fn find_python() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("TRACE_TEST_PYTHON").filter(|p| !p.is_empty()) {
        return Ok(path.into());
    }
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (dir, done) = (tmp.join("receiver-python"), tmp.join("receiver-python.done"));
    let python = dir.join("bin/python");
    // Test programs of several checkouts or runs may come here at once.
    let lock = std::fs::File::create(tmp.join("receiver-python.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    if std::fs::read_to_string(&done).is_ok_and(|d| d == PACKAGES.join(" ")) {
        return Ok(python);
    }
    let run = |program: &Path, args: &[&str]| match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("`{} {args:?}`: {}", program.display(), String::from_utf8_lossy(&out.stderr).trim())),
        Err(e) => Err(format!("this needs `{}`: {e}", program.display())),
    };
    let _ = std::fs::remove_dir_all(&dir);
    run(Path::new("python3"), &["-m", "venv", common::text(&dir)])?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    run(&python, &[&install[..], &PACKAGES[..]].concat())?;
    std::fs::write(&done, PACKAGES.join(" ")).map_err(|e| e.to_string())?;
    Ok(python)
}

/// A running receiver; it ends with this value.
pub struct Receiver {
    child: Child,
    dir: tempfile::TempDir,
    ports: [u16; 2],
}

/// A request that came.
pub struct Request {
    pub protocol: String,
    pub headers: Value,
    /// Bytes of the message by gRPC, of the body by HTTP.
    pub size: usize,
    pub body: Value,
}

impl Receiver {
    pub fn start() -> Option<Receiver> {
        Self::start_with(&[])
    }

    /// With a certificate and its key, and an authority whose clients alone are let in.
    pub fn start_with(tls: &[&Path]) -> Option<Receiver> {
        let python = python()?;
        let dir = tempfile::Builder::new().prefix("trace-receiver-").tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backend/receiver.py");
        let mut child =
            Command::new(python).arg(script).arg(dir.path()).args(tls).stdin(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        let ports = loop {
            if let Ok(ports) = std::fs::read_to_string(dir.path().join("ports")) {
                break ports;
            }
            assert!(child.try_wait().unwrap().is_none(), "the receiver ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "the receiver does not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        let ports: Vec<u16> = ports.split(' ').map(|p| p.parse().unwrap()).collect();
        Some(Receiver { child, dir, ports: [ports[0], ports[1]] })
    }

    pub fn grpc(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.ports[0])
    }

    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// What the next requests get.
    pub fn script(&self, lines: &str) {
        std::fs::write(self.dir.path().join("script"), lines).unwrap();
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Request> {
        let path = self.dir.path().join("requests");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            Request {
                protocol: line["protocol"].as_str().unwrap().to_owned(),
                headers: line["headers"].take(),
                size: line["size"].as_u64().unwrap() as usize,
                body: line["body"].take(),
            }
        });
        lines.collect()
    }
}

/// The traces in some requests, by our reader of OTLP JSON.
pub fn traces(requests: &[Request]) -> Vec<Trace> {
    let mut collect = Collect::new();
    for request in requests {
        for trace in file::parse(request.body.to_string().as_bytes(), "receiver".as_ref()).unwrap() {
            let sources: Vec<_> = trace.origins.iter().map(|o| collect.source(o.clone())).collect();
            for span in trace.spans {
                let source = sources[span.origin as usize];
                collect.add(trace.id, trace.state.clone(), source, span);
            }
        }
    }
    collect.finish()
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
