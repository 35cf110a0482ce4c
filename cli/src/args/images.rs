//! Flags of the commands that deal with images.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;

use super::BuildArgs;
use super::registry::PullArgs;
use super::registry::PushArgs;

/// `bld image`: the same commands the way docker groups them.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What `bld image` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Show the steps an image was made in, newest first
    History(HistoryArgs),
    /// Make an image of a root file system tar
    Import(ImportArgs),
    /// Show images as JSON
    Inspect(InspectArgs),
    /// Take images out of an archive into the local store
    Load(LoadArgs),
    /// List the images of the local store
    #[command(visible_alias = "list")]
    Ls(ImagesArgs),
    /// Remove images without a name, or with --all every image
    Prune(ImagePruneArgs),
    /// Bring images from their registries into the local store
    Pull(PullArgs),
    /// Bring an image to a registry
    Push(PushArgs),
    /// Remove images from the local store
    #[command(visible_alias = "remove")]
    Rm(RmiArgs),
    /// Write images of the local store into an archive
    Save(SaveArgs),
    /// Give an image further names
    Tag(TagArgs),
}

/// `bld import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The tar, plain or compressed; its URL; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Name of the image; without it the image stays untagged
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,

    /// Apply a Dockerfile instruction to the image: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL,
    /// USER, VOLUME or WORKDIR
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

    /// Name the image so instead of as the archive says; it must hold one image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,

    /// Of images for several platforms, take the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Print only the digests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `bld save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Names, IDs or digests. What is named goes into the archive under that name
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Write to this file. Default: stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Of images for several platforms, write the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// docker-archive (which is an OCI layout too), oci-archive (without docker's part) or oci-dir (an OCI layout directory)
    #[arg(long, value_name = "FORM", default_value = "docker-archive")]
    pub(crate) format: String,
}

/// `bld images`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "fields are what the flags are")]
pub(crate) struct ImagesArgs {
    /// Only images of this name; may hold wildcards
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,

    /// Also images of intermediate steps: bld makes none, so this changes nothing
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Print only image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Show manifest digests
    #[arg(long)]
    pub(crate) digests: bool,

    /// Only images that fit: dangling=true|false, label=NAME[=VALUE], label!=NAME[=VALUE], reference=PATTERN, before=IMAGE,
    /// since=IMAGE, until=TIME
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,

    /// table, json, a template like '{{.Repository}}:{{.Tag}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `bld inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names, IDs, digests, image archives or OCI layout directories
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// json, or a template like '{{json .Config.Env}}'
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Of images for several platforms, show the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// What is inspected: image is all there is
    #[arg(long = "type", value_name = "KIND", hide = true, value_parser = ["image"])]
    pub(crate) kind: Option<String>,
}

/// `bld history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name, ID, digest, image archive or OCI layout directory
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// Do not shorten commands and IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Sizes and times for people; with =false bytes and dates
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) human: bool,

    /// Print only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// table, json, a template like '{{.CreatedBy}}', or `table TEMPLATE`
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Of an image for several platforms, show the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// `bld rmi`.
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names, IDs or digests
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Remove an image that has several names, named by ID; what is not there is no error
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Keep the results that nothing needs any more, for the next build
    #[arg(long)]
    pub(crate) no_prune: bool,
}

/// `bld tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// Name, ID or digest
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// Its further names
    #[arg(value_name = "NAME[:TAG]", required = true)]
    pub(crate) names: Vec<String>,
}

/// `bld prune`.
#[derive(Debug, Args)]
#[command(after_help = super::cache::SIZE_HELP)]
pub(crate) struct PruneArgs {
    /// Also everything cached: results of steps, cache mounts, logs. Only images with a name stay
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Nothing is asked, with or without it
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Also results of steps and cache mounts, those used longest ago, until no more than SIZE is left of them. docker's names for it
    /// are known too: --max-used-space, --reserved-space, --keep-storage
    #[arg(long, value_name = "SIZE", aliases = ["max-used-space", "reserved-space", "keep-storage"])]
    pub(crate) max_size: Option<String>,

    /// Also results of steps and cache mounts that were not used for so long: 36h, 14d. With --max-size only as many as needed
    #[arg(long, value_name = "DURATION", alias = "keep-duration")]
    pub(crate) unused_for: Option<String>,

    /// docker's way to write --unused-for: until=DURATION or unused-for=DURATION
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,
}

/// `bld image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// All images, not only those without a name
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only images that fit: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE], reference=PATTERN
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `bld layers`.
#[derive(Debug, Args)]
pub(crate) struct LayersArgs {
    /// Name, ID, digest, image archive or OCI layout directory
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// The image it was built on. Default: the largest of the store that it begins with
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,

    /// How many of the largest files and of the largest wasted files are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,

    /// Fail if the files of all layers are larger, e.g. 200MB
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,

    /// Fail if more is stored that nobody sees: a size, or a part of the whole like 5%
    #[arg(long, value_name = "SIZE|PERCENT")]
    pub(crate) max_waste: Option<String>,

    /// Of an image for several platforms, show the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    pub(crate) format: String,
}

/// `bld diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Name, ID, digest, image archive or OCI layout directory
    #[arg(value_name = "IMAGE")]
    pub(crate) left: String,

    /// The other one
    #[arg(value_name = "IMAGE")]
    pub(crate) right: String,

    /// Compare times too: of files, and when the images were made
    #[arg(long)]
    pub(crate) times: bool,

    /// Of images for several platforms, compare those for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    pub(crate) format: String,
}

/// `bld index`.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,
}

/// What `bld index` does.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Join images for several platforms under one name
    Create(IndexCreateArgs),
    /// Show what an index holds
    Inspect(IndexInspectArgs),
}

/// `bld index create`.
#[derive(Debug, Args)]
pub(crate) struct IndexCreateArgs {
    /// Name of the index
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,

    /// Names, IDs, digests, image archives or OCI layout directories; an index stands for all its images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Add to the index that has the name, in the place of images for the same platform
    #[arg(long)]
    pub(crate) append: bool,

    /// Annotate the index, or what TYPE says: index, manifest-descriptor, perhaps with [PLATFORM]
    #[arg(long = "annotation", value_name = "[TYPE:]KEY=VALUE")]
    pub(crate) annotations: Vec<String>,

    /// Print the index and store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `bld index inspect`.
#[derive(Debug, Args)]
pub(crate) struct IndexInspectArgs {
    /// Name or digest
    #[arg(value_name = "INDEX")]
    pub(crate) index: String,

    /// Print the document as it is stored
    #[arg(long)]
    pub(crate) raw: bool,
}
