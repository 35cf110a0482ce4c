//! A small HTTP/1.1 server on a thread of its own. It writes down what it is asked and sent, and can answer as no server should.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether this is the question for an answer before the body was read.
    pub(crate) early: bool,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) fault: Fault,
}

/// How it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The connection is reset after so many bytes of the body.
    Cut(usize),
    /// After so many bytes of the body nothing more comes.
    Silence(usize),
    /// So many bytes at a time, with this pause.
    Drip(usize, Duration),
    /// A body without end.
    Endless,
    /// The connection is closed without an answer.
    Close,
    /// No length is said; the end of the connection ends the body.
    NoLength,
    /// The answer comes before the request's body was read, and then the connection is closed.
    Early,
}

pub(crate) struct Server {
    /// `ADDRESS:PORT`.
    pub(crate) host: String,
    log: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// A parameter of the query, with `%XX` read.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }

    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        pairs(self.target.split_once('?').map_or("", |(_, query)| query), name)
    }

    /// A field of a form in the body.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        pairs(&String::from_utf8_lossy(&self.body), name).into_iter().next()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn pairs(text: &str, name: &str) -> Vec<String> {
    let all = text.split('&').filter_map(|pair| pair.split_once('='));
    all.filter(|(found, _)| *found == name).map(|(_, value)| unescape(value)).collect()
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

impl Reply {
    pub(crate) fn new(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and digests are written as they are")]
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    pub(crate) fn fault(mut self, fault: Fault) -> Reply {
        self.fault = fault;
        self
    }
}

impl Server {
    /// Listens at an address of this machine.
    pub(crate) fn start(address: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, sent, stop) = (Arc::default(), Arc::<AtomicU64>::default(), Arc::new(AtomicBool::new(false)));
        let server = Server { host: format!("{address}:{port}"), log, sent, stop };
        let (log, sent, stop) = (Arc::clone(&server.log), Arc::clone(&server.sent), Arc::clone(&server.stop));
        let handler: Arc<dyn Fn(&Request) -> Reply + Send + Sync> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (log, sent, handler) = (Arc::clone(&log), Arc::clone(&sent), Arc::clone(&handler));
                std::thread::spawn(move || {
                    if let Ok(stream) = stream {
                        serve(&stream, &log, &sent, handler.as_ref());
                    }
                });
            }
        });
        server
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// `METHOD target` of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// Bytes of bodies sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        TcpStream::connect(&self.host).ok();
    }
}

fn serve(
    stream: &TcpStream,
    log: &Mutex<Vec<Request>>,
    sent: &AtomicU64,
    handler: &(dyn Fn(&Request) -> Reply + Sync),
) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok();
    stream.set_nodelay(true).ok();
    let mut reader = BufReader::new(stream);
    if reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16)) {
        // TLS. Real servers complain like this.
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").ok();
        return;
    }
    while let Some((mut request, length)) = read_head(&mut reader) {
        // A handler that answers early is asked before there is a body.
        if length > 0 && request.method != "POST" {
            let asked = Request { early: true, ..request.clone() };
            let reply = handler(&asked);
            if reply.fault == Fault::Early {
                log.lock().unwrap().push(asked);
                answer(stream, &request, &reply, sent);
                return;
            }
        }
        request.body = vec![0; length];
        if reader.read_exact(&mut request.body).is_err() {
            return;
        }
        log.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        if !answer(stream, &request, &reply, sent) {
            return;
        }
    }
}

/// A request without its body, and how long that is.
fn read_head(reader: &mut BufReader<&TcpStream>) -> Option<(Request, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    assert!(request.header("transfer-encoding").is_none(), "no length is said: {request:?}");
    Some((request, length))
}

/// Whether the connection can be used again.
fn answer(mut stream: &TcpStream, request: &Request, reply: &Reply, sent: &AtomicU64) -> bool {
    if reply.fault == Fault::Close {
        return false;
    }
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let says_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match reply.fault {
        Fault::NoLength => head.push_str("connection: close\r\n"),
        Fault::Endless => head.push_str("transfer-encoding: chunked\r\n"),
        _ if !says_length => head.push_str(&format!("content-length: {}\r\n", reply.body.len())),
        _ => {}
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    if request.method == "HEAD" {
        return true;
    }
    let mut put = |bytes: &[u8]| {
        let good = stream.write_all(bytes).is_ok();
        sent.fetch_add(if good { bytes.len() as u64 } else { 0 }, Ordering::SeqCst);
        good
    };
    match reply.fault {
        Fault::None => put(&reply.body),
        Fault::NoLength | Fault::Close | Fault::Early => {
            put(&reply.body);
            false
        }
        Fault::Cut(count) => {
            put(&reply.body[..count.min(reply.body.len())]);
            // What was written is to arrive before the reset does.
            std::thread::sleep(Duration::from_millis(5));
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).ok();
            false
        }
        Fault::Silence(count) => {
            put(&reply.body[..count.min(reply.body.len())]);
            std::thread::sleep(Duration::from_secs(4));
            false
        }
        Fault::Drip(count, pause) => reply.body.chunks(count).all(|piece| {
            std::thread::sleep(pause);
            put(piece)
        }),
        Fault::Endless => {
            let piece = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
            while put(&piece) {}
            false
        }
    }
}
