//! Files of a step or an image, copied out for the user to look at, by the rules of `docker cp`.
//!
//! | source | destination | result |
//! |---|---|---|
//! | file | a directory | the file in it, under its own name |
//! | file | a file, or nothing in a directory that is there | the file under that name |
//! | directory | nothing | a new directory with what is in the source |
//! | directory | a directory | the directory in it, under its own name |
//! | `directory/.` | a directory | what is in the source |
//!
//! The way to the source is walked inside the tree: links never lead out of it. Below the destination links that are there are replaced,
//! never followed.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use bld_oci::ImagePath;
use bld_oci::layer::LayerWriter;

use crate::layers::LayerError;
use crate::layers::Note;
use crate::layers::export::Part;
use crate::layers::export::export_part;
use crate::layers::export::export_part_tar;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::merged::MergedTree;
use crate::view::resolve;

/// What is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// As typed.
    text: String,
    path: ImagePath,
    /// `directory/.`: what is in it, not the directory itself.
    only_content: bool,
    /// `directory/` and `directory/.`: it has to be a directory.
    is_directory: bool,
    /// The last component may be a link to what is copied.
    follow: bool,
}

/// Files cannot be copied out.
#[derive(Debug, thiserror::Error)]
pub enum CopyOutError {
    /// There is nothing at the path.
    #[error("nothing is at {path}")]
    NotFound {
        /// The path, as typed.
        path: String,
    },
    /// The path ends with a slash.
    #[error("{path} is not a directory: it is {found}")]
    NotADirectory {
        /// The path, as typed.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// What is there has no content to copy.
    #[error("{path} is {found}, which cannot be copied")]
    NotCopied {
        /// The path, as typed.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// A directory cannot replace a file.
    #[error("cannot copy the directory {path} over {}, which is none", destination.display())]
    OverFile {
        /// The path, as typed.
        path: String,
        /// What is in the way.
        destination: PathBuf,
    },
    /// The destination would be in a directory that is not there.
    #[error("there is no directory {}", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody wants a device or a pipe to be replaced by a file.
    #[error("{} is neither a file nor a directory", path.display())]
    Special {
        /// What is in the way.
        path: PathBuf,
    },
    /// The files could not be looked at.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The files could not be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl CopyOutError {
    /// Whether there was nothing to copy.
    pub fn is_not_found(&self) -> bool {
        matches!(self, CopyOutError::NotFound { .. })
    }
}

impl CopySource {
    /// Reads a path. A link at its end is copied as a link unless `follow`, or unless the path ends with a slash.
    pub fn new(text: &str, follow: bool) -> CopySource {
        let only_content = text.ends_with("/.") || text == ".";
        let is_directory = only_content || text.ends_with('/');
        CopySource {
            text: text.to_owned(),
            path: ImagePath::new(text),
            only_content,
            is_directory,
            follow: follow || is_directory,
        }
    }

    /// A path of which the content is wanted if it is a directory.
    pub fn content(text: &str) -> CopySource {
        CopySource { only_content: true, is_directory: false, follow: true, ..CopySource::new(text, true) }
    }

    /// Where it really is, and whether it is a directory.
    fn find(&self, view: &MergedTree) -> Result<(ImagePath, bool), CopyOutError> {
        let path = self.text.clone();
        // What is not a directory has nothing below it.
        let (real, node) = resolve(view, &self.path, self.follow)?;
        let Some(node) = node else { return Err(CopyOutError::NotFound { path }) };
        match node.kind {
            ViewKind::Directory => Ok((real, true)),
            kind if self.is_directory => Err(CopyOutError::NotADirectory { path, found: kind.article() }),
            ViewKind::File { .. } | ViewKind::Symlink { .. } => Ok((real, false)),
            kind => Err(CopyOutError::NotCopied { path, found: kind.article() }),
        }
    }

    /// What it is called where it arrives; the root has no name.
    fn place(&self) -> ImagePath {
        self.path.file_name().map_or_else(ImagePath::root, |name| ImagePath::root().join(name))
    }
}

/// Copies to `destination`. `must_be_directory`: it was typed with a slash at its end.
pub fn copy_out(
    view: &MergedTree,
    source: &CopySource,
    destination: &Path,
    must_be_directory: bool,
) -> Result<Vec<Note>, CopyOutError> {
    let (from, is_directory) = source.find(view)?;
    let found = match std::fs::metadata(destination) {
        Ok(status) => Some(status),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(CopyOutError::Io { verb: "inspect", path: destination.to_owned(), source: error }),
    };
    let over = |path: &Path| CopyOutError::OverFile { path: source.text.clone(), destination: path.to_owned() };
    if found.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        let to = if is_directory && source.only_content { ImagePath::root() } else { source.place() };
        let place = destination.join(OsStr::from_bytes(to.relative()));
        match std::fs::symlink_metadata(&place) {
            Ok(status) if is_directory && !status.is_dir() => return Err(over(&place)),
            Ok(status) if !(status.is_dir() || status.is_file() || status.is_symlink()) => {
                return Err(CopyOutError::Special { path: place });
            }
            _ => {}
        }
        return Ok(export_part(view, &Part { from, to }, destination)?);
    }
    match &found {
        Some(_) if is_directory => return Err(over(destination)),
        Some(status) if !status.is_file() => return Err(CopyOutError::Special { path: destination.to_owned() }),
        _ if must_be_directory && !is_directory => {
            return Err(CopyOutError::NoDirectory { path: destination.to_owned() });
        }
        _ => {}
    }
    let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
        return Err(CopyOutError::NoDirectory { path: destination.to_owned() });
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if !parent.is_dir() {
        return Err(CopyOutError::NoDirectory { path: parent.to_owned() });
    }
    Ok(export_part(view, &Part { from, to: ImagePath::root().join(name.as_bytes()) }, parent)?)
}

/// Copies what a path names into a directory, which is made if it is missing: a file under its name, of a directory what is in it.
pub fn collect(view: &MergedTree, path: &str, directory: &Path) -> Result<Vec<Note>, CopyOutError> {
    let source = CopySource::content(path);
    source.find(view)?;
    let failed = |source| CopyOutError::Io { verb: "create", path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    copy_out(view, &source, directory, true)
}

/// Writes a tar instead, with the owners of the image.
pub fn copy_out_tar(view: &MergedTree, source: &CopySource, writer: impl Write) -> Result<(), CopyOutError> {
    let (from, is_directory) = source.find(view)?;
    let to = if is_directory && source.only_content { ImagePath::root() } else { source.place() };
    let mut archive = LayerWriter::new(writer);
    export_part_tar(view, &Part { from, to }, &mut archive, None)?;
    let failed = |source| CopyOutError::Io { verb: "write to", path: "standard output".into(), source };
    archive.finish().map_err(|error| failed(std::io::Error::other(error)))?.flush().map_err(failed)
}
