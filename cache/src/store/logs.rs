//! Complete outputs of steps: `logs/<build>/<step>`.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;

/// The logs of a store.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    store: &'a Store,
}

/// Appends to a log. Nothing is held back: what was written is in the file.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
}

/// Reads a log.
#[derive(Debug)]
pub struct LogReader {
    file: File,
}

impl<'a> Logs<'a> {
    pub(crate) fn new(store: &'a Store) -> Logs<'a> {
        Logs { store }
    }

    /// Begins the log of a step, or continues it.
    pub fn create(self, build: &str, step: &str) -> Result<LogWriter, StoreError> {
        let directory = self.store.path("logs").join(checked(build)?);
        file::make_directory(&directory)?;
        let path = directory.join(checked(step)?);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).context("create", &path)?;
        Ok(LogWriter { path, file })
    }

    /// Opens the log of a step.
    pub fn open(self, build: &str, step: &str) -> Result<LogReader, StoreError> {
        let path = self.store.path("logs").join(checked(build)?).join(checked(step)?);
        match file::gone(File::open(&path)).context("open", &path)? {
            Some(file) => Ok(LogReader { file }),
            None => Err(StoreError::missing(format!("log {build}/{step}"))),
        }
    }

    /// The builds that have logs, sorted.
    pub fn builds(self) -> Result<Vec<String>, StoreError> {
        Ok(sorted(file::names(&self.store.path("logs"))?))
    }

    /// The steps of a build that have logs, sorted.
    pub fn steps(self, build: &str) -> Result<Vec<String>, StoreError> {
        Ok(sorted(file::names(&self.store.path("logs").join(checked(build)?))?))
    }

    /// Removes the logs of a build.
    pub fn remove(self, build: &str) -> Result<(), StoreError> {
        self.store.discard(&self.store.path("logs").join(checked(build)?))
    }
}

impl LogWriter {
    /// Where the log is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogReader {
    /// How many bytes there are now.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// A name that is one component of a path and nothing special.
pub(crate) fn checked(name: &str) -> Result<&str, StoreError> {
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(StoreError::InvalidName { name: name.chars().take(200).collect() });
    }
    Ok(name)
}

fn sorted(names: Vec<std::ffi::OsString>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    names
}
