//! `bld report`, and what a build writes of itself.

use std::path::PathBuf;

use clap::Args;

/// `bld report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The build: an id or the beginning of one, `last`, `-1`, `-2` ..., or a file that `bld build --report` or `bld builds export`
    /// wrote. Default: the last build of this directory
    #[arg(value_name = "BUILD", allow_negative_numbers = true)]
    pub(crate) build: Option<String>,

    /// Where the page goes; `-` is stdout
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: PathBuf,
}

/// What `bld build` writes of itself.
#[derive(Debug, Default, Args)]
pub(crate) struct RecordArgs {
    /// Write the record of the build to this file, as JSON, also if it fails: steps, hits and causes, times, sizes
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write a trace of the build to this file, also if it fails: chrome://tracing and Perfetto show it
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}
