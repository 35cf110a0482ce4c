//! The content store: blobs by digest, in `oci/blobs/sha256/`.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bld_oci::Digest;
use bld_oci::hashing::DigestReader;
use bld_oci::hashing::DigestWriter;
use bld_oci::image::Descriptor;
use rusqlite::params;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;
use crate::store::lease::Item;
use crate::store::objects::Kind;

/// The blobs of a store.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'a> {
    store: &'a Store,
}

/// A blob being written. It has no name before [`Ingest::commit`]; dropped, it is gone.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    writer: DigestWriter<File>,
    size: u64,
    temporary: Temporary,
}

/// A file that is removed unless it was renamed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

/// Reads a blob and fails at its end if the bytes are not those its digest names; the blob is then moved to quarantine.
#[derive(Debug)]
pub struct VerifiedReader {
    store: Store,
    digest: Digest,
    /// `None` when all was read.
    reader: Option<DigestReader<File>>,
    size: u64,
    read: u64,
}

impl<'a> Blobs<'a> {
    pub(crate) fn new(store: &'a Store) -> Blobs<'a> {
        Blobs { store }
    }

    /// Begins a blob.
    pub fn ingest(self) -> Result<Ingest, StoreError> {
        let path = self.store.shared.process.fresh();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).context("create", &path)?;
        let temporary = Temporary { path, renamed: false };
        Ok(Ingest { store: self.store.clone(), writer: DigestWriter::new(file), size: 0, temporary })
    }

    /// Stores bytes at hand.
    pub fn write(self, bytes: &[u8]) -> Result<(Digest, u64), StoreError> {
        let mut ingest = self.ingest()?;
        ingest.write_all(bytes).context("write", &ingest.temporary.path)?;
        ingest.commit()
    }

    /// Stores bytes at hand, unless they are here.
    pub fn keep(self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), StoreError> {
        if self.contains(&descriptor.digest)? != Some(descriptor.size) {
            self.write(bytes)?;
        }
        Ok(())
    }

    /// The size of a blob, if it is here and whole as far as is known. While a lease of this store lives, it stays.
    pub fn contains(self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        // Held first: what is found afterwards cannot be removed any more.
        self.store.hold(&[Item::Blob(*digest)])?;
        // Looked at, not opened: a build that knows everything reads no layer.
        if let Some(noted) = self.store.noted(Kind::Blob, digest.as_bytes())?
            && self.is_there(digest, noted.size)?
        {
            return Ok(Some(noted.size));
        }
        match self.open_raw(digest) {
            Ok((_, size)) => Ok(Some(size)),
            Err(error) if error.is_miss() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob; its bytes are verified as they are read.
    pub fn open(self, digest: &Digest) -> Result<VerifiedReader, StoreError> {
        let (file, size) = self.open_sized(digest)?;
        Ok(VerifiedReader {
            store: self.store.clone(),
            digest: *digest,
            reader: Some(DigestReader::new(file)),
            size,
            read: 0,
        })
    }

    /// Opens a blob to copy its bytes as they are: nothing verifies them but what is done before the first use in a boot.
    pub fn open_raw(self, digest: &Digest) -> Result<(File, u64), StoreError> {
        let (file, size) = self.open_sized(digest)?;
        if self.store.noted(Kind::Blob, digest.as_bytes())?.is_some_and(|noted| noted.trusted) {
            return Ok((file, size));
        }
        let mut reader = self.open(digest)?;
        io::copy(&mut reader, &mut io::sink()).map_err(|error| StoreError::from_read(error, &self.path(digest)))?;
        self.store.note(Kind::Blob, digest.as_bytes(), size)?;
        Ok((file, size))
    }

    /// A whole blob of at most `limit` bytes, verified.
    pub fn read(self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.open(digest)?;
        if reader.size > limit {
            return Err(StoreError::TooLarge { digest: *digest, size: reader.size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size).unwrap_or(0));
        reader.read_to_end(&mut bytes).map_err(|error| StoreError::from_read(error, &self.path(digest)))?;
        Ok(bytes)
    }

    /// Removes a blob; says whether it was there.
    pub fn remove(self, digest: &Digest) -> Result<bool, StoreError> {
        self.forget(digest)?;
        file::remove_file(&self.path(digest))
    }

    /// Where a blob is.
    pub(crate) fn path(self, digest: &Digest) -> PathBuf {
        self.store.path("oci/blobs/sha256").join(digest.hex())
    }

    /// Opens a blob whose size is what was noted, if anything was.
    fn open_sized(self, digest: &Digest) -> Result<(File, u64), StoreError> {
        let path = self.path(digest);
        let file = match file::gone(File::open(&path)) {
            Ok(Some(file)) => file,
            Ok(None) => return Err(StoreError::missing(format!("blob {digest}"))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(self.corrupt(digest, "it cannot be read"));
            }
            Err(error) => return Err(error).context("open", &path),
        };
        let metadata = file.metadata().context("inspect", &path)?;
        if !metadata.is_file() {
            return Err(self.corrupt(digest, "it is not a regular file"));
        }
        let noted = self.store.noted(Kind::Blob, digest.as_bytes())?;
        if noted.is_some_and(|noted| noted.size != metadata.len()) {
            return Err(self.corrupt(digest, "its size has changed"));
        }
        Ok((file, metadata.len()))
    }

    /// Whether a blob is here, of the right size and trusted.
    fn is_there(self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let noted = self.store.noted(Kind::Blob, digest.as_bytes())?;
        if !noted.is_some_and(|noted| noted.trusted && noted.size == size) {
            return Ok(false);
        }
        let path = self.path(digest);
        let metadata = file::gone(std::fs::symlink_metadata(&path)).context("inspect", &path)?;
        Ok(metadata.is_some_and(|metadata| metadata.is_file() && metadata.len() == size))
    }

    /// Moves a blob out of the way; the error says why.
    fn corrupt(self, digest: &Digest, reason: &'static str) -> StoreError {
        match self.forget(digest).and_then(|()| self.store.quarantine(&self.path(digest))) {
            Ok(()) => StoreError::Corrupt { object: format!("blob {digest}"), reason },
            Err(error) => error,
        }
    }

    /// Takes a blob out of the index, and away from the layers made here that count on it.
    fn forget(self, digest: &Digest) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            connection
                .prepare_cached("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?
                .execute(params![Kind::Blob as i64, digest.as_bytes()])?;
            connection
                .prepare_cached("DELETE FROM layer_blobs WHERE digest = ?1 AND local")?
                .execute([digest.as_bytes()])?;
            Ok(())
        })?;
        self.store.shared.layers.clear();
        Ok(())
    }
}

impl Ingest {
    /// Gives the bytes their name.
    pub fn commit(self) -> Result<(Digest, u64), StoreError> {
        self.publish(|_, _| Ok(()))
    }

    /// Gives the bytes their name if they are the ones announced.
    pub fn commit_verified(self, expected: &Descriptor) -> Result<(), StoreError> {
        let check = |actual, actual_size| {
            if actual == expected.digest && actual_size == expected.size {
                return Ok(());
            }
            let (expected, expected_size) = (expected.digest, expected.size);
            Err(StoreError::Mismatch { expected, expected_size, actual, actual_size })
        };
        self.publish(check).map(|_| ())
    }

    /// How many bytes came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A handle of its own on the bytes that came so far.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.temporary.path).context("open", &self.temporary.path)
    }

    fn publish(self, check: impl FnOnce(Digest, u64) -> Result<(), StoreError>) -> Result<(Digest, u64), StoreError> {
        let Ingest { store, writer, mut temporary, .. } = self;
        let (digest, size, file) = writer.complete();
        check(digest, size)?;
        store.hold(&[Item::Blob(digest)])?;
        let from = &temporary.path;
        file.set_permissions(Permissions::from_mode(0o444)).context("change the mode of", from)?;
        let to = store.blobs().path(&digest);
        while !file::rename_new(from, &to)? {
            // Mostly it is whole. Another process may just have put it there and not noted it yet: then it is read, never taken away.
            match store.blobs().contains(&digest)? {
                Some(there) if there == size => return Ok((digest, size)),
                // Of a size that these bytes cannot have.
                Some(_) => store.quarantine(&to)?,
                // It was moved out of the way, or is gone.
                None => {}
            }
        }
        temporary.renamed = true;
        store.note(Kind::Blob, digest.as_bytes(), size)?;
        Ok((digest, size))
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // If it fails, the end of the process removes it.
            file::remove_file(&self.path).ok();
        }
    }
}

impl VerifiedReader {
    /// The size of the blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn verify(&self, reader: DigestReader<File>) -> io::Result<()> {
        let (actual, _, _) = reader.complete();
        if actual == self.digest {
            return Ok(());
        }
        let error = self.store.blobs().corrupt(&self.digest, "its bytes do not match its digest");
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = self.reader.as_mut().filter(|_| !buffer.is_empty()) else { return Ok(0) };
        let count = reader.read(buffer)?;
        self.read += count as u64;
        // At the last byte, not after it: many a decoder never asks again.
        if (count == 0 || self.read >= self.size)
            && let Some(reader) = self.reader.take()
        {
            self.verify(reader)?;
        }
        Ok(count)
    }
}
