//! The root of a step: overlay, mounts of `RUN --mount`, and the workshop they are put together in.
//!
//! ```text
//! workshop/            tmpfs, seen by nobody after pivot_root
//!   stubs/             lowest layer of the root: empty mount points that must not appear in the upper directory
//!   files/             hosts, resolv.conf, scripts: bound read-only into the root
//!   mounts/<n>         overlays of which only a part is mounted
//!   root/              the overlay, soon `/`
//!   names<n>/          short names of layers, for old kernels only
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};

use super::error::{Context as _, StepError};
use super::overlay::overlay;
use super::resolve::{Kind, Root, is_directory};
use super::spec::{Mount, MountSource, Spec, Upper, normal_components};
use super::sys;

/// `OVL_MAX_STACK` of the kernel.
const MAX_LAYERS: usize = 500;

pub(super) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
pub(super) const NO_DEVICES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;

/// The mounted root of a step.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Root directory of the overlay.
    pub(super) root: OwnedFd,
    /// The directory that holds `hosts`, `resolv.conf` and the scripts.
    pub(super) files: OwnedFd,
}

/// Mounts the overlay and everything `RUN --mount` asks for. Names made in the root are added to `made`.
pub(super) fn assemble(spec: &Spec, made: &mut Vec<PathBuf>) -> Result<Assembled, StepError> {
    // All of the host is opened before anything is mounted: the workshop covers a directory.
    let layers = open_all(&spec.root.lowers)?;
    let upper = spec.root.upper.as_ref().map(open_upper).transpose()?;
    let mut sources = spec.mounts.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;

    let workshop = tmpfs("workshop", "0700", None, MountAttrFlags::MOUNT_ATTR_NOSUID | NO_DEVICES)?;
    let anchor = match (layers.last(), &upper) {
        (Some(layer), _) => layer.as_fd(),
        (None, Some((_, work))) => work.as_fd(),
        (None, None) => {
            return Err(StepError::Invalid { field: "root".into(), reason: "it has no layer".into() });
        }
    };
    attach(&workshop, anchor, "workshop")?;
    let place_for = |name: &str| -> Result<OwnedFd, StepError> {
        rustix::fs::mkdirat(&workshop, name, Mode::from_raw_mode(0o755)).context("create", name)?;
        open_directory(&workshop, name).context("open", name)
    };
    let (stubs, files, mounts, place) =
        (place_for("stubs")?, place_for("files")?, place_for("mounts")?, place_for("root")?);

    let in_user_namespace = spec.identity.in_user_namespace();
    let mut ready = Vec::with_capacity(sources.len());
    for (index, source) in sources.drain(..).enumerate() {
        ready.push(source.prepare(&workshop, &mounts, index, in_user_namespace)?);
    }

    // With every place of the stack taken the stubs are made in the upper directory and reported instead.
    let stub_layer = if layers.len() < MAX_LAYERS {
        let targets = spec.mounts.iter().zip(&ready).map(|(mount, (_, kind))| (mount.target.as_path(), *kind));
        make_stubs(&stubs, spec, targets)?;
        Some(&stubs)
    } else {
        None
    };
    let root = overlay(&workshop, &layers, stub_layer, upper.as_ref(), in_user_namespace)?;
    attach(&root, place.as_fd(), "/")?;

    // Parents before children, whatever the order on the command line.
    let mut order: Vec<usize> = (0..ready.len()).collect();
    order.sort_by_key(|index| spec.mounts.get(*index).map_or(0, |mount| mount.target.components().count()));
    for index in order {
        if let (Some(mount), Some((fd, kind))) = (spec.mounts.get(index), ready.get(index)) {
            let target = Root::new(&root).ensure(&mount.target, *kind, made)?;
            if let Some(fd) = fd {
                attach(fd, target.as_fd(), &mount.target)?;
            } else {
                let own = clone_tree(target.as_fd(), "", NO_DEVICES).context("bind", &mount.target)?;
                attach(&own, target.as_fd(), &mount.target)?;
            }
        }
    }
    Ok(Assembled { root, files })
}

/// A new tmpfs, attached nowhere.
pub(super) fn tmpfs(
    name: &str,
    mode: &str,
    size: Option<u64>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, StepError> {
    let mut options = vec![("source", "tmpfs".to_owned()), ("mode", mode.to_owned())];
    options.extend(size.map(|size| ("size", size.to_string())));
    filesystem("tmpfs", &options, attributes).context("mount a tmpfs for", name)
}

/// A new file system of the given type, attached nowhere.
pub(super) fn filesystem(kind: &str, options: &[(&str, String)], attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, value.as_str())?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Puts a mount over what `target` shows.
pub(super) fn attach(mount: &OwnedFd, target: BorrowedFd<'_>, name: impl AsRef<Path>) -> Result<(), StepError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).context("mount", name)
}

/// A second view of a file or directory, attached nowhere.
pub(super) fn clone_tree(source: BorrowedFd<'_>, path: &str, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = match open_tree(source, path, flags) {
        // In a user namespace a mount may not be looked behind: what is mounted below has to come along.
        Err(Errno::INVAL) => open_tree(source, path, flags | OpenTreeFlags::AT_RECURSIVE)?,
        other => other?,
    };
    if !attributes.is_empty() {
        sys::mount_setattr(tree.as_fd(), attributes.bits().into())?;
    }
    Ok(tree)
}

/// A second view of a file or directory with all that is mounted below it, attached nowhere.
fn clone_all(source: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(source, "", flags)?;
    sys::mount_setattr(tree.as_fd(), attributes.bits().into())?;
    Ok(tree)
}

/// Opens a directory by one name, or by a path that the builder chose.
pub(super) fn open_directory(directory: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name.as_ref(), flags, Mode::empty())
}

fn open_all(paths: &[PathBuf]) -> Result<Vec<OwnedFd>, StepError> {
    if paths.len() > MAX_LAYERS {
        return Err(StepError::TooManyLayers { count: paths.len(), limit: MAX_LAYERS });
    }
    paths.iter().map(|path| open_directory(CWD, path).context("open the layer", path)).collect()
}

fn open_upper(upper: &Upper) -> Result<(OwnedFd, OwnedFd), StepError> {
    Ok((
        open_directory(CWD, &upper.upper).context("open the upper directory", &upper.upper)?,
        open_directory(CWD, &upper.work).context("open the work directory", &upper.work)?,
    ))
}

/// The empty files and directories that mounts of this step land on.
fn make_stubs<'spec>(
    stubs: &OwnedFd,
    spec: &'spec Spec,
    targets: impl Iterator<Item = (&'spec Path, Kind)>,
) -> Result<(), StepError> {
    let root = Root::new(stubs);
    let mut made = Vec::new();
    let mut fixed: Vec<(&Path, Kind)> = ["/dev", "/proc", "/sys"].map(|path| (Path::new(path), Kind::Directory)).into();
    if spec.hosts.is_some() {
        fixed.push((Path::new("/etc/hosts"), Kind::File));
    }
    if !matches!(spec.resolv_conf, super::spec::ResolvConf::Image) {
        fixed.push((Path::new("/etc/resolv.conf"), Kind::File));
    }
    let scripts = spec.files.iter().filter(|file| !file.target.starts_with("/dev"));
    fixed.extend(scripts.map(|file| (file.target.as_path(), Kind::File)));
    for (path, kind) in fixed.into_iter().chain(targets) {
        let path: PathBuf = normal_components("mount target", path)?.into_iter().collect();
        match root.ensure(&path, kind, &mut made) {
            // Two targets that contradict each other are told apart when they are mounted.
            Ok(_) | Err(StepError::System { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// A source of a mount, opened on the host.
#[derive(Debug)]
enum Source<'spec> {
    Bind { fd: OwnedFd, path: &'spec Path, subpath: &'spec Path, read_only: bool },
    HostTree { fd: OwnedFd, path: &'spec Path, read_only: bool },
    Own,
    Tmpfs { size: Option<u64>, mode: u32, executable: bool, target: &'spec Path },
    Overlay { layers: Vec<OwnedFd>, upper: Option<(OwnedFd, OwnedFd)>, subpath: &'spec Path },
}

fn open_source(mount: &Mount) -> Result<Source<'_>, StepError> {
    Ok(match &mount.source {
        MountSource::Bind { source, subpath, read_only } => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let fd = rustix::fs::open(source, flags, Mode::empty()).context("open the mount source", source)?;
            Source::Bind { fd, path: source, subpath, read_only: *read_only }
        }
        MountSource::HostTree { source, read_only } => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let fd = rustix::fs::open(source, flags, Mode::empty()).context("open the mount source", source)?;
            Source::HostTree { fd, path: source, read_only: *read_only }
        }
        MountSource::Own => Source::Own,
        MountSource::Tmpfs { size, mode, executable } => {
            Source::Tmpfs { size: *size, mode: *mode, executable: *executable, target: &mount.target }
        }
        MountSource::Overlay { lowers, upper, subpath } => {
            Source::Overlay { layers: open_all(lowers)?, upper: upper.as_ref().map(open_upper).transpose()?, subpath }
        }
    })
}

impl Source<'_> {
    /// Turns the source into a mount that is attached nowhere; `None` where it is the root's own directory.
    fn prepare(
        self,
        workshop: &OwnedFd,
        mounts: &OwnedFd,
        index: usize,
        in_user_namespace: bool,
    ) -> Result<(Option<OwnedFd>, Kind), StepError> {
        match self {
            Self::Bind { fd, path, subpath, read_only } => {
                let fd = if is_whole(subpath) { fd } else { Root::new(&fd).open(subpath)? };
                let attributes = if read_only { NO_DEVICES | READ_ONLY } else { NO_DEVICES };
                let tree = clone_tree(fd.as_fd(), "", attributes).context("bind", path)?;
                let kind = kind_of(&tree, path)?;
                Ok((Some(tree), kind))
            }
            Self::HostTree { fd, path, read_only } => {
                let attributes = if read_only { NO_DEVICES | READ_ONLY } else { NO_DEVICES };
                let tree = clone_all(fd.as_fd(), attributes).context("bind", path)?;
                let kind = kind_of(&tree, path)?;
                Ok((Some(tree), kind))
            }
            Self::Own => Ok((None, Kind::Directory)),
            Self::Tmpfs { size, mode, executable, target } => {
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | NO_DEVICES;
                let attributes = if executable { attributes } else { attributes | MountAttrFlags::MOUNT_ATTR_NOEXEC };
                let name = target.to_string_lossy();
                Ok((Some(tmpfs(&name, &format!("{mode:o}"), size, attributes)?), Kind::Directory))
            }
            Self::Overlay { layers, upper, subpath } => {
                // An overlay wants two directories at least.
                let name = index.to_string();
                rustix::fs::mkdirat(mounts, name.as_str(), Mode::from_raw_mode(0o755)).context("create", &name)?;
                let place = open_directory(mounts, &name).context("open", &name)?;
                let bottom = (layers.len() < 2).then_some(&place);
                let whole = overlay(workshop, &layers, bottom, upper.as_ref(), in_user_namespace)?;
                if is_whole(subpath) {
                    return Ok((Some(whole), Kind::Directory));
                }
                attach(&whole, place.as_fd(), &name)?;
                let part = Root::new(&whole).open(subpath)?;
                let tree = clone_tree(part.as_fd(), "", NO_DEVICES).context("bind", subpath)?;
                let kind = kind_of(&tree, subpath)?;
                Ok((Some(tree), kind))
            }
        }
    }
}

fn is_whole(subpath: &Path) -> bool {
    subpath.as_os_str().is_empty() || subpath == Path::new("/")
}

fn kind_of(fd: &OwnedFd, path: &Path) -> Result<Kind, StepError> {
    Ok(if is_directory(fd).context("stat", path)? { Kind::Directory } else { Kind::File })
}
