//! The store: everything bld keeps between two runs, shared by any number of processes.
//!
//! ```text
//! root/                 0700, owned by the user
//!   CACHEDIR.TAG        tells backup programs to stay out
//!   format              version of this layout
//!   oci/                an OCI image layout: oci-layout, index.json (tags), blobs/sha256/
//!   layers/<32 hex>/    unpacked change sets
//!   trees/<2>/<62 hex>  file indexes, named by BLAKE3 of their bytes
//!   index.db            see `database`
//!   images.json         index.json as it was when everything was last known to be on disk
//!   stat/<id>           stat caches
//!   logs/<build>/<step> output of steps
//!   selections/<64 hex> lists of the files that contexts gave to steps
//!   mounts/             cache mounts
//!   git/                shallow copies of remote repositories, host keys of ssh servers
//!   tmp/<process>/      what a process is making; its `lock` is held while the process lives
//!   trash/ quarantine/  on the way out; found corrupt
//!   locks/ leases/      flocks; what running builds rely on
//! ```
//! Invariant: whatever has its final name is complete. Invariant: every lock is an flock and so dies with its holder.

mod blobs;
mod builds;
mod claim;
mod database;
mod file;
mod garbage;
mod images;
mod kept;
mod layers;
mod lease;
mod logs;
mod memo;
mod mounts;
mod objects;
mod origins;
mod process;
mod records;
mod results;
mod selections;
mod stat_cache;
mod trees;

use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bld_oci::Timestamp;
use rustix::fs::FlockOperation;

pub use blobs::Blobs;
pub use blobs::Ingest;
pub use blobs::VerifiedReader;
pub use builds::Build;
pub use builds::Builds;
pub use builds::Facts;
pub use claim::Claim;
pub use garbage::Census;
pub use garbage::Evicted;
pub use garbage::Eviction;
pub use garbage::Freed;
pub use garbage::Garbage;
pub use garbage::LayerUsage;
pub use garbage::Usage;
pub use images::ImageDetails;
pub use images::Images;
pub use kept::Kept;
pub use kept::KeptSteps;
pub use layers::ActiveLayer;
pub use layers::LayerFacets;
pub use layers::Layers;
pub use lease::Lease;
pub use logs::LogReader;
pub use logs::LogWriter;
pub use logs::Logs;
pub use memo::Memo;
pub use mounts::CacheMount;
pub use mounts::CacheMounts;
pub use mounts::Holder;
pub use mounts::claim_name as mount_claim;
pub use mounts::hash_of as mount_hash;
pub use origins::Origins;
pub use records::Records;
pub use records::StateRecord;
pub use records::Tombstone;
pub use results::CachedResult;
pub use selections::Selections;
pub use stat_cache::KnownFile;
pub use stat_cache::StatCache;
pub use stat_cache::StatKey;
pub use trees::TreeObject;
pub use trees::Trees;

use crate::error::Context as _;
use crate::error::StoreError;

/// The format of the tree above.
const FORMAT: u32 = 1;

/// What a format file begins with.
const FORMAT_NAME: &str = "bld-store ";

const DIRECTORIES: &[&str] = &[
    "oci",
    "oci/blobs",
    "oci/blobs/sha256",
    "layers",
    "trees",
    "stat",
    "logs",
    "selections",
    "mounts",
    "git",
    "tmp",
    "trash",
    "quarantine",
    "locks",
    "leases",
];

const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Everything here can be made again.\n# https://bford.info/cachedir/\n";

/// An open store. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What clones share. Fields are dropped in this order: the process directory last, its lock tells others that we live.
struct Shared {
    root: PathBuf,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    database: database::Database,
    objects: objects::Objects,
    layers: layers::Known,
    trees: trees::Cache,
    touched: records::Touched,
    leases: lease::Registry,
    process: process::Process,
}

impl Store {
    /// Opens the store at `root`, creating it if nothing is there. `now` tells the time of records.
    ///
    /// What dead processes left is cleared away, at a cost that depends on what they left and not on the size of the store.
    pub fn open(root: &Path, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Result<Store, StoreError> {
        prepare(root)?;
        let root = std::path::absolute(root).context("resolve", root)?;
        let process = process::Process::start(&root)?;
        let database = database::Database::open(&root)?;
        let objects = objects::Objects::new()?;
        let shared = Shared {
            root,
            now: Box::new(now),
            database,
            objects,
            layers: layers::Known::default(),
            trees: trees::Cache::default(),
            touched: records::Touched::default(),
            leases: lease::Registry::default(),
            process,
        };
        let store = Store { shared: Arc::new(shared) };
        store.bury_leases()?;
        Ok(store)
    }

    /// Its directory, absolute.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// The content store.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs::new(self)
    }

    /// The layers.
    pub fn layers(&self) -> Layers<'_> {
        Layers::new(self)
    }

    /// The file indexes.
    pub fn trees(&self) -> Trees<'_> {
        Trees::new(self)
    }

    /// What is known for cache keys and states.
    pub fn records(&self) -> Records<'_> {
        Records::new(self)
    }

    /// Small values that outlive a build.
    pub fn memo(&self) -> Memo<'_> {
        Memo::new(self)
    }

    /// Where blobs can be had that may not be here.
    pub fn origins(&self) -> Origins<'_> {
        Origins::new(self)
    }

    /// The images by name.
    pub fn images(&self) -> Images<'_> {
        Images::new(self)
    }

    /// Outputs of steps.
    pub fn logs(&self) -> Logs<'_> {
        Logs::new(self)
    }

    /// Records of builds.
    pub fn builds(&self) -> Builds<'_> {
        Builds::new(self)
    }

    /// What failed steps left.
    pub fn kept(&self) -> KeptSteps<'_> {
        KeptSteps::new(self)
    }

    /// Lists of files that steps took.
    pub fn selections(&self) -> Selections<'_> {
        Selections::new(self)
    }

    /// Removal of what nothing needs.
    pub fn garbage(&self) -> Garbage<'_> {
        Garbage::new(self)
    }

    /// The cache mounts.
    pub fn cache_mounts(&self) -> CacheMounts<'_> {
        CacheMounts::new(self)
    }

    /// The directory of cache mounts.
    pub fn mounts(&self) -> PathBuf {
        self.path("mounts")
    }

    /// The directory of copies of remote repositories.
    pub fn repositories(&self) -> PathBuf {
        self.path("git")
    }

    /// A fresh directory in this process's part of `tmp/`, on the same file system as everything else. It goes with the process
    /// at the latest.
    pub fn scratch(&self) -> Result<PathBuf, StoreError> {
        let path = self.shared.process.fresh();
        file::make_directory(&path)?;
        Ok(path)
    }

    /// Gets rid of a file or a directory, however large, without waiting for it.
    pub fn discard(&self, path: &Path) -> Result<(), StoreError> {
        self.shared.process.discard(path)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.shared.root.join(relative)
    }

    fn database(&self) -> &database::Database {
        &self.shared.database
    }

    fn now(&self) -> Timestamp {
        (self.shared.now)()
    }

    /// Moves something found corrupt out of the way; it stays there to be looked at.
    fn quarantine(&self, path: &Path) -> Result<(), StoreError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = self.path("quarantine").join(format!("{name}-{}", file::random_name()?));
        match file::move_directory(path, &to) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Only when something was last used: losing it costs nothing.
        self.touched.flush(&self.database).ok();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

/// A poisoned lock guards nothing that a panic could have left half done.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that a store of the right format is at `root`, ours alone.
fn prepare(root: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(root.parent().unwrap_or(root)).context("create", root)?;
    file::make_directory(root)?;
    let directory = File::open(root).context("open", root)?;
    let metadata = directory.metadata().context("inspect", root)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(StoreError::Foreign { path: root.to_owned(), owner: metadata.uid(), user });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StoreError::Exposed { path: root.to_owned(), mode });
    }
    if rustix::fs::fstatfs(&directory).context("inspect", root)?.f_type == rustix::fs::NFS_SUPER_MAGIC {
        return Err(StoreError::NetworkFileSystem { path: root.to_owned() });
    }
    if !has_format(root)? {
        file::lock(&directory, root, FlockOperation::LockExclusive)?;
        if !has_format(root)? {
            create(root)?;
        }
    }
    if mode & 0o077 != 0 {
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).context("change the mode of", root)?;
    }
    for name in DIRECTORIES {
        file::make_directory(&root.join(name))?;
    }
    Ok(())
}

/// Whether there is a store that this version knows.
fn has_format(root: &Path) -> Result<bool, StoreError> {
    let path = root.join("format");
    let Some(opened) = file::gone(File::open(&path)).context("open", &path)? else { return Ok(false) };
    let mut text = String::new();
    opened.take(100).read_to_string(&mut text).context("read", &path)?;
    let found = text.trim_end();
    if found.strip_prefix(FORMAT_NAME).and_then(|version| version.parse::<u32>().ok()) == Some(FORMAT) {
        return Ok(true);
    }
    Err(StoreError::Newer { path: root.to_owned(), found: found.to_owned(), known: format!("{FORMAT_NAME}{FORMAT}") })
}

/// Makes an empty store. The format file comes last: without it the next process begins again.
fn create(root: &Path) -> Result<(), StoreError> {
    let ours = ["oci", "CACHEDIR.TAG", ".format"];
    if file::names(root)?.iter().any(|name| !ours.iter().any(|known| *name == **known)) {
        return Err(StoreError::NotAStore { path: root.to_owned() });
    }
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::write(&path, text).context("write", &path)
    };
    file::make_directory(&root.join("oci"))?;
    write("CACHEDIR.TAG", CACHEDIR_TAG)?;
    write("oci/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}")?;
    write(".format", &format!("{FORMAT_NAME}{FORMAT}\n"))?;
    fs::rename(root.join(".format"), root.join("format")).context("create", &root.join("format"))
}
