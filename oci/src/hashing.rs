//! Hashing on the way: readers and writers that count and digest what passes through them.

use std::io;
use std::io::Read;
use std::io::Write;

use sha2::Digest as _;
use sha2::Sha256;

use crate::digest::Digest;
use crate::image::Descriptor;

/// Digests what is written through it.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> DigestWriter<W> {
    /// Passes on to `inner`.
    pub fn new(inner: W) -> DigestWriter<W> {
        DigestWriter { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Digest and number of the bytes, and what they were written to.
    pub fn complete(self) -> (Digest, u64, W) {
        (Digest::from_hash(self.hasher.finalize().into()), self.size, self.inner)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Digests what is read through it.
#[derive(Debug)]
pub struct DigestReader<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R> DigestReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> DigestReader<R> {
        DigestReader { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Digest and number of the bytes that were read, and what they came from.
    pub fn complete(self) -> (Digest, u64, R) {
        (Digest::from_hash(self.hasher.finalize().into()), self.size, self.inner)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// Bytes that are not those a descriptor promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Another number of bytes.
    #[error("blob {digest} has {found} bytes where {expected} were promised")]
    Size {
        /// What was asked for.
        digest: Digest,
        /// The size promised.
        expected: u64,
        /// How many there were; one more than promised stands for any number more.
        found: u64,
    },
    /// Other bytes.
    #[error("blob {expected} is damaged: its bytes have digest {found}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
}

/// Reads exactly the bytes a descriptor promises: its last read is an error (with a [`ContentError`] inside) if there are fewer, more
/// or others.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Sha256>,
    expected: Digest,
    size: u64,
    found: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Checks `inner` against `expected`.
    pub fn new(inner: R, expected: &Descriptor) -> VerifyingReader<R> {
        VerifyingReader { inner, hasher: Some(Sha256::new()), expected: expected.digest, size: expected.size, found: 0 }
    }

    fn size_error(&self, found: u64) -> io::Error {
        invalid(ContentError::Size { digest: self.expected, expected: self.size, found })
    }
}

fn invalid(error: ContentError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.hasher.is_none() {
            return Ok(0);
        }
        let left = self.size - self.found;
        if left == 0 {
            if self.inner.read(&mut [0])? != 0 {
                return Err(self.size_error(self.size + 1));
            }
            let found = self.hasher.take().map(|hasher| Digest::from_hash(hasher.finalize().into()));
            return match found.filter(|found| *found != self.expected) {
                Some(found) => Err(invalid(ContentError::Digest { expected: self.expected, found })),
                None => Ok(0),
            };
        }
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(self.size_error(self.found));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.found += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_promised_bytes() {
        let descriptor = Descriptor::of("x/y", b"hello");
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            VerifyingReader::new(bytes, &descriptor).read_to_end(&mut out).map(|_| out)
        };
        assert_eq!(read(b"hello").unwrap(), b"hello");
        for (bytes, message) in
            [(b"hell".as_slice(), "has 4 bytes"), (b"hello!", "has 6 bytes"), (b"Hello", "is damaged")]
        {
            assert!(read(bytes).unwrap_err().to_string().contains(message), "{message}");
        }
        let empty = Descriptor::of("x/y", b"");
        assert!(VerifyingReader::new(b"".as_slice(), &empty).read_to_end(&mut Vec::new()).is_ok());
        assert!(VerifyingReader::new(b"x".as_slice(), &empty).read_to_end(&mut Vec::new()).is_err());
    }
}
