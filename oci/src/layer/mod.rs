//! Layers: file system change sets as tar streams, per the OCI image specification's layer format.

mod fields;
mod pax;
pub mod reader;
pub mod sink;
mod sparse;
pub(crate) mod stream;
pub mod writer;

use std::collections::BTreeMap;

pub use reader::Content;
pub use reader::LayerReader;
pub use reader::ReadError;
pub use sink::CompletedLayer;
pub use sink::LayerSink;
pub use writer::LayerWriter;
pub use writer::WriteError;

use crate::path::ImagePath;
use crate::time::Timestamp;

/// What the name of a deletion begins with.
pub const WHITEOUT: &[u8] = b".wh.";

/// The name that says that a directory hides what lower layers have in it.
pub const OPAQUE_MARK: &[u8] = b".wh..wh..opq";

/// Whether an extended attribute belongs to overlayfs itself. Such attributes never enter or leave an image: in a layer they would
/// make overlayfs show other files than the layer has.
pub fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// One change of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// What it is about.
    pub path: ImagePath,
    /// What becomes of it.
    pub kind: EntryKind,
    /// Its metadata; meaningless for whiteouts. A hard link's must repeat its target's when written, because other tools apply it
    /// to the shared file, and is to be ignored when read.
    pub metadata: Metadata,
}

/// What a file system knows about a file besides its name and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Extended attributes by full name (`security.capability`, `user.x`), as the image means them: never overlayfs's own.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory is there; one that was there before keeps its content.
    Directory,
    /// A regular file is there.
    File {
        /// Bytes that follow.
        size: u64,
    },
    /// A symbolic link is there.
    Symlink {
        /// Its target, any bytes.
        target: Vec<u8>,
    },
    /// Another name of a file that comes earlier in the layer.
    Hardlink {
        /// The earlier name.
        target: ImagePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// What was there before is gone (`.wh.NAME`).
    Whiteout,
    /// What the directory `path` held in lower layers is gone (`.wh..wh..opq`).
    Opaque,
}
