//! Packing: a change set and the files of its layer directory become a layer's archive. The same tree always gives the same bytes.
//!
//! A second thread opens, reads and checks the files ahead of the archive, whose writer hashes and compresses.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bld_cache::tree::{ContentHash, Node, NodeKind, Tree};
use bld_oci::layer::{EntryKind, LayerEntry, LayerWriter, Metadata};
use bld_oci::{ImagePath, Timestamp};

use super::LayerError;
use super::content::{BLOCK, fill, finish};
use super::directory::{Directories, open_file};

/// Writes the change set `tree`, whose files are in the layer directory `directory`, in tree order. Times after `clamp` become
/// `clamp`. The bytes of every file are checked against the tree.
pub fn pack<W: Write>(
    tree: &Tree,
    directory: &Path,
    writer: &mut LayerWriter<W>,
    clamp: Option<Timestamp>,
) -> Result<(), LayerError> {
    let mut directories = Directories::new(directory)?;
    std::thread::scope(|scope| {
        let (ahead, contents) = sync_channel(QUEUE);
        scope.spawn(move || {
            for (path, node) in tree {
                if let NodeKind::File { size, content, hardlink: None } = &node.kind {
                    let opened = open(&mut directories, path, *size);
                    let expected = Expected { path: directories.locate(path), size: *size, content: *content };
                    if !send_ahead(&ahead, opened, expected) {
                        break;
                    }
                }
            }
        });
        write_nodes(tree, &contents, writer, clamp)
    })
}

fn write_nodes<W: Write>(
    tree: &Tree,
    contents: &Receiver<Ahead>,
    writer: &mut LayerWriter<W>,
    clamp: Option<Timestamp>,
) -> Result<(), LayerError> {
    let mut parent: Option<ImagePath> = None;
    for (path, node) in tree {
        let above = path.parent().filter(|above| !above.is_root());
        if above != parent {
            if let Some(missing) = above.as_ref().filter(|above| tree.get(above).is_none()) {
                return Err(LayerError::ParentMissing { path: missing.join(path.file_name().unwrap_or_default()) });
            }
            parent = above;
        }
        let entry = |kind| LayerEntry { path: path.clone(), kind, metadata: clamped(&node.metadata, clamp) };
        match &node.kind {
            NodeKind::Directory { opaque } => {
                append(writer, &entry(EntryKind::Directory))?;
                if *opaque {
                    append(writer, &entry(EntryKind::Opaque))?;
                }
            }
            NodeKind::File { size, hardlink: None, .. } => {
                append_file(writer, &entry(EntryKind::File { size: *size }), contents)?;
            }
            NodeKind::File { hardlink: Some(target), .. } => {
                // The names share one inode, and with it the metadata of the first.
                let metadata = tree.get(target).map_or(&node.metadata, |first: &Node| &first.metadata);
                let kind = EntryKind::Hardlink { target: target.clone() };
                append(writer, &LayerEntry { path: path.clone(), kind, metadata: clamped(metadata, clamp) })?;
            }
            NodeKind::Symlink { target } => append(writer, &entry(EntryKind::Symlink { target: target.clone() }))?,
            NodeKind::CharDevice { major, minor } => {
                append(writer, &entry(EntryKind::CharDevice { major: *major, minor: *minor }))?;
            }
            NodeKind::BlockDevice { major, minor } => {
                append(writer, &entry(EntryKind::BlockDevice { major: *major, minor: *minor }))?;
            }
            NodeKind::Fifo => append(writer, &entry(EntryKind::Fifo))?,
            NodeKind::Whiteout => append(writer, &entry(EntryKind::Whiteout))?,
        }
    }
    Ok(())
}

fn open(directories: &mut Directories, path: &ImagePath, size: u64) -> Result<File, LayerError> {
    let failed = directories.failed("open", path);
    let place = directories.locate(path);
    let (parent, name) = directories.parent(path)?;
    let (file, stat) = open_file(parent, name).map_err(failed)?;
    if stat.st_size.unsigned_abs() != size {
        return Err(LayerError::Changed { path: place });
    }
    Ok(file)
}

/// How many files are read ahead: with the largest that are read whole, 4 MiB.
pub(super) const QUEUE: usize = 32;

/// A file that is the next one in the archive.
pub(super) enum Ahead {
    /// All bytes, checked.
    Whole(Vec<u8>),
    /// Too large for memory: to be checked on the way.
    Open(File, Expected),
    /// It could not be read.
    Failed(LayerError),
}

/// What the index says of a file.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) path: std::path::PathBuf,
    pub(super) size: u64,
    pub(super) content: ContentHash,
}

/// Hands a file to the archive's thread; answers whether to go on.
pub(super) fn send_ahead(ahead: &SyncSender<Ahead>, opened: Result<File, LayerError>, expected: Expected) -> bool {
    let next = match opened {
        Ok(file) if expected.size <= BLOCK as u64 => {
            read_whole(file, expected).map_or_else(Ahead::Failed, Ahead::Whole)
        }
        Ok(file) => Ahead::Open(file, expected),
        Err(error) => Ahead::Failed(error),
    };
    let failed = matches!(next, Ahead::Failed(_));
    ahead.send(next).is_ok() && !failed
}

fn read_whole(mut file: File, expected: Expected) -> Result<Vec<u8>, LayerError> {
    let size = usize::try_from(expected.size).unwrap_or(BLOCK);
    // One byte more than expected, to see the end.
    let mut bytes = vec![0; size + 1];
    let filled = match fill(&mut file, &mut bytes) {
        Ok(filled) => filled,
        Err(source) => return Err(LayerError::Io { verb: "read", path: expected.path, source }),
    };
    bytes.truncate(filled);
    if filled != size || *blake3::hash(&bytes).as_bytes() != expected.content.0 {
        return Err(LayerError::Changed { path: expected.path });
    }
    Ok(bytes)
}

/// Appends a regular file whose bytes come from the other thread.
pub(super) fn append_file<W: Write>(
    writer: &mut LayerWriter<W>,
    entry: &LayerEntry,
    contents: &Receiver<Ahead>,
) -> Result<(), LayerError> {
    let failed = |source| LayerError::Write { path: entry.path.clone(), source };
    match contents.recv() {
        Ok(Ahead::Whole(bytes)) => writer.append(entry, Some(&mut bytes.as_slice())).map_err(failed),
        Ok(Ahead::Open(file, expected)) => {
            let mut content = Hashing { file, hasher: blake3::Hasher::new() };
            writer.append(entry, Some(&mut content)).map_err(failed)?;
            if finish(&content.hasher) == expected.content {
                Ok(())
            } else {
                Err(LayerError::Changed { path: expected.path })
            }
        }
        Ok(Ahead::Failed(error)) => Err(error),
        Err(_) => {
            let source = io::ErrorKind::BrokenPipe.into();
            Err(LayerError::Content { path: entry.path.clone(), source })
        }
    }
}

/// Appends anything without content.
pub(super) fn append<W: Write>(writer: &mut LayerWriter<W>, entry: &LayerEntry) -> Result<(), LayerError> {
    writer.append(entry, None).map_err(|source| LayerError::Write { path: entry.path.clone(), source })
}

pub(super) fn clamped(metadata: &Metadata, clamp: Option<Timestamp>) -> Metadata {
    let mut metadata = metadata.clone();
    if let Some(clamp) = clamp {
        metadata.mtime = metadata.mtime.min(clamp);
    }
    metadata
}

struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
