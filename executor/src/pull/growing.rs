//! A blob on its way into the store. Whoever needs it reads what has come so far and waits for the rest: a layer is unpacked while
//! it is downloaded.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use super::PullError;

/// How far a download is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<File>>,
    /// Bytes that are in the file.
    written: u64,
    /// Bytes that were in the file turned out to be wrong.
    restarted: bool,
    outcome: Option<Result<(), Arc<PullError>>>,
}

impl Progress {
    /// Says in which file the bytes are going to be.
    pub(super) fn begin(&self, file: File) {
        let mut state = self.guard();
        state.file = Some(Arc::new(file));
        state.written = 0;
    }

    /// Says that the file holds so many bytes.
    pub(super) fn advance(&self, written: u64) {
        self.guard().written = written;
        self.changed.notify_all();
    }

    /// Says that the bytes so far are wrong: nobody can read along any more.
    pub(super) fn restart(&self) {
        self.guard().restarted = true;
        self.changed.notify_all();
    }

    /// Says how it ended, if that was not said before. Well means that the bytes were verified.
    pub(super) fn end(&self, outcome: Result<(), Arc<PullError>>) {
        self.guard().outcome.get_or_insert(outcome);
        self.changed.notify_all();
    }

    /// Waits for the end.
    pub(super) fn wait(&self) -> Result<(), Arc<PullError>> {
        let mut state = self.guard();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn was_restarted(&self) -> bool {
        self.guard().restarted
    }

    /// Waits for bytes behind `position`: the file and how many there are, 0 at the end.
    fn available(&self, position: u64) -> io::Result<(Option<Arc<File>>, u64)> {
        let mut state = self.guard();
        loop {
            if let Some(Err(error)) = &state.outcome {
                return Err(io::Error::other(Arc::clone(error)));
            }
            if state.restarted {
                return Err(io::Error::other("the download began anew"));
            }
            if state.written > position || state.outcome.is_some() {
                return Ok((state.file.clone(), state.written.saturating_sub(position)));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A panic elsewhere leaves plain values.
    fn guard(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a download from its beginning. Its end is reached only when all bytes were verified.
#[derive(Debug)]
pub(super) struct GrowingReader {
    progress: Arc<Progress>,
    position: u64,
}

impl GrowingReader {
    pub(super) fn new(progress: Arc<Progress>) -> GrowingReader {
        GrowingReader { progress, position: 0 }
    }
}

impl Read for GrowingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let (file, available) = self.progress.available(self.position)?;
        let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let (Some(file), Some(buffer @ [_, ..])) = (file, buffer.get_mut(..wanted)) else { return Ok(0) };
        let count = file.read_at(buffer, self.position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn readers_wait_for_bytes_and_for_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        let progress = Arc::new(Progress::default());
        let reader = || {
            let mut reader = GrowingReader::new(Arc::clone(&progress));
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            })
        };
        let early = reader();
        progress.begin(file.try_clone().unwrap());
        for part in ["one ", "two ", "three"] {
            file.write_all(part.as_bytes()).unwrap();
            progress.advance(std::io::Seek::stream_position(&mut file).unwrap());
        }
        let late = reader();
        assert!(!early.is_finished(), "the end was not verified");
        progress.end(Ok(()));
        assert_eq!(early.join().unwrap().unwrap(), b"one two three");
        assert_eq!(late.join().unwrap().unwrap(), b"one two three");
    }

    #[test]
    fn nobody_reads_along_once_bytes_were_wrong() {
        let progress = Arc::new(Progress::default());
        let mut reader = GrowingReader::new(Arc::clone(&progress));
        progress.begin(tempfile::tempfile().unwrap());
        progress.restart();
        progress.end(Ok(()));
        assert!(reader.read(&mut [0; 8]).is_err());
        assert!(progress.wait().is_ok(), "the blob itself may be fine");
    }

    #[test]
    fn a_failure_reaches_readers() {
        let progress = Arc::new(Progress::default());
        progress.end(Err(Arc::new(PullError::Stopped)));
        progress.end(Ok(()));
        assert!(GrowingReader::new(Arc::clone(&progress)).read(&mut [0; 8]).is_err());
        assert!(progress.wait().is_err(), "the first word counts");
    }
}
