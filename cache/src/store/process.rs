//! This process's directory in `tmp/`, and the way of things into `trash/`.
//!
//! A process lives as long as its `lock` is held. To start is to create a directory and lock it, to clear up after a dead one is to
//! take its lock and move it to the trash; both look again after locking, because the other may have been faster.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::file;
use crate::store::guard;

/// How long the end of a process may wait until what dead ones left is deleted.
const RECOVERY_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Process {
    directory: PathBuf,
    trash: PathBuf,
    counter: AtomicU64,
    janitor: Mutex<Option<Janitor>>,
    /// Closed when the trash that was found is deleted.
    recovery: Mutex<Option<Receiver<()>>>,
    _lock: File,
}

/// A thread that deletes what it is sent.
#[derive(Debug)]
struct Janitor {
    work: Sender<PathBuf>,
    thread: JoinHandle<()>,
}

impl Process {
    /// Announces this process and clears up after dead ones.
    pub(crate) fn start(root: &Path) -> Result<Process, StoreError> {
        let (tmp, trash) = (root.join("tmp"), root.join("trash"));
        let (directory, lock) = announce(&tmp)?;
        let process = Process {
            directory,
            trash,
            counter: AtomicU64::new(0),
            janitor: Mutex::new(None),
            recovery: Mutex::new(None),
            _lock: lock,
        };
        process.recover(&tmp)?;
        Ok(process)
    }

    /// A path nobody uses, in this process's directory.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.directory.join(self.counter.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Moves `path` to the trash and has it deleted meanwhile. What is gone already is fine.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let to = self.trash.join(file::random_name()?);
        match file::move_directory(path, &to) {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let mut janitor = guard(&self.janitor);
        let janitor = match &mut *janitor {
            Some(janitor) => janitor,
            none => none.insert(Janitor::start()?),
        };
        // Should the thread be gone, the next process empties the trash.
        janitor.work.send(to).ok();
        Ok(())
    }

    /// Deletes all there is in the trash, and waits for it.
    pub(crate) fn empty_trash(&self) -> Result<(), StoreError> {
        if let Some(janitor) = guard(&self.janitor).take() {
            janitor.finish();
        }
        for name in file::names(&self.trash)? {
            file::remove_tree(&self.trash.join(name))?;
        }
        Ok(())
    }

    fn recover(&self, tmp: &Path) -> Result<(), StoreError> {
        for name in file::names(tmp)? {
            let directory = tmp.join(name);
            if directory != self.directory {
                bury(&directory, &self.trash)?;
            }
        }
        let trash = file::names(&self.trash)?;
        if !trash.is_empty() {
            let directory = self.trash.clone();
            let (done, recovery) = std::sync::mpsc::channel::<()>();
            *guard(&self.recovery) = Some(recovery);
            std::thread::Builder::new()
                .name("bld-trash".to_owned())
                .spawn(move || {
                    for name in trash {
                        file::remove_tree(&directory.join(name)).ok();
                    }
                    drop(done);
                })
                .context("start a thread for", &self.trash)?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(janitor) = guard(&self.janitor).take() {
            janitor.finish();
        }
        if let Some(recovery) = guard(&self.recovery).take() {
            // Not for long: it was another's waste, and what is left the next process deletes.
            recovery.recv_timeout(RECOVERY_PATIENCE).ok();
        }
        // Still locked. If it fails, recovery does it.
        file::remove_tree(&self.directory).ok();
    }
}

impl Janitor {
    fn start() -> Result<Janitor, StoreError> {
        let (work, inbox) = std::sync::mpsc::channel::<PathBuf>();
        let thread = std::thread::Builder::new()
            .name("bld-janitor".to_owned())
            .spawn(move || {
                for path in inbox {
                    // What cannot be deleted stays in the trash, where the next process tries again.
                    file::remove_tree(&path).ok();
                }
            })
            .context("start a thread for", Path::new("trash"))?;
        Ok(Janitor { work, thread })
    }

    fn finish(self) {
        drop(self.work);
        self.thread.join().ok();
    }
}

fn announce(tmp: &Path) -> Result<(PathBuf, File), StoreError> {
    loop {
        let directory = tmp.join(file::random_name()?);
        file::make_directory(&directory)?;
        let path = directory.join("lock");
        let lock = match file::open_lock(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            result => result?,
        };
        if file::try_lock(&lock, &path)? && file::is_at(&lock, &path)? {
            return Ok((directory, lock));
        }
    }
}

/// Moves the directory of a process to the trash if it is dead.
fn bury(directory: &Path, trash: &Path) -> Result<(), StoreError> {
    let path = directory.join("lock");
    let lock = match file::open_lock(&path) {
        Err(StoreError::Io { source, .. }) if is_no_directory(&source) => {
            if fs::symlink_metadata(directory).is_ok_and(|metadata| !metadata.is_dir()) {
                file::remove_file(directory)?;
            }
            return Ok(());
        }
        result => result?,
    };
    if file::try_lock(&lock, &path)? && file::is_at(&lock, &path)? {
        file::rename_new(directory, &trash.join(file::random_name()?))?;
    }
    Ok(())
}

fn is_no_directory(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}
