//! A web server built and run; requests from outside reach it through published ports.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;

use super::PATIENCE;
use super::Site;
use super::Started;
use super::refused;
use crate::support::host;

const PAGE: &str = "a page of the image\n";

fn with_server() -> Site {
    let site = Site::new();
    site.build(
        "web",
        "RUN mkdir /www && echo 'a page of the image' > /www/index.html\nEXPOSE 8080\nEXPOSE 53/udp\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
    );
    site
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a web server answers, once it does.
fn get(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let mut answer = String::new();
    let asked = host::eventually(PATIENCE, || {
        answer.clear();
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && !answer.is_empty()
    });
    assert!(asked, "nobody answers at {address}");
    answer
}

/// The places that bld printed: `8080/tcp -> 0.0.0.0:40000`.
fn printed(run: &mut Started, lines: usize) -> Vec<(String, String)> {
    let stderr = run.child.stderr.as_mut().unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while text.matches('\n').count() < lines {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "only {text}");
        text.push(char::from(byte[0]));
    }
    let split = |line: &str| line.split_once(" -> ").map(|(inside, outside)| (inside.to_owned(), outside.to_owned()));
    text.lines().map(|line| split(line).unwrap_or_else(|| panic!("{text}"))).collect()
}

#[test]
fn a_server_is_reached_and_ends() {
    let site = with_server();
    for (address, signal, code) in [("", "INT", 130), ("127.0.0.1:", "TERM", 143)] {
        let port = free_port();
        let run = site.start(&["-p", &format!("{address}{port}:8080"), "web"]);
        for _ in 0..3 {
            assert!(get(&format!("127.0.0.1:{port}")).ends_with(PAGE));
        }
        // While it runs the port is taken.
        refused(&site.run(&["-p", &format!("{port}:80"), "web"]), 125, "hint: another program uses it");
        run.signal(signal);
        let run = run.end();
        assert_eq!((run.code, run.stderr.as_str()), (Some(code), ""));
        site.check_nothing_is_left();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "the port is still taken");
    }
}

#[test]
fn exposed_ports_are_published_where_it_is_said() {
    let site = with_server();
    let mut run = site.start(&["-P", "web"]);
    let places = printed(&mut run, 2);
    assert_eq!(places[0].0, "53/udp");
    assert_eq!(places[1].0, "8080/tcp");
    assert!(get(&places[1].1.replace("0.0.0.0", "127.0.0.1")).ends_with(PAGE));
    run.signal("INT");
    assert_eq!(run.end().code, Some(130));
    // One that the user has placed is not published twice; a container's port alone gets any.
    let port = free_port();
    let mut run = site.start(&["-P", "-p", &format!("{port}:8080"), "-p", "127.0.0.1::81", "web"]);
    let places = printed(&mut run, 2);
    assert_eq!([places[0].0.as_str(), places[1].0.as_str()], ["81/tcp", "53/udp"]);
    assert!(places[0].1.starts_with("127.0.0.1:"), "{places:?}");
    assert!(get(&format!("127.0.0.1:{port}")).ends_with(PAGE));
    run.signal("INT");
    run.end();
    site.check_nothing_is_left();
}

#[test]
fn ranges() {
    let site = with_server();
    // The first one that is free of a range; a pair of ranges goes side by side.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let first = taken.local_addr().unwrap().port();
    let last = first.saturating_add(20);
    let mut run = site.start(&["-p", &format!("{first}-{last}:8080"), "web"]);
    let places = printed(&mut run, 1);
    assert_ne!(places[0].1, format!("0.0.0.0:{first}"));
    assert!(get(&places[0].1.replace("0.0.0.0", "127.0.0.1")).ends_with(PAGE));
    run.signal("INT");
    run.end();
    refused(&site.run(&["-p", "1000-1002:1-2", "web"]), 2, "the ranges are not equally long");
    refused(&site.run(&["-p", "http:80", "web"]), 2, "`http` is not a port");
    refused(&site.run(&["-p", "[::1]:80:80", "web"]), 2, "the private network has no IPv6");
    refused(&site.run(&["-p", "192.0.2.1:8080:80", "web"]), 125, "hint: the address must be one of this machine's");
}

#[test]
fn datagrams() {
    let site = Site::new();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // busybox has nothing that receives one; this program is static.
    let program = std::env::current_exe().unwrap();
    let (published, volume) = (format!("127.0.0.1:{port}:53/udp"), format!("{}:/probe:ro", program.display()));
    let probe = "run::ports::receives_a_datagram";
    let words = ["-p", &published, "-v", &volume, "busybox:1", "/probe", "--ignored", "--exact", "--nocapture", probe];
    let mut run = site.start(&words);
    run.wait_for("ready\n");
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"hello", ("127.0.0.1", port)).unwrap();
    run.wait_for("received hello\n");
    run.end().succeeded();
}

#[test]
#[ignore = "`datagrams` runs it in a container"]
fn receives_a_datagram() {
    use std::io::stdout;
    let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    stdout().write_all(b"ready\n").unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    stdout().write_all(format!("received {}\n", String::from_utf8_lossy(&buffer[..length])).as_bytes()).unwrap();
}

/// The network works for as long as the process does, also while it is asked to end by the whole group's Ctrl-C.
#[test]
fn the_network_outlives_a_ctrl_c() {
    use std::os::unix::process::CommandExt as _;
    let site = Site::new();
    let port = free_port();
    // Asked to end, it serves one more page.
    let script = "mkdir /w; echo last > /w/index.html; trap 'httpd -p 80 -h /w; sleep 2; exit 6' INT; echo ready; while :; do sleep 0.05; done";
    let mut command = site.command(&["-p", &format!("127.0.0.1:{port}:80"), "busybox:1", "sh", "-c", script]);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut run = Started { child: command.process_group(0).spawn().unwrap() };
    run.wait_for("ready\n");
    host::signal_group(run.pid(), "INT");
    assert!(get(&format!("127.0.0.1:{port}")).ends_with("last\n"));
    assert_eq!(run.end().code, Some(6));
    site.check_nothing_is_left();
}

#[test]
fn ports_of_the_host_network() {
    let site = with_server();
    let port = free_port().to_string();
    let words = ["--network", "host", "-p", "1:1", "web", "httpd", "-f", "-p", &port, "-h", "/www"];
    let run = site.start(&words);
    assert!(get(&format!("127.0.0.1:{port}")).ends_with(PAGE));
    run.signal("INT");
    let run = run.end();
    assert!(run.stderr.contains("note: published ports mean nothing with the host's network"), "{}", run.failure());
}
