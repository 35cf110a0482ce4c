//! A fresh layer directory as the upper directory of an overlay: the root of the mount shows the owner, mode, attributes and times of
//! the topmost directory, so it must have those of the file system below it.

use std::path::Path;

use bld_oci::ImagePath;
use rustix::fs::Mode;

use super::LayerError;
use super::LayerMode;
use super::Ownership;
use super::attributes;
use super::directory::Directory;
use super::directory::owner;
use super::directory::times;
use crate::view::TreeView;

/// Gives the empty layer directory `directory` the metadata of the root of `lower`.
pub fn prepare(directory: &Path, lower: &dyn TreeView, mode: LayerMode) -> Result<(), LayerError> {
    let Some(root) = lower.node(&ImagePath::root())? else { return Ok(()) };
    let failed = |verb| {
        move |errno: rustix::io::Errno| LayerError::Io { verb, path: directory.to_owned(), source: errno.into() }
    };
    let opened = Directory::open(directory).map_err(failed("open"))?;
    if mode.ownership == Ownership::Real {
        let (uid, gid) = owner(root.metadata.uid, root.metadata.gid);
        rustix::fs::fchown(&opened, uid, gid).map_err(failed("change the owner of"))?;
    }
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(root.metadata.mode)).map_err(failed("change the mode of"))?;
    for (name, value) in &root.metadata.xattrs {
        // Not every attribute may be set by everybody; the layer's index keeps what is meant.
        attributes::write(&opened, &mode.flavor.escape(name), value).ok();
    }
    rustix::fs::futimens(&opened, &times(root.metadata.mtime)).map_err(failed("set the times of"))
}
