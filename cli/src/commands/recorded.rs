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
    /// A newer build, which is not finished.
    passed_over: Option<String>,
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
        let found = Recorded::find_silently(session, text)?;
        steps::tell_passed_over(found.passed_over.as_deref());
        Ok(found)
    }

    /// A build and a step of it, either of which may be left out: one argument that names a step of the last build is that step.
    pub(super) fn find_with_step(
        session: &Session,
        build: Option<&str>,
        step: Option<&str>,
    ) -> Result<(Recorded, Option<String>), CommandError> {
        let (Some(only), None) = (build, step) else {
            return Ok((Recorded::find(session, build)?, step.map(str::to_owned)));
        };
        let is_build = only == "last" || only.starts_with('-') || exported::path(only).is_some();
        if is_build {
            return Ok((Recorded::find(session, Some(only))?, None));
        }
        let last = Recorded::find_silently(session, None)?;
        let is_number = only.len() <= 5 && only.bytes().all(|byte| byte.is_ascii_digit());
        let has_form = only.contains(':') || only.starts_with(['#', '[']) || only == "failed" || is_number;
        let is_stage = || {
            let mut stages = last.record.steps.iter().filter(|step| step.step.is_some());
            stages.any(|step| step.stage.eq_ignore_ascii_case(only))
        };
        if !has_form && !is_stage() && steps::find_step(&last.record, Some(only)).is_err() {
            return Ok((Recorded::find(session, Some(only))?, None));
        }
        steps::tell_passed_over(last.passed_over.as_deref());
        Ok((last, Some(only.to_owned())))
    }

    fn find_silently(session: &Session, text: Option<&str>) -> Result<Recorded, CommandError> {
        if let Some(path) = text.and_then(exported::path) {
            let mut file = Exported::open(path)?;
            let (record, bytes) = (file.record.clone(), std::mem::take(&mut file.bytes));
            return Ok(Recorded { record, bytes, source: Source::File(Box::new(file)), passed_over: None });
        }
        let store = session.open_existing_store()?;
        let (build, passed_over) = steps::find_silently(&store, text)?;
        let mut record = steps::read_record(&build)?;
        // Whole environments are for `bld shell` in this store, not for files that people pass on.
        record.steps.iter_mut().for_each(|step| step.exec = None);
        let bytes = serde_json::to_vec(&record)?;
        Ok(Recorded { record, bytes, source: Source::Store { store, project: build.project }, passed_over })
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
