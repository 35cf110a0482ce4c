//! The command line of `bld run` as typed.

use clap::ArgAction;
use clap::Args;
use clap::ValueEnum;

/// What `bld run --help` ends with.
const HELP: &str = "The process runs in the foreground, and nothing is left of it: --rm is accepted because bld does so anyway. Its \
                    exit code is that of the process; 125 if bld failed, 126 if the command cannot be executed, 127 if there is none, \
                    128+N if signal N ended it. Nothing of the caller's environment is passed on but what -e names. \
                    Containers in the background are for podman and docker.";

/// `bld run`.
#[derive(Debug, Args)]
#[command(after_help = HELP, override_usage = "bld run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]...", disable_help_flag = true)]
#[expect(clippy::struct_excessive_bools, reason = "fields are what the flags are")]
pub(crate) struct RunArgs {
    /// Name, ID or digest of an image, then what to run in it instead of its CMD. Options end here: what follows is the command's
    #[arg(value_name = "IMAGE [COMMAND] [ARGUMENT]", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(super) words: Vec<String>,

    /// Pass standard input on
    #[arg(short, long)]
    pub(super) interactive: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    pub(super) tty: bool,

    /// Leave nothing behind: what bld always does.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) rm: Option<String>,

    /// Set a variable; without `=VALUE` it is taken from the environment, or taken away if it is not set there
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,

    /// Set the variables of a file, one on each line
    #[arg(long = "env-file", value_name = "FILE")]
    pub(super) env_files: Vec<String>,

    /// Show a file or directory of this machine at a path of the container; a path alone is an empty directory
    #[arg(short, long = "volume", value_name = "PATH:PATH[:ro|rw]")]
    pub(super) volumes: Vec<String>,

    /// An empty directory in memory: size=BYTES, mode=OCTAL, exec, noexec
    #[arg(long = "tmpfs", value_name = "PATH[:OPTIONS]")]
    pub(super) tmpfs: Vec<String>,

    /// Working directory, absolute
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<String>,

    /// Who the process runs as: names of the image or numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,

    /// Publish a port or a range of ports; without HOST one that is free, printed
    #[arg(short = 'p', long = "publish", value_name = "[[IP:]HOST:]PORT[/tcp|udp]")]
    pub(super) publish: Vec<String>,

    /// Publish every port that the image exposes at one that is free, printed
    #[arg(short = 'P', long)]
    pub(super) publish_all: bool,

    /// Run this instead of the image's ENTRYPOINT and CMD; a program, or a JSON array. Empty: none
    #[arg(long, value_name = "COMMAND")]
    pub(super) entrypoint: Option<String>,

    /// Network of the process
    #[arg(long, visible_alias = "net", value_name = "default|private|host|none", default_value = "default")]
    pub(super) network: String,

    /// An /etc/hosts line
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub(super) add_hosts: Vec<String>,

    /// The most memory it may have, e.g. 512m; as much again may be swapped out
    #[arg(short, long, value_name = "BYTES")]
    pub(super) memory: Option<String>,

    /// The most processors it may use, e.g. 1.5
    #[arg(long, value_name = "NUMBER")]
    pub(super) cpus: Option<String>,

    /// Size of /dev/shm, e.g. 64m
    #[arg(long, value_name = "BYTES")]
    pub(super) shm_size: Option<String>,

    /// Refuse writes but to volumes and mounts
    #[arg(long)]
    pub(super) read_only: bool,

    /// What messages call the container, and its host name unless --hostname is given; there is no list of containers
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Host name inside. Default: NAME, else a random one; with --network host this machine's
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,

    /// When the image is fetched from its registry
    #[arg(long, value_enum, default_value_t = Pull::Missing)]
    pub(super) pull: Pull,

    /// Which platform's image, os/arch[/variant]. Default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,

    /// The signal that Ctrl-C and SIGTERM become for a process that handles neither. Default: the image's STOPSIGNAL
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<String>,

    /// Add a capability, e.g. NET_ADMIN, or ALL; the filter of system calls stays
    #[arg(long = "cap-add", value_name = "NAME", value_delimiter = ',')]
    pub(super) cap_add: Vec<String>,

    /// Take a capability away, or ALL
    #[arg(long = "cap-drop", value_name = "NAME", value_delimiter = ',')]
    pub(super) cap_drop: Vec<String>,

    /// no-new-privileges: executing setuid files gains nothing
    #[arg(long = "security-opt", value_name = "OPTION")]
    pub(super) security_opt: Vec<String>,

    /// Print help. `-h` is the host name, as with docker
    #[arg(long, action = ArgAction::Help, display_order = 902)]
    help: Option<bool>,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// If it is not in the local store
    Missing,
    /// Even if it is here: its registry may have a newer one
    Always,
    /// Never: an error if it is not in the local store
    Never,
}
