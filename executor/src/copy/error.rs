//! What can go wrong in a copy, and what is only worth a note.

use std::fmt;
use std::io;

use bld_oci::ImagePath;

use crate::context::Exclusion;
use crate::passwd::PasswdError;
use crate::view::ViewError;

/// A copy cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source that is no pattern does not exist.
    #[error("`{source_path}` not found")]
    NotFound {
        /// As written.
        source_path: String,
        /// A name that does exist and looks like it.
        suggestion: Option<String>,
        /// The ignore rule that takes it away.
        excluded: Option<Exclusion>,
    },
    /// A pattern that is not well formed.
    #[error("cannot copy `{pattern}`")]
    BadPattern {
        /// As written.
        pattern: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A directory would have to become a file.
    #[error("cannot copy the directory `{source_path}` to `{destination}`: that is not a directory")]
    DirectoryOntoFile {
        /// As written, with what is below it.
        source_path: String,
        /// What is in the way.
        destination: ImagePath,
    },
    /// A file would have to replace a directory.
    #[error("cannot copy the file `{source_path}` to `{destination}`: that is a directory")]
    FileOntoDirectory {
        /// As written, with what is below it.
        source_path: String,
        /// What is in the way.
        destination: ImagePath,
    },
    /// The destination, or a directory on the way to it, is something else.
    #[error("cannot use `{destination}` as a directory: there is something else")]
    NotADirectory {
        /// What is in the way.
        destination: ImagePath,
    },
    /// Several files, one name.
    #[error("cannot copy several files to `{destination}`: it is not a directory")]
    SeveralSources {
        /// The destination.
        destination: ImagePath,
    },
    /// A name that means something else in a layer.
    #[error("cannot store `{path}` in a layer: names beginning with `.wh.` mark deleted files there")]
    ReservedName {
        /// Where it would go.
        path: ImagePath,
    },
    /// A device that means something else in a layer.
    #[error("cannot store `{path}` in a layer: device 0:0 marks a deleted file there")]
    WhiteoutDevice {
        /// Where it would go.
        path: ImagePath,
    },
    /// `--chown` names nobody.
    #[error(transparent)]
    Owner(#[from] PasswdError),
    /// `--chmod` makes no sense.
    #[error("cannot apply `--chmod`")]
    Mode {
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A source or the destination could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The result could not be written.
    #[error("cannot {verb} `{path}` of the new layer")]
    Write {
        /// What was tried.
        verb: &'static str,
        /// On what, as the image sees it.
        path: ImagePath,
        /// Why it failed.
        source: io::Error,
    },
    /// A source could not be read on while it was copied.
    #[error("cannot read `{path}` while copying it")]
    Read {
        /// Which, in its own tree.
        path: ImagePath,
        /// Why it failed.
        source: io::Error,
    },
    /// An archive that ADD unpacks is broken.
    #[error("cannot unpack `{archive}`")]
    Archive {
        /// As written.
        archive: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The result cannot be indexed.
    #[error("cannot index the new layer")]
    Tree {
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller gave no tree for an action that copies.
    #[error("no source tree was given for action {action}")]
    NoSource {
        /// Position of the action.
        action: usize,
    },
}

impl CopyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CopyError::NotFound { excluded: Some(rule), .. } => Some(format!("it is {rule}")),
            CopyError::NotFound { suggestion: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            CopyError::SeveralSources { destination } => Some(format!("write `{destination}/`")),
            CopyError::Owner(error) => error.hint(),
            CopyError::Write { verb: "set the owner of", source, .. }
                if source.kind() == io::ErrorKind::InvalidInput =>
            {
                Some("the owner is outside the range of ids that this process may give files to".to_owned())
            }
            _ => None,
        }
    }
}

/// Something worth telling that does not stop the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A pattern matched nothing.
    NoMatch {
        /// As written.
        pattern: String,
        /// An ignore rule that may be the reason.
        excluded: Option<Exclusion>,
    },
    /// Sockets are not copied.
    SocketSkipped {
        /// Where it would have gone.
        path: ImagePath,
    },
    /// A device that this process may not make.
    DeviceSkipped {
        /// Where it would have gone.
        path: ImagePath,
    },
    /// An extended attribute that this process or file system cannot set.
    AttributeDropped {
        /// The first file it happened to.
        path: ImagePath,
        /// The attribute.
        name: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::NoMatch { pattern, excluded: None } => write!(formatter, "`{pattern}` matches no file"),
            Note::NoMatch { pattern, excluded: Some(rule) } => {
                write!(formatter, "`{pattern}` matches no file: {rule}")
            }
            Note::SocketSkipped { path } => write!(formatter, "the socket `{path}` is not copied"),
            Note::DeviceSkipped { path } => {
                write!(formatter, "the device `{path}` is not made: that takes more privilege")
            }
            Note::AttributeDropped { path, name } => {
                write!(formatter, "the attribute `{name}` of `{path}` cannot be set here and is dropped")
            }
        }
    }
}
