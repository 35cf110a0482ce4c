//! `-i -t` under a real terminal.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;

use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::Winsize;

use super::PATIENCE;
use super::Site;
use crate::support::host;

/// A terminal with bld in it.
struct Screen {
    master: File,
    terminal: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Screen {
    /// Runs it in a session of its own, of which the new terminal is the controlling one.
    fn open(site: &Site, words: &[&str]) -> Screen {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        resize(&terminal, 30, 100);
        let inner = site.command(words);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(site.directory.path());
        let stream = || terminal.try_clone().unwrap();
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, collected) = (master.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                collected.lock().unwrap().extend(&buffer[..length]);
            }
        });
        Screen { master, terminal, seen, child }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, wanted: &str) {
        assert!(host::eventually(PATIENCE, || self.text().contains(wanted)), "{wanted:?} is not in {:?}", self.text());
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !rustix::termios::tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end: the exit code. The terminal must be as it was.
    #[track_caller]
    fn end(mut self) -> i32 {
        let ended = host::eventually(PATIENCE, || self.child.try_wait().unwrap().is_some());
        assert!(ended, "it does not end: {:?}", self.text());
        assert!(!self.is_raw(), "the terminal is still raw");
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal.as_fd(), size).unwrap();
}

#[test]
fn a_shell_in_a_terminal() {
    let site = Site::new();
    let mut screen = Screen::open(&site, &["-it", "busybox:1", "sh"]);
    screen.wait_for("/ # ");
    assert!(screen.is_raw());
    screen.type_in("tty; stty size; echo $TERM; ls -l /dev/console | cut -c 1; stty -a | grep -c ' echo '\n");
    for wanted in ["/dev/pts/0\r\n", "30 100\r\n", "xterm\r\n", "\r\nc\r\n", "\r\n1\r\n"] {
        screen.wait_for(wanted);
    }
    // Ctrl-C is the container's: it ends what runs there, not the shell.
    screen.type_in("sleep 1000\n");
    screen.wait_for("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    screen.type_in("\x03");
    screen.type_in("echo still $((40 + 2))\n");
    screen.wait_for("still 42\r\n");
    // A new size arrives, and whoever runs there is told.
    screen.type_in("sh -c 'trap \"stty size; exit\" WINCH; echo is $((1 + 1)); while :; do sleep 0.05; done'\n");
    screen.wait_for("is 2");
    resize(&screen.terminal, 40, 120);
    screen.wait_for("40 120\r\n");
    screen.type_in("exit 9\n");
    assert_eq!(screen.end(), 9);
    site.check_nothing_is_left();
}

#[test]
fn job_control_and_end_of_input() {
    let site = Site::new();
    let mut screen = Screen::open(&site, &["-ti", "busybox:1", "sh"]);
    screen.wait_for("/ # ");
    screen.type_in("sleep 1000\n");
    screen.wait_for("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    screen.type_in("\x1a");
    screen.wait_for("Stopped");
    screen.type_in("kill -9 %1; wait; echo over $((2 + 3))\n");
    screen.wait_for("over 5");
    screen.type_in("(exit 6)\n\x04");
    assert_eq!(screen.end(), 6);
    site.check_nothing_is_left();
}

/// With docker and podman this needs a second terminal: the first process of a container is spared by the kernel.
#[test]
fn ctrl_c_ends_what_does_not_handle_it() {
    let site = Site::new();
    for (typed, code) in [("\x03", 130), ("\x1c", 131)] {
        let mut screen = Screen::open(&site, &["-it", "busybox:1", "sh", "-c", "echo ready; exec sleep 1000"]);
        screen.wait_for("ready");
        assert!(host::eventually(PATIENCE, || screen.is_raw()));
        // The shell, whose process it is, would have a handler.
        std::thread::sleep(std::time::Duration::from_millis(300));
        screen.type_in(typed);
        assert_eq!(screen.end(), code);
    }
    // Where it is only a character it stays one.
    let script = "stty -isig -icanon; echo ready; head -c 1 | xxd -p; exit 5";
    let mut screen = Screen::open(&site, &["-it", "busybox:1", "sh", "-c", script]);
    screen.wait_for("ready");
    assert!(host::eventually(PATIENCE, || screen.is_raw()));
    screen.type_in("\x03");
    screen.wait_for("03\r\n");
    assert_eq!(screen.end(), 5);
    site.check_nothing_is_left();
}

/// Whatever ends it, the user's terminal is as it was.
#[test]
fn the_terminal_is_given_back() {
    let site = Site::new();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let screen = Screen::open(&site, &["-it", "busybox:1", "sh", "-c", "echo ready; exec sleep 1000"]);
        screen.wait_for("ready");
        assert!(host::eventually(PATIENCE, || screen.is_raw()));
        for process in host::processes(site.store.root()).iter().filter(|process| process.command.starts_with("bld:")) {
            host::signal(process.pid, signal);
        }
        assert_eq!(screen.end(), code, "{signal}");
    }
    for (words, code) in [(&["-it", "busybox:1", "nosuch"][..], 127), (&["-it", "nosuch", "sh"], 125)] {
        let screen = Screen::open(&site, words);
        screen.wait_for("error: ");
        assert_eq!(screen.end(), code);
    }
    site.check_nothing_is_left();
}

/// The process's user owns its terminal; nothing of the user's own is seen inside.
#[test]
fn the_terminal_inside() {
    let site = Site::new();
    let script = "ls -l /proc/self/fd; stat -c '%u %a' $(tty); echo x > /dev/tty; echo y > /dev/console; id -u";
    let screen = Screen::open(&site, &["-it", "-u", "1234", "busybox:1", "sh", "-c", script]);
    screen.wait_for("1234\r\n");
    let text = screen.text();
    assert_eq!(screen.end(), 0, "{text}");
    assert!(text.contains("1234 620\r\n") && text.contains("\nx\r\ny\r\n"), "{text}");
    let open: Vec<&str> = text.lines().filter(|line| line.contains(" -> ")).collect();
    assert!(open.iter().all(|line| line.contains("/dev/pts/0") || line.contains("/proc/")), "{open:?}");
}

/// A terminal without input: what is typed stays outside, and Ctrl-C is a signal for bld.
#[test]
fn a_terminal_without_input() {
    let site = Site::new();
    let mut screen = Screen::open(&site, &["-t", "busybox:1", "sh", "-c", "tty; exec sleep 1000"]);
    screen.wait_for("/dev/pts/0\r");
    assert!(!screen.is_raw());
    screen.type_in("\x03");
    assert_eq!(screen.end(), 130);
    assert_eq!(site.output(&["-t", "busybox:1", "stty", "size"]), "24 80\r\n");
    site.check_nothing_is_left();
}

/// Input without a terminal, typed on one.
#[test]
fn input_from_a_terminal() {
    let site = Site::new();
    let mut screen = Screen::open(&site, &["-i", "busybox:1", "sh", "-c", "tty; cat; echo end $?"]);
    screen.wait_for("not a tty");
    screen.type_in("a line\n\x04");
    screen.wait_for("a line\r\na line\r\n");
    screen.wait_for("end 0");
    assert_eq!(screen.end(), 0);
    site.check_nothing_is_left();
}
