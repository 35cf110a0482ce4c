//! Flags of the commands that deal with the cache.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;

/// What limits are written like.
pub(crate) const SIZE_HELP: &str = "SIZE is a number with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), or a \
                                    part of the disk like 10%. What counts: results of steps with their layers, and cache mounts; \
                                    images that are listed do not, and are never removed.\n\
                                    BLD_CACHE_SIZE=SIZE keeps to a limit by itself: every build that ran a step enforces it at its end.";

/// `bld cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// What `bld cache` does.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the results of steps that are known, those used last first
    #[command(visible_alias = "list")]
    Ls(CacheListArgs),
    /// Show all that is known of a result, or when and why it went
    #[command(visible_alias = "inspect")]
    Show(CacheShowArgs),
    /// Forget results: the next build runs their steps again
    #[command(visible_alias = "remove")]
    Rm(CacheRemoveArgs),
    /// Show what takes up how much of the disk; the sum is what `du -s` says of the store
    Du(CacheUsageArgs),
    /// Look into cache mounts, and empty them
    Mount(CacheMountArgs),
}

/// Whose results.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only those of the project with this build context. Default: the one the working directory is in, else all
    #[arg(long, value_name = "DIR", conflicts_with = "all")]
    pub(crate) project: Option<PathBuf>,

    /// Only those of this stage, by name or number
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,

    /// Only that of this step: the 2, or build:2, of what is shown as `[build 2/4]`
    #[arg(long, value_name = "[STAGE:]N")]
    pub(crate) step: Option<String>,
}

/// `bld cache ls`.
#[derive(Debug, Args)]
pub(crate) struct CacheListArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Those of all projects
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only those that fit: unused-for=DURATION, stage=STAGE, project=DIR, instruction=TEXT
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,

    /// Print only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Do not shorten IDs and instructions
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// table, json, a template like '{{.ID}} {{.Size}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `bld cache show`.
#[derive(Debug, Args)]
pub(crate) struct CacheShowArgs {
    /// An ID, or a step like build:2: then the result that was used last
    #[arg(value_name = "ID|STAGE:N")]
    pub(crate) result: String,

    /// text, json, or a template like '{{.Instruction}}'
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `bld cache rm`.
#[derive(Debug, Args)]
pub(crate) struct CacheRemoveArgs {
    /// IDs, or steps like build:2
    #[arg(value_name = "ID|STAGE:N")]
    pub(crate) results: Vec<String>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Those of all projects; alone: every result there is
    #[arg(long)]
    pub(crate) all: bool,
}

/// `bld cache du`.
#[derive(Debug, Args)]
pub(crate) struct CacheUsageArgs {
    /// A row for each of these
    #[arg(long, value_name = "project|stage|step|mount", value_enum)]
    pub(crate) by: Option<UsageBy>,

    /// Show also what the rest is made of
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// table, json, a template like '{{.Name}} {{.Size}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `--by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UsageBy {
    /// A row for each project
    Project,
    /// A row for each stage
    Stage,
    /// A row for each step
    Step,
    /// A row for each cache mount
    Mount,
}

/// `bld cache mount`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountArgs {
    #[command(subcommand)]
    pub(crate) command: CacheMountCommand,
}

/// What `bld cache mount` does.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheMountCommand {
    /// List cache mounts, those used last first
    #[command(visible_alias = "list")]
    Ls(CacheMountListArgs),
    /// List a directory of a cache mount, or print a file of it
    Browse(CacheMountBrowseArgs),
    /// Empty cache mounts, unless a step uses them
    #[command(visible_alias = "remove")]
    Rm(CacheMountRemoveArgs),
}

/// `bld cache mount ls`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountListArgs {
    /// Print only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// table, json, a template like '{{.ID}} {{.Size}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `bld cache mount browse`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountBrowseArgs {
    /// The id: `id=` of the mount, else its target. The beginning of one is enough
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// A directory or a file in it. Links are followed, but never out of the mount
    #[arg(value_name = "PATH", default_value = "/")]
    pub(crate) path: PathBuf,

    /// Of a mount with sharing=private, which copy
    #[arg(long, value_name = "N")]
    pub(crate) copy: Option<usize>,
}

/// `bld cache mount rm`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountRemoveArgs {
    /// Their ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) ids: Vec<String>,

    /// All of them
    #[arg(short, long, conflicts_with = "ids")]
    pub(crate) all: bool,
}
