//! Writing layers: ustar headers, PAX records only where ustar has no room, so that equal entries give equal bytes.
//!
//! ```text
//! layer = { [ PAX header, records ] header [ content, padded to 512 ] } 1024 zero bytes
//! ```
//!
//! Names are relative without `./` (the root is `./`), directories end in a slash, owners are numbers. Names that are not UTF-8 are
//! written byte for byte. Sparse files are written with all their zeros: every reader understands that, and they compress to
//! nothing. Entries come in the order of [`ImagePath`], each path once, a directory's opaque mark right after it.

use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Write;

use super::EntryKind;
use super::LayerEntry;
use super::Metadata;
use super::OPAQUE_MARK;
use super::WHITEOUT;
use super::is_overlay_xattr;
use super::pax;
use crate::path::ImagePath;
use crate::time::Timestamp;

const BLOCK: usize = 512;
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;
const BUFFER: usize = 128 << 10;

/// Writes a layer's tar, entry by entry.
#[derive(Debug)]
pub struct LayerWriter<W: Write> {
    inner: W,
    last: Option<(ImagePath, bool)>,
    buffer: Vec<u8>,
    is_broken: bool,
}

/// A layer that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("cannot write `{path}` to the layer: {source}")]
    Write {
        /// The entry.
        path: ImagePath,
        /// Why.
        source: io::Error,
    },
    /// The end could not be written.
    #[error("cannot write the end of the layer: {source}")]
    End {
        /// Why.
        source: io::Error,
    },
    /// A file's content failed.
    #[error("cannot read the content of `{path}`: {source}")]
    Read {
        /// The entry.
        path: ImagePath,
        /// Why.
        source: io::Error,
    },
    /// A file's content has another length than was said: it changed while it was read.
    #[error("`{path}` changed while it was read: its size was {expected}, {found} bytes came")]
    Size {
        /// The entry.
        path: ImagePath,
        /// The size in its entry.
        expected: u64,
        /// How many bytes there were; one more than expected stands for any number more.
        found: u64,
    },
    /// A file without content, or content for what has none.
    #[error("`{path}`: content must be given for regular files and for nothing else")]
    Content {
        /// The entry.
        path: ImagePath,
    },
    /// Not in tree order, or twice.
    #[error("`{path}` cannot come after `{last}` in a layer")]
    Order {
        /// The entry.
        path: ImagePath,
        /// The entry before it.
        last: ImagePath,
    },
    /// A hard link to a path that comes later.
    #[error("`{path}` is a hard link to `{target}`, which does not come before it")]
    LinkOrder {
        /// The entry.
        path: ImagePath,
        /// Its target.
        target: ImagePath,
    },
    /// A name that layers use for deletions.
    #[error("`{path}` cannot be in a layer: names that begin with `.wh.` stand for deletions there")]
    Reserved {
        /// The entry.
        path: ImagePath,
    },
    /// Something other than a directory at `/`.
    #[error("the root of an image must be a directory")]
    Root,
    /// A device number that tar cannot hold.
    #[error("`{path}`: device {major}:{minor} is out of range")]
    Device {
        /// The entry.
        path: ImagePath,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// An attribute name that PAX cannot hold.
    #[error("`{path}`: the name of extended attribute `{name}` cannot be stored in a layer")]
    XattrName {
        /// The entry.
        path: ImagePath,
        /// The attribute.
        name: String,
    },
    /// Used after an error.
    #[error("the layer is incomplete because an earlier entry failed")]
    Broken,
}

impl<W: Write> LayerWriter<W> {
    /// A layer written to `inner`.
    pub fn new(inner: W) -> LayerWriter<W> {
        LayerWriter { inner, last: None, buffer: Vec::new(), is_broken: false }
    }

    /// Adds one entry; `content` is for regular files, which must have exactly the size they say.
    ///
    /// overlayfs's own attributes are left out. A hard link's metadata is written as given, and must be its target's: other tools
    /// apply it to the shared file.
    pub fn append(&mut self, entry: &LayerEntry, content: Option<&mut dyn Read>) -> Result<(), WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        self.is_broken = true;
        self.check_order(entry)?;
        let path = &entry.path;
        let head = head(entry)?;
        self.inner.write_all(&head).map_err(|source| WriteError::Write { path: path.clone(), source })?;
        match (&entry.kind, content) {
            (EntryKind::File { size }, Some(content)) => self.copy(path, *size, content)?,
            (EntryKind::File { size: 0 }, None) => {}
            (EntryKind::File { .. }, None) | (_, Some(_)) => return Err(WriteError::Content { path: path.clone() }),
            (_, None) => {}
        }
        self.last = Some((path.clone(), entry.kind == EntryKind::Opaque));
        self.is_broken = false;
        Ok(())
    }

    /// Writes the end and returns the output.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        self.inner.write_all(&[0; 2 * BLOCK]).map_err(|source| WriteError::End { source })?;
        Ok(self.inner)
    }

    fn check_order(&self, entry: &LayerEntry) -> Result<(), WriteError> {
        let path = &entry.path;
        if let Some((last, is_opaque)) = &self.last
            && (last, *is_opaque) >= (path, entry.kind == EntryKind::Opaque)
        {
            return Err(WriteError::Order { path: path.clone(), last: last.clone() });
        }
        if let EntryKind::Hardlink { target } = &entry.kind
            && target >= path
        {
            return Err(WriteError::LinkOrder { path: path.clone(), target: target.clone() });
        }
        Ok(())
    }

    fn copy(&mut self, path: &ImagePath, size: u64, content: &mut dyn Read) -> Result<(), WriteError> {
        self.buffer.resize(BUFFER, 0);
        let mut found = 0;
        while found < size {
            let wanted = usize::try_from(size - found).map_or(BUFFER, |rest| rest.min(BUFFER));
            let count = read_some(content, &mut self.buffer[..wanted])
                .map_err(|source| WriteError::Read { path: path.clone(), source })?;
            if count == 0 {
                return Err(WriteError::Size { path: path.clone(), expected: size, found });
            }
            let written = self.inner.write_all(&self.buffer[..count]);
            written.map_err(|source| WriteError::Write { path: path.clone(), source })?;
            found += count as u64;
        }
        let more = read_some(content, &mut [0]).map_err(|source| WriteError::Read { path: path.clone(), source })?;
        if more != 0 {
            return Err(WriteError::Size { path: path.clone(), expected: size, found: size + 1 });
        }
        let written = self.inner.write_all(&[0; BLOCK][..padding(size)]);
        written.map_err(|source| WriteError::Write { path: path.clone(), source })
    }
}

/// The zero bytes that follow content of this size.
pub(crate) fn padding(size: u64) -> usize {
    let beyond = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if beyond == 0 { 0 } else { BLOCK - beyond }
}

fn read_some(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// All that comes before the content.
fn head(entry: &LayerEntry) -> Result<Vec<u8>, WriteError> {
    let path = &entry.path;
    let mut header = Header::new();
    let name = name(entry)?;
    let bare = Metadata { mode: 0o600, uid: 0, gid: 0, mtime: Timestamp::from_seconds(0), xattrs: BTreeMap::new() };
    let (kind, link, metadata) = match &entry.kind {
        EntryKind::Directory => (b'5', b"".as_slice(), &entry.metadata),
        EntryKind::File { size } => {
            header.size(*size);
            (b'0', b"".as_slice(), &entry.metadata)
        }
        EntryKind::Symlink { target } => (b'2', target.as_slice(), &entry.metadata),
        EntryKind::Hardlink { target } => (b'1', target.relative(), &entry.metadata),
        EntryKind::Fifo => (b'6', b"".as_slice(), &entry.metadata),
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            if *major > MAX_ID || *minor > MAX_ID {
                return Err(WriteError::Device { path: path.clone(), major: *major, minor: *minor });
            }
            header.octal(329, 8, u64::from(*major));
            header.octal(337, 8, u64::from(*minor));
            (
                if matches!(entry.kind, EntryKind::CharDevice { .. }) { b'3' } else { b'4' },
                b"".as_slice(),
                &entry.metadata,
            )
        }
        EntryKind::Whiteout | EntryKind::Opaque => (b'0', b"".as_slice(), &bare),
    };
    header.block[156] = kind;
    header.name(&name);
    header.link(link);
    header.metadata(metadata);
    if kind != b'1' {
        for (name, value) in metadata.xattrs.iter().filter(|(name, _)| !is_overlay_xattr(name)) {
            if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(WriteError::XattrName { path: path.clone(), name });
            }
            header.records.insert([pax::XATTR, name].concat(), value.clone());
        }
    }
    Ok(header.finish())
}

/// The name in the tar.
fn name(entry: &LayerEntry) -> Result<Vec<u8>, WriteError> {
    let path = &entry.path;
    let Some(file_name) = path.file_name() else {
        return match entry.kind {
            EntryKind::Directory => Ok(b"./".to_vec()),
            EntryKind::Opaque => Ok(OPAQUE_MARK.to_vec()),
            _ => Err(WriteError::Root),
        };
    };
    if file_name.starts_with(WHITEOUT) {
        return Err(WriteError::Reserved { path: path.clone() });
    }
    let relative = path.relative();
    Ok(match entry.kind {
        EntryKind::Directory => [relative, b"/"].concat(),
        EntryKind::Opaque => [relative, b"/", OPAQUE_MARK].concat(),
        EntryKind::Whiteout => {
            let parent = &relative[..relative.len() - file_name.len()];
            [parent, WHITEOUT, file_name].concat()
        }
        _ => relative.to_vec(),
    })
}

/// A header being filled in, and the records for what does not fit.
struct Header {
    block: [u8; BLOCK],
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Header {
    fn new() -> Header {
        let mut header = Header { block: [0; BLOCK], records: BTreeMap::new() };
        header.block[257..265].copy_from_slice(b"ustar\x0000");
        for (offset, width) in [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)] {
            header.octal(offset, width, 0);
        }
        header
    }

    /// Digits with leading zeros and a closing NUL.
    fn octal(&mut self, offset: usize, width: usize, mut value: u64) {
        for index in (offset..offset + width - 1).rev() {
            self.block[index] = b'0' + u8::try_from(value % 8).unwrap_or(0);
            value /= 8;
        }
    }

    fn record(&mut self, key: &str, value: &[u8]) {
        self.records.insert(key.as_bytes().to_vec(), value.to_vec());
    }

    fn name(&mut self, name: &[u8]) {
        if name.len() <= 100 {
            self.block[..name.len()].copy_from_slice(name);
            return;
        }
        // The slash between prefix and name is not stored; a directory's last one must stay in the name.
        let slashes = name[..name.len() - 1].iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let split = slashes.map(|(index, _)| index).find(|index| name.len() - index - 1 <= 100);
        let Some(index) = split.filter(|index| *index <= 155 && *index > 0) else {
            self.text_record("path", name);
            self.block[..100].copy_from_slice(&name[..100]);
            return;
        };
        self.block[345..345 + index].copy_from_slice(&name[..index]);
        let rest = &name[index + 1..];
        self.block[..rest.len()].copy_from_slice(rest);
    }

    fn link(&mut self, link: &[u8]) {
        let fitting = link.len().min(100);
        self.block[157..157 + fitting].copy_from_slice(&link[..fitting]);
        if link.len() > 100 {
            self.text_record("linkpath", link);
        }
    }

    fn text_record(&mut self, key: &str, text: &[u8]) {
        if std::str::from_utf8(text).is_err() {
            self.record("hdrcharset", b"BINARY");
        }
        self.record(key, text);
    }

    fn size(&mut self, size: u64) {
        if size > MAX_SIZE {
            self.record("size", size.to_string().as_bytes());
        } else {
            self.octal(124, 12, size);
        }
    }

    fn metadata(&mut self, metadata: &Metadata) {
        self.octal(100, 8, u64::from(metadata.mode & 0o7777));
        for (key, offset, id) in [("uid", 108, metadata.uid), ("gid", 116, metadata.gid)] {
            if id > MAX_ID {
                self.record(key, id.to_string().as_bytes());
            } else {
                self.octal(offset, 8, u64::from(id));
            }
        }
        let mtime = metadata.mtime;
        let whole = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= MAX_SIZE);
        self.octal(136, 12, whole.unwrap_or(0));
        if whole.is_none() || mtime.nanoseconds != 0 {
            self.record("mtime", pax_time(mtime).as_bytes());
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        if !self.records.is_empty() {
            let mut records = Vec::new();
            self.records.iter().for_each(|(key, value)| pax::write_record(&mut records, key, value));
            let mut header = Header::new();
            header.block[156] = b'x';
            header.name(b"PaxHeaders.0/entry");
            header.octal(100, 8, 0o644);
            header.octal(124, 12, records.len() as u64);
            header.sum();
            out.extend_from_slice(&header.block);
            let padding = padding(records.len() as u64);
            out.append(&mut records);
            out.extend_from_slice(&[0; BLOCK][..padding]);
        }
        self.sum();
        out.extend_from_slice(&self.block);
        out
    }

    fn sum(&mut self) {
        self.block[148..156].fill(b' ');
        let sum: u64 = self.block.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 7, sum);
        self.block[154] = 0;
    }
}

/// Seconds with a fraction. Times before 1970 count down: one and a half seconds before is `-1.5`.
fn pax_time(time: Timestamp) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (false, nanoseconds) => ("", time.seconds.unsigned_abs(), nanoseconds),
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, nanoseconds) => ("-", time.seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds.min(999_999_999)),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}
