//! Build contexts that come as one file: an archive, or a Dockerfile that needs no context. The bytes decide, once: what is no
//! archive is never tried as one, nor the other way round.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use bld_cache::Store;
use bld_oci::Timestamp;
use bld_oci::compression::Codec;
use bld_oci::compression::Decoder;
use bld_oci::compression::detect;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerReader;

use super::error::SourceError;
use crate::layers::LayerMode;
use crate::layers::unpack::UnpackOptions;
use crate::layers::unpack::unpack;

/// Longer than any Dockerfile the parser takes.
const MAX_DOCKERFILE: u64 = (32 << 20) + 1;
const BLOCK: usize = 512;

/// What a context file is.
#[derive(Debug)]
pub enum ContextFile {
    /// The text of a Dockerfile.
    Dockerfile(Vec<u8>),
    /// An archive, unpacked.
    Archive(Unpacked),
}

/// An unpacked archive, in a directory that goes when this does.
#[derive(Debug)]
pub struct Unpacked {
    store: Store,
    /// Where its files are.
    pub directory: PathBuf,
    /// The newest time of anything in it.
    pub newest: Option<Timestamp>,
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // If it fails, the end of the process removes it.
        self.store.discard(&self.directory).ok();
    }
}

/// Reads a context from `input`, called `what` in messages.
pub fn read_context(
    store: &Store,
    what: &str,
    mut input: impl Read,
    mode: LayerMode,
) -> Result<ContextFile, SourceError> {
    let read = |source| SourceError::Read { what: what.to_owned(), source };
    let mut first = Vec::with_capacity(BLOCK);
    input.by_ref().take(BLOCK as u64).read_to_end(&mut first).map_err(read)?;
    if !is_archive(&first) {
        let mut text = first;
        input.take(MAX_DOCKERFILE).read_to_end(&mut text).map_err(read)?;
        if text.len() as u64 > MAX_DOCKERFILE {
            return Err(SourceError::NotAContext { what: what.to_owned(), limit: MAX_DOCKERFILE });
        }
        return Ok(ContextFile::Dockerfile(text));
    }
    let spooled = spool(store, what, first.as_slice().chain(input))?;
    let decoder = Decoder::new(spooled).map_err(read)?;
    let directory = store.scratch()?;
    let mut unpacked = Unpacked { store: store.clone(), directory, newest: None };
    let options = UnpackOptions { mode, lower: None, max_bytes: crate::worker::free_space(&unpacked.directory) };
    let outcome =
        unpack(&mut LayerReader::archive(Box::new(decoder) as Box<dyn Read + Send>), &unpacked.directory, options);
    let outcome = outcome.map_err(|source| SourceError::Unpack { what: what.to_owned(), source })?;
    unpacked.newest = outcome.tree.iter().map(|(_, node)| node.metadata.mtime).max();
    Ok(ContextFile::Archive(unpacked))
}

/// The newest time of a file in an archive; `None` for anything that is none, or is broken.
pub(super) fn newest_file(mut input: impl Read + Send) -> Option<Timestamp> {
    let mut first = Vec::with_capacity(BLOCK);
    input.by_ref().take(BLOCK as u64).read_to_end(&mut first).ok()?;
    if !is_archive(&first) {
        return None;
    }
    let mut archive = LayerReader::archive(Decoder::new(first.as_slice().chain(input)).ok()?);
    let mut newest = None;
    while let Some((entry, _)) = archive.next_entry().ok()? {
        if matches!(entry.kind, EntryKind::File { .. }) {
            newest = newest.max(Some(entry.metadata.mtime));
        }
    }
    newest
}

/// A stream as a file without a name, so that another thread can read it.
fn spool(store: &Store, what: &str, mut input: impl Read) -> Result<File, SourceError> {
    let directory = store.scratch()?;
    let path = directory.join("context");
    let io = |verb| {
        let path = path.clone();
        move |source| SourceError::Io { verb, path, source }
    };
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(io("create"))?;
    store.discard(&directory)?;
    std::io::copy(&mut input, &mut file).map_err(|source| SourceError::Read { what: what.to_owned(), source })?;
    file.seek(SeekFrom::Start(0)).map_err(io("rewind"))?;
    Ok(file)
}

/// Compressed, or a tar header with the right checksum, or the zeros an empty tar begins with.
fn is_archive(first: &[u8]) -> bool {
    if detect(first) != Codec::Plain {
        return true;
    }
    let Ok(header) = <&[u8; BLOCK]>::try_from(first) else { return false };
    if header.iter().all(|byte| *byte == 0) {
        return true;
    }
    let sum: u32 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    let digits = std::str::from_utf8(&header[148..156]).ok();
    let digits = digits.map(|digits| digits.trim_matches(|character| matches!(character, ' ' | '\0')));
    digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()) == Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_by_their_bytes() {
        assert!(!is_archive(b""));
        assert!(!is_archive(b"FROM scratch\n"));
        assert!(!is_archive(&[b'#'; 512]));
        assert!(is_archive(&[0; 512]));
        assert!(is_archive(&[0x1f, 0x8b, 8, 0, 0, 0]));
    }
}
