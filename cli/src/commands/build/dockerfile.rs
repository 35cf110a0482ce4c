//! Finding and reading the Dockerfile.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use bld_parser::suggest::nearest_file;

use crate::error::CommandError;

/// The parser refuses anything longer.
pub(super) const MAX_BYTES: u64 = (32 << 20) + 1;

/// A Dockerfile's text.
#[derive(Debug)]
pub(super) struct Source {
    /// How the user would write its path.
    pub(super) name: String,
    /// Where it is: `<name>.dockerignore` is looked for beside it.
    pub(super) path: Option<PathBuf>,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

/// Reads the Dockerfile at a path of the user's.
pub(super) fn read_given(typed: &Path, path: &Path) -> Result<Source, CommandError> {
    let name = typed.display().to_string();
    let file = regular(rustix::fs::open(path, flags(), Mode::empty()))
        .map_err(|error| CommandError::failed(format!("cannot open the Dockerfile `{name}`: {error}")))?;
    Ok(Source { bytes: contents(file, &name)?, name, path: Some(path.to_owned()) })
}

/// Reads the Dockerfile at a path of a context that was fetched.
pub(super) fn read_inside(context: &Path, typed: &Path) -> Result<Source, CommandError> {
    let name = typed.display().to_string();
    let file = inside(&root(context)?, typed).map_err(|error| {
        CommandError::failed(format!("cannot open the Dockerfile `{name}` of the build context: {error}"))
    })?;
    Ok(Source { bytes: contents(file, &name)?, name, path: None })
}

/// Reads the default Dockerfile. It belongs to the context, which may come from anywhere: links in it do not lead out.
pub(super) fn read_default(context: &Path) -> Result<Source, CommandError> {
    let root = root(context)?;
    for name in ["Dockerfile", "dockerfile"] {
        match inside(&root, Path::new(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if std::fs::symlink_metadata(context.join(name)).is_ok() {
                    return Err(CommandError::failed(format!(
                        "`{name}` is a symbolic link that leads nowhere inside the build context"
                    )));
                }
            }
            opened => {
                let file = opened.map_err(|error| {
                    let failed = CommandError::failed(format!("cannot open the Dockerfile: {error}"));
                    let is_directory = std::fs::metadata(context.join(name)).is_ok_and(|found| found.is_dir());
                    failed.maybe_hint(
                        is_directory
                            .then(|| format!("`{name}` is a directory: name the file in it with `-f {name}/FILE`")),
                    )
                })?;
                let path = Some(context.join(name));
                return Ok(Source { bytes: contents(file, name)?, name: name.to_owned(), path });
            }
        }
    }
    // Without the `.` that people type.
    let shown: PathBuf = context.components().collect();
    let hint = if inside(&root, Path::new("Containerfile")).is_ok() {
        format!("there is a `Containerfile`: name it with `-f {}`", shown.join("Containerfile").display())
    } else if let Some(near) = similar(context) {
        format!("did you mean `-f {}`?", shown.join(near).display())
    } else {
        "name it with `-f FILE`, or give the directory it is in".to_owned()
    };
    Err(CommandError::failed(format!("there is no Dockerfile in `{}`", shown.display())).hint(hint))
}

/// A file that was most likely meant to be the Dockerfile: `Dockerfile.txt`, `DockerFile`, `Dokerfile`.
fn similar(context: &Path) -> Option<String> {
    let entries = std::fs::read_dir(context).ok()?;
    let mut names: Vec<String> = entries
        .take(10_000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.ends_with(".dockerignore"))
        .collect();
    names.sort();
    nearest_file("Dockerfile", names.iter().map(String::as_str)).map(str::to_owned)
}

fn root(context: &Path) -> Result<OwnedFd, CommandError> {
    rustix::fs::open(context, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| CommandError::failed(format!("cannot open the build context: {error}")))
}

fn inside(root: &OwnedFd, path: &Path) -> std::io::Result<File> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    regular(rustix::fs::openat2(root, path, flags(), Mode::empty(), resolve))
}

/// A pipe or a device in its place must not block.
fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn regular(opened: Result<OwnedFd, rustix::io::Errno>) -> std::io::Result<File> {
    let file = File::from(opened?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn contents(file: File, name: &str) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::failed(format!("cannot read the Dockerfile `{name}`: {error}")))?;
    Ok(bytes)
}
