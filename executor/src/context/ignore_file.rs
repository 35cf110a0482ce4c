//! Finding and reading the ignore file of a context.

use std::ffi::OsString;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use bld_parser::ignorefile::FILE_NAME;
use bld_parser::ignorefile::IgnoreError;
use bld_parser::ignorefile::Patterns;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;

use super::beneath;

/// The largest ignore file that is read.
const SIZE_LIMIT: u64 = 10 << 20;

/// The patterns of a context and the name of the file they come from.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    /// Its name for messages: `.dockerignore`, `app.Dockerfile.dockerignore`.
    pub name: String,
    /// What it says.
    pub patterns: Patterns,
}

/// An ignore file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreFileError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is not a regular file, or larger than any real one.
    #[error("{} is not a regular file of at most {SIZE_LIMIT} bytes", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
    },
    /// A line makes no sense.
    #[error("{}:{}: {}", path.display(), error.line(), error.problem())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong with it.
        error: IgnoreError,
    },
}

/// Finds the ignore file of the context directory `context`: `<Dockerfile>.dockerignore` beside the Dockerfile if there is one, else
/// `.dockerignore` at the context's root. Named contexts have no Dockerfile.
pub fn ignore_file(context: &Path, dockerfile: Option<&Path>) -> Result<Option<IgnoreFile>, IgnoreFileError> {
    if let Some((dockerfile, file_name)) = dockerfile.and_then(|path| Some((path, path.file_name()?))) {
        let mut name = OsString::from(file_name);
        name.push(FILE_NAME);
        let beside = dockerfile.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(found) = read(beside, Path::new(&name))? {
            return Ok(Some(found));
        }
    }
    read(context, Path::new(FILE_NAME))
}

fn read(directory: &Path, name: &Path) -> Result<Option<IgnoreFile>, IgnoreFileError> {
    // Without `.` in the middle, for messages.
    let path: PathBuf = directory.join(name).components().collect();
    let failed = |source: io::Error| IgnoreFileError::Io { path: path.clone(), source };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(directory, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    // A link is followed as long as it stays in the directory: an ignore file cannot be made to show the machine's files.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(&directory, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => beneath::open(directory.as_fd(), name.as_os_str().as_bytes(), flags),
        other => other.map_err(io::Error::from),
    };
    let file = match opened {
        Ok(descriptor) => std::fs::File::from(descriptor),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let stat = beneath::status(&file).map_err(failed)?;
    let is_regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    let mut text = Vec::new();
    if !is_regular || stat.stx_size > SIZE_LIMIT {
        return Err(IgnoreFileError::Unsuitable { path });
    }
    file.take(SIZE_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(IgnoreFileError::Unsuitable { path });
    }
    let patterns = Patterns::parse(&text).map_err(|error| IgnoreFileError::Syntax { path: path.clone(), error })?;
    Ok(Some(IgnoreFile { name: name.to_string_lossy().into_owned(), patterns }))
}
