//! Bytes of regular files: reading them while hashing, writing them with holes where there is nothing but zeros.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use bld_cache::tree::ContentHash;

/// How many bytes are handled at once.
pub(super) const BLOCK: usize = 128 * 1024;

/// A hole is not worth less than this: it costs an extent.
const HOLE: usize = 64 * 1024;

static ZEROS: [u8; HOLE] = [0; HOLE];

/// Fills `buffer` from `reader` as far as the data goes.
pub(super) fn fill(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The hash of the rest of `file` and how long it is.
pub(super) fn hash(file: &mut File, buffer: &mut [u8]) -> io::Result<(ContentHash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    loop {
        let filled = fill(file, buffer)?;
        hasher.update(&buffer[..filled]);
        size += filled as u64;
        if filled < buffer.len() {
            return Ok((finish(&hasher), size));
        }
    }
}

/// The result of a hasher.
pub(super) fn finish(hasher: &blake3::Hasher) -> ContentHash {
    ContentHash(*hasher.finalize().as_bytes())
}

/// Writes a file from its beginning to its end, leaving out what is zero.
#[derive(Debug)]
pub(crate) struct SparseWriter<'file> {
    file: &'file File,
    offset: u64,
    written_to: u64,
}

impl<'file> SparseWriter<'file> {
    pub(crate) fn new(file: &'file File) -> SparseWriter<'file> {
        SparseWriter { file, offset: 0, written_to: 0 }
    }

    /// The next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut pending = 0;
        let mut at = 0;
        while at < bytes.len() {
            let length = HOLE.min(bytes.len() - at);
            if length == HOLE && bytes[at..at + HOLE] == ZEROS {
                self.put(&bytes[pending..at], pending)?;
                pending = at + HOLE;
            }
            at += length;
        }
        self.put(&bytes[pending..], pending)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        if !bytes.is_empty() {
            let offset = self.offset + at as u64;
            self.file.write_all_at(bytes, offset)?;
            self.written_to = offset + bytes.len() as u64;
        }
        Ok(())
    }

    /// Gives the file its length if it ends in a hole.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.written_to < self.offset {
            self.file.set_len(self.offset)?;
        }
        Ok(())
    }
}
