//! Which objects can be trusted to be whole.
//!
//! An object is renamed into place without waiting for the disk and noted with the id of this boot: as long as the machine runs, its
//! bytes are safe. [`Store::sync`] makes everything noted so far *durable*. Objects of an earlier boot that never became durable,
//! and objects nobody noted, are verified before their first use.

use std::fs;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rusqlite::OptionalExtension as _;
use rusqlite::params;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::database;
use crate::store::file;

/// What kind of object an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob = 0,
    Directory = 1,
}

#[derive(Debug)]
pub(crate) struct Objects {
    boot: String,
    sync_failed: AtomicBool,
}

/// What the index knows about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) size: u64,
    pub(crate) trusted: bool,
}

impl Objects {
    pub(crate) fn new() -> Result<Objects, StoreError> {
        // Without the id of the boot nothing provisional is trusted beyond this process.
        let boot = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => file::random_name()?,
        };
        Ok(Objects { boot, sync_failed: AtomicBool::new(false) })
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }
}

impl Store {
    /// Waits until everything in the store so far would survive a power cut.
    ///
    /// A failure is final: the kernel drops what it could not write and would report success the next time.
    pub fn sync(&self) -> Result<(), StoreError> {
        let objects = &self.shared.objects;
        let failed = || StoreError::SyncFailed { path: self.root().to_owned() };
        if objects.sync_failed.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let noted = self.database().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT seq FROM objects WHERE boot = ?1")?;
            statement.query_map([objects.boot()], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()
        })?;
        let images = self.images().snapshot()?;
        if noted.is_empty() && self.images().is_kept(images.as_deref()) {
            return Ok(());
        }
        let root = File::open(self.root()).context("open", self.root())?;
        if let Err(error) = rustix::fs::syncfs(&root) {
            objects.sync_failed.store(true, Ordering::SeqCst);
            return Err(error).context("write to disk", self.root());
        }
        self.images().keep(images)?;
        self.database().write(|connection| {
            let mut statement = connection.prepare_cached("UPDATE objects SET boot = NULL WHERE seq = ?1")?;
            for seq in &noted {
                statement.execute([seq])?;
            }
            Ok(())
        })?;
        self.database().checkpoint()
    }

    /// Notes an object that has just got its final name.
    pub(crate) fn note(&self, kind: Kind, id: &[u8], size: u64) -> Result<(), StoreError> {
        self.database().write(|connection| note(connection, kind, id, size, self.shared.objects.boot()))
    }

    pub(crate) fn noted(&self, kind: Kind, id: &[u8]) -> Result<Option<Noted>, StoreError> {
        let found = self.database().read(|connection| {
            connection
                .prepare_cached("SELECT size, boot IS NULL OR boot = ?3 FROM objects WHERE kind = ?1 AND id = ?2")?
                .query_row(params![kind as i64, id, self.shared.objects.boot()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        Ok(found.map(|(size, trusted)| Noted { size: database::unsigned(size), trusted }))
    }

    pub(crate) fn forget(&self, kind: Kind, id: &[u8]) -> Result<(), StoreError> {
        self.database().write(|connection| {
            connection
                .prepare_cached("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?
                .execute(params![kind as i64, id])
                .map(|_| ())
        })
    }
}

/// [`Store::note`] inside a transaction.
pub(crate) fn note(connection: &Connection, kind: Kind, id: &[u8], size: u64, boot: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO objects (kind, id, size, boot) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![kind as i64, id, database::signed(size), boot])
        .map(|_| ())
}
