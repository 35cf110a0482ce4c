//! Finding and reading the Dockerfile.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use super::request::DockerfilePath;
use crate::error::CommandError;

/// The parser refuses anything longer.
const MAX_BYTES: u64 = (64 << 20) + 1;

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

/// Reads the Dockerfile. The default one belongs to the context, which may come from anywhere: links in it do not lead out.
pub(super) fn read(context: &Path, which: &DockerfilePath) -> Result<Source, CommandError> {
    match which {
        DockerfilePath::Given(typed, path) => {
            let name = typed.display().to_string();
            let file = regular(rustix::fs::open(path, flags(), Mode::empty()))
                .map_err(|error| CommandError::failed(format!("cannot open the Dockerfile `{name}`: {error}")))?;
            Ok(Source { bytes: contents(file, &name)?, name, path: Some(path.clone()) })
        }
        DockerfilePath::Default => {
            let root = rustix::fs::open(context, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| CommandError::failed(format!("cannot open the build context: {error}")))?;
            for name in ["Dockerfile", "dockerfile"] {
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                match regular(rustix::fs::openat2(&root, name, flags(), Mode::empty(), resolve)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        if std::fs::symlink_metadata(context.join(name)).is_ok() {
                            return Err(CommandError::failed(format!(
                                "`{name}` is a symbolic link that leads nowhere inside the build context"
                            )));
                        }
                    }
                    opened => {
                        let file = opened
                            .map_err(|error| CommandError::failed(format!("cannot open the Dockerfile: {error}")))?;
                        let path = Some(context.join(name));
                        return Ok(Source { bytes: contents(file, name)?, name: name.to_owned(), path });
                    }
                }
            }
            Err(CommandError::failed(format!("there is no Dockerfile in `{}`", context.display()))
                .hint("name it with `-f FILE`, or give the directory it is in"))
        }
    }
}

/// A pipe or a device in its place must not block.
fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn regular(opened: Result<std::os::fd::OwnedFd, rustix::io::Errno>) -> std::io::Result<File> {
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
