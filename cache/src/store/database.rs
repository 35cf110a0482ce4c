//! The index database: SQLite in WAL mode, shared by any number of processes.
//!
//! ```text
//! objects      (kind, id) -> size, boot     what is on disk; boot = NULL once it is surely there after a power cut
//! layers       id -> directory?, tree, tree object, DiffID, size
//! layer_blobs  (layer, label) -> descriptor, local?
//! keys         cache key -> result          results: state, layers, created, parts, operation, who made it at what cost
//! tombstones   cache key -> when and why its result was removed
//! builds       build id -> project, started, record, facts     facts: name -> bytes, shared by builds that are alike
//! kept         (build id, vertex) -> layers of a step that failed, the last one its own; what it ran with
//! states       state id -> layers, created  for early cutoff
//! images       manifest digest -> config digest, size, created
//! origins      (blob digest, repository) -> where a blob can be had that may not be here
//! memo         (namespace, key) -> value
//! ```
//! Nothing here is the only copy of anything but cache hits: a database that cannot be read is moved to quarantine and begun anew.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::FileControl;
use rusqlite::MAIN_DB;
use rusqlite::TransactionBehavior;
use rusqlite::config::DbConfig;
use rustix::fs::FlockOperation;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::file;

const SCHEMA_VERSION: i64 = 3;

/// 4 MB: some twenty builds, of which one then waits for the disk.
const AUTOMATIC_CHECKPOINT_PAGES: i64 = 1024;

/// What is left of the log's file when it begins anew. In bytes.
const LOG_LIMIT: i64 = 4 << 20;

/// How long to wait for another process to finish writing.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE TABLE objects (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, id BLOB NOT NULL, size INTEGER NOT NULL,
        boot TEXT, UNIQUE (kind, id));
    CREATE INDEX objects_boot ON objects (boot) WHERE boot IS NOT NULL;
    CREATE TABLE layers (id BLOB PRIMARY KEY, directory INTEGER NOT NULL, tree BLOB, tree_object BLOB, diff_id BLOB,
        size INTEGER NOT NULL);
    CREATE INDEX layers_diff_id ON layers (diff_id) WHERE diff_id IS NOT NULL;
    CREATE TABLE layer_blobs (layer BLOB NOT NULL, label TEXT NOT NULL, media_type TEXT NOT NULL, digest BLOB NOT NULL,
        size INTEGER NOT NULL, local INTEGER NOT NULL, PRIMARY KEY (layer, label)) WITHOUT ROWID;
    CREATE INDEX layer_blobs_digest ON layer_blobs (digest);
    CREATE TABLE results (id INTEGER PRIMARY KEY, state BLOB NOT NULL, layers BLOB NOT NULL, seconds INTEGER NOT NULL,
        nanoseconds INTEGER NOT NULL, parts BLOB NOT NULL, last_used INTEGER NOT NULL);
    CREATE TABLE keys (key BLOB PRIMARY KEY, result INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX keys_result ON keys (result);
    CREATE TABLE states (id BLOB PRIMARY KEY, layers BLOB NOT NULL, seconds INTEGER NOT NULL, nanoseconds INTEGER NOT NULL);
    CREATE TABLE images (manifest BLOB PRIMARY KEY, config BLOB, size INTEGER NOT NULL, created TEXT);
    CREATE TABLE memo (namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID;
    CREATE TABLE origins (seq INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, repository TEXT NOT NULL,
        UNIQUE (digest, repository));
    PRAGMA user_version = 2;
";

/// What version 3 has more than version 2.
const SCHEMA_3: &str = "
    ALTER TABLE results ADD COLUMN operation BLOB;
    ALTER TABLE results ADD COLUMN origin BLOB;
    CREATE INDEX results_operation ON results (operation) WHERE operation IS NOT NULL;
    CREATE TABLE tombstones (key BLOB PRIMARY KEY, seconds INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX tombstones_seconds ON tombstones (seconds);
    CREATE TABLE builds (id TEXT PRIMARY KEY, project TEXT NOT NULL, started INTEGER NOT NULL, record BLOB NOT NULL, facts BLOB);
    CREATE INDEX builds_project ON builds (project, started);
    CREATE TABLE facts (name BLOB PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE kept (seq INTEGER PRIMARY KEY AUTOINCREMENT, build TEXT NOT NULL, vertex INTEGER NOT NULL, layers BLOB NOT NULL,
        facts BLOB NOT NULL, UNIQUE (build, vertex));
    PRAGMA user_version = 3;
";

/// The tables, to empty them all.
pub(crate) const CACHE_TABLES: &[&str] = &["keys", "results", "states", "memo"];

/// The one connection of a store, and where it leads.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    quarantine: PathBuf,
    lock: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Tells whether another process has begun the database anew since.
    inode: Option<u64>,
}

impl Database {
    pub(crate) fn open(root: &Path) -> Result<Database, StoreError> {
        let path = root.join("index.db");
        let quarantine = root.join("quarantine");
        let lock = root.join("locks/index");
        let inode = inode(&path)?;
        let open = match connect(&path, &lock) {
            Err(error) if is_corrupt(&error) => {
                replace(&path, &quarantine, &lock, inode)?;
                connect(&path, &lock)
            }
            result => result,
        };
        Ok(Database { open: Mutex::new(open.map_err(|failure| failure.named(&path))?), path, quarantine, lock })
    }

    /// Reads.
    pub(crate) fn read<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.attempt(|connection| work(connection))
    }

    /// Writes, all or nothing. The write lock is taken at once: a reader that turns writer cannot wait for its turn.
    pub(crate) fn write<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.attempt(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Moves what the write-ahead log holds into the database proper, as far as no reader is in the way, and empties the log if
    /// nobody uses it: the next process to open the database reads all that is in it.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.attempt(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            connection.busy_timeout(PATIENCE)?;
            match emptied {
                Err(error)
                    if matches!(
                        error.sqlite_error_code(),
                        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
                    ) =>
                {
                    Ok(())
                }
                result => result,
            }
        })
    }

    fn attempt<T>(&self, work: impl Fn(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut open = self.guard();
        match work(&mut open.connection) {
            Err(error) if is_corrupt_code(&error) => {
                replace(&self.path, &self.quarantine, &self.lock, open.inode)?;
                *open = connect(&self.path, &self.lock).map_err(|failure| failure.named(&self.path))?;
                work(&mut open.connection)
            }
            result => result,
        }
        .map_err(|source| StoreError::Database { path: self.path.clone(), source })
    }

    fn guard(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id as the database gives it back; a wrong length is a conversion error like any other.
pub(crate) fn fixed<const N: usize>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    row.get(column)
}

/// SQLite has signed integers only; no size here comes near the limit.
pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size as stored by [`signed`].
pub(crate) fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

enum Failure {
    Database(rusqlite::Error),
    Store(StoreError),
}

impl Failure {
    fn named(self, path: &Path) -> StoreError {
        match self {
            Failure::Database(source) => StoreError::Database { path: path.to_owned(), source },
            Failure::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

fn connect(path: &Path, lock: &Path) -> Result<Open, Failure> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without these two every process that closes last would copy the log and wait for the disk.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mut keep = 1;
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut keep))?;
    let mut version = schema_version(&connection)?;
    if version != SCHEMA_VERSION {
        // Switching to WAL needs the database for itself and does not wait: one process at a time.
        let guard = file::open_lock(lock)?;
        file::lock(&guard, lock, FlockOperation::LockExclusive)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        version = schema_version(&connection)?;
        if matches!(version, 0 | 2) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if version == 0 {
                transaction.execute_batch(SCHEMA)?;
            }
            transaction.execute_batch(SCHEMA_3)?;
            transaction.commit()?;
        } else if version != SCHEMA_VERSION {
            // Only a cache: one of another time is worth nothing.
            return Err(Failure::Database(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
                Some(format!("unknown index version {version}")),
            )));
        }
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // A checkpoint waits for the disk: `Store::sync` makes one, and nobody else until the log is large.
    connection.pragma_update(None, "wal_autocheckpoint", AUTOMATIC_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    Ok(Open { connection, inode: inode(path)? })
}

fn inode(path: &Path) -> Result<Option<u64>, StoreError> {
    Ok(file::gone(fs::metadata(path)).context("inspect", path)?.map(|metadata| metadata.ino()))
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn is_corrupt(failure: &Failure) -> bool {
    matches!(failure, Failure::Database(error) if is_corrupt_code(error))
}

fn is_corrupt_code(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Moves the database to quarantine, unless another process did so already (`inode` is the one found corrupt).
fn replace(path: &Path, quarantine: &Path, lock: &Path, inode: Option<u64>) -> Result<(), StoreError> {
    let guard = file::open_lock(lock)?;
    file::lock(&guard, lock, FlockOperation::LockExclusive)?;
    if inode != self::inode(path)? {
        return Ok(());
    }
    let name = file::random_name()?;
    for suffix in ["-shm", "-wal", ""] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let to = quarantine.join(format!("index.db-{name}{suffix}"));
        file::gone(fs::rename(&from, &to)).context("rename", Path::new(&from))?;
    }
    Ok(())
}
