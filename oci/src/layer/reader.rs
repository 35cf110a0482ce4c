//! Reading layers: entries in the order of the stream, deletions decoded, names cleaned, everything doubtful refused.
//!
//! overlayfs's own attributes (`trusted.overlay.*`, `user.overlay.*`) are dropped, and its deletion devices (character 0:0) refused:
//! on disk they would make overlayfs show other files than the layer has.

use std::io;
use std::io::Read;

use super::EntryKind;
use super::LayerEntry;
use super::Metadata;
use super::OPAQUE_MARK;
use super::WHITEOUT;
use super::stream::RawEntry;
use super::stream::TarStream;
use crate::path::ImagePath;

const MAX_COMPONENT: usize = 255;
/// Names with this prefix, other than the opaque mark, are aufs's bookkeeping.
const AUFS: &[u8] = b".wh..wh.";

/// Reads a layer's uncompressed tar, entry by entry. Headers are read 512 bytes at a time: a source for which small reads are
/// dear should be buffered, as [`Decoder`](crate::compression::Decoder) is.
///
/// A stream that ends without the closing zeros is accepted if it ends between two entries, as GNU tar and Go do; a layer's digest
/// tells whether something is missing. After an error nothing more can be read.
#[derive(Debug)]
pub struct LayerReader<R> {
    stream: TarStream<R>,
    has_whiteouts: bool,
}

/// The content of the entry just returned.
#[derive(Debug)]
pub struct Content<'reader, R>(&'reader mut TarStream<R>);

/// A layer that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed, or ended too early.
    #[error("cannot read the archive at byte {offset}: {source}")]
    Read {
        /// Where, in uncompressed bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Not a tar, or one that readers do not agree on.
    #[error("invalid archive at byte {offset}: {reason}")]
    Malformed {
        /// Where the header is, in uncompressed bytes.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A deletion of nothing, or of a directory's parents.
    #[error("invalid whiteout `{name}` in layer")]
    Whiteout {
        /// The name as written, shortened.
        name: String,
    },
    /// A device that overlayfs takes for a deletion.
    #[error("`{path}` is a whiteout device in the layer")]
    WhiteoutDevice {
        /// The entry.
        path: ImagePath,
    },
    /// An entry that cannot be made.
    #[error("invalid entry `{name}` in archive: {reason}")]
    Entry {
        /// The name as written, shortened.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl<R: Read> LayerReader<R> {
    /// A layer.
    pub fn new(source: R) -> LayerReader<R> {
        LayerReader { stream: TarStream::new(source), has_whiteouts: true }
    }

    /// An ordinary tar archive, in which `.wh.` means nothing: for `ADD`.
    pub fn archive(source: R) -> LayerReader<R> {
        LayerReader { stream: TarStream::new(source), has_whiteouts: false }
    }

    /// The next entry and its content, of which what is not read is passed over; `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<(LayerEntry, Content<'_, R>)>, ReadError> {
        while let Some(raw) = self.stream.next()? {
            if let Some(entry) = decode(raw, self.has_whiteouts)? {
                return Ok(Some((entry, Content(&mut self.stream))));
            }
        }
        Ok(None)
    }

    /// Reads whatever is left, entries and anything behind them, so that a hasher below sees every byte of the stream; returns
    /// the source at its end.
    pub fn finish(self) -> Result<R, ReadError> {
        self.stream.finish()
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_content(buffer)
    }
}

/// What the raw entry means; `None` for bookkeeping that means nothing.
fn decode(raw: RawEntry, has_whiteouts: bool) -> Result<Option<LayerEntry>, ReadError> {
    let invalid = |reason| ReadError::Entry { name: shown(&raw.name), reason };
    if raw.name.contains(&0) || raw.link.contains(&0) {
        return Err(invalid("a NUL in its name or target"));
    }
    if raw.name.split(|byte| *byte == b'/').any(|component| component.len() > MAX_COMPONENT) {
        return Err(invalid("a component of its name is longer than 255 bytes"));
    }
    let path = ImagePath::new(&raw.name);
    let metadata = Metadata { mode: raw.mode, uid: raw.uid, gid: raw.gid, mtime: raw.mtime, xattrs: raw.xattrs };
    if has_whiteouts && let Some(found) = whiteout(&raw.name, &path)? {
        return Ok(found.map(|(path, kind)| LayerEntry { path, kind, metadata }));
    }
    if path.is_root() && raw.kind != b'5' {
        return Err(invalid("it would replace the root directory"));
    }
    let kind = match raw.kind {
        b'0' if raw.name.ends_with(b"/") => return Err(invalid("a file whose name ends in a slash")),
        b'0' => EntryKind::File { size: raw.size },
        b'1' => {
            let target = ImagePath::new(&raw.link);
            if target.is_root() {
                return Err(invalid("a hard link to the root directory"));
            }
            EntryKind::Hardlink { target }
        }
        b'2' if raw.link.is_empty() => return Err(invalid("a symbolic link without a target")),
        b'2' if raw.link.len() > 4095 => return Err(invalid("a symbolic link with too long a target")),
        b'2' => EntryKind::Symlink { target: raw.link },
        b'3' if raw.device == (0, 0) => return Err(ReadError::WhiteoutDevice { path }),
        b'3' => EntryKind::CharDevice { major: raw.device.0, minor: raw.device.1 },
        b'4' => EntryKind::BlockDevice { major: raw.device.0, minor: raw.device.1 },
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => return Err(invalid("its type is not supported")),
    };
    Ok(Some(LayerEntry { path, kind, metadata }))
}

/// The deletion a name stands for: `None` for an ordinary name, `Some(None)` for aufs's bookkeeping.
#[expect(clippy::option_option, reason = "three outcomes, used once")]
fn whiteout(name: &[u8], path: &ImagePath) -> Result<Option<Option<(ImagePath, EntryKind)>>, ReadError> {
    let Some(file_name) = path.file_name() else { return Ok(None) };
    let parent = path.parent().unwrap_or_else(ImagePath::root);
    if file_name == OPAQUE_MARK {
        return Ok(Some(Some((parent, EntryKind::Opaque))));
    }
    if path.components().any(|component| component.starts_with(AUFS) && component != OPAQUE_MARK) {
        return Ok(Some(None));
    }
    let Some(deleted) = file_name.strip_prefix(WHITEOUT) else { return Ok(None) };
    if matches!(deleted, b"" | b"." | b"..") {
        return Err(ReadError::Whiteout { name: shown(name) });
    }
    Ok(Some(Some((parent.join(deleted), EntryKind::Whiteout))))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}
