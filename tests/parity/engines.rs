//! Docker with a daemon of its own, and this program, with the same image.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::common::docker_registry::DockerRegistry;
use crate::common::image::{self, Entry, Image, Layer};
use crate::common::lab::Lab;
use crate::common::{find, have, needs_root, run};

/// See the module. Everything goes when it is dropped.
pub struct Docker {
    daemon: Child,
    dir: tempfile::TempDir,
    lab: Lab,
    registry: DockerRegistry,
}

/// What a command left.
#[derive(Debug)]
pub struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// Runs it in `dir`, whose name is taken out of what it says.
    pub fn by(command: &mut Command, dir: &Path) -> Said {
        let output = command.current_dir(dir).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(dir.to_str().unwrap(), "{d}");
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Exit code and output are the same, and both or neither said something beside it.
    pub fn same(&self, other: &Said) -> bool {
        self.code == other.code && self.out == other.out && self.err.is_empty() == other.err.is_empty()
    }
}

/// Busybox with users, and places for mounts to cover.
fn parity_image() -> Image {
    let dir = |owner, mode| Entry { kind: tar::EntryType::Directory, mode, owner, ..Entry::default() };
    let more = Layer::new()
        .entry("data/", dir((1000, 50), 0o2750))
        .entry("data/sub/", dir((1000, 50), 0o755))
        .entry("data/file", Entry { owner: (1000, 50), data: b"one\n", ..Entry::default() })
        .entry("data/sub/deep", Entry { owner: (1000, 50), data: b"two\n", ..Entry::default() })
        .dir("opt/", 0o755)
        .symlink("opt/link", "/opt/later")
        .symlink("dlink", "data")
        .file("bin/badint", 0o755, b"#!/no/such\n")
        .symlink("bin/awk", "busybox")
        .symlink("bin/df", "busybox")
        .symlink("bin/tail", "busybox")
        .symlink("bin/nproc", "busybox")
        .symlink("bin/cp", "busybox")
        .end();
    Image::new(
        &[image::busybox_layer(), &more],
        json!({"Cmd": ["sh"], "Env": ["PATH=/usr/local/bin:/bin", "FROM_IMAGE=yes"]}),
    )
}

impl Docker {
    /// `None` where the test is skipped.
    pub fn start() -> Option<Docker> {
        if !needs_root() || !image::needs_busybox() || !have(&["dockerd", "docker", "docker-registry", "skopeo"]) {
            return None;
        }
        let registry = DockerRegistry::start();
        let layout = registry.dir().join("layout");
        parity_image().write_layout(&layout);
        registry.push(&layout, "parity:1", &["--format", "v2s2"]);
        let dir = tempfile::Builder::new().prefix("trace-parity-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let daemon = Command::new(find("dockerd").unwrap())
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["-H", &format!("unix://{}", at("sock")), "--bridge=none", "--iptables=false", "--ip-forward=false"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let docker = Docker { daemon, dir, lab: Lab::new(), registry };
        docker.lab.trace(&["pull", "-q", &docker.image(1)]).ok();
        for _ in 0..600 {
            let mut ask = docker.client();
            if ask.args(["pull", "-q", &docker.image(0)]).output().unwrap().status.success() {
                return Some(docker);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("dockerd did not start: {}", std::fs::read_to_string(docker.dir.path().join("log")).unwrap_or_default());
    }

    /// The image, for docker (0) and for us (1).
    pub fn image(&self, _engine: usize) -> String {
        self.registry.image("parity:1")
    }

    fn client(&self) -> Command {
        let mut command = Command::new(find("docker").unwrap());
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("B", "fromhost")
            .env("DOCKER_HOST", format!("unix://{}", self.dir.path().join("sock").display()));
        command
    }

    /// `docker run`.
    pub fn command(&self) -> Command {
        let mut command = self.client();
        command.args(["run", "--rm"]);
        command
    }

    /// `trace run`.
    pub fn trace(&self) -> Command {
        let mut command = self.lab.command(&["run", "-q", "--report", "none", "--rm"]);
        command.env("B", "fromhost");
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // By SIGTERM: killed, it would leave its containerd and mounts behind.
        run("kill", &["-TERM", &self.daemon.id().to_string()]);
        let _ = self.daemon.wait();
    }
}
