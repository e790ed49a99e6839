//! A browser to drive: chromedriver over plain HTTP (W3C WebDriver), as little of it as the tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::common;

/// One browser at a time: two cores are few for several.
static ONE: Mutex<()> = Mutex::new(());

/// A browser with one window of 1200 by 900. It ends with this value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// Keys without a character (WebDriver, "Keyboard actions").
pub mod key {
    pub const TAB: &str = "\u{e004}";
    pub const ENTER: &str = "\u{e007}";
    pub const SHIFT: &str = "\u{e008}";
    pub const ESCAPE: &str = "\u{e00c}";
    pub const END: &str = "\u{e010}";
    pub const HOME: &str = "\u{e011}";
    pub const LEFT: &str = "\u{e012}";
    pub const UP: &str = "\u{e013}";
    pub const RIGHT: &str = "\u{e014}";
    pub const DOWN: &str = "\u{e015}";
}

impl Browser {
    /// Starts one; `None` (and a word why) where there is none.
    pub fn start() -> Option<Browser> {
        if !common::have(&["chromium", "chromedriver"]) {
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = tempfile::tempdir().expect("a directory");
        let mut driver = Command::new(common::find("chromedriver")?)
            .arg("--port=0")
            // A group of its own, so that the browser, too, ends where a test fails.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| l.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        // What it says later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        let profile_arg = format!("--user-data-dir={}", profile.path().display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
            &profile_arg,
        ];
        let mut browser = Browser { driver, port, session: String::new(), _profile: profile, _one: one };
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": args, "binary": common::find("chromium")?},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = browser.ask("POST", "", &capabilities);
        browser.session = format!("/{}", answer["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head = format!(
            "{method} /session{}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.session,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).expect("a body");
        let mut answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        let value = answer["value"].take();
        assert!(value["error"].is_null() || value.get("stacktrace").is_none(), "{path} {body}: {value}");
        value
    }

    /// Opens a file, with what follows `#`.
    pub fn open(&self, file: &Path, fragment: &str) {
        // Only another document is loaded anew.
        self.ask("POST", "/url", &json!({"url": "about:blank"}));
        let _ = self.log();
        self.ask("POST", "/url", &json!({"url": format!("file://{}{fragment}", file.display())}));
    }

    /// What the body of a function gives.
    pub fn eval(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The same, if it is text.
    pub fn text(&self, script: &str) -> String {
        let value = self.eval(script);
        value.as_str().unwrap_or_else(|| panic!("{script} gives {value}")).to_owned()
    }

    /// The same, if it is a number.
    pub fn number(&self, script: &str) -> f64 {
        let value = self.eval(script);
        value.as_f64().unwrap_or_else(|| panic!("{script} gives {value}"))
    }

    /// Waits until a condition holds; pages draw with the next frame.
    #[track_caller]
    pub fn until(&self, condition: &str) {
        let begin = Instant::now();
        while self.eval(&format!("return !!({condition})")) != json!(true) {
            assert!(begin.elapsed() < Duration::from_secs(10), "never came true: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Two frames, so that what was asked for is drawn.
    pub fn settle(&self) {
        let script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(true)))";
        self.ask("POST", "/execute/async", &json!({"script": script, "args": []}));
    }

    /// Presses and releases keys, all together if there are several in one text.
    pub fn press(&self, keys: &[&str]) {
        for chord in keys {
            let chord: Vec<String> = chord.chars().map(String::from).collect();
            let down = chord.iter().map(|k| json!({"type": "keyDown", "value": k}));
            let up = chord.iter().rev().map(|k| json!({"type": "keyUp", "value": k}));
            let actions: Vec<Value> = down.chain(up).collect();
            self.ask("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
        }
        self.settle();
    }

    /// Types a text, key by key.
    pub fn type_in(&self, text: &str) {
        let keys: Vec<String> = text.chars().map(String::from).collect();
        self.press(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Moves the pointer over the middle of an element.
    pub fn hover(&self, selector: &str) {
        let (x, y) = self.middle(selector);
        self.pointer(&[json!({"type": "pointerMove", "x": x, "y": y, "duration": 0})]);
    }

    /// Clicks the middle of an element.
    pub fn click(&self, selector: &str) {
        let (x, y) = self.middle(selector);
        self.pointer(&[
            json!({"type": "pointerMove", "x": x, "y": y, "duration": 0}),
            json!({"type": "pointerDown", "button": 0}),
            json!({"type": "pointerUp", "button": 0}),
        ]);
    }

    /// Drags from the middle of an element to the right.
    pub fn drag(&self, selector: &str, by: i64) {
        let (x, y) = self.middle(selector);
        self.pointer(&[
            json!({"type": "pointerMove", "x": x, "y": y, "duration": 0}),
            json!({"type": "pointerDown", "button": 0}),
            json!({"type": "pointerMove", "x": x + by, "y": y, "duration": 50}),
            json!({"type": "pointerUp", "button": 0}),
        ]);
    }

    /// Turns the wheel over the middle of an element.
    pub fn wheel(&self, selector: &str, by: i64) {
        let (x, y) = self.middle(selector);
        let scroll = json!({"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": by, "duration": 0});
        self.ask("POST", "/actions", &json!({"actions": [{"type": "wheel", "id": "wheel", "actions": [scroll]}]}));
        self.settle();
    }

    fn pointer(&self, actions: &[Value]) {
        self.ask("POST", "/actions", &json!({"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]}));
        self.settle();
    }

    fn middle(&self, selector: &str) -> (i64, i64) {
        let edges = self.eval(&format!(
            "const r = document.querySelector({}).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height \
            / 2]",
            json!(selector)
        ));
        (edges[0].as_f64().expect("x") as i64, edges[1].as_f64().expect("y") as i64)
    }

    /// Light or dark, as a reader's system would say.
    pub fn color_scheme(&self, scheme: &str) {
        let params = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": "Emulation.setEmulatedMedia", "params": params}));
        self.settle();
    }

    /// `print` or `screen`.
    pub fn media(&self, media: &str) {
        self.ask(
            "POST",
            "/goog/cdp/execute",
            &json!({"cmd": "Emulation.setEmulatedMedia", "params": {"media": media}}),
        );
        self.settle();
    }

    /// Prints to A4 and gives the number of pages.
    pub fn print(&self) -> usize {
        let params =
            json!({"preferCSSPageSize": false, "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false});
        let answer = self.ask("POST", "/goog/cdp/execute", &json!({"cmd": "Page.printToPDF", "params": params}));
        let pdf = BASE64_STANDARD.decode(answer["data"].as_str().expect("a PDF")).expect("base64");
        // ISO 32000-1, 7.7.3.3: each page is an object of this type.
        let pages = pdf.windows(11).filter(|w| w == b"/Type /Page").count();
        let tree = pdf.windows(12).filter(|w| w == b"/Type /Pages").count();
        pages - tree
    }

    /// What the page and the browser complained about since the last time.
    pub fn log(&self) -> Vec<String> {
        let all = self.ask("POST", "/se/log", &json!({"type": "browser"}));
        all.as_array().map_or(Vec::new(), |all| all.iter().map(|e| e["message"].to_string()).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", "", &Value::Null);
        }
        let group = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.driver.wait();
    }
}
