//! What may stand between bld and a registry: something that fails, cuts, throttles and lies.

use std::collections::HashMap;
use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::Store;

/// A request is not hurt more often than this in a row: what is tested is patience, not luck.
const MOST_IN_A_ROW: u32 = 3;
const PIECE: usize = 16 << 10;

/// How a registry behaves badly.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// So many of a hundred requests are answered 500, 503 or 429.
    pub(super) failing: u64,
    /// So many of a hundred answers are cut somewhere.
    pub(super) cutting: u64,
    /// `Range` is not obeyed.
    pub(super) ignores_ranges: bool,
    /// Bytes a second, for each connection.
    pub(super) throttle: Option<usize>,
    /// What is wrong with every blob that has more bytes than a document.
    pub(super) lie: Option<Lie>,
}

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// A byte of it.
    Byte,
    /// Its last byte is missing.
    Shorter,
    /// There is one byte more.
    Longer,
}

/// Blobs of at least this size are lied about.
const LARGE: usize = 100_000;

/// Stands in front of a registry for the life of the test process.
#[derive(Debug)]
pub(super) struct Proxy {
    /// `127.0.0.1:PORT`.
    pub(super) name: String,
    settings: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    faults: Faults,
    random: Mutex<u64>,
    /// How often a request was hurt since it last was not.
    hurt: Mutex<HashMap<String, u32>>,
    blob_bytes: AtomicU64,
    requests: Mutex<Vec<String>>,
    faulty: AtomicUsize,
}

impl Proxy {
    /// In front of the registry at `upstream`.
    pub(super) fn new(upstream: &str, faults: Faults) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            faults,
            random: Mutex::new(0x9e37_79b9_7f4a_7c15),
            hurt: Mutex::default(),
            blob_bytes: AtomicU64::new(0),
            requests: Mutex::default(),
            faulty: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away is no fault of this test.
                std::thread::spawn(move || state.serve(&connection).ok());
            }
        });
        Proxy { name, settings: tempfile::tempdir().unwrap(), state }
    }

    /// The name of an image behind this.
    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The binary on a store, allowed to ask, and in a hurry to ask again.
    pub(super) fn bld(&self, store: &Store) -> std::process::Command {
        let settings = self.settings.path().join("registries.toml");
        std::fs::write(&settings, "retries = 8\nretry-pause-ms = 10\nidle-timeout = 20\n").unwrap();
        let mut command = store.bld();
        command.env_remove("BLD_OFFLINE").env("BLD_REGISTRIES", settings);
        command
    }

    /// Bytes of blobs that clients were sent.
    pub(super) fn blob_bytes(&self) -> u64 {
        self.state.blob_bytes.load(Ordering::Relaxed)
    }

    /// How many requests came, and how many of them were hurt.
    pub(super) fn requests(&self) -> (usize, usize) {
        (self.state.requests.lock().unwrap().len(), self.state.faulty.load(Ordering::Relaxed))
    }

    /// How many requests had this in their first line.
    pub(super) fn requests_with(&self, text: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|request| request.contains(text)).count()
    }
}

impl State {
    /// The same sequence in each run.
    fn random(&self) -> u64 {
        let mut state = self.random.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state >> 11
    }

    /// Whether to hurt this request.
    fn chance(&self, request: &str, percent: u64) -> bool {
        let hit = self.random() % 100 < percent;
        let mut hurt = self.hurt.lock().unwrap();
        let count = hurt.entry(request.to_owned()).or_default();
        let hit = hit && *count < MOST_IN_A_ROW;
        *count = if hit { *count + 1 } else { 0 };
        if hit {
            self.faulty.fetch_add(1, Ordering::Relaxed);
        }
        hit
    }

    /// One request, one connection.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let head = self.head(&mut reader)?;
        let request = head.lines().next().unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(request.clone());
        if self.chance(&request, self.faults.failing) {
            let status = match self.random() % 3 {
                0 => "500 Internal Server Error\r\n",
                1 => "503 Service Unavailable\r\n",
                _ => "429 Too Many Requests\r\nRetry-After: 1\r\n",
            };
            let answer = format!("HTTP/1.1 {status}Content-Length: 0\r\nConnection: close\r\n\r\n");
            (&mut &*client).write_all(answer.as_bytes())?;
            client.shutdown(Shutdown::Write)?;
            // What is still being sent would otherwise reset the connection before the answer is read.
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(());
        }
        let server = TcpStream::connect(&self.upstream)?;
        (&server).write_all(head.as_bytes())?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                io::copy(&mut reader, &mut &server).ok();
            });
            let answered = self.answer(&request, &server, client);
            client.shutdown(Shutdown::Both).ok();
            server.shutdown(Shutdown::Both).ok();
            answered
        })
    }

    /// The head of a request as it is passed on.
    fn head(&self, reader: &mut impl io::BufRead) -> io::Result<String> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                head.push_str("Connection: close\r\n\r\n");
                return Ok(head);
            }
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if name != "connection" && !(name == "range" && self.faults.ignores_ranges) {
                head.push_str(&line);
            }
        }
    }

    fn answer(&self, request: &str, server: &TcpStream, client: &TcpStream) -> io::Result<()> {
        let mut server = BufReader::new(server);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if server.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
        });
        let is_blob = request.starts_with("GET ") && request.contains("/blobs/sha256:");
        let large = length.filter(|length| is_blob && *length >= LARGE);
        let lie = self.faults.lie.filter(|_| large.is_some());
        if let (Some(lie), Some(length)) = (lie, large) {
            let said = match lie {
                Lie::Byte => length,
                Lie::Shorter => length - 1,
                Lie::Longer => length + 1,
            };
            head = head.replace(&format!("Content-Length: {length}"), &format!("Content-Length: {said}"));
        }
        let has_body = request.starts_with("GET ") && length.is_some_and(|length| length > 0);
        let mut left = match length {
            Some(length) if has_body && self.chance(request, self.faults.cutting) => {
                usize::try_from(self.random() % length as u64).unwrap()
            }
            _ => usize::MAX,
        };
        let mut client = client;
        client.write_all(head.as_bytes())?;
        let mut piece = vec![0; self.faults.throttle.map_or(PIECE, |rate| (rate / 20).max(1))];
        let mut first = true;
        loop {
            let wanted = left.min(piece.len());
            let count = server.read(&mut piece[..wanted])?;
            if count == 0 {
                break;
            }
            if lie == Some(Lie::Byte) && std::mem::take(&mut first) {
                piece[count / 2] ^= 1;
            }
            client.write_all(&piece[..count])?;
            left -= count;
            if is_blob {
                self.blob_bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
            if let Some(rate) = self.faults.throttle {
                // By what came: a piece may be much smaller than asked for.
                std::thread::sleep(Duration::from_micros(count as u64 * 1_000_000 / rate.max(1) as u64));
            }
        }
        if lie == Some(Lie::Longer) {
            client.write_all(b"x")?;
        }
        Ok(())
    }
}
