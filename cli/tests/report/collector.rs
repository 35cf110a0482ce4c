//! A collector of spans: one that takes them, one that is slow, one that refuses, none.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::HELD_UP;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::run;

/// A request: its head, and its body.
type Request = (String, Value);

/// Answers each request with `answer`; with nothing at all if it is empty.
fn collect(answer: &'static str) -> (String, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut bytes = Vec::new();
            let (mut length, mut start) = (usize::MAX, 0_usize);
            while bytes.len() < start.saturating_add(length) {
                let mut buffer = [0; 4096];
                match connection.read(&mut buffer) {
                    Ok(read) if read > 0 => bytes.extend(&buffer[..read]),
                    _ => break,
                }
                if let (0, Some(end)) = (start, bytes.windows(4).position(|window| window == b"\r\n\r\n")) {
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    start = end + 4;
                    length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
                }
            }
            let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
            let body = serde_json::from_slice(&bytes[start..]).unwrap();
            let sent = sender.send((head, body));
            if answer.is_empty() {
                std::thread::sleep(Duration::from_mins(1));
            }
            drop(connection.write_all(answer.as_bytes()));
            if sent.is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

const TAKEN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn build(store: &Store, dockerfile: &str, variables: &[(&str, &str)]) -> (Run, Duration) {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let mut command = store.bld();
    command.arg("build").args(["--secret", "id=token,env=TOKEN"]).env("TOKEN", "hunter2hunter2");
    command.arg(directory.path()).envs(variables.iter().copied());
    let start = Instant::now();
    (run(&mut command), start.elapsed())
}

#[test]
fn spans_reach_a_collector() {
    let store = Store::with(&[Base::Busybox]);
    let (address, requests) = collect(TAKEN);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=let%20me%20in"),
        ("OTEL_SERVICE_NAME", "ci"),
        ("TRACEPARENT", parent),
        // Nobody on this machine is asked through it.
        ("http_proxy", "http://127.0.0.1:1"),
    ];
    let dockerfile =
        "FROM busybox:1 AS one\nRUN --mount=type=secret,id=token echo hunter2hunter2\nFROM one\nRUN exit 4\n";
    let (failed, _) = build(&store, dockerfile, &variables);
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    assert!(!failed.stderr.contains("spans"), "{}", failed.stderr);
    let (head, body) = requests.recv_timeout(HELD_UP).unwrap();
    let head = head.to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json") && head.contains("x-token: let me in"), "{head}");
    assert!(!body.to_string().contains("hunter2"), "{body}");
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "ci");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let (root, rest) = spans.split_first().unwrap();
    assert_eq!((root["parentSpanId"].as_str(), root["status"]["code"].as_u64()), (Some("b7ad6b7169203331"), Some(2)));
    let outcome = |span: &Value| {
        let known =
            span["attributes"].as_array().unwrap().iter().find(|fact| fact["key"] == "bld.step.outcome")?.clone();
        Some(known["value"]["stringValue"].as_str().unwrap().to_owned())
    };
    let outcomes: Vec<String> = rest.iter().filter_map(outcome).collect();
    assert!(outcomes.contains(&"ran".to_owned()) && outcomes.contains(&"failed".to_owned()), "{outcomes:?}");
    for span in rest {
        let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
    }
    // A build that goes well, all of it cached but for the end.
    let (built, _) =
        build(&store, "FROM busybox:1 AS one\nRUN --mount=type=secret,id=token echo hunter2hunter2\n", &variables);
    let (_, body) = requests.recv_timeout(HELD_UP).unwrap();
    assert_eq!(built.succeeded().code, Some(0));
    assert_eq!(body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"]["code"], 1);
}

#[test]
fn no_collector_fails_or_holds_up_a_build() {
    let store = Store::with(&[Base::Busybox]);
    let (slow, _slow) = collect("");
    let (refusing, _refusing) = collect(REFUSED);
    let dockerfile = "FROM busybox:1\nENV A=1\n";
    for (endpoint, more, notes) in [
        (slow.as_str(), ("X", ""), &["did not answer within 2000 ms"][..]),
        (slow.as_str(), ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"), &["did not answer within 300 ms"]),
        (refusing.as_str(), ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=hidden"), &["answered 503"]),
        (
            refusing.as_str(),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=hidden%0d%0a"),
            &["the header `x-token` has no valid"],
        ),
        ("http://user:hidden@127.0.0.1:1", ("X", ""), &["127.0.0.1:1: "]),
        ("nonsense hidden", ("X", ""), &["the endpoint is no http or https URL"]),
        ("http://127.0.0.1:1", ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), &["is `grpc`: no spans are sent"]),
        ("http://127.0.0.1:1", ("OTEL_SDK_DISABLED", "true"), &[]),
    ] {
        let (built, took) = build(&store, dockerfile, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), more]);
        let built = built.succeeded();
        assert!(took < HELD_UP, "{took:?}");
        let said: Vec<&str> = built.stderr.lines().filter(|line| line.contains("spans")).collect();
        assert_eq!(said.len(), notes.len(), "{}", built.stderr);
        for (line, note) in said.iter().zip(notes) {
            assert!(line.starts_with("note: ") && line.contains(note), "{line}");
        }
        assert!(!built.stderr.contains("hidden"), "{}", built.stderr);
    }
}
