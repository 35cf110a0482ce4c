//! The command line as typed. Mirrors the flags one to one and needs no I/O; `commands` resolve it into requests.

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

/// Builds container images from Dockerfiles. No daemon is needed.
#[derive(Debug, Parser)]
#[command(name = "bld", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    /// Where images, layers and the cache live (0700). Default: /var/lib/bld as root, $XDG_DATA_HOME/bld otherwise
    #[arg(long, global = true, env = "BLD_ROOT", value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Make an image of a root file system tar (plain, gzip, bzip2, xz or zstd)
    Import(ImportArgs),
    /// Take images out of an OCI or docker archive into the local store
    Load(LoadArgs),
    /// List the images of the local store
    #[command(visible_alias = "ls")]
    Images(ImagesArgs),
    /// Show an image's configuration as JSON
    Inspect(InspectArgs),
    /// Show the steps an image was made in, newest first
    History(HistoryArgs),
    /// Remove images from the local store
    Rmi(RmiArgs),
}

/// `bld build`.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "fields are named like their flags")]
pub(crate) struct BuildArgs {
    /// The build context: a directory
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: PathBuf,

    /// The Dockerfile. Default: CONTEXT/Dockerfile
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Name the image in the local store; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) tags: Vec<String>,

    /// Write the result: type=oci|docker|tar,dest=FILE or type=local,dest=DIR, or just DIR; `dest=-` is stdout. May be given several
    /// times
    #[arg(short, long = "output", value_name = "SPEC")]
    pub(crate) outputs: Vec<String>,

    /// Build only up to this stage (name or number)
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// Set an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,

    /// A further context: a directory, oci-layout://DIR[:tag], oci-archive:FILE, docker-archive:FILE or docker-image://REF
    #[arg(long = "build-context", value_name = "NAME=SOURCE")]
    pub(crate) build_contexts: Vec<String>,

    /// Set a label of the image; wins over the Dockerfile
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,

    /// Target platform, os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Do not take any step's result from the cache
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Do not take the results of these stages from the cache (comma-separated)
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,

    /// How many steps may run at once. Default: as many as free memory allows
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: Option<u32>,

    /// Network of RUN steps
    #[arg(long, value_enum, default_value_t = Network::Default)]
    pub(crate) network: Network,

    /// An /etc/hosts line for RUN steps
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub(crate) add_hosts: Vec<String>,

    /// Size of /dev/shm in RUN steps, e.g. 64m
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,

    /// Layer compression of images
    #[arg(long, value_name = "none|gzip[:0-9]|zstd[:1-19]", default_value = "gzip")]
    pub(crate) compression: String,

    /// Write the image's ID (the digest of its configuration) to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,

    /// How progress is shown (on stderr)
    #[arg(long, value_enum, env = "BLD_PROGRESS", default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// Print nothing but the digest; errors still appear
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// A private network where the machine can give one, else the host's
    Default,
    /// A network of its own with access to the outside; an error where the machine cannot give one
    Private,
    /// The host's network
    Host,
    /// Loopback only
    None,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// The best form for where stderr goes
    Auto,
    /// One line per event
    Plain,
    /// Nothing but errors
    Quiet,
}

/// `bld import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The tar; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Name of the image; without it the image stays untagged
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,

    /// Apply a Dockerfile instruction to the image: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(crate) changes: Vec<String>,

    /// The comment of the history entry
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    /// Platform of the root file system. Default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// `bld load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive, plain or compressed. Default: stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Print only the digests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `bld images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only images of this name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,

    /// Print only image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Show manifest digests
    #[arg(long)]
    pub(crate) digests: bool,
}

/// `bld inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names, IDs or digests
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `bld history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name, ID or digest
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// Do not shorten the commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// `bld rmi`.
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names, IDs or digests
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Remove an image that has several names, named by ID
    #[arg(short, long)]
    pub(crate) force: bool,
}
