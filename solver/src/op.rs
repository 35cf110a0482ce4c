//! What a vertex does, fully resolved: no variable, no relative path, no reference to a name is left.
//!
//! The operations mean what BuildKit's LLB operations of the same name mean, so that an LLB front end can produce them too. An
//! operation refers to its inputs by position ([`InputIndex`]); the graph says which vertices they are.

use bld_oci::ImagePath;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;

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
}

/// A process in a sandbox. Input 0 is its root file system.
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
    /// Permissions: 0644 unless `--chmod`.
    pub mode: ModeChange,
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
