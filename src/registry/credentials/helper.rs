//! Programs that keep logins: `docker-credential-NAME get|store|erase`, as docker calls them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::Login;
use crate::json::{self, object};
use crate::net::text::one_line;

/// A program that asks its user for something is given this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// More is no login.
const ANSWER_MAX: u64 = 1 << 20;

object! {
    struct Answer {
        user: String = "Username",
        secret: String = "Secret",
    }
}

pub(super) struct Helper(String);

impl Helper {
    /// The program of this name, which comes from a file.
    pub(super) fn new(name: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !name.bytes().all(fits) {
            return Err(format!("`{}` is no name of a program that keeps logins", one_line(name, 60)));
        }
        Ok(Helper(format!("docker-credential-{name}")))
    }

    /// What it keeps for this key.
    pub(super) fn get(&self, key: &str) -> Result<Option<Login>, String> {
        let (good, out) = self.call("get", key.as_bytes())?;
        if !good {
            let text = one_line(&String::from_utf8_lossy(&out), 100);
            // The words of docker's own library of helpers, by which docker knows it too.
            return if text.contains("credentials not found") { Ok(None) } else { Err(self.refused(&text)) };
        }
        let Answer { user, secret } =
            json::parse(&out).map_err(|_| format!("`{}` gives something that is no login", self.0))?;
        Ok(match user.as_str() {
            "<token>" => Some(Login::Identity(secret)),
            "" if secret.is_empty() => None,
            _ => Some(Login::Password { user, password: secret }),
        })
    }

    pub(super) fn store(&self, key: &str, login: &Login) -> Result<(), String> {
        let (user, secret) = match login {
            Login::Password { user, password } => (user.as_str(), password),
            Login::Identity(token) | Login::Bearer(token) => ("<token>", token),
        };
        let input = serde_json::json!({"ServerURL": key, "Username": user, "Secret": secret}).to_string();
        match self.call("store", input.as_bytes())? {
            (true, _) => Ok(()),
            (false, out) => Err(self.refused(&one_line(&String::from_utf8_lossy(&out), 100))),
        }
    }

    pub(super) fn erase(&self, key: &str) -> Result<(), String> {
        // One that has nothing to erase says so in many ways.
        self.call("erase", key.as_bytes()).map(drop)
    }

    fn refused(&self, text: &str) -> String {
        let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
        format!("`{}` failed{said}", self.0)
    }

    /// Runs it with this on its standard input: arguments can be seen by everybody.
    fn call(&self, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), String> {
        let fail = |e: std::io::Error| format!("`{}` cannot be run ({e})", self.0);
        let mut child = Command::new(&self.0)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(fail)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want it is not at fault.
            let _ = stdin.write_all(input);
        }
        let (send, receive) = mpsc::channel();
        let stdout = child.stdout.take();
        let reader = std::thread::Builder::new().name("credentials".into()).spawn(move || {
            let mut out = Vec::new();
            let read = stdout.map(|pipe| pipe.take(ANSWER_MAX).read_to_end(&mut out));
            let _ = send.send((read.is_some_and(|r| r.is_ok()), out));
        });
        reader.map_err(fail)?;
        let answer = receive.recv_timeout(PATIENCE);
        if answer.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(fail)?;
        match answer {
            Ok((_, out)) => Ok((status.success(), out)),
            Err(_) => Err(format!("`{}` did not answer within {} s", self.0, PATIENCE.as_secs())),
        }
    }
}
