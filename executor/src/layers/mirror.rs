//! `mode=delete`: what a directory has and an image has not goes.

use std::path::Path;

use bld_oci::ImagePath;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::LayerError;
use super::directory::{Directory, locate, look};
use super::remove::remove_at;
use crate::view::merged::MergedTree;
use crate::view::{TreeView as _, ViewKind};

/// Removes everything in the directory `destination` that is not in `view`; answers how many files and directories went. Links are
/// removed, never followed.
pub fn remove_others(view: &MergedTree, destination: &Path) -> Result<usize, LayerError> {
    let open = Directory::open(destination);
    let directory =
        open.map_err(|error| LayerError::Io { verb: "open", path: destination.to_owned(), source: error.into() })?;
    let mut removed = 0;
    clean(view, destination, &directory, &ImagePath::root(), &mut removed)?;
    Ok(removed)
}

fn clean(
    view: &MergedTree,
    base: &Path,
    directory: &Directory,
    at: &ImagePath,
    removed: &mut usize,
) -> Result<(), LayerError> {
    let failed = |verb, path: &ImagePath| {
        let path = locate(base, path);
        move |error: Errno| LayerError::Io { verb, path, source: error.into() }
    };
    for name in directory.names().map_err(failed("read", at))? {
        let path = at.join(&name);
        match view.node(&path).map_err(LayerError::from)? {
            None => {
                let stream = directory.try_clone().map_err(failed("open", at))?;
                remove_at(stream, &name, &locate(base, &path))?;
                *removed += 1;
            }
            Some(node) if node.kind == ViewKind::Directory => {
                let stream = directory.try_clone().map_err(failed("open", at))?;
                let status = look(&stream, &name).map_err(failed("inspect", &path))?;
                if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                    let below = Directory::open_at(&stream, &name).map_err(failed("open", &path))?;
                    clean(view, base, &below, &path, removed)?;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}
