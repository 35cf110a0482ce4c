//! The user's terminal: raw while a container has it, as it was in every other moment.

use std::os::fd::BorrowedFd;

use bld_executor::sandbox::TerminalSize;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::isatty;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;

/// A size for a container when the user has no terminal: everybody's default.
const NO_TERMINAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Raw mode of standard input. Dropped, the terminal is as it was.
#[derive(Debug)]
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches to raw mode: what is typed is the container's, Ctrl-C too.
    pub(super) fn enter() -> std::io::Result<Raw> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // After what was written has been shown. A terminal that is gone needs nothing.
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before).ok();
    }
}

/// Whether standard input is a terminal.
pub(in crate::commands) fn stdin_is_terminal() -> bool {
    isatty(rustix::stdio::stdin())
}

/// The size of the user's terminal.
pub(super) fn size() -> TerminalSize {
    let of = |fd: BorrowedFd<'_>| tcgetwinsize(fd).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
        .into_iter()
        .find_map(of)
        .map_or(NO_TERMINAL, |size| TerminalSize { rows: size.ws_row, columns: size.ws_col })
}
