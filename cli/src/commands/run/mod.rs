//! `bld run`: an image in the foreground, to try it.
//!
//! | exit code | meaning |
//! |---|---|
//! | that of the process | it ran; 128+N if signal N ended it |
//! | 2 | the command line is wrong |
//! | 125 | bld failed before the process ran |
//! | 126, 127 | the command cannot be executed, is not there |

pub(crate) mod arguments;

mod attach;
mod image;
mod mounts;
mod ports;
pub(super) mod request;
mod signals;
mod terminal;

use bld_executor::ExecuteError;
use bld_executor::run::Container;
use bld_executor::run::error::RunError;
use bld_executor::sandbox::Helper;
use bld_executor::sandbox::SandboxError;
use bld_executor::sandbox::StepError;

use self::arguments::RunArgs;
use self::attach::Attachment;
pub(super) use self::terminal::stdin_is_terminal;
use super::Session;
use crate::error::CommandError;
use crate::ui::one_line;
use crate::ui::plain::write_line;

/// bld's own failures, as docker and podman have them.
pub(super) const FAILED: u8 = 125;
const CANNOT_EXECUTE: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;

pub(super) fn run(session: &Session, args: &RunArgs) -> Result<(), CommandError> {
    let name = args.words.first().map_or("", String::as_str);
    let request = request::resolve(args)?;
    if args.tty && args.interactive && !stdin_is_terminal() {
        return Err(CommandError::usage("`-i -t` needs a terminal, and standard input is none")
            .hint("leave `-t` out: `-i` alone passes standard input on"));
    }
    signals::stop_signal(args.stop_signal.as_deref(), None)?;
    // Before any thread exists.
    let helper = Helper::start()?;
    let store = session.open_store()?;
    let lease = store.lease()?;
    let image = image::find(session, &store, name, args.platform.as_deref(), args.pull)?;
    let stop_signal = signals::stop_signal(args.stop_signal.as_deref(), image.config.container.stop_signal.as_deref())?;
    let container =
        Container::prepare(&store, session.identity, &image, &request).map_err(|error| run_error(&error))?;
    tell(&container);
    for port in container.publish().map_err(|error| run_error(&error))? {
        if port.was_chosen {
            write_line(&format!("{}/{} -> {}", port.inside, port.protocol.as_str(), port.address));
        }
    }
    let attachment = Attachment { interactive: args.interactive, terminal: args.tty, stop_signal };
    let limit = args.memory.as_ref().map(|limit| format!(" (--memory {limit})")).unwrap_or_default();
    let name = args.name.as_deref().unwrap_or("the process");
    let ended = stay(container, &helper, attachment, &format!("{name} ran out of memory{limit}"));
    drop(lease);
    ended
}

/// A process in the files of a step, with standard input passed on, until it has ended.
pub(super) fn in_step(container: Container, helper: &Helper, terminal: bool) -> Result<(), CommandError> {
    tell(&container);
    let attachment = Attachment { interactive: true, terminal, stop_signal: None };
    stay(container, helper, attachment, "the process ran out of memory")
}

/// What the user should know before the process starts.
fn tell(container: &Container) {
    for note in &container.notes {
        write_line(&format!("note: {}", one_line(note)));
    }
}

/// Stays with the process until it has ended, and ends as it did.
fn stay(
    container: Container,
    helper: &Helper,
    attachment: Attachment,
    out_of_memory: &str,
) -> Result<(), CommandError> {
    let end = attach::run(&container, helper, attachment)?;
    if container.ran_out_of_memory(end.exit) {
        write_line(&format!("note: {out_of_memory}: something in it was killed"));
    }
    drop(container);
    if let Some(lost) = end.lost {
        let code = if end.code == 0 { FAILED } else { end.code };
        return Err(CommandError::from_error(&lost).with_code(code));
    }
    if end.code == 0 { Ok(()) } else { Err(CommandError::exit(end.code)) }
}

/// An error with what to do about it, and docker's exit code.
pub(super) fn run_error(error: &RunError) -> CommandError {
    let code = match error {
        RunError::Execute(error) => match error.as_ref() {
            ExecuteError::Sandbox(SandboxError::Step(StepError::NotFound { .. }))
            | ExecuteError::NoInterpreter { .. } => NOT_FOUND,
            ExecuteError::Sandbox(SandboxError::Step(
                StepError::PermissionDenied { .. } | StepError::CannotExecute { .. },
            ))
            | ExecuteError::OtherMachine { .. } => CANNOT_EXECUTE,
            _ => FAILED,
        },
        _ => FAILED,
    };
    CommandError::from_error(error).with_code(code).maybe_hint(error.hint())
}
