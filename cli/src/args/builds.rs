//! Flags of the commands that deal with recorded builds.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;

/// What every BUILD may be.
pub(crate) const BUILD_HELP: &str = "BUILD is an id, the beginning of one (or of its second half, which `bld builds` \
                                     shows), `last`, -1 for the last build that is finished, -2 for the one before, or a file of `bld builds export`. \
                                     `last` and numbers count the builds of the project whose context the working directory is \
                                     in, or all builds if it is in none.";

/// What every STEP may be.
pub(crate) const STEP_HELP: &str = "STEP is `build:2` for step 2 of stage build, as progress shows it: [build 2/4]; #7 for the number \
                                    in front of it; a stage for its last step (`stage-1` if it has no name); or `failed`. In a build \
                                    with one stage a number is enough.";

/// `bld builds`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = BUILD_HELP)]
pub(crate) struct BuildsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BuildsCommand>,

    #[command(flatten)]
    pub(crate) list: BuildsListArgs,
}

/// What `bld builds` does.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds, newest first
    #[command(visible_alias = "list")]
    Ls(BuildsListArgs),
    /// Show what each step of a build did, why, and what it cost
    #[command(visible_alias = "inspect", after_help = BUILD_HELP)]
    Show(BuildsShowArgs),
    /// Print what steps printed; the same as `bld logs`
    Logs(LogsArgs),
    /// Forget builds. Logs that cached steps still have stay
    #[command(visible_alias = "remove", after_help = BUILD_HELP)]
    Rm(BuildsRemoveArgs),
    /// Write a build's record and logs into a file that `bld builds show`, `bld logs`, `bld why` and `bld report` read anywhere
    #[command(after_help = BUILD_HELP)]
    Export(BuildsExportArgs),
}

/// `bld builds ls`.
#[derive(Debug, Args)]
pub(crate) struct BuildsListArgs {
    /// Builds of all projects. Default: those of the project whose context the working directory is in, if it is in one
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only so many, the newest. Default: all of a project, 20 of the whole store
    #[arg(short = 'n', long = "last", value_name = "N")]
    pub(crate) last: Option<usize>,

    /// Print only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Do not shorten ids, directories and names
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Only builds that fit: status=succeeded|failed|canceled|unfinished, project=DIR or the last part of its path
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,

    /// table, json, a template like '{{.ID}} {{.Status}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `bld builds show`.
#[derive(Debug, Args)]
pub(crate) struct BuildsShowArgs {
    /// The build. Default: the last one
    #[arg(value_name = "BUILD", allow_negative_numbers = true)]
    pub(crate) build: Option<String>,

    /// Do not shorten instructions and causes
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// text, json (the record as it is stored), or a template like '{{.status}}'
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: String,
}

/// `bld builds rm`.
#[derive(Debug, Args)]
pub(crate) struct BuildsRemoveArgs {
    /// The builds
    #[arg(value_name = "BUILD", allow_negative_numbers = true, required_unless_present = "all")]
    pub(crate) builds: Vec<String>,

    /// All builds of all projects
    #[arg(short, long, conflicts_with = "builds")]
    pub(crate) all: bool,
}

/// `bld builds export`.
#[derive(Debug, Args)]
pub(crate) struct BuildsExportArgs {
    /// The build. Default: the last one
    #[arg(value_name = "BUILD", allow_negative_numbers = true)]
    pub(crate) build: Option<String>,

    /// FILE.tar gets the record and the logs, FILE.json the record alone; `-` is the tar on stdout. Default: the record on stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `bld why`.
#[derive(Debug, Args)]
#[command(override_usage = "bld why [OPTIONS] [BUILD] [STEP]")]
#[command(after_help = format!("One argument that names a step means that step of the last build. {STEP_HELP}\n\n{BUILD_HELP}"))]
pub(crate) struct WhyArgs {
    /// The build, the step, or both. Default: every step of the last build that was not cached
    #[arg(value_name = "BUILD] [STEP", num_args = 0..=2, allow_negative_numbers = true)]
    pub(crate) names: Vec<String>,

    /// The build. Default: the last one
    #[arg(short, long, value_name = "BUILD", allow_negative_numbers = true)]
    pub(crate) build: Option<String>,

    /// text, json, or a template like '{{.cost_us}}'
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: String,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,

    /// Do not shorten instructions and causes
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// `bld logs`.
#[derive(Debug, Args)]
#[command(after_help = format!("One argument that names a step means that step of the last build. {STEP_HELP}\n\n{BUILD_HELP}"))]
pub(crate) struct LogsArgs {
    /// The build. Default: the last one
    #[arg(value_name = "BUILD", allow_negative_numbers = true)]
    pub(crate) build: Option<String>,

    /// The step. Default: all steps, in the order of the build
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
}
