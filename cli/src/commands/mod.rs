//! The commands, one file each. [`run`] sets the scene they share: who bld is, and which store it works on.

mod build;
mod history;
mod images;
mod import;
mod inspect;
mod load;
mod outputs;
mod rmi;

use std::io::Write as _;
use std::path::PathBuf;

use bld_cache::Store;
use bld_executor::sandbox::Identity;
use bld_executor::sandbox::userns;

use crate::args::Cli;
use crate::args::Command;
use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::write_line;

/// What every command works with.
#[derive(Debug)]
struct Session {
    root: PathBuf,
    identity: Identity,
}

impl Session {
    fn open_store(&self) -> Result<Store, CommandError> {
        Store::open(&self.root, environment::now).map_err(|error| {
            let error = CommandError::from_error(&error);
            error.hint("--root DIR or BLD_ROOT chooses another store")
        })
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<(), CommandError> {
    let is_root = rustix::process::geteuid().is_root();
    let root = match &cli.root {
        Some(root) => environment::absolute(root)?,
        None => environment::default_root(is_root)?,
    };
    // Before any thread exists: an ordinary user becomes root of a user namespace, where layers can be written and deleted.
    let entered = userns::enter().map_err(|error| CommandError::from_error(&error))?;
    if let Some(shortfall) = &entered.shortfall
        && matches!(cli.command, Command::Build(_))
    {
        write_line(&format!("note: files can have one owner only: {shortfall}"));
    }
    let session = Session { root, identity: entered.identity };
    match cli.command {
        Command::Build(args) => build::run(&session, &args),
        Command::Import(args) => import::run(&session, &args),
        Command::Load(args) => load::run(&session, &args),
        Command::Images(args) => images::run(&session, &args),
        Command::Inspect(args) => inspect::run(&session, &args),
        Command::History(args) => history::run(&session, &args),
        Command::Rmi(args) => rmi::run(&session, &args),
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| CommandError::stdout(&error))
}

/// An error about an image, with what to do about it.
fn image_error(error: &bld_executor::image::ImagesError) -> CommandError {
    let hint = error.hint();
    let error = CommandError::from_error(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
