//! Cache mounts: directories that steps keep between builds.
//!
//! ```text
//! mounts/<hash of the id>/id     the id, for people; its time of modification says when the mount was last used
//!                        /<n>/   copies; 0 is the one steps share, the others are made by sharing=private
//! ```
//! Who uses a copy has the claim [`claim_name`] on it, together with others or alone. What is removed are copies, never the directory
//! around them: a step may be making one in it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;
use crate::store::garbage::disk_usage;

/// Where sizes of mounts are remembered.
const SIZES: &str = "mount-size";

/// The cache mounts of a store.
#[derive(Debug, Clone, Copy)]
pub struct CacheMounts<'a> {
    store: &'a Store,
}

/// A cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// The name of its directory.
    pub hash: String,
    /// Its id: the target, unless `id=` said otherwise.
    pub id: String,
    /// The numbers of its copies, sorted; there is at least one.
    pub copies: Vec<usize>,
    /// When it was last used, in nanoseconds since 1970.
    pub last_used_ns: i64,
    /// Who uses it now.
    pub holder: Holder,
}

/// Who uses a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// Steps that share it.
    Shared,
    /// A step that has it for itself.
    Alone,
}

/// The name of the directory of a cache mount: an id is anything, a name of a directory is not.
pub fn hash_of(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex().to_string()
}

/// The claim on a copy of a cache mount.
pub fn claim_name(hash: &str, number: usize) -> String {
    format!("mount-{hash}-{number}")
}

impl<'a> CacheMounts<'a> {
    pub(crate) fn new(store: &'a Store) -> CacheMounts<'a> {
        CacheMounts { store }
    }

    /// All that have a copy, those used last first.
    pub fn list(self) -> Result<Vec<CacheMount>, StoreError> {
        let mut found = Vec::new();
        for name in file::names(&self.store.mounts())? {
            if let Some(hash) = name.to_str()
                && let Some(mount) = self.get(hash)?
            {
                found.push(mount);
            }
        }
        found.sort_by(|left, right| (right.last_used_ns, &left.id).cmp(&(left.last_used_ns, &right.id)));
        Ok(found)
    }

    /// The directory of a copy.
    pub fn copy(self, mount: &CacheMount, number: usize) -> PathBuf {
        self.store.mounts().join(&mount.hash).join(number.to_string())
    }

    /// Notes that a mount is used now. Whoever calls has a claim on a copy.
    pub fn touch(self, hash: &str) -> Result<(), StoreError> {
        let path = self.store.mounts().join(hash).join("id");
        let Some(note) = file::gone(fs::File::options().write(true).open(&path)).context("open", &path)? else {
            return Ok(());
        };
        let now = self.store.now();
        let since = Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds);
        note.set_modified(UNIX_EPOCH + since).context("change the time of", &path)
    }

    /// The bytes a mount takes up on disk. Remembered until it is used again.
    pub fn size(self, mount: &CacheMount) -> Result<u64, StoreError> {
        let stamp = mount.last_used_ns.to_le_bytes();
        if let Some(known) = self.store.memo().get(SIZES, mount.hash.as_bytes())?
            && let Some((time, size)) = known.split_at_checked(8)
            && time == stamp
            && let Ok(size) = size.try_into()
        {
            return Ok(u64::from_le_bytes(size));
        }
        let size = disk_usage(&self.store.mounts().join(&mount.hash))?;
        // While somebody uses it, it may grow.
        if mount.holder == Holder::Nobody {
            let value = [stamp, size.to_le_bytes()].concat();
            self.store.memo().put(SIZES, mount.hash.as_bytes(), &value)?;
        }
        Ok(size)
    }

    /// Removes what a mount holds, unless somebody uses it; says whether it did. The space is free when the trash is empty.
    pub fn remove(self, mount: &CacheMount) -> Result<bool, StoreError> {
        let mut claims = Vec::new();
        for number in &mount.copies {
            match self.store.try_claim_name(&claim_name(&mount.hash, *number))? {
                Some(claim) => claims.push(claim),
                None => return Ok(false),
            }
        }
        for number in &mount.copies {
            self.store.discard(&self.copy(mount, *number))?;
        }
        drop(claims);
        Ok(true)
    }

    fn get(self, hash: &str) -> Result<Option<CacheMount>, StoreError> {
        let directory = self.store.mounts().join(hash);
        let mut copies: Vec<usize> =
            file::names(&directory)?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
        if copies.is_empty() {
            return Ok(None);
        }
        copies.sort_unstable();
        let note = directory.join("id");
        let id = file::gone(fs::read(&note)).context("read", &note)?;
        let id = id.map_or_else(|| hash.to_owned(), |id| String::from_utf8_lossy(&id).into_owned());
        let dated = if note.exists() { note } else { directory };
        let Some(metadata) = file::gone(fs::metadata(&dated)).context("inspect", &dated)? else { return Ok(None) };
        let since = metadata.modified().context("inspect", &dated)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last_used_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let mut holder = Holder::Nobody;
        for number in &copies {
            holder = holder.max(self.holder(&claim_name(hash, *number))?);
        }
        Ok(Some(CacheMount { hash: hash.to_owned(), id, copies, last_used_ns, holder }))
    }

    fn holder(self, claim: &str) -> Result<Holder, StoreError> {
        // Asked for together first: that stands in nobody's way who shares.
        let Some(shared) = self.store.try_share_name(claim)? else { return Ok(Holder::Alone) };
        drop(shared);
        Ok(if self.store.try_claim_name(claim)?.is_some() { Holder::Nobody } else { Holder::Shared })
    }
}
