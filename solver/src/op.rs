//! What a vertex does, fully resolved: no variable, no relative path, no reference to a name is left.
//!
//! The operations mean what BuildKit's LLB operations of the same name mean, so that an LLB front end can produce them too. An
//! operation refers to its inputs by position ([`InputIndex`]); the graph says which vertices they are.

use bld_oci::ImagePath;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;

use crate::remote::GitSource;
use crate::remote::HttpSource;

/// Position in the list of inputs of a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputIndex(pub usize);

/// An operation.
#[expect(clippy::large_enum_variant, reason = "a graph has few of them, and most are the largest")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Where bytes come from.
    Source(Source),
    /// A process in a sandbox: RUN.
    Exec(Exec),
    /// Files written by bld itself: COPY, ADD, WORKDIR.
    File(FileOp),
    /// Input 1's layers on top of input 0's, whatever input 0 is: what COPY --link ends in.
    Merge,
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The layers of an image, bottom to top. Empty for `scratch`.
    Image {
        /// Layers, bottom to top.
        layers: Vec<ImageLayer>,
    },
    /// A whole build context as a root file system (`FROM` a named context that is a directory).
    Local {
        /// The context's name; the main context is `context`.
        context: String,
    },
    /// A fetched file, by itself at the root: 0600, owner 0:0, with the time the server gives it.
    Http(HttpSource),
    /// The files of a commit: 0644 or 0755, owner 0:0.
    Git(GitSource),
}

impl Source {
    /// Whether what it stands for can change between two builds without any change here: see [`crate::worker::Worker::pin`].
    pub fn is_remote(&self) -> bool {
        matches!(self, Source::Http(_) | Source::Git(_))
    }
}

/// A process in a sandbox. Input 0 is its root file system; the others are only mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The argument vector; element 0 is looked up in PATH of `env`, inside the root file system.
    pub args: Vec<String>,
    /// The whole environment, in order, without duplicates.
    pub env: Vec<(String, String)>,
    /// Added to the environment but not to the key: the proxy variables.
    pub unkeyed_env: Vec<(String, String)>,
    /// Working directory; made if missing.
    pub cwd: ImagePath,
    /// `USER` as in the image configuration: `name|uid[:group|gid]`; empty = root.
    pub user: String,
    /// Network mode.
    pub network: NetworkMode,
    /// What the process may do.
    pub security: SecurityMode,
    /// What `RUN --mount` asks for, in order.
    pub mounts: Vec<ExecMount>,
    /// Host name inside.
    pub hostname: String,
    /// Lines for /etc/hosts: name, address. Only names enter the key.
    pub extra_hosts: Vec<(String, String)>,
    /// A script to place read-only at the given path, mode 0755: a RUN heredoc that begins with `#!`.
    pub script: Option<Script>,
    /// Size of /dev/shm in bytes, `None` = 64 MiB. Not in the key.
    pub shm_size: Option<u64>,
    /// The platform it runs on.
    pub platform: Platform,
}

/// A file handed to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where it appears.
    pub path: ImagePath,
    /// What it holds.
    pub body: String,
}

/// `RUN --network=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// The build's default: a private network if the machine can give one, else the host's.
    Default,
    /// Loopback only.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityMode {
    /// Few capabilities, a system call filter, parts of /proc and /sys hidden.
    Sandbox,
    /// All of root's rights inside the namespaces of the step.
    Insecure,
}

/// One `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecMount {
    /// Files of a build context, a stage or an image.
    Bind(BindMount),
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// An empty file system in memory.
    Tmpfs(TmpfsMount),
    /// A secret as a file or a variable.
    Secret(SecretMount),
    /// The caller's ssh agent.
    Ssh(SshMount),
}

/// Files of another tree, for the time of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Where they appear.
    pub target: ImagePath,
    /// Where they come from.
    pub from: MountContent,
    /// Writes are allowed, and thrown away after the step.
    pub read_write: bool,
}

/// A file or directory of another tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountContent {
    /// The tree.
    pub from: CopyFrom,
    /// The path in it; links are followed inside the tree.
    pub source: ImagePath,
}

/// A directory that outlives the build. What it holds is never part of a key or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Where it appears.
    pub target: ImagePath,
    /// Its name, with the name space in front if there is one; never a path.
    pub id: String,
    /// How steps share it.
    pub sharing: Sharing,
    /// What it begins with.
    pub initial: Option<MountContent>,
    /// The part of the cache that is mounted.
    pub subpath: ImagePath,
    /// Permissions it is made with.
    pub mode: u32,
    /// Its first owner.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Writes are refused.
    pub read_only: bool,
}

/// How steps share a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Any number at once.
    Shared,
    /// One each: another is made if this one is in use.
    Private,
    /// One after the other.
    Locked,
}

/// An empty file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Where it appears.
    pub target: ImagePath,
    /// Its size in bytes; `None` = the kernel's default.
    pub size: Option<u64>,
}

/// A secret. Its value is nowhere in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Its name.
    pub id: String,
    /// The file it appears in.
    pub target: Option<ImagePath>,
    /// The variable it appears in.
    pub env: Option<String>,
    /// Its absence is an error.
    pub required: bool,
    /// Permissions of the file.
    pub mode: u32,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

/// An ssh agent. The first one is also in `SSH_AUTH_SOCK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    /// Its name.
    pub id: String,
    /// Where its socket appears.
    pub target: ImagePath,
    /// Its absence is an error.
    pub required: bool,
    /// Permissions of the socket.
    pub mode: u32,
    /// Owner of the socket.
    pub uid: u32,
    /// Group of the socket.
    pub gid: u32,
}

/// Files written by bld itself. Input 0 is what they are written on; no input 0 content is changed in place: the result is one
/// layer on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOp {
    /// Done in order, into one layer.
    pub actions: Vec<FileAction>,
}

/// One action of a [`FileOp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// Copy from another tree.
    Copy(CopyAction),
    /// Write a file: a COPY heredoc.
    Mkfile(Mkfile),
    /// Make a directory and its parents: WORKDIR.
    Mkdir(Mkdir),
}

/// Copies files of one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAction {
    /// The tree they come from.
    pub from: CopyFrom,
    /// What is taken.
    pub selector: Selector,
    /// Where it goes.
    pub destination: Destination,
    /// `--chown`, still by name: names are resolved in input 0's /etc/passwd and /etc/group.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// ADD: local archives are unpacked, by content. `None` = ADD's default (unpack if it is an archive),
    /// `Some(false)` = never (COPY).
    pub unpack: Option<bool>,
}

/// The tree a copy reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// A build context by name; the main one is `context`. Owners become 0:0.
    Context(String),
    /// The result of an input. Owners are kept.
    Input(InputIndex),
}

/// What part of a tree enters a copy, and so its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Paths or patterns (Go's `filepath.Match`, with `**` if `parents`), as written: relative to the root of the tree.
    pub sources: Vec<String>,
    /// `--exclude` patterns, in the language of ignore files.
    pub exclude: Vec<String>,
    /// `--parents`: keep the sources' parent directories, from the `/./` pivot if there is one.
    pub parents: bool,
    /// What messages call the tree, empty for the main build context: stage `build`. Not in the key.
    pub tree: String,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Absolute.
    pub path: ImagePath,
    /// Written with a trailing slash, or as `.`: it is a directory whatever is there.
    pub is_directory: bool,
}

/// `user[:group]`, numbers or names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// User name or number.
    pub user: String,
    /// Group name or number; `None` = the number of the user.
    pub group: Option<String>,
}

/// `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// Octal.
    Absolute(u32),
    /// `u=rwX,go=rX` and the like, validated.
    Symbolic(String),
}

/// Writes one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mkfile {
    /// Its name: used if the destination is a directory.
    pub name: String,
    /// Where it goes.
    pub destination: Destination,
    /// What it holds.
    pub body: Vec<u8>,
    /// `--chmod`; else 0644.
    pub mode: Option<ModeChange>,
    /// `--chown`.
    pub owner: Option<Owner>,
}

/// Makes a directory and its missing parents, 0755.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mkdir {
    /// Absolute.
    pub path: ImagePath,
    /// Owner of what is made; `None` = 0:0.
    pub owner: Option<Owner>,
}
