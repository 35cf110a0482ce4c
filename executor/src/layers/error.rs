//! What can go wrong with a layer, and what is worth a note.

use std::fmt;
use std::io;
use std::path::PathBuf;

use bld_oci::ImagePath;

use crate::view::ViewError;

/// A layer could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The archive is not a layer.
    #[error("cannot read the layer")]
    Read {
        /// What is wrong with it.
        source: bld_oci::layer::ReadError,
    },
    /// The bytes of a file in the archive could not be read.
    #[error("cannot read {path} from the layer")]
    Content {
        /// Which file.
        path: ImagePath,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write {path} into the layer")]
    Write {
        /// Which entry.
        path: ImagePath,
        /// Why.
        source: bld_oci::layer::WriteError,
    },
    /// A lower layer could not be looked at.
    #[error("cannot look at the layers below")]
    View {
        /// Why.
        source: ViewError,
    },
    /// The paths that were found do not make a tree.
    #[error("the layer's paths do not make a tree")]
    Tree {
        /// Why.
        source: bld_cache::tree::TreeError,
    },
    /// An entry that is not a directory takes the place of `/`.
    #[error("the layer replaces / by something that is not a directory")]
    RootReplaced,
    /// overlayfs would take the device for a deletion.
    #[error("whiteout device in layer: {path} is a character device 0:0")]
    WhiteoutDevice {
        /// Which entry.
        path: ImagePath,
    },
    /// Linux has 12 bits for the major number and 20 for the minor one.
    #[error("device number {major}:{minor} of {path} is out of range")]
    DeviceNumber {
        /// Which entry.
        path: ImagePath,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A hard link to something that this layer does not hold.
    #[error("{path} is a hard link to {target}, which is not in this layer")]
    HardlinkOutside {
        /// The link.
        path: ImagePath,
        /// Its target.
        target: ImagePath,
    },
    /// A hard link to a directory, or to what it would replace.
    #[error("{path} cannot be a hard link to {target}: only files can have several names")]
    HardlinkTarget {
        /// The link.
        path: ImagePath,
        /// Its target.
        target: ImagePath,
    },
    /// More than 40 symbolic links on the way to an entry.
    #[error("too many levels of symbolic links at {path}")]
    SymlinkLoop {
        /// Which entry.
        path: ImagePath,
    },
    /// The layer is larger than allowed.
    #[error("the layer has more than {limit} {what} (at {path})")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
        /// The entry that was too much.
        path: ImagePath,
    },
    /// The layer is larger than what is free.
    #[error("no space left on device: the layer has more than the {free} bytes that may be used (at {path})")]
    NoSpace {
        /// How many bytes it might have had.
        free: u64,
        /// The entry that was too much.
        path: ImagePath,
    },
    /// A path whose directory is not part of the change set.
    #[error("the change set has {path} but not the directory it is in")]
    ParentMissing {
        /// Which path.
        path: ImagePath,
    },
    /// What is on disk is not what the index says.
    #[error("{} is not what the layer's index says it is", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A change set that only means something on top of one certain layer.
    #[error("{} uses the overlayfs feature {feature}, which layers cannot hold", path.display())]
    OverlayFeature {
        /// The file.
        path: PathBuf,
        /// The attribute's last part.
        feature: String,
    },
    /// A directory of the user is where a file should go.
    #[error("cannot replace the directory {} by a file", path.display())]
    DirectoryInTheWay {
        /// The directory.
        path: PathBuf,
    },
    /// Something is mounted below a directory that is to be removed.
    #[error("cannot remove {}: something is mounted there", path.display())]
    Mounted {
        /// Where.
        path: PathBuf,
    },
}

impl From<ViewError> for LayerError {
    fn from(source: ViewError) -> LayerError {
        LayerError::View { source }
    }
}

/// Something that was left out on the way and does not make the result wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Archives cannot hold sockets.
    SocketSkipped {
        /// Where it was.
        path: ImagePath,
    },
    /// This process may not create devices.
    DeviceSkipped {
        /// Where it would be.
        path: ImagePath,
    },
    /// Devices are not for directories of users.
    DeviceLeftOut {
        /// Where it was.
        path: ImagePath,
    },
    /// The file system or the kernel refused an extended attribute: it is in the index alone.
    AttributeRefused {
        /// Of what.
        path: ImagePath,
        /// Its name.
        name: Vec<u8>,
    },
    /// An extended attribute of the machine that made the image, not of the image.
    AttributeDropped {
        /// Of what.
        path: ImagePath,
        /// Its name.
        name: Vec<u8>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::SocketSkipped { path } => write!(formatter, "{path} is a socket and was left out"),
            Note::DeviceLeftOut { path } => write!(formatter, "{path} is a device and was left out"),
            Note::DeviceSkipped { path } => {
                write!(formatter, "the device {path} cannot be created here and was left out")
            }
            Note::AttributeRefused { path, name } => {
                write!(formatter, "cannot set {} on {path}", String::from_utf8_lossy(name))
            }
            Note::AttributeDropped { path, name } => {
                write!(formatter, "{} of {path} was left out", String::from_utf8_lossy(name))
            }
        }
    }
}
