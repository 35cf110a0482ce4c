//! Flags of the commands that talk to registries.

use std::path::PathBuf;

use clap::Args;

/// `bld pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// What to pull
    #[arg(value_name = "NAME[:TAG|@DIGEST]", required = true)]
    pub(crate) images: Vec<String>,

    /// Of images for several platforms, take the one for this
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Pull every tag of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,

    /// Print nothing but the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `bld push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The image: a name, an ID or a digest of the local store, an archive or an OCI layout directory
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// Where to. Default: where the image's name says
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) target: Option<String>,

    /// Push every tag of the repository
    #[arg(short, long, conflicts_with = "target")]
    pub(crate) all_tags: bool,

    /// Of an image for several platforms, push the one for this alone
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Write the digest to this file
    #[arg(long = "digestfile", value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,

    /// Print nothing but the digest
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `bld login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry, HOST or HOST:PORT
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    pub(crate) registry: String,

    /// User name; asked for if it is missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Password; others can see it in the list of processes, so --password-stdin is better
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `bld logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry, HOST or HOST:PORT
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    pub(crate) registry: String,
}
