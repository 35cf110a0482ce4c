//! `bld login` and `bld logout`: credentials of registries, where docker keeps them.

use std::io::IsTerminal as _;
use std::io::Read as _;
use std::io::Write as _;

use bld_registry::RegistryError;
use bld_registry::Secret;
use bld_registry::Stored;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetattr;

use super::Session;
use super::print;
use super::pull::registry_error;
use crate::args::registry::LoginArgs;
use crate::args::registry::LogoutArgs;
use crate::error::CommandError;
use crate::registries;
use crate::ui::plain::write_line;

/// No password is longer.
const MAX_PASSWORD: u64 = 64 << 10;

pub(super) fn login(session: &Session, args: &LoginArgs) -> Result<(), CommandError> {
    session.online("`bld login`")?;
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin => {
            return Err(CommandError::usage("`--password-stdin` needs `--username`"));
        }
        None => ask("Username: ", true)?,
    };
    let password = match &args.password {
        Some(password) => {
            write_line("warning: others can see `--password` in the list of processes; `--password-stdin` is better");
            password.clone()
        }
        None if args.password_stdin => from_stdin()?,
        None => ask("Password: ", false)?,
    };
    if username.is_empty() || password.is_empty() {
        return Err(CommandError::usage("a user name and a password are needed"));
    }
    super::build::interruptible(async {
        let registry = registries::registry(false, &[])?;
        let stored = registry.login(&args.registry, &username, Secret::new(password)).await;
        match stored.map_err(|error| refused(&error))? {
            Stored::File(path) => write_line(&format!("credentials stored in {}, not encrypted", path.display())),
            Stored::Helper(program) => write_line(&format!("credentials stored by {program}")),
        }
        print("Login Succeeded\n")
    })
}

pub(super) fn logout(args: &LogoutArgs) -> Result<(), CommandError> {
    super::build::interruptible(async {
        let registry = registries::registry(false, &[])?;
        let was_there = registry.logout(&args.registry).await.map_err(|error| registry_error(&error))?;
        let became = if was_there { "Removing login credentials for" } else { "Not logged in to" };
        print(&format!("{became} {}\n", args.registry))
    })
}

/// A login that the registry does not accept is about what was typed just now, not about what was stored once.
fn refused(error: &RegistryError) -> CommandError {
    match error {
        RegistryError::Unauthorized { .. } => {
            CommandError::from_error(error).hint("check the user name and the password; nothing was stored")
        }
        _ => registry_error(error),
    }
}

fn from_stdin() -> Result<String, CommandError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text);
    read.map_err(|error| CommandError::failed(format!("cannot read the password from standard input: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks at the terminal; without `echo` nobody sees what is typed.
fn ask(prompt: &str, echo: bool) -> Result<String, CommandError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CommandError::usage("standard input is no terminal to ask for a user name and a password at")
            .hint("give --username NAME --password-stdin"));
    }
    let failed = |error: std::io::Error| CommandError::failed(format!("cannot read from the terminal: {error}"));
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{prompt}").and_then(|()| stderr.flush()).map_err(failed)?;
    let before = tcgetattr(&stdin).map_err(|errno| failed(errno.into()))?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|errno| failed(errno.into()))?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if !echo {
        tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(|errno| failed(errno.into()))?;
        writeln!(stderr).map_err(failed)?;
    }
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
