//! `bld cp`: files out of a step.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bld_executor::output::copy_out::CopyOutError;
use bld_executor::output::copy_out::CopySource;
use bld_executor::output::copy_out::copy_out;
use bld_executor::output::copy_out::copy_out_tar;

use super::files;
use super::files::Wanted;
use crate::args::debugging::CpArgs;
use crate::commands::Session;
use crate::environment;
use crate::error::CommandError;
use crate::ui::one_line;
use crate::ui::plain::write_line;

pub(in crate::commands) fn run(session: &Session, args: &CpArgs) -> Result<(), CommandError> {
    let (step, path) = address(&args.source)?;
    let is_tar = args.destination == Path::new("-");
    if is_tar && std::io::stdout().is_terminal() {
        return Err(CommandError::usage("`-` writes a tar to standard output, and that is a terminal")
            .hint("`bld cp STEP:/PATH - | tar t` lists it"));
    }
    let store = session.open_existing_store()?;
    let _lease = store.lease()?;
    let found = files::find(&store, Wanted { build: args.build.as_deref(), step: Some(step), before: args.before })?;
    for note in &found.notes {
        write_line(&format!("note: {}", one_line(note)));
    }
    let view = files::unpacked(session, &store, &found.layers)?;
    let view = view.view(&found.layers).map_err(|error| CommandError::from_error(&error))?;
    let source = CopySource::new(path, args.follow_link);
    if is_tar {
        let mut stdout = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        copy_out_tar(&view, &source, &mut stdout).map_err(|error| copy_error(&error))?;
        return stdout.flush().map_err(|error| CommandError::stdout(&error));
    }
    let typed = args.destination.as_os_str().as_bytes();
    let is_directory = typed.ends_with(b"/") || typed.ends_with(b"/.");
    let destination = environment::absolute(&args.destination)?;
    let notes = copy_out(&view, &source, &destination, is_directory).map_err(|error| copy_error(&error))?;
    for note in notes {
        write_line(&format!("note: {}", one_line(&note.to_string())));
    }
    Ok(())
}

/// An error with what to do about it.
pub(in crate::commands) fn copy_error(error: &CopyOutError) -> CommandError {
    let hint = match error {
        CopyOutError::NoDirectory { path } => Some(format!("`mkdir -p {}` makes it", path.display())),
        CopyOutError::NotFound { .. } => Some("`bld exec STEP ls` looks around, if the image has an ls".to_owned()),
        _ => None,
    };
    CommandError::from_error(error).maybe_hint(hint)
}

/// `STEP:/PATH`.
pub(in crate::commands) fn address(text: &str) -> Result<(&str, &str), CommandError> {
    let usage = |message: String| {
        CommandError::usage(message).hint("write STEP:/PATH: `failed:/var/log`, `build:2:/src/out`, `build:/app`")
    };
    match text.find(":/") {
        Some(0) => Err(usage(format!("`{text}` names no step"))),
        Some(colon) => Ok((&text[..colon], &text[colon + 1..])),
        None if text.contains(':') => Err(usage(format!("the path in `{text}` is not absolute"))),
        None => Err(usage(format!("`{text}` names no step: files are copied out of steps, not into them"))),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        for (text, parts) in [
            ("failed:/a", ("failed", "/a")),
            ("build:2:/a:/b", ("build:2", "/a:/b")),
            ("#4:/", ("#4", "/")),
            ("stage:/a/.", ("stage", "/a/.")),
        ] {
            assert_eq!(address(text).unwrap(), parts);
        }
        for text in ["/a", ":/a", "build:2", "./x", "build:a/b"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
