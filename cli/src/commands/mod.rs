//! The commands, one file each. [`run`] sets the scene they share: who bld is, and which store it works on.

mod build;
mod builds;
mod cache;
mod debugging;
mod diff;
mod entries;
mod exported;
mod history;
mod image;
mod image_prune;
mod images;
mod import;
mod index;
mod inspect;
mod layers;
mod load;
mod login;
mod logs;
mod outputs;
mod prune;
mod pull;
mod push;
mod recorded;
mod report;
mod rmi;
pub(crate) mod run;
mod save;
mod shown;
mod steps;
mod tag;
mod taken;
mod why;
mod written;

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::PathBuf;

use bld_cache::Store;
use bld_executor::pull::absent_layers;
use bld_executor::sandbox::Identity;
use bld_executor::sandbox::userns;
use bld_oci::image::Descriptor;

use crate::args::Cli;
use crate::args::Command;
use crate::args::images::ImageCommand;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::plain::write_line;
use crate::ui::sanitize_lines;

/// What every command works with.
#[derive(Debug)]
struct Session {
    root: PathBuf,
    /// Nobody chose the store: it may well not be there yet.
    is_default: bool,
    identity: Identity,
    /// No registry may be asked.
    offline: bool,
}

impl Session {
    /// For commands that make no sense without a network.
    fn online(&self, command: &str) -> Result<(), CommandError> {
        if self.offline {
            return Err(CommandError::usage(format!(
                "{command} needs a registry, and --offline (or BLD_OFFLINE) forbids to ask one"
            )));
        }
        Ok(())
    }

    fn open_store(&self) -> Result<Store, CommandError> {
        Store::open(&self.root, environment::now).map_err(|error| {
            let error = CommandError::from_error(&error);
            error.hint("--root DIR or BLD_ROOT chooses another store")
        })
    }

    /// Brings the layers of images that never came: they were pulled as far as was needed.
    fn bring_layers(&self, store: &Store, roots: &[Descriptor]) -> Result<(), CommandError> {
        let mut absent = Vec::new();
        for root in roots {
            absent.extend(absent_layers(store, root).map_err(|error| pull::pull_error(&error))?);
        }
        let Some(first) = absent.first() else { return Ok(()) };
        if self.offline {
            return Err(CommandError::failed(format!(
                "layer {} was never pulled, and --offline (or BLD_OFFLINE) forbids to pull it now",
                first.digest
            )));
        }
        build::interruptible(async {
            let puller = registries::puller(store, false, &[])?;
            puller.ensure(absent.iter()).await.map_err(|error| pull::pull_error(&error))
        })
    }

    /// For commands that have nothing to do in a new store: one that was chosen must be there.
    fn open_existing_store(&self) -> Result<Store, CommandError> {
        if !self.is_default && !self.root.join("format").exists() {
            return Err(CommandError::failed(format!("there is no store in {}", self.root.display()))
                .hint("`bld build`, `bld pull`, `bld import` and `bld load` make one"));
        }
        self.open_store()
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<(), CommandError> {
    let runs = matches!(cli.command, Command::Run(_) | Command::Shell(_) | Command::Exec(_));
    // The exit codes below are the process's then.
    act(cli).map_err(|error| if runs { error.with_code(run::FAILED) } else { error })
}

fn act(cli: Cli) -> Result<(), CommandError> {
    if matches!(cli.command, Command::Version) {
        return print(&format!("bld {}\n", env!("CARGO_PKG_VERSION")));
    }
    let is_root = rustix::process::geteuid().is_root();
    let given = cli.root.clone().or_else(environment::given_root);
    let root = match &given {
        Some(root) => environment::absolute(root)?,
        None => environment::default_root(is_root)?,
    };
    if root.exists() && !root.is_dir() {
        let shown = given.as_ref().unwrap_or(&root).display();
        return Err(match &cli.root {
            Some(_) => CommandError::usage(format!("`--root {shown}` is not a directory")),
            None => CommandError::failed(format!("the store {shown} is not a directory")),
        });
    }
    // Before any thread exists: an ordinary user becomes root of a user namespace, where layers can be written and deleted.
    let entered = userns::enter().map_err(|error| CommandError::from_error(&error))?;
    if let Some(shortfall) = &entered.shortfall
        && builds(&cli.command)
    {
        write_line(&format!("note: files can have one owner only: {shortfall}"));
    }
    let offline = cli.offline || environment::is_offline();
    let session = Session { root, is_default: given.is_none(), identity: entered.identity, offline };
    match cli.command {
        Command::Build(args) => build::run(&session, &args),
        Command::Plan(args) => build::predict(&session, &args),
        Command::Import(args) => import::run(&session, &args),
        Command::Load(args) => load::run(&session, &args),
        Command::Run(args) => run::run(&session, &args),
        Command::Shell(args) => debugging::inside::shell(&session, &args),
        Command::Exec(args) => debugging::inside::exec(&session, &args),
        Command::Cp(args) => debugging::cp::run(&session, &args),
        Command::Images(args) => images::run(&session, &args),
        Command::Inspect(args) => inspect::run(&session, &args),
        Command::History(args) => history::run(&session, &args),
        Command::Tag(args) => tag::run(&session, &args),
        Command::Rmi(args) => rmi::run(&session, &args),
        Command::Prune(args) => prune::run(&session, &args),
        Command::Cache(args) => cache::run(&session, &args.command),
        Command::Save(args) => save::run(&session, &args),
        Command::Pull(args) => pull::run(&session, &args),
        Command::Push(args) => push::run(&session, &args),
        Command::Login(args) => login::login(&session, &args),
        Command::Logout(args) => login::logout(&args),
        Command::Layers(args) => layers::run(&session, &args),
        Command::Diff(args) => diff::run(&session, &args),
        Command::Why(args) => why::run(&session, &args),
        Command::Builds(args) => builds::run(&session, &args),
        Command::Logs(args) => logs::run(&session, &args),
        Command::Report(args) => report::run(&session, &args),
        Command::Index(args) => index::run(&session, &args.command),
        Command::Image(args) => image::run(&session, &args.command),
        // Answered above: it needs no store.
        Command::Version => Ok(()),
    }
}

/// Whether a command builds an image.
fn builds(command: &Command) -> bool {
    match command {
        Command::Build(args) => args.builds(),
        Command::Image(args) => matches!(&args.command, ImageCommand::Build(args) if args.builds()),
        _ => false,
    }
}

/// Writes to standard output. What images say of themselves comes from anywhere: a program gets it as it is, a terminal must not obey it.
fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() { Cow::Owned(sanitize_lines(text)) } else { Cow::Borrowed(text) };
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| CommandError::stdout(&error))
}

/// An error about an image, with what to do about it.
fn image_error(error: &bld_executor::image::ImagesError) -> CommandError {
    CommandError::from_error(error).maybe_hint(error.hint())
}
