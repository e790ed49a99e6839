//! The distribution project's own server, filled by skopeo.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{find, run, text};

/// A running `docker-registry` with a storage of its own; stopped when dropped.
pub struct DockerRegistry {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
    directory: tempfile::TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DockerRegistry {
    pub fn start() -> DockerRegistry {
        DockerRegistry::start_with(tempfile::tempdir().unwrap(), "", "")
    }

    /// With more in its configuration, and in the `http` part of it; `directory` goes with it.
    pub fn start_with(directory: tempfile::TempDir, more: &str, http: &str) -> DockerRegistry {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        let yaml = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \
            {address}\n{http}{more}",
            storage.display()
        );
        std::fs::write(&config, yaml).unwrap();
        let child = Command::new(find("docker-registry").unwrap())
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DockerRegistry { child, address, directory };
        for _ in 0..800 {
            if TcpStream::connect(&registry.address).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("docker-registry did not start at {}", registry.address);
    }

    /// A directory that goes with it.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Copies `image` of an OCI layout to `name`.
    pub fn push(&self, layout: &Path, name: &str, more: &[&str]) {
        self.push_from(&format!("oci:{}:image", text(layout)), name, more);
    }

    /// Copies an image from anywhere that skopeo knows.
    pub fn push_from(&self, from: &str, name: &str, more: &[&str]) {
        let to = format!("docker://{}/{name}", self.address);
        let plain = ["--insecure-policy", "copy", "--dest-tls-verify=false", "--src-tls-verify=false"];
        run("skopeo", &[&plain[..], more, &[from, &to]].concat());
    }

    /// The reference of an image in it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}
