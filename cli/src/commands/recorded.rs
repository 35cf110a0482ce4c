//! The build that somebody names to look at, with what its steps printed: one of the store, or an exported file.

use std::io::Read;

use bld_cache::Store;
use bld_solver::record::BuildRecord;
use bld_solver::record::LogReference;
use bld_solver::record::Outcome;
use bld_solver::record::StepRecord;

use super::Session;
use super::exported;
use super::exported::Exported;
use super::steps;
use crate::error::CommandError;

/// A build that is recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its record.
    pub(super) record: BuildRecord,
    /// The record as it is stored.
    pub(super) bytes: Vec<u8>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Store { store: Store, project: String },
    File(Box<Exported>),
}

/// A log, and how many bytes it has.
pub(super) type OpenLog = (Box<dyn Read>, u64);

/// What a step printed.
pub(super) enum Log {
    /// Nothing.
    Nothing,
    /// It is gone.
    Gone,
    /// All of it, and how many bytes that is.
    Here(Box<dyn Read>, u64),
}

impl Recorded {
    /// The build that is named; without a name the last of this project. A file needs no store.
    pub(super) fn find(session: &Session, text: Option<&str>) -> Result<Recorded, CommandError> {
        if let Some(path) = text.and_then(exported::path) {
            let mut file = Exported::open(path)?;
            let (record, bytes) = (file.record.clone(), std::mem::take(&mut file.bytes));
            return Ok(Recorded { record, bytes, source: Source::File(Box::new(file)) });
        }
        let store = session.open_existing_store()?;
        let build = steps::find_stored(&store, text)?;
        let mut record = steps::read_record(&build)?;
        // Whole environments are for `bld shell` in this store, not for files that people pass on.
        record.steps.iter_mut().for_each(|step| step.exec = None);
        let bytes = serde_json::to_vec(&record)?;
        Ok(Recorded { record, bytes, source: Source::Store { store, project: build.project } })
    }

    /// The store it is in, and its project there.
    pub(super) fn stored(&self) -> Option<(&Store, &str)> {
        match &self.source {
            Source::Store { store, project } => Some((store, project)),
            Source::File(_) => None,
        }
    }

    /// What a step printed, in whichever build it ran.
    pub(super) fn log(&self, step: &StepRecord) -> Result<Log, CommandError> {
        let Some(reference) = &step.log else { return Ok(Log::Nothing) };
        Ok(match self.open(reference)? {
            Some((_, 0)) => Log::Nothing,
            Some((reader, size)) => Log::Here(reader, size),
            // It was stopped before it could print anything.
            None if step.outcome == Outcome::Canceled => Log::Nothing,
            None => Log::Gone,
        })
    }

    /// A log, and how many bytes it has; `None` if it is gone.
    pub(super) fn open(&self, log: &LogReference) -> Result<Option<OpenLog>, CommandError> {
        match &self.source {
            Source::Store { store, .. } => match store.logs().open(&log.build, &log.vertex.to_string()) {
                Ok(reader) => {
                    let size = reader.size()?;
                    // What is still being written comes no longer than it was.
                    Ok(Some((Box::new(reader.take(size)), size)))
                }
                Err(error) if error.is_miss() => Ok(None),
                Err(error) => Err(error.into()),
            },
            Source::File(file) => Ok(file.log(log)?.map(|(reader, size)| (Box::new(reader) as Box<dyn Read>, size))),
        }
    }
}
