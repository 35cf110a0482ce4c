//! A small HTTP server with every vice a test asks for. It remembers what it was asked.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// What a path answers with.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own, and a test names those it wants")]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Instead of 200.
    pub(crate) status: Option<u16>,
    /// Content-Length says so many bytes more than there are.
    pub(crate) missing: usize,
    /// Pause after every byte.
    pub(crate) drip: Option<Duration>,
    /// The Authorization header it wants.
    pub(crate) authorization: Option<String>,
    /// How often it fails with 503 first.
    pub(crate) failures: usize,
    /// Answers 200 with the same ETag where it should answer 304.
    pub(crate) forgetful: bool,
    /// No Content-Length: the body ends with the connection.
    pub(crate) unsized_body: bool,
    /// How many bytes each answer has before the connection is cut; the answers after those are whole.
    pub(crate) cuts: VecDeque<usize>,
    /// Ranges are not for this server: it always sends all of it.
    pub(crate) no_ranges: bool,
    /// Answers 206 with another range than was asked for.
    pub(crate) wrong_range: bool,
}

impl Page {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Page {
        Page { body: body.into(), ..Page::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Page {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn redirect(to: impl Into<String>) -> Page {
        Page { status: Some(302), ..Page::default() }.with("Location", to)
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Absolute when it came through as to a proxy.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<String, Page>,
    asked: Vec<Asked>,
}

/// A server on a free port of the loopback interface, for the life of the test process.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let this = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let this = this.clone();
                std::thread::spawn(move || drop(this.serve(&stream.unwrap())));
            }
        });
        server
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    pub(crate) fn page(&self, path: &str, page: Page) {
        self.state.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// How often a path was asked for since then.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.target == path).count()
    }

    /// Statuses given since the last call.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.asked().iter().map(|asked| asked.status).collect()
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.by_ref().take(1 << 16).read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let path = target
            .strip_prefix("http://")
            .map_or(target.as_str(), |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let page = {
            let mut state = self.state.lock().unwrap();
            let page = state.pages.get_mut(path).map(|page| {
                let now = page.clone();
                page.failures = page.failures.saturating_sub(1);
                page.cuts.pop_front();
                now
            });
            page.unwrap_or_else(|| Page { status: Some(404), ..Page::default() })
        };
        let etag = page.headers.iter().find(|(name, _)| *name == "ETag").map(|(_, value)| value.as_str());
        let date = page.headers.iter().find(|(name, _)| *name == "Last-Modified").map(|(_, value)| value.as_str());
        let same =
            |header: &str, value: Option<&str>| value.is_some() && headers.get(header).map(String::as_str) == value;
        let unchanged = same("if-none-match", etag) || same("if-modified-since", date);
        let status = match page.status {
            _ if page.failures > 0 => 503,
            _ if page.authorization.is_some() && headers.get("authorization") != page.authorization.as_ref() => 401,
            Some(status) => status,
            None if unchanged && !page.forgetful => 304,
            None => 200,
        };
        let fits = [etag, date].into_iter().flatten().any(|said| headers.get("if-range").is_some_and(|it| it == said));
        let range = headers.get("range").filter(|_| fits && status == 200 && !page.no_ranges);
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let status = if from.is_some() { 206 } else { status };
        self.state.lock().unwrap().asked.push(Asked { target, headers, status });
        let whole = if matches!(status, 200 | 206) { page.body.as_slice() } else { b"" };
        let from = from.unwrap_or(0);
        let body = &whole[from.min(whole.len())..];
        let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        if !page.unsized_body && status != 304 {
            head += &format!("Content-Length: {}\r\n", body.len() + page.missing);
        }
        if status == 206 {
            let shown = if page.wrong_range { from + 1 } else { from };
            head += &format!("Content-Range: bytes {shown}-{}/{}\r\n", whole.len() - 1, whole.len());
        }
        let body = &body[..page.cuts.front().map_or(body.len(), |cut| body.len().min(*cut))];
        for (name, value) in &page.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        match page.drip {
            None => stream.write_all(body)?,
            Some(pause) => {
                for byte in body {
                    stream.write_all(&[*byte])?;
                    std::thread::sleep(pause);
                }
            }
        }
        stream.flush()
    }
}
