//! The one place where errors become words and exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the build failed: a mistake in the Dockerfile, a step that failed, a missing image, an output that cannot be written |
//! | 2 | the command line is wrong |
//! | 3 | standard output was closed before everything was written |
//! | 10 | something would have to be built: `bld plan`, `--fail-on-miss` |
//! | 130, 143 | stopped by SIGINT, SIGTERM |
//! | 101 | a mistake of bld's own |
//! | any | `bld run`, `bld shell`, `bld exec`: what the process returned; 125 where the above says 1, 126 and 127 as shells have it |

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use bld_executor::output::OutputError;

use crate::ui::one_line;
use crate::ui::plain::write_line;

/// Exit code of what would have to be built and was not to be: `bld plan`, `--fail-on-miss`.
pub(crate) const WOULD_BUILD: u8 = 10;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    BrokenPipe,
    Signal(u8),
    Exit(u8),
}

impl CommandError {
    /// The command could not do what was asked.
    pub(crate) fn failed(message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Failed, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// The command could not do what was asked, because of `error` and what caused it.
    pub(crate) fn from_error(error: &(dyn Error + 'static)) -> CommandError {
        let mut this = CommandError::failed(error.to_string());
        this.causes = causes(error);
        this
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Usage, ..CommandError::failed(message) }
    }

    /// A signal stopped the command.
    pub(crate) fn signal(number: u8) -> CommandError {
        CommandError { kind: Kind::Signal(number), ..CommandError::failed("interrupted") }
    }

    /// What a container returned; it said itself what there was to say.
    pub(crate) fn exit(code: u8) -> CommandError {
        CommandError { kind: Kind::Exit(code), ..CommandError::failed("") }
    }

    /// The same failure with an exit code of its own; a wrong command line stays one.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> CommandError {
        if self.kind == Kind::Failed {
            self.kind = Kind::Exit(code);
        }
        self
    }

    /// Whether it ends with this exit code of its own.
    pub(crate) fn has_code(&self, code: u8) -> bool {
        self.kind == Kind::Exit(code)
    }

    /// Standard output could not be written.
    pub(crate) fn stdout(error: &std::io::Error) -> CommandError {
        let kind = if error.kind() == std::io::ErrorKind::BrokenPipe { Kind::BrokenPipe } else { Kind::Failed };
        CommandError { kind, ..CommandError::failed(format!("cannot write to standard output: {error}")) }
    }

    /// What went wrong, without causes.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CommandError {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do about it, if that is known.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> CommandError {
        self.hints.extend(hint);
        self
    }

    /// Adds what to do about it, if nothing is known yet.
    #[must_use]
    pub(crate) fn or_hint(self, hint: &str) -> CommandError {
        if self.hints.is_empty() { self.hint(hint) } else { self }
    }

    /// Success if nothing failed. One failure is itself; several are reported here, and the error counts them: `3 {what}`.
    pub(crate) fn together(mut failures: Vec<CommandError>, what: &str) -> Result<(), CommandError> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            count => {
                for failure in &failures {
                    // The code of all of them together is given below.
                    let _code = failure.report();
                }
                Err(CommandError::failed(format!("{count} {what}")))
            }
        }
    }

    /// The same failure as the cause of another.
    #[must_use]
    pub(crate) fn because_of(mut self, message: impl Into<String>) -> CommandError {
        let cause = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, cause);
        self
    }

    /// The command failed, and the user was told why.
    pub(crate) fn told() -> CommandError {
        CommandError::failed("")
    }

    /// Whether the command line is wrong.
    #[cfg(test)]
    pub(crate) fn is_usage(&self) -> bool {
        self.kind == Kind::Usage
    }

    /// What is printed.
    pub(crate) fn to_text(&self) -> String {
        // Names in them come from anywhere.
        let causes = self.causes.iter().map(|cause| format!("  because: {}", one_line(cause)));
        let hints = self.hints.iter().map(|hint| format!("hint: {}", one_line(hint)));
        let lines = std::iter::once(format!("error: {}", one_line(&self.message))).chain(causes).chain(hints);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Prints the error and answers the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() && self.kind != Kind::BrokenPipe {
            write_line(&self.to_text());
        }
        ExitCode::from(match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::BrokenPipe => 3,
            Kind::Signal(number) => 128 + number,
            Kind::Exit(code) => code,
        })
    }
}

/// The chain of causes below `error`, outermost first.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Wrappers often repeat what they wrap.
        if said.iter().all(|said| !said.contains(&text)) {
            said.push(text);
        }
        next = cause.source();
    }
    said.split_off(1)
}

impl<E: Error + 'static> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        let kind = if closed_stdout(&error) { Kind::BrokenPipe } else { Kind::Failed };
        CommandError { kind, ..CommandError::from_error(&error) }
    }
}

/// Whether an output went to standard output, and nobody reads that any more.
fn closed_stdout(error: &(dyn Error + 'static)) -> bool {
    let path = match error.downcast_ref::<OutputError>() {
        Some(OutputError::Io { path, .. } | OutputError::Archive { path, .. } | OutputError::Rootfs { path, .. }) => {
            path
        }
        Some(OutputError::Engine { .. }) | None => return false,
    };
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return path == Path::new("-") || path == Path::new("standard output");
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_a_line() {
        let error = CommandError::failed("no image `x\nhint: run y`").hint("a\nerror: b").because_of("it\r\nfailed");
        assert_eq!(error.to_text(), "error: it\\r\\nfailed\n  because: no image `x\\nhint: run y`\nhint: a\\nerror: b");
    }
}
