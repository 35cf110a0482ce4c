//! A real terminal with bld in it.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::Winsize;

use super::host;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with bld in it.
pub(crate) struct Screen {
    master: File,
    pub(crate) terminal: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Screen {
    /// Runs it in a session of its own, of which the new terminal is the controlling one.
    #[expect(clippy::needless_pass_by_value, reason = "nobody needs it afterwards")]
    pub(crate) fn open(inner: Command) -> Screen {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        resize(&terminal, 30, 100);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(inner.get_current_dir().unwrap());
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

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: &str) {
        assert!(host::eventually(PATIENCE, || self.text().contains(wanted)), "{wanted:?} is not in {:?}", self.text());
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn is_raw(&self) -> bool {
        !rustix::termios::tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end: the exit code. The terminal must be as it was.
    #[track_caller]
    pub(crate) fn end(mut self) -> i32 {
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

/// Gives it another size.
pub(crate) fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal.as_fd(), size).unwrap();
}
