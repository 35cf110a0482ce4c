//! What cannot be seen from outside: the patience with servers, the encoding of credentials.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Instant;

use bld_solver::remote::Remote;

use super::*;

#[test]
fn base64_of_every_length() {
    for (plain, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{ff}~", "w79+")]
    {
        assert_eq!(base64(plain.as_bytes()), text);
    }
    assert_eq!(basic("user:p%40ss%"), format!("Basic {}", base64(b"user:p@ss%")));
}

/// The URL of a server that answers `answer` and then keeps the connection open in silence.
fn silent_after(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            stream.write_all(answer).unwrap();
            open.push(stream);
        }
    });
    format!("http://127.0.0.1:{port}/a")
}

fn fetch(url: &str, change: impl FnOnce(&mut RemoteConfig)) -> Result<Fetched, SourceError> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), || Timestamp::FIXED).unwrap();
    let mut config = RemoteConfig::new(String::new());
    config.idle_timeout = Duration::from_millis(150);
    change(&mut config);
    let Ok(Some(Remote::Http(source))) = Remote::parse(url) else { panic!("{url} is no URL") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(Remotes::new(store, config).fetch(&source))
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let start = Instant::now();
        let error = fetch(&silent_after(answer), |_| ()).unwrap_err();
        assert!(matches!(error, SourceError::Transport { transient: true, .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789"[..], b"HTTP/1.1 200 OK\r\n\r\n123456789"] {
        let error = fetch(&silent_after(answer), |config| config.max_bytes = 8).unwrap_err();
        assert!(matches!(error, SourceError::TooLarge { limit: 8, .. }), "{error}");
    }
}

#[test]
fn nobody_there_is_an_error_without_the_password() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch(&format!("http://user:pass@127.0.0.1:{port}/a?token=secret"), |_| ()).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("xxxxx@127.0.0.1") && !text.contains("pass@") && !text.contains("secret"), "{text}");
}
