//! `bld plan`.

use clap::Args;

use super::BuildArgs;

/// `bld plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) build: BuildArgs,
}
