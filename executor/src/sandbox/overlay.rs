//! One overlay file system: by descriptors through the mount calls of 6.5 and later, by short names before.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::error::{Context as _, StepError};
use super::rootfs::{NO_DEVICES, READ_ONLY, open_directory};
use super::sys;

/// Mounts an overlay that [`attach`] can put anywhere: `layers` from bottom to top, `stubs` below all of them.
pub(super) fn overlay(
    workshop: &OwnedFd,
    layers: &[OwnedFd],
    stubs: Option<&OwnedFd>,
    upper: Option<&(OwnedFd, OwnedFd)>,
    in_user_namespace: bool,
) -> Result<OwnedFd, StepError> {
    // Top first, as the kernel wants it.
    let lowers: Vec<&OwnedFd> = layers.iter().rev().chain(stubs).collect();
    // An upper directory must mean the same over any parent, and a redirect in a hostile layer means nothing.
    let mut options = vec![("index", Some("off"))];
    if in_user_namespace {
        // The kernel implies the others then, and refuses to be told.
        options.push(("userxattr", None));
    } else {
        options.extend([("redirect_dir", Some("nofollow")), ("metacopy", Some("off"))]);
    }
    if upper.is_some() {
        options.push(("volatile", None));
    }
    let attributes = if upper.is_some() { NO_DEVICES } else { NO_DEVICES | READ_ONLY };
    if layers_by_name() {
        return overlay_by_name(workshop, &lowers, upper, &options, attributes);
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| refused("", errno))?;
    let configure = || -> Result<(), Errno> {
        fsconfig_set_string(&context, "source", "overlay")?;
        // Never one joined string: the kernel takes 255 bytes of it.
        for layer in lowers {
            set_directory(&context, "lowerdir+", layer)?;
        }
        if let Some((upper, work)) = upper {
            set_directory(&context, "upperdir", upper)?;
            set_directory(&context, "workdir", work)?;
        }
        for (key, value) in options {
            match value {
                Some(value) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, key)?,
            }
        }
        fsconfig_create(&context)
    };
    configure().map_err(|errno| refused(&kernel_log(&context), errno))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|errno| refused("", errno))
}

/// Kernels before 6.5 cannot take layers one by one.
fn layers_by_name() -> bool {
    #[cfg(test)]
    if FORCE_NAMES.load(std::sync::atomic::Ordering::Relaxed) {
        return true;
    }
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap_or_default().split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (6, 5),
        _ => false,
    }
}

/// Lets a row take the way of old kernels.
#[cfg(test)]
pub(super) static FORCE_NAMES: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The way of old kernels: all options are one page at most, so every directory gets a name of three digits.
fn overlay_by_name(
    workshop: &OwnedFd,
    lowers: &[&OwnedFd],
    upper: Option<&(OwnedFd, OwnedFd)>,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, StepError> {
    let mut number = 0;
    let directory = loop {
        let name = format!("names{number}");
        match rustix::fs::mkdirat(workshop, name.as_str(), Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => number += 1,
            other => {
                other.context("create", &name)?;
                break open_directory(workshop, &name).context("open", &name)?;
            }
        }
    };
    let link = |name: &str, layer: &OwnedFd| {
        let target = format!("/proc/self/fd/{}", layer.as_raw_fd());
        rustix::fs::symlinkat(target.as_str(), directory.as_fd(), name).context("create the link", name)
    };
    let mut names = Vec::with_capacity(lowers.len());
    for (number, lower) in lowers.iter().enumerate() {
        let name = number.to_string();
        link(&name, lower)?;
        names.push(name);
    }
    let mut text = format!("lowerdir={}", names.join(":"));
    if let Some((upper, work)) = upper {
        link("u", upper)?;
        link("w", work)?;
        text.push_str(",upperdir=u,workdir=w");
    }
    for (key, value) in options {
        text.push(',');
        text.push_str(key);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    rustix::fs::mkdirat(&directory, "here", Mode::from_raw_mode(0o755)).context("create", "the overlay's place")?;
    rustix::process::fchdir(&directory).context("enter", "the overlay's names")?;
    let data = std::ffi::CString::new(text).map_err(|_| refused("", Errno::INVAL))?;
    let mounted = rustix::mount::mount("overlay", "here", "overlay", MountFlags::NODEV, data.as_c_str());
    rustix::process::chdir("/").context("enter", "/")?;
    mounted.map_err(|errno| refused("", errno))?;
    let root = open_directory(&directory, "here").context("open", "the overlay's place")?;
    sys::mount_setattr(root.as_fd(), attributes.bits().into()).context("set the attributes of", "the overlay")?;
    Ok(root)
}

/// Names a directory by descriptor: no path can be swapped underneath, none is too long.
fn set_directory(context: &OwnedFd, key: &str, directory: &OwnedFd) -> Result<(), Errno> {
    match fsconfig_set_fd(context, key, directory) {
        // Kernels before 6.13 take a path only.
        Err(Errno::INVAL) => {
            fsconfig_set_string(context, key, format!("/proc/self/fd/{}", directory.as_raw_fd()).as_str())
        }
        other => other,
    }
}

fn refused(detail: &str, errno: Errno) -> StepError {
    StepError::Overlay { detail: detail.to_owned(), source: errno.into() }
}

/// What the kernel has to say about a refused mount.
fn kernel_log(context: &OwnedFd) -> String {
    let mut lines = Vec::new();
    let mut buffer = [0_u8; 1024];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        lines.push(text.trim_start_matches(['e', 'w', 'i', ' ']).trim_end().to_owned());
    }
    lines.join("; ")
}
