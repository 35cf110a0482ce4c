//! Claims: one process at a time works on a key.
//!
//! A claim is an flock on `locks/<key>`. The holder removes the file before it lets go, so whoever gets the lock looks whether the
//! file still has its name, and starts over if not. A holder that dies leaves the file, and the lock is free.

use std::fs::File;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use crate::error::StoreError;
use crate::key::CacheKey;
use crate::store::Store;
use crate::store::file;

/// The right to work on a key, until dropped.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    file: File,
}

impl Store {
    /// Waits until nobody works on `key`, in this process or another, and takes it. Look for a record again afterwards: the holder
    /// before may have made it.
    pub fn claim(&self, key: CacheKey) -> Result<Claim, StoreError> {
        self.claim_name(&key.to_string())
    }

    /// Takes `key` unless somebody works on it.
    pub fn try_claim(&self, key: CacheKey) -> Result<Option<Claim>, StoreError> {
        self.try_claim_name(&key.to_string())
    }

    /// Waits for a claim on anything that has a name: a cache mount, a blob being downloaded.
    pub fn claim_name(&self, name: &str) -> Result<Claim, StoreError> {
        let path = self.claim_path(name)?;
        loop {
            let file = file::open_lock(&path)?;
            file::lock(&file, &path, FlockOperation::LockExclusive)?;
            if file::is_at(&file, &path)? {
                return Ok(Claim { path, file });
            }
        }
    }

    /// Takes a claim on a name unless somebody has it.
    pub fn try_claim_name(&self, name: &str) -> Result<Option<Claim>, StoreError> {
        let path = self.claim_path(name)?;
        loop {
            let file = file::open_lock(&path)?;
            if !file::try_lock(&file, &path)? {
                return Ok(None);
            }
            if file::is_at(&file, &path)? {
                return Ok(Some(Claim { path, file }));
            }
        }
    }

    /// Takes a name together with any number of others, unless somebody has it alone.
    pub fn try_share_name(&self, name: &str) -> Result<Option<Claim>, StoreError> {
        let path = self.claim_path(name)?;
        loop {
            let file = file::open_lock(&path)?;
            if !file::try_share(&file, &path)? {
                return Ok(None);
            }
            if file::is_at(&file, &path)? {
                return Ok(Some(Claim { path, file }));
            }
        }
    }

    fn claim_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        // The prefix keeps claims apart from the store's own locks.
        super::logs::checked(name).map(|name| self.path("locks").join(format!("claim-{name}")))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While nobody else can hold it, so that all who have it have the same file. If it fails, an empty file stays.
        if file::try_lock(&self.file, &self.path).is_ok_and(|alone| alone) {
            file::remove_file(&self.path).ok();
        }
    }
}
