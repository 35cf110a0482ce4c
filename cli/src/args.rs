//! The command line as typed. Mirrors the flags one to one and needs no I/O; `commands` resolve it into requests.

pub(crate) mod builds;
pub(crate) mod cache;
pub(crate) mod debugging;
pub(crate) mod images;
pub(crate) mod plan;
pub(crate) mod registry;
pub(crate) mod report;

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::commands::run::arguments::RunArgs;
use crate::compatible;
use crate::compatible::CompatibleArgs;

/// Builds container images from Dockerfiles. No daemon is needed.
#[derive(Debug, Parser)]
#[command(name = "bld", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Cli {
    /// Where images, layers and the cache live (0700). Default: /var/lib/bld as root, $XDG_DATA_HOME/bld otherwise
    /// [env: BLD_ROOT]
    #[arg(long, global = true, value_name = "DIR", display_order = 900)]
    pub(crate) root: Option<PathBuf>,

    /// Ask no registry and fetch nothing: use what is in the store [env: BLD_OFFLINE=1]
    #[arg(long, global = true, display_order = 901)]
    pub(crate) offline: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Say what a build would find in the cache and what it would run, why, and how long that would take. Runs nothing; takes the flags of
    /// `bld build`. Ends with 10 if something would run
    Plan(Box<plan::PlanArgs>),
    /// Run an image in the foreground, to try it
    Run(Box<RunArgs>),
    /// Open a shell in the files of a step: what a failed one left, or what any step of a build made
    Shell(debugging::ShellArgs),
    /// Run a command in the files of a step
    Exec(debugging::ExecArgs),
    /// Copy files out of a step
    Cp(debugging::CpArgs),
    /// List the images of the local store
    #[command(visible_alias = "ls")]
    Images(images::ImagesArgs),
    /// Show an image's configuration as JSON
    Inspect(images::InspectArgs),
    /// Show the steps an image was made in, newest first
    History(images::HistoryArgs),
    /// Show what each step of an image adds, changes and deletes, and what is stored for nothing
    Layers(images::LayersArgs),
    /// Say why a build's steps were not cached, and what that cost
    Why(builds::WhyArgs),
    /// List builds and what is recorded of them; show, export and forget them
    Builds(builds::BuildsArgs),
    /// Print what the steps of a build printed, complete, those of cached steps too
    Logs(builds::LogsArgs),
    /// Compare two images: configuration, history, files. Ends with 1 if they differ
    Diff(images::DiffArgs),
    /// Give an image further names
    Tag(images::TagArgs),
    /// Remove images from the local store
    Rmi(images::RmiArgs),
    /// Remove what nothing needs: images without a name, layers and blobs that no image and no cached result needs
    Prune(images::PruneArgs),
    /// Look into the cache: results of steps, cache mounts, what takes up space; and remove parts of it
    #[command(arg_required_else_help = true)]
    Cache(cache::CacheArgs),
    /// Bring images from their registries into the local store
    Pull(registry::PullArgs),
    /// Bring an image to a registry
    Push(registry::PushArgs),
    /// Store credentials for a registry
    Login(registry::LoginArgs),
    /// Forget the credentials for a registry
    Logout(registry::LogoutArgs),
    /// Write images of the local store into an archive that docker, podman and bld load
    Save(images::SaveArgs),
    /// Take images out of an OCI or docker archive into the local store
    Load(images::LoadArgs),
    /// Make an image of a root file system tar (plain, gzip, bzip2, xz or zstd)
    Import(images::ImportArgs),
    /// Write a page about a build: its steps in time, hits and causes, sizes, output
    Report(report::ReportArgs),
    /// Join images for several platforms, and look at such an index
    Index(images::IndexArgs),
    /// The commands that deal with images, the way docker groups them
    Image(images::ImageArgs),
    /// Print the version
    Version,
}

/// `bld build`.
#[derive(Debug, Args)]
#[command(after_help = compatible::HELP)]
#[expect(clippy::struct_field_names, clippy::struct_excessive_bools, reason = "fields are what the flags are")]
pub(crate) struct BuildArgs {
    /// The build context: a directory, `-` (an archive or a Dockerfile on stdin), a git repository, or the URL of an archive or a
    /// Dockerfile
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: PathBuf,

    /// The Dockerfile. Default: CONTEXT/Dockerfile
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Name the image in the local store; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) tags: Vec<String>,

    /// Push the image to the registries its names are of; the same as --output type=registry
    #[arg(long)]
    pub(crate) push: bool,

    /// Write the result: type=oci|docker|tar,dest=FILE or type=local,dest=DIR, or just DIR; `dest=-` is stdout; type=registry,name=NAME
    /// pushes it; type=image keeps it in the local store, which is what happens without --output. May be given several times
    #[arg(short, long = "output", value_name = "SPEC")]
    pub(crate) outputs: Vec<String>,

    /// Build only up to this stage (name or number)
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// Set an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,

    /// A further context: a directory, oci-layout://DIR[:tag], oci-archive:FILE, docker-archive:FILE, docker-image://REF, a git repository or a URL
    #[arg(long = "build-context", value_name = "NAME=SOURCE")]
    pub(crate) build_contexts: Vec<String>,

    /// Permissions of the files of build contexts: keep (as on disk) or git (0644, executable ones 0755, directories 0755, no extended
    /// attributes, no hard links), so that one commit is the same context wherever and with whatever umask it was checked out
    #[arg(long, value_enum, default_value_t = ContextPerms::Keep)]
    pub(crate) context_perms: ContextPerms,

    /// Set a label of the image; wins over the Dockerfile
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,

    /// Target platforms, os/arch[/variant], comma-separated; `local` is this machine's. Several make an index with an image for each
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<String>,

    /// When to ask registries for base images: missing (if they are not here), always, newer (always, but what is here will do if no
    /// registry answers), never. Without a value: always
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub(crate) pull: Option<String>,

    /// Do not take any step's result from the cache; with a value only those of a stage, or of the step that is shown as `[STAGE N/M]`.
    /// May be given several times
    #[arg(long, value_name = "STAGE[:N]", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) no_cache: Vec<String>,

    /// Do not take the results of these stages from the cache (comma-separated)
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,

    /// Fail with exit code 10, and say why, if a step of STAGE (of any) is not cached, instead of running it
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "not given, given for all stages, given for one")]
    pub(crate) fail_on_miss: Option<Option<String>>,

    /// How many steps may run at once. Default: as many as free memory allows
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: Option<u32>,

    /// Network of RUN steps
    #[arg(long, value_enum, default_value_t = Network::Default)]
    pub(crate) network: Network,

    /// A secret for `RUN --mount=type=secret`: from a file, or from a variable of the environment. Without src and env: the variable ID,
    /// else the file ID
    #[arg(long = "secret", value_name = "id=ID[,src=FILE|,env=NAME]")]
    pub(crate) secrets: Vec<String>,

    /// An ssh agent for `RUN --mount=type=ssh`: the socket of one, or private keys. Default: $SSH_AUTH_SOCK
    #[arg(long = "ssh", value_name = "ID[=SOCKET|=KEY[,KEY]]")]
    pub(crate) ssh: Vec<String>,

    /// Allow what a RUN may not do by itself: network.host, security.insecure
    #[arg(long = "allow", value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,

    /// An /etc/hosts line for RUN steps
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub(crate) add_hosts: Vec<String>,

    /// Size of /dev/shm in RUN steps, e.g. 64m
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,

    /// Layer compression of images
    #[arg(long, value_name = "none|gzip[:0-9]|zstd[:1-19]", default_value = "gzip")]
    pub(crate) compression: String,

    /// Annotate the manifest, or what TYPE says: manifest, index, manifest-descriptor, index-descriptor, each perhaps with [PLATFORM]
    #[arg(long = "annotation", value_name = "[TYPE:]KEY=VALUE")]
    pub(crate) annotations: Vec<String>,

    /// Make one layer of all layers of the build; those of the base image stay
    #[arg(long)]
    pub(crate) squash: bool,

    /// Write the image's ID (the digest of its configuration) to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,

    /// Write digests and names of the image to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) records: report::RecordArgs,

    /// How progress is shown (on stderr). Default: auto [env: BLD_PROGRESS]
    #[arg(long, value_enum)]
    pub(crate) progress: Option<Progress>,

    /// Print nothing but the digest; errors still appear
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Check the Dockerfile instead of building it; the same as --call=check
    #[arg(long, conflicts_with = "call")]
    pub(crate) check: bool,

    /// What to do: build, check, outline, targets or subrequests.describe, with `,format=json` for JSON
    #[arg(long, value_name = "METHOD[,format=json]")]
    pub(crate) call: Option<String>,

    /// Copy what is at a path of a stage to a directory here after the build, also if it failed; may be given several times
    #[arg(long, value_name = "STAGE:/PATH=DIR")]
    pub(crate) collect: Vec<String>,

    /// Make errors of silent traps: undefined variables, unused build arguments, wildcards that match nothing, broken JSON arrays,
    /// comments that became values
    #[arg(long)]
    pub(crate) strict: bool,

    #[command(flatten)]
    pub(crate) compatible: CompatibleArgs,
}

impl BuildArgs {
    /// Whether anything is going to be built.
    pub(crate) fn builds(&self) -> bool {
        !self.check && self.call.as_deref().is_none_or(|call| call == "build")
    }
}

/// `--context-perms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextPerms {
    /// As on disk
    Keep,
    /// As git keeps them
    Git,
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
