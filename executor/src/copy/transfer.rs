//! Bytes from one file to another: shared if the file system can, else moved by the kernel, else copied - and in every case known
//! to be the bytes whose hash is recorded.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;

use bld_cache::tree::ContentHash;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::context::FileStat;
use crate::context::beneath;
use crate::layers::content::SparseWriter;

/// Up to this size a file is read into memory, hashed and written: cheaper than asking the kernel for anything clever, and the
/// hash is that of the very bytes written.
const SMALL: u64 = 128 * 1024;

/// How a transfer ended.
pub(super) enum Outcome {
    /// The target holds the bytes with the hash that was expected.
    Done,
    /// The source changed.
    Changed,
    /// The source could not be read.
    Unreadable(io::Error),
    /// The target could not be written.
    Unwritable(io::Error),
}

/// Copies all of `source`, which should be `size` bytes that hash to `expected`, to the empty file `target`. The status of a file that
/// is not settled tells nothing, so its bytes are hashed again on their way.
pub(super) fn transfer(
    source: &mut File,
    target: &mut File,
    size: u64,
    expected: ContentHash,
    is_settled: bool,
) -> Outcome {
    if size <= SMALL {
        return in_memory(source, target, size, expected);
    }
    if !is_settled {
        return by_hand(source, target, size, expected);
    }
    let before = match beneath::status(&*source) {
        Ok(stat) if stat.stx_size == size => FileStat::of(&stat),
        Ok(_) => return Outcome::Changed,
        Err(error) => return Outcome::Unreadable(error),
    };
    if rustix::fs::ioctl_ficlone(target.as_fd(), source.as_fd()).is_err() {
        match by_kernel(source, target, size) {
            Ok(true) => {}
            Ok(false) => return Outcome::Changed,
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::BADF) => {
                return by_hand(source, target, size, expected);
            }
            Err(error) => return Outcome::Unwritable(error.into()),
        }
    }
    match beneath::status(&*source) {
        Ok(stat) if FileStat::of(&stat) == before => Outcome::Done,
        Ok(_) => Outcome::Changed,
        Err(error) => Outcome::Unreadable(error),
    }
}

fn in_memory(source: &mut File, target: &mut File, size: u64, expected: ContentHash) -> Outcome {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    if let Err(error) = source.take(size + 1).read_to_end(&mut bytes) {
        return Outcome::Unreadable(error);
    }
    if blake3::hash(&bytes).as_bytes() != &expected.0 {
        return Outcome::Changed;
    }
    match target.write_all(&bytes) {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Unwritable(error),
    }
}

/// Copies the parts of `source` that hold data; holes stay holes. Answers whether all bytes were there.
fn by_kernel(source: &File, target: &File, size: u64) -> Result<bool, Errno> {
    rustix::fs::ftruncate(target, size)?;
    let mut at = 0_u64;
    while at < size {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(true),
            Err(_) => at,
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        let (mut from, mut to) = (start, start);
        while from < end {
            let wanted = usize::try_from(end - from).unwrap_or(usize::MAX).min(1 << 30);
            if rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted)? == 0 {
                return Ok(false);
            }
        }
        at = end.max(at + 1);
    }
    Ok(true)
}

fn by_hand(source: &mut File, target: &mut File, size: u64, expected: ContentHash) -> Outcome {
    if let Err(error) = rustix::fs::ftruncate(&*target, 0) {
        return Outcome::Unwritable(error.into());
    }
    for file in [&mut *source, &mut *target] {
        if let Err(error) = io::Seek::rewind(file) {
            return Outcome::Unreadable(error);
        }
    }
    let mut hasher = blake3::Hasher::new();
    let mut sparse = SparseWriter::new(target);
    let mut buffer = vec![0_u8; 256 * 1024];
    let mut total = 0_u64;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
                if total > size {
                    return Outcome::Changed;
                }
                if let Err(error) = sparse.write(&buffer[..count]) {
                    return Outcome::Unwritable(error);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Outcome::Unreadable(error),
        }
    }
    match sparse.finish() {
        Ok(()) if hasher.finalize().as_bytes() == &expected.0 => Outcome::Done,
        Ok(()) => Outcome::Changed,
        Err(error) => Outcome::Unwritable(error),
    }
}
