//! `bld logs`: what steps printed, complete, whether they ran or were cached.
//!
//! One step is its bytes and nothing else. Several stand under headings, in the order of the build:
//!
//! ```text
//! #7 [build 2/4] RUN make
//! cc -c main.c
//! #8 [build 3/4] RUN make check (cached: ran in build 1f0c3a77)
//! ```

use std::io;
use std::io::IsTerminal as _;
use std::io::Read;
use std::io::Write;

use bld_solver::record::Outcome;
use bld_solver::record::StepRecord;

use super::Session;
use super::recorded::Log;
use super::recorded::Recorded;
use super::steps;
use crate::args::builds::LogsArgs;
use crate::error::CommandError;
use crate::ui::one_line;
use crate::ui::plain::write_line;
use crate::ui::sanitize;

/// A line that does not end goes to a terminal in pieces of this many bytes.
const MAX_LINE: usize = 64 * 1024;

pub(super) fn run(session: &Session, args: &LogsArgs) -> Result<(), CommandError> {
    let (recorded, step) = Recorded::find_with_step(session, args.build.as_deref(), args.step.as_deref())?;
    let mut output = Output::new();
    match step {
        Some(step) => one(&recorded, steps::find_step(&recorded.record, Some(&step))?, &mut output)?,
        None => all(&recorded, &mut output)?,
    }
    output.finish()
}

fn one(recorded: &Recorded, step: &StepRecord, output: &mut Output) -> Result<(), CommandError> {
    match recorded.log(step)? {
        Log::Nothing => Ok(()),
        Log::Here(reader, _) => output.copy(reader),
        Log::Gone => {
            Err(CommandError::failed(format!("what {} printed is gone", recorded.record.address(step)))
                .hint(gone(step)))
        }
    }
}

fn all(recorded: &Recorded, output: &mut Output) -> Result<(), CommandError> {
    let record = &recorded.record;
    for step in &record.steps {
        let number = step.number.map_or_else(String::new, |number| format!("#{number} "));
        let ran_in = step.log.as_ref().filter(|log| step.outcome == Outcome::Cached && log.build != record.id);
        let ran_in =
            ran_in.map_or_else(String::new, |log| format!(" (cached: ran in build {})", steps::short_id(&log.build)));
        let heading = format!("{number}{}{ran_in}", one_line(&step.name));
        match recorded.log(step)? {
            Log::Nothing => {}
            Log::Here(reader, _) => {
                output.heading(&heading)?;
                output.copy(reader)?;
            }
            Log::Gone => {
                output.heading(&heading)?;
                output.flush()?;
                write_line(&format!("note: what {} printed is gone: {}", record.address(step), gone(step)));
            }
        }
    }
    Ok(())
}

fn gone(step: &StepRecord) -> String {
    let build = step.log.as_ref().map_or("", |log| log.build.as_str());
    format!("it ran in build {build}, whose logs were removed or are not in the file")
}

/// Standard output: a program gets the bytes, a terminal text that it must not obey.
struct Output {
    stdout: io::BufWriter<io::StdoutLock<'static>>,
    is_terminal: bool,
    /// What was written last did not end its line.
    is_open: bool,
}

impl Output {
    fn new() -> Output {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        Output { stdout: io::BufWriter::with_capacity(MAX_LINE, stdout), is_terminal, is_open: false }
    }

    fn heading(&mut self, text: &str) -> Result<(), CommandError> {
        let break_line = if std::mem::take(&mut self.is_open) { "\n" } else { "" };
        let text = if self.is_terminal { sanitize(text) } else { text.to_owned() };
        writeln!(self.stdout, "{break_line}{text}").map_err(|error| CommandError::stdout(&error))
    }

    fn copy(&mut self, mut reader: Box<dyn Read>) -> Result<(), CommandError> {
        let mut buffer = vec![0; MAX_LINE];
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CommandError::failed(format!("cannot read the log: {error}"))),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.is_terminal {
                pending.extend_from_slice(bytes);
                let end = pending.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
                let end = end.or_else(|| (pending.len() >= MAX_LINE).then_some(pending.len()));
                if let Some(end) = end {
                    let rest = pending.split_off(end);
                    self.write(safe(&std::mem::replace(&mut pending, rest)).as_bytes())?;
                }
            } else {
                self.write(bytes)?;
            }
        }
        if !pending.is_empty() {
            self.write(safe(&pending).as_bytes())?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.is_open = bytes.last().map_or(self.is_open, |last| *last != b'\n');
        self.stdout.write_all(bytes).map_err(|error| CommandError::stdout(&error))
    }

    fn flush(&mut self) -> Result<(), CommandError> {
        self.stdout.flush().map_err(|error| CommandError::stdout(&error))
    }

    fn finish(mut self) -> Result<(), CommandError> {
        if self.is_terminal && self.is_open {
            self.write(b"\n")?;
        }
        self.flush()
    }
}

/// Lines for a terminal. A carriage return, which would overwrite what stands there, begins a line: nothing is lost.
fn safe(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    crate::ui::sanitize_lines(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_all_lines_and_obey_none() {
        for (bytes, expected) in [
            (&b"a\r\nb\n"[..], "a\nb\n"),
            (b"10%\r50%\r100%\n", "10%\n50%\n100%\n"),
            (b"\x1b[31mred\x1b[0m\x1b[2J\n", "\x1b[31mred\x1b[0m\n"),
            (b"\xff\n", "\u{fffd}\n"),
        ] {
            assert_eq!(safe(bytes), expected);
        }
    }
}
