//! What one step needs, as a value: no part of it is looked up again later.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::StepError;

/// One step: a command and the world it sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub root: RootFs,
    /// The command and its arguments; the command is looked up in `PATH` inside the root.
    pub args: Vec<String>,
    /// The whole environment as `NAME=value`; nothing is inherited.
    pub env: Vec<String>,
    /// Working directory, absolute; made inside the root (0755) when it does not exist.
    #[serde(with = "path_bytes")]
    pub cwd: PathBuf,
    /// User id of the command.
    pub uid: u32,
    /// Primary group id of the command.
    pub gid: u32,
    /// Supplementary groups, complete: none of the host is added.
    pub groups: Vec<u32>,
    /// Host name inside the step.
    pub hostname: String,
    /// Text of `/etc/hosts`; the image's own file stays when there is none.
    pub hosts: Option<String>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: ResolvConf,
    /// The network the step sees.
    pub network: Network,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Files that exist for this step only (heredoc scripts, secrets), kept in memory.
    pub files: Vec<FileMount>,
    /// What `RUN --mount` asks for, in the order given.
    pub mounts: Vec<Mount>,
    /// `--ulimit`; what is not named here gets the defaults.
    pub limits: Vec<ResourceLimit>,
    /// All capabilities, no system call filter, nothing of /proc and /sys hidden: `RUN --security=insecure`.
    pub privileged: bool,
    /// Forbid the step to gain privileges by executing setuid files.
    pub no_new_privileges: bool,
    /// Capabilities of root inside; `None` = those of a `RUN` step. Of no meaning where `privileged` is.
    pub capabilities: Option<Capabilities>,
    /// Refuse writes to the root file system once all is set up. Mounts stay as they are.
    pub read_only: bool,
    /// Cgroup directories of the host that the step is put into, absolute; made by the builder, who also removes them.
    /// When the builder dies the helper does.
    #[serde(with = "paths_bytes")]
    pub cgroups: Vec<PathBuf>,
    /// How user ids of the step reach the disk; what [`super::userns::enter`] returned.
    pub identity: Identity,
}

/// An overlay: `lowers` below, `upper` on top.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RootFs {
    /// Unpacked layers from bottom to top, absolute paths.
    #[serde(with = "paths_bytes")]
    pub lowers: Vec<PathBuf>,
    /// Where the step's changes go; without it the file system is read-only.
    pub upper: Option<Upper>,
}

/// The writable directory of an overlay and the scratch directory the kernel wants beside it.
///
/// Both are on one file system. The overlay is mounted `volatile`: after the step the kernel leaves
/// `work/work/incompat/volatile` behind, so `work` serves one step and is then removed by the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upper {
    /// Becomes the new layer.
    #[serde(with = "path_bytes")]
    pub upper: PathBuf,
    /// Empty directory for the kernel's use.
    #[serde(with = "path_bytes")]
    pub work: PathBuf,
}

/// What `/etc/resolv.conf` shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ResolvConf {
    /// The image's own file.
    Image,
    /// A copy of the host's file as it is when the step starts.
    Host,
    /// This text.
    Text(String),
}

/// The network a step sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Network {
    /// The builder's own.
    Host,
    /// A fresh namespace with nothing but `lo`.
    None,
    /// An existing namespace, see [`super::network::NetworkSlot`].
    Namespace(#[serde(skip)] NamespaceFd),
}

/// A network namespace held open; travels beside the serialised specification.
#[derive(Clone, Default)]
pub struct NamespaceFd(Option<Arc<OwnedFd>>);

impl NamespaceFd {
    /// Takes a descriptor of `/proc/<pid>/ns/net`.
    pub fn new(descriptor: Arc<OwnedFd>) -> Self {
        Self(Some(descriptor))
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|descriptor| descriptor.as_fd())
    }
}

impl fmt::Debug for NamespaceFd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("NamespaceFd").field(&self.0.is_some()).finish()
    }
}

/// A read-only file that is in no layer and never on a disk.
#[derive(Clone, Serialize, Deserialize)]
pub struct FileMount {
    /// Absolute path inside the root.
    #[serde(with = "path_bytes")]
    pub target: PathBuf,
    /// Its content.
    pub body: Vec<u8>,
    /// Permission bits, 0755 for a script.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl fmt::Debug for FileMount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may be a secret.
        formatter
            .debug_struct("FileMount")
            .field("target", &self.target)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One mount of the step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the root; never `/`, nor in `/proc`, `/sys` or `/dev`.
    #[serde(with = "path_bytes")]
    pub target: PathBuf,
    /// What appears there.
    pub source: MountSource,
}

/// What a mount shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or file of the host.
    Bind {
        /// Absolute path on the host, chosen by the builder and by nobody else.
        #[serde(with = "path_bytes")]
        source: PathBuf,
        /// Path below `source`, resolved as if `source` were `/`: links in it cannot leave. Empty for all of it.
        #[serde(with = "path_bytes")]
        subpath: PathBuf,
        /// Refuse writes.
        read_only: bool,
    },
    /// A directory or file of the host with all that is mounted below it: the user's choice.
    HostTree {
        /// Absolute path on the host.
        #[serde(with = "path_bytes")]
        source: PathBuf,
        /// Refuse writes.
        read_only: bool,
    },
    /// The directory itself, made when it is missing: it stays writable when the root is read-only.
    Own,
    /// An empty file system in memory.
    Tmpfs {
        /// Size in bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
        /// Whether programs in it may be executed.
        executable: bool,
    },
    /// Layers of another image or stage.
    Overlay {
        /// Unpacked layers from bottom to top.
        #[serde(with = "paths_bytes")]
        lowers: Vec<PathBuf>,
        /// Where writes go; without it the mount is read-only.
        upper: Option<Upper>,
        /// Path inside the overlay, resolved as if it were `/`. Empty for all of it.
        #[serde(with = "path_bytes")]
        subpath: PathBuf,
    },
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub(super) u64);

impl Capabilities {
    /// Those of a `RUN` step.
    pub fn standard() -> Self {
        Self(super::privileges::CAPABILITIES.bits())
    }

    /// None at all.
    pub fn none() -> Self {
        Self(0)
    }

    /// Every one that the kernel may have.
    pub fn all() -> Self {
        Self(u64::MAX)
    }

    /// The capability called `name`, in any case, with or without `CAP_`.
    pub fn named(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        rustix::thread::CapabilitySet::from_name(bare).map(|set| Self(set.bits()))
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A resource that `--ulimit` can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of setrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// One `--ulimit`; `None` is "unlimited".
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// What is bounded.
    pub resource: Resource,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// How the ids a step sees reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// The real root: ids are what they seem.
    Root,
    /// A user namespace with a range of subordinate ids.
    SubordinateIds,
    /// A user namespace with one id: ownership cannot be applied, calls that change it are answered with success.
    SingleId,
}

impl Identity {
    pub(super) fn in_user_namespace(self) -> bool {
        match self {
            Self::Root => false,
            Self::SubordinateIds | Self::SingleId => true,
        }
    }
}

impl Spec {
    /// Refuses what no kernel call would refuse in time or in clear words.
    pub(super) fn validate(&self) -> Result<(), StepError> {
        if self.args.first().is_none_or(String::is_empty) {
            return Err(invalid("args", "the command is empty"));
        }
        for text in self.args.iter().chain(&self.env) {
            if text.contains('\0') {
                return Err(invalid("args and env", "a NUL byte is in it"));
            }
        }
        let owners = self.files.iter().flat_map(|file| [&file.uid, &file.gid]);
        for id in [&self.uid, &self.gid].into_iter().chain(&self.groups).chain(owners) {
            if *id == u32::MAX {
                return Err(invalid("user and group", "4294967295 is not an id"));
            }
        }
        normal_components("cwd", &self.cwd)?;
        for path in self.root.lowers.iter().chain(self.root.upper.iter().flat_map(|it| [&it.upper, &it.work])) {
            if !path.is_absolute() {
                return Err(invalid("root", "a layer path is not absolute"));
            }
        }
        if self.cgroups.iter().any(|path| !path.is_absolute()) {
            return Err(invalid("cgroups", "a path is not absolute"));
        }
        if self.root.lowers.is_empty() && self.root.upper.is_none() {
            return Err(invalid("root", "neither a layer nor an upper directory"));
        }
        for file in &self.files {
            if normal_components("files", &file.target)?.is_empty() {
                return Err(invalid("files", "`/` cannot be a file"));
            }
            if file.mode & !0o777 != 0 {
                return Err(invalid("files", "mode has more than permission bits"));
            }
        }
        for mount in &self.mounts {
            let components = normal_components("mount target", &mount.target)?;
            match components.first().and_then(|first| first.to_str()) {
                None if components.is_empty() => {
                    return Err(invalid("mount target", "`/` cannot be mounted over"));
                }
                Some("proc" | "sys" | "dev") => {
                    return Err(invalid(
                        "mount target",
                        &format!("`{}` is inside /proc, /sys or /dev", mount.target.display()),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn invalid(field: &str, reason: &str) -> StepError {
    StepError::Invalid { field: field.to_owned(), reason: reason.to_owned() }
}

/// The names of an absolute path; `..` is resolved against `/` before any link is looked at.
pub(super) fn normal_components<'path>(
    field: &str,
    path: &'path Path,
) -> Result<Vec<&'path std::ffi::OsStr>, StepError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) => return Err(invalid(field, "not a Unix path")),
        }
    }
    if !path.is_absolute() {
        return Err(invalid(field, &format!("`{}` is not absolute", path.display())));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid(field, "a NUL byte is in it"));
    }
    Ok(names)
}

/// Paths are bytes, JSON strings are not.
pub(super) mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Text {
        Plain(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn encode(path: &Path) -> Text {
        match path.to_str() {
            Some(text) => Text::Plain(text.to_owned()),
            None => Text::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }

    pub(super) fn decode(text: Text) -> PathBuf {
        match text {
            Text::Plain(text) => PathBuf::from(text),
            Text::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        encode(path).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Text::deserialize(deserializer).map(decode)
    }
}

/// [`path_bytes`] for lists.
pub(super) mod paths_bytes {
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::path_bytes::{Text, decode, encode};

    pub(in super::super) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| encode(path)))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(decode).collect())
    }
}
