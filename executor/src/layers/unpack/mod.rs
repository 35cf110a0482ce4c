//! Unpacking: a tar layer becomes a layer directory of its own.
//!
//! ```text
//! archive --> plan: resolve, check, remember ---- bounded channel ----> disk: create, write, hash
//!             (the caller's thread)                                    (a second thread)
//! ```
//!
//! The plan knows every path the layer has made so far and follows the layer's own symbolic links in memory, inside the image. The
//! disk only ever sees paths without links, and walks to them without following any: the two cannot be played against each other.
//! Directories get owner, mode and times last, when nothing is created in them any more.

mod disk;
mod index;
mod plan;

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use bld_cache::tree::Tree;
use bld_oci::ImagePath;
use bld_oci::layer::LayerReader;

use super::{LayerError, LayerMode, Note};
use crate::view::{TreeView, ViewKind};
use disk::Disk;
use index::Implied;
use plan::Plan;

/// How to unpack.
#[derive(Clone, Copy)]
pub struct UnpackOptions<'lower> {
    /// What the layer directory can hold.
    pub mode: LayerMode,
    /// What the layer was made on top of, if that is known already. Without it all layers of an image can be unpacked at once; ask
    /// [`Unpacked::fits`] afterwards.
    pub lower: Option<&'lower dyn TreeView>,
    /// How many bytes all files together may have.
    pub max_bytes: u64,
}

impl std::fmt::Debug for UnpackOptions<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("UnpackOptions")
            .field("mode", &self.mode)
            .field("lower", &self.lower.is_some())
            .field("max_bytes", &self.max_bytes)
            .finish()
    }
}

/// A layer on disk.
#[derive(Debug)]
pub struct Unpacked {
    /// Its index.
    pub tree: Tree,
    /// What was left out, in the order of the archive.
    pub notes: Vec<Note>,
    implied: Vec<(ImagePath, Implied)>,
}

impl Unpacked {
    /// Whether the layer means the same on top of every other layer: nothing in it had to be guessed.
    pub fn is_self_contained(&self) -> bool {
        self.implied.is_empty()
    }

    /// Whether the layer means on top of `lower` what its archive says. Archives may leave out directories that lower layers have,
    /// name files through symbolic links of lower layers and delete what is not there; a layer unpacked without knowing those guesses.
    /// If the guess was wrong, it is to be unpacked again with [`UnpackOptions::lower`], into a directory that no other image shares.
    pub fn fits(&self, lower: &dyn TreeView) -> Result<bool, LayerError> {
        for (path, implied) in &self.implied {
            let fits = match (lower.node(path)?, implied) {
                (Some(node), Implied::Directory | Implied::Place) => {
                    let guess = super::implied_metadata();
                    let same = bld_oci::layer::Metadata { mtime: guess.mtime, ..node.metadata } == guess;
                    node.kind == ViewKind::Directory && same
                }
                (None, Implied::Directory) | (Some(_), Implied::Whiteout) => true,
                (None, Implied::Place | Implied::Whiteout) => false,
                (_, Implied::OpaqueRoot) => lower.children(path)?.is_empty(),
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How many pieces of work may wait for the disk: with the blocks they carry, 4 MiB.
const QUEUE: usize = 32;

/// Unpacks the layer that `reader` reads into the empty directory `directory`. The archive is read to the end of its last entry;
/// what the caller wants to know of the bytes after it, it reads itself.
///
/// Fails with [`LayerError::HardlinkOutside`] if the layer links to a file of a lower layer and `lower` is not given.
pub fn unpack<R: Read>(
    reader: &mut LayerReader<R>,
    directory: &Path,
    options: UnpackOptions<'_>,
) -> Result<Unpacked, LayerError> {
    let disk = Disk::new(directory, options.mode)?;
    let (work, queue) = mpsc::sync_channel(QUEUE);
    let (used, spare) = mpsc::channel();
    let (planned, mut disk) = std::thread::scope(|scope| {
        let disk = scope.spawn(move || disk.run(&queue, &used));
        let mut plan = Plan::new(options, work, spare);
        let read = plan.read(reader);
        // Ends the queue, for which the other thread waits.
        let parts = plan.into_parts();
        let planned = read.map(|()| parts);
        let disk = disk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (planned, disk)
    });
    // The disk's error comes first: if it stopped, the plan only knows that nobody listens any more.
    if let Some(error) = disk.take_error() {
        return Err(error);
    }
    let (mut index, mut notes) = planned?;
    let root_whiteouts = index.settle(options.lower)?;
    disk.settle(&index, &root_whiteouts)?;
    notes.append(&mut disk.take_notes());
    let implied = index.take_implied();
    let tree =
        Tree::from_sorted(index.into_nodes(&disk.take_hashes())).map_err(|source| LayerError::Tree { source })?;
    Ok(Unpacked { tree, notes, implied })
}
