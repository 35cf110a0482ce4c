//! What can go wrong with a store.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use bld_oci::Digest;

use crate::tree::TreeError;

/// What can go wrong with a store. [`StoreError::is_miss`] tells the errors that a caller heals by making the object again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system said no.
    #[error("cannot {verb} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: `open`, `rename` ...
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store belongs to somebody else.
    #[error("the store {path} belongs to user {owner}, not to user {user}: choose another one with --root", path = path.display())]
    Foreign {
        /// The store.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others can write to the store.
    #[error("the store {path} can be written by others (mode {mode:04o}): make it private with `chmod go-w`", path = path.display())]
    Exposed {
        /// The store.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory holds something, but no store.
    #[error("{path} is not empty and not a store: choose another directory with --root", path = path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store is on a network file system, where locks and the index cannot be relied on.
    #[error("the store {path} is on a network file system: choose a local directory with --root", path = path.display())]
    NetworkFileSystem {
        /// The store.
        path: PathBuf,
    },
    /// The store was made by a later version.
    #[error("the store {path} has format `{found}`, this version knows `{known}`: use a later bld or another --root", path = path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The newest format known here.
        known: String,
    },
    /// The index database said no.
    #[error("cannot use the index {path}: {source}", path = path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// An object's bytes are not what its name says. It has been moved to quarantine: treat it as a miss.
    #[error("{object} is corrupt: {reason}")]
    Corrupt {
        /// Which object.
        object: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An object is not in the store.
    #[error("{object} is not in the store")]
    Missing {
        /// Which object.
        object: String,
    },
    /// Bytes that came in are not those that were announced.
    #[error("expected {expected} of {expected_size} bytes, got {actual} of {actual_size} bytes")]
    Mismatch {
        /// The digest announced.
        expected: Digest,
        /// The size announced.
        expected_size: u64,
        /// The digest of what came.
        actual: Digest,
        /// The size of what came.
        actual_size: u64,
    },
    /// A blob is larger than the reader wants to hold in memory.
    #[error("blob {digest} has {size} bytes, at most {limit} are read into memory")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A former flush to disk failed; what was written since the last good one may be lost, and asking again would hide it.
    #[error("the store {path} could not be written to disk earlier in this run", path = path.display())]
    SyncFailed {
        /// The store.
        path: PathBuf,
    },
    /// The list of images cannot be read.
    #[error("cannot read the image list {path}: {source}", path = path.display())]
    ImageList {
        /// `index.json`.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// More than one image matches.
    #[error("more than one image matches `{text}`: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The images, by ID and names.
        candidates: Vec<String>,
    },
    /// A name cannot be that of a file in the store.
    #[error("`{name}` cannot be a file name here")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A tree object cannot be read.
    #[error("cannot read a file index: {source}")]
    Tree {
        /// Why not.
        source: TreeError,
    },
}

impl StoreError {
    /// Whether the object is just not there (any more): the caller makes it again.
    pub fn is_miss(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. } | StoreError::Missing { .. })
    }

    /// Whether the disk or the quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, StoreError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// The store's own error inside an error of a reader it handed out, or that error with the path it came from.
    pub fn from_read(error: io::Error, path: &Path) -> StoreError {
        match error.downcast::<StoreError>() {
            Ok(inner) => inner,
            Err(source) => StoreError::Io { verb: "read", path: path.to_owned(), source },
        }
    }

    pub(crate) fn missing(object: String) -> StoreError {
        StoreError::Missing { object }
    }
}

/// Adds verb and path to the errors of the file system.
pub(crate) trait Context<T> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { verb, path: path.to_owned(), source: source.into() })
    }
}
