//! Layer directories: change sets on disk in the form of an overlayfs upper directory, and what is done with them.
//!
//! ```text
//! layers/<id>/            owner, mode and times of the image's /
//!   usr/bin/tool          a file that is there
//!   etc/gone              character device 0:0: what lower layers hold here is gone (a whiteout)
//!   srv/                  with the attribute `overlay.opaque=y`: what lower layers hold below it is gone
//! ```
//!
//! Every function works on directory descriptors and opens one component at a time without following symbolic links: an image
//! cannot name anything outside of the directory that is worked on, whatever its links say.

mod attributes;
pub(crate) mod content;
mod directory;
mod error;
pub mod export;
pub mod mirror;
pub mod pack;
pub mod prepare;
pub mod remove;
pub mod scan;
pub mod unpack;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bld_oci::Timestamp;
use bld_oci::layer::Metadata;

pub use attributes::OverlayFlavor;
pub(crate) use directory::FileOpener;
pub use error::LayerError;
pub use error::Note;

/// What a layer directory can hold, given what this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerMode {
    /// Which extended attributes overlayfs reads and writes.
    pub flavor: OverlayFlavor,
    /// Whether files can be given away.
    pub ownership: Ownership,
}

/// Who owns the files of a layer directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The owners that the image names: this process is root, or has a range of subordinate ids.
    Real,
    /// This process's one user: the owners that are meant are only in the index.
    Recorded,
}

/// What a directory gets that the archive does not describe.
pub(crate) fn implied_metadata() -> Metadata {
    Metadata { mode: 0o755, uid: 0, gid: 0, mtime: Timestamp::FIXED, xattrs: BTreeMap::new() }
}

/// Deletions have no metadata; this stands for none.
fn whiteout_metadata() -> Metadata {
    Metadata { mode: 0, uid: 0, gid: 0, mtime: Timestamp::from_seconds(0), xattrs: BTreeMap::new() }
}
