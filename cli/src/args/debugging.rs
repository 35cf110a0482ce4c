//! The command lines of `bld shell`, `bld exec` and `bld cp`.

use std::path::PathBuf;

use clap::Args;

/// What `--help` of the three ends with.
const STEPS: &str = "STEP is STAGE:N as in `[STAGE N/M]`, #N as progress numbers it, STAGE for its last step, or `failed`. What a failed \
                     step left is kept until the next build begins, or until `bld prune`.";

/// What is the same for a shell and a command.
#[derive(Debug, Args)]
pub(crate) struct InStep {
    /// In what the step began with, not in what it left
    #[arg(long)]
    pub(crate) before: bool,

    /// A build that is not the last one: its id, the beginning of it, or -2 for the last but one
    #[arg(long, value_name = "BUILD", allow_hyphen_values = true)]
    pub(crate) build: Option<String>,

    /// Set a variable; without `=VALUE` it is taken from the environment, or taken away if it is not set there
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Who the process runs as. Default: the step's user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,

    /// Working directory, absolute. Default: the step's
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,

    /// Network of the process. Default: the step's
    #[arg(long, value_name = "default|private|host|none")]
    pub(crate) network: Option<String>,
}

/// `bld shell`.
#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct ShellArgs {
    /// The step. Default: the one that failed last
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,

    /// The shell. Default: the one the step ran in, else /bin/sh
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) shell: Option<String>,

    #[command(flatten)]
    pub(crate) inside: InStep,
}

/// `bld exec`.
#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct ExecArgs {
    /// The step
    #[arg(value_name = "STEP")]
    pub(crate) step: String,

    /// What to run in it, and its arguments; `--` before it is not needed, and does no harm
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) command: Vec<String>,

    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    #[command(flatten)]
    pub(crate) inside: InStep,
}

/// `bld cp`.
#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct CpArgs {
    /// What is copied: a step and an absolute path in it; `PATH/.` is what is in a directory
    #[arg(value_name = "STEP:/PATH")]
    pub(crate) source: String,

    /// Where it goes: a file or a directory as for `docker cp`, or `-` for a tar on standard output
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,

    /// Copy what a link names, not the link
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,

    /// As the step began, not as it ended
    #[arg(long)]
    pub(crate) before: bool,

    /// A build that is not the last one: its id, the beginning of it, or -2 for the last but one
    #[arg(long, value_name = "BUILD", allow_hyphen_values = true)]
    pub(crate) build: Option<String>,
}
