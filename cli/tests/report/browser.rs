//! A headless Chromium in a network namespace with nothing in it, spoken to in its own protocol.
//!
//! Messages are JSON, each with a zero byte at its end: requests to descriptor 3, answers and events from descriptor 4.

use std::cell::RefCell;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The browser.
pub(super) struct Browser {
    child: Child,
    _profile: TempDir,
    pipes: RefCell<Pipes>,
}

struct Pipes {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    last: u64,
    events: Vec<Value>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It was asked to close, or the test fails anyway.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Browser {
    pub(super) fn start() -> Browser {
        let profile = TempDir::new().unwrap();
        // The shell moves our pipes to where the browser looks for them.
        let script = "[ $(id -u) = 0 ] || map=--map-root-user; exec unshare $map --net chromium --headless --no-sandbox \
                      --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe \
                      --user-data-dir=\"$0\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(profile.path()).env("HOME", profile.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let pipes = RefCell::new(Pipes { requests, answers, last: 0, events: Vec::new() });
        Browser { child, _profile: profile, pipes }
    }

    /// A window.
    pub(super) fn open(&self) -> Page<'_> {
        let target = self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attached =
            self.call(None, "Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        let page = Page { browser: self, session: attached["sessionId"].as_str().unwrap().to_owned() };
        for domain in ["Page", "Runtime", "Log", "Network", "Security"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page
    }

    #[track_caller]
    fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let mut pipes = self.pipes.borrow_mut();
        pipes.last += 1;
        let id = pipes.last;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let written = pipes.requests.write_all(format!("{message}\0").as_bytes());
        assert!(written.is_ok(), "chromium does not run: scripts/setup installs it ({written:?})");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let answer = pipes.read(method);
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            pipes.events.push(answer);
        }
        panic!("{method}: no answer");
    }

    /// All that happened in a window since it was last asked.
    fn events(&self, session: &str) -> Vec<Value> {
        let mut pipes = self.pipes.borrow_mut();
        let (own, others) = pipes.events.drain(..).partition(|event: &Value| event["sessionId"] == session);
        pipes.events = others;
        own
    }
}

impl Pipes {
    #[track_caller]
    fn read(&mut self, doing: &str) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "{doing}: chromium went away; scripts/setup installs what it needs");
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// A window, and what is open in it.
pub(super) struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

impl Page<'_> {
    #[track_caller]
    pub(super) fn call(&self, method: &str, parameters: &Value) -> Value {
        self.browser.call(Some(&self.session), method, parameters)
    }

    /// Makes the window so wide, and its reader like this.
    pub(super) fn look(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "media": "", "features": features }));
    }

    /// Opens a file and waits until all of it is there.
    #[track_caller]
    pub(super) fn go(&self, path: &Path) {
        self.call("Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
        let start = Instant::now();
        // The answer to the first question may still be that of the page before.
        let here = path.file_name().unwrap().to_str().unwrap();
        while !self.ask(&format!("document.readyState === 'complete' && location.href.endsWith({})", json!(here))) {
            assert!(start.elapsed() < PATIENCE, "{here} does not load");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What an expression is in the page.
    #[track_caller]
    pub(super) fn value(&self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Whether an expression is true in the page.
    #[track_caller]
    pub(super) fn ask(&self, expression: &str) -> bool {
        self.value(expression) == true
    }

    /// What went wrong since the page was opened, and whom it asked for something beside itself.
    pub(super) fn complaints(&self) -> Vec<String> {
        // What happened before the answer has been told before it.
        self.value("1");
        let mut found = Vec::new();
        for event in self.browser.events(&self.session) {
            let parameters = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => {
                    found.push(event.to_string());
                }
                "Network.requestWillBeSent" => {
                    let url = parameters["request"]["url"].as_str().unwrap_or_default();
                    if !(url.starts_with("file:///") && parameters["type"] == "Document") && url != "about:blank" {
                        found.push(format!("asks for {url}"));
                    }
                }
                "Network.webSocketCreated" | "Network.loadingFailed" => found.push(event.to_string()),
                _ => {}
            }
        }
        found
    }

    /// A picture of the whole page, as a PNG file.
    pub(super) fn screenshot(&self, path: &Path) {
        let taken = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        std::fs::write(path, base64(taken["data"].as_str().unwrap())).unwrap();
    }

    /// The page on paper, as a PDF file.
    pub(super) fn print(&self, path: &Path) -> Vec<u8> {
        let parameters =
            json!({ "printBackground": false, "preferCSSPageSize": true, "paperWidth": 8.27, "paperHeight": 11.69 });
        let printed = base64(self.call("Page.printToPDF", &parameters)["data"].as_str().unwrap());
        std::fs::write(path, &printed).unwrap();
        printed
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter_map(digit) {
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    out
}
