//! What can go wrong in a copy, and what is only worth a note.

use std::fmt;
use std::io;

use bld_oci::ImagePath;
use bld_parser::suggest::meant_as_flag;

use crate::context::Exclusion;
use crate::passwd::PasswdError;
use crate::view::ViewError;

/// A copy cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Sources that are no patterns do not exist.
    #[error("{}", joined(missing.iter().map(ToString::to_string)))]
    NotFound {
        /// All of one copy.
        missing: Vec<Missing>,
    },
    /// A pattern that matches nothing, where that is not allowed.
    #[error("`{pattern}` matches no file")]
    EmptyWildcard {
        /// As written.
        pattern: String,
        /// An ignore rule that may be the reason.
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
    #[error("`{destination}` is {kind} in the image, not a directory")]
    NotADirectory {
        /// What is in the way.
        destination: ImagePath,
        /// What that is, with its article.
        kind: &'static str,
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
            CopyError::NotFound { missing } => {
                let mut hints: Vec<String> = missing.iter().filter_map(Missing::hint).collect();
                hints.dedup();
                sentences(hints)
            }
            CopyError::EmptyWildcard { excluded: Some(rule), .. } => Some(format!("what it would match is {rule}")),
            CopyError::EmptyWildcard { .. } => Some(
                "name files that are there, or remove this source: without --strict nothing is copied for it"
                    .to_owned(),
            ),
            CopyError::DirectoryOntoFile { destination, .. } | CopyError::NotADirectory { destination, .. } => {
                Some(format!("choose another path, or remove `{destination}` in an earlier step"))
            }
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

/// A source that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As written; in a stage or an image with a slash in front.
    pub source_path: String,
    /// What the tree is called, unless it is the main build context.
    pub tree: String,
    /// The symbolic link on the way that leads nowhere, and its target.
    pub link: Option<(String, String)>,
    /// It is written as if it were outside of the build context.
    pub leaves: bool,
    /// A name that does exist and looks like it.
    pub suggestion: Option<String>,
    /// A name that does exist, of which this is one of the words.
    pub name_with_blanks: Option<String>,
    /// The ignore rule that takes it away.
    pub excluded: Option<Exclusion>,
}

impl Missing {
    fn hint(&self) -> Option<String> {
        if let Some(name) = &self.name_with_blanks {
            return Some(format!("a name with blanks needs quotes: write `[\"{name}\", \"DESTINATION\"]`"));
        }
        if let Some(rule) = &self.excluded {
            return Some(match &self.link {
                Some((_, target)) => format!("`{target}` is {rule}"),
                None => format!("it is {rule}"),
            });
        }
        let similar = self.suggestion.iter().map(|name| format!("did you mean `{name}`?"));
        let leaves = self.leaves.then(|| {
            "sources are relative to the build context and cannot leave it; use a wider context, or \
             `--build-context NAME=DIR` with `COPY --from=NAME`"
                .to_owned()
        });
        let mut hints: Vec<String> = similar.chain(leaves).collect();
        if hints.is_empty() {
            hints.push(self.general_hint()?);
        }
        sentences(hints)
    }

    /// Where nothing looks like the name.
    fn general_hint(&self) -> Option<String> {
        if let Some(flag) = meant_as_flag(&self.source_path) {
            return Some(flag);
        }
        if self.link.is_some() {
            return Some("copy what it points to into the build context".to_owned()).filter(|_| self.tree.is_empty());
        }
        if self.source_path.starts_with('~') {
            return Some(
                "`~` means nothing here: paths are relative to the build context and cannot leave it".to_owned(),
            );
        }
        self.tree
            .is_empty()
            .then(|| "paths are relative to the build context, the last argument of `bld build`".to_owned())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { source_path, tree, .. } = self;
        match &self.link {
            Some((link, target)) => {
                let tree = if tree.is_empty() { "the build context" } else { tree };
                write!(formatter, "`{link}` is a symbolic link to `{target}`, which is not in {tree}")
            }
            None if tree.is_empty() => write!(formatter, "`{source_path}` not found"),
            None => write!(formatter, "`{source_path}` not found in {tree}"),
        }
    }
}

/// One text of several hints, questions among them.
fn sentences(hints: Vec<String>) -> Option<String> {
    (!hints.is_empty()).then(|| joined(hints).replace("?; ", "? "))
}

fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join("; ")
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
