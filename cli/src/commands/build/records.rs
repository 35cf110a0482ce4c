//! Where the record of a build goes beside the store: `--report`, `--trace`, a collector of spans.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_executor::output::collector;
use bld_executor::output::collector::Posting;
use bld_solver::record::BuildRecord;

use super::finish::describe;
use crate::commands::written;
use crate::environment;
use crate::error::CommandError;
use crate::registries::proxies;
use crate::report;
use crate::report::Telemetry;
use crate::ui::plain::write_line;
use crate::ui::sanitize;

/// The places.
#[derive(Debug, Default)]
pub(in crate::commands) struct Records {
    /// `--report`.
    pub(super) report: Option<PathBuf>,
    /// `--trace`.
    pub(super) trace: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and what belongs to it.
    pub(super) telemetry: Option<Telemetry>,
    /// The record of a build that was stopped, until it is written.
    stopped: Mutex<Option<BuildRecord>>,
}

impl Records {
    /// As flags and the environment say.
    pub(super) fn resolve(args: &crate::args::report::RecordArgs) -> Result<Records, CommandError> {
        let file = |flag: &str, path: &Option<PathBuf>| match path {
            Some(path) if path.as_os_str() == "-" => {
                Err(CommandError::usage(format!("`{flag} -`: standard output is for the digest"))
                    .hint(format!("`{flag} FILE` writes a file")))
            }
            path => path.as_deref().map(environment::absolute).transpose(),
        };
        Ok(Records {
            report: file("--report", &args.report)?,
            trace: file("--trace", &args.trace)?,
            telemetry: Telemetry::from_variables(&environment::variable),
            stopped: Mutex::default(),
        })
    }

    /// Whether a file is to be written.
    pub(super) fn is_asked_for(&self) -> bool {
        self.report.is_some() || self.trace.is_some()
    }

    /// Takes the record of a build that was stopped: nothing can be waited for in the middle of that.
    pub(super) fn keep_stopped(&self, record: BuildRecord) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// Writes the record of a build that has ended. If that failed too, the build's error is the one that counts.
    pub(super) async fn end(
        &self,
        record: &BuildRecord,
        outcome: Result<(), CommandError>,
        quiet: bool,
    ) -> Result<(), CommandError> {
        match (outcome, self.write(record, quiet).await) {
            (Err(error), Err(unwritten)) => {
                write_line(&sanitize(&format!("note: {}", unwritten.message())));
                Err(error)
            }
            (outcome, written) => outcome.and(written),
        }
    }

    /// The same for a build that was stopped, if one was.
    pub(super) async fn end_stopped(&self, outcome: Result<(), CommandError>, quiet: bool) -> Result<(), CommandError> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        match stopped {
            Some(record) => self.end(&record, outcome, quiet).await,
            None => outcome,
        }
    }

    /// Writes the files and sends the spans. A collector that does not take them is worth a note; a file that cannot be written is an
    /// error.
    async fn write(&self, record: &BuildRecord, quiet: bool) -> Result<(), CommandError> {
        self.send(record, quiet).await;
        if let Some(path) = &self.report {
            describe(path, &format!("{}\n", serde_json::to_string_pretty(record)?))?;
        }
        if let Some(path) = &self.trace {
            describe(path, &report::trace(record))?;
        }
        let files = [&self.report, &self.trace];
        for note in files.into_iter().flatten().filter_map(|path| written::note(record, path)).filter(|_| !quiet) {
            write_line(&sanitize(&format!("note: {note}")));
        }
        Ok(())
    }

    async fn send(&self, record: &BuildRecord, quiet: bool) {
        let Some(telemetry) = &self.telemetry else { return };
        let note = |text: &str| {
            if !quiet {
                write_line(&sanitize(&format!("note: {text}")));
            }
        };
        for text in &telemetry.notes {
            note(text);
        }
        let Some(target) = &telemetry.collector else { return };
        let proxies = proxies(|_| None);
        let posting = Posting {
            url: &target.url,
            headers: &target.headers,
            body: report::spans(record, telemetry),
            timeout: target.timeout,
            proxies: &proxies,
        };
        if let Err(error) = collector::post(posting).await {
            note(&format!("no spans were sent: {error}"));
        }
    }
}
