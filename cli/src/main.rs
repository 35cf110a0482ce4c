//! `bld`: builds container images from Dockerfiles.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

mod args;
mod commands;
mod compatible;
mod environment;
mod error;
mod reference;
mod registries;
mod report;
mod template;
mod ui;
mod unsupported;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let arguments = environment::arguments();
    let cli = match args::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Prints what clap has to say, help and version included, and answers the exit code.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let words = typed_words(arguments);
    if let Some(error) = unsupported::explain(error, &words) {
        return error.report();
    }
    // A closed stream must not turn help into a failure.
    drop(error.print());
    if error.kind() == ErrorKind::MissingRequiredArgument && words.first() == Some(&"build") {
        ui::plain::write_line("hint: `bld build .` builds the Dockerfile of this directory");
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The words that are neither the program nor a flag nor the value of `--root`: the command comes first.
fn typed_words(arguments: &[OsString]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--root") => drop(words.next()),
            Some(flag) if flag.starts_with('-') => {}
            Some(word) => found.push(word),
            None => break,
        }
    }
    found
}
