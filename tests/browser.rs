//! A real headless Chromium, driven over the `DevTools` protocol on two pipes: no port, no library.
//!
//! The browser reads commands from its file descriptor 3 and writes answers to 4, JSON that ends with a zero byte each. A
//! small shell makes these of its standard input and output. When the test process ends, for whatever reason, the pipe
//! closes and the browser ends too.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use serde_json::{Value, json};

use crate::broker::part;
use crate::client;
use crate::command::Folder;

const PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// What a browser that shows one page of ours should need no more than.
const SWITCHES: [&str; 8] = [
    "--headless",
    // It would need rights that a container does not give; the only page it opens is ours.
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
];

/// Messages that may wait to be read.
const WAITING: usize = 4_096;

/// A browser with one page open; ends when dropped.
pub(crate) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    state: RefCell<State>,
    session: String,
    _profile: Folder,
}

#[derive(Default)]
struct State {
    next: u64,
    /// What it told without being asked.
    events: Vec<Value>,
}

impl Browser {
    /// Starts it, with a page that is empty.
    pub(crate) fn start() -> Self {
        let profile = Folder::new();
        let mut child = Command::new("sh")
            .args(["-c", PIPES])
            .arg(part("chromium/run"))
            .args(SWITCHES)
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let (send, messages) = bounded(WAITING);
        let read = move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        };
        std::thread::Builder::new().name("browser".to_owned()).spawn(read).unwrap();
        let commands = child.stdin.take();
        let mut browser = Self {
            child,
            commands,
            messages,
            state: RefCell::default(),
            session: String::new(),
            _profile: profile,
        };
        let text = |answer: &Value, key: &str| answer[key].as_str().unwrap().to_owned();
        let target = text(&browser.ask("Target.createTarget", &json!({"url": "about:blank"})), "targetId");
        let attach = json!({"targetId": target, "flatten": true});
        browser.session = text(&browser.ask("Target.attachToTarget", &attach), "sessionId");
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, method: &str, parameters: &Value) -> Value {
        let id = {
            let mut state = self.state.borrow_mut();
            state.next += 1;
            state.next
        };
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&command).unwrap();
        bytes.push(0);
        self.commands.as_ref().unwrap().write_all(&bytes).unwrap();
        loop {
            let message = match self.messages.recv_timeout(client::PATIENCE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: the browser does not answer"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
            };
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.state.borrow_mut().events.push(message);
        }
    }

    /// What an expression of JavaScript comes to in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// As [`Self::value`], as text.
    pub(crate) fn text(&self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&self, expression: &str) {
        let start = client::now();
        while self.value(expression) != true {
            assert!(
                start.elapsed() < client::PATIENCE,
                "waited in vain for {expression}:\n{}",
                self.text("document.body.innerText")
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Opens an address, and waits until it is there.
    pub(crate) fn open(&self, address: &str) {
        let answer = self.ask("Page.navigate", &json!({"url": address}));
        assert!(answer["errorText"].is_null(), "{address}: {answer}");
        self.wait_until(&format!("location.href === {address:?} && document.readyState === 'complete'"));
    }

    /// A window of that size, on a machine set to light or dark.
    pub(crate) fn show_on(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &media);
    }

    /// Events of that kind so far, oldest first.
    pub(crate) fn events(&self, method: &str) -> Vec<Value> {
        // What has come is read with the answer to anything.
        self.value("0");
        let state = self.state.borrow();
        let of = state.events.iter().filter(|event| event["method"] == method);
        of.map(|event| event["params"].clone()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
