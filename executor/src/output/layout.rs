//! An OCI layout directory as an output. What is there stays: blobs are not written again, other images keep their names.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bld_oci::archive::ArchiveBlob;
use bld_oci::archive::ArchiveImage;
use bld_oci::archive::index_json;
use bld_oci::hashing::VerifyingReader;
use bld_oci::layout;
use bld_oci::layout::LayoutIndex;

use super::OutputError;
use super::Temporary;
use super::beside;

/// Adds images to the layout in `directory`, which is made if it is missing. An image takes its names over; one without a name takes
/// the place of the others without one.
pub(super) fn write_layout<'a>(
    directory: &Path,
    images: &[ArchiveImage],
    blobs: impl Iterator<Item = ArchiveBlob<'a>>,
) -> Result<(), OutputError> {
    let io = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| OutputError::Io { verb, path, source }
    };
    let broken = |error: bld_oci::image::ImageError| OutputError::Archive {
        path: directory.to_owned(),
        source: Box::new(error),
    };
    let place = directory.join("blobs/sha256");
    std::fs::create_dir_all(&place).map_err(io("create", &place))?;
    let index_path = directory.join(layout::INDEX_FILE);
    let mut index = match std::fs::read(&index_path) {
        Ok(bytes) => LayoutIndex::parse(&bytes).map_err(broken)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => LayoutIndex::default(),
        Err(error) => return Err(io("read", &index_path)(error)),
    };
    for blob in blobs {
        let path = place.join(blob.descriptor.digest.hex());
        if path.symlink_metadata().is_ok_and(|status| status.is_file() && status.len() == blob.descriptor.size) {
            continue;
        }
        let content = (blob.open)().map_err(io("open the blob for", &path))?;
        replace(&path, |file| {
            let mut content = VerifyingReader::new(content, &blob.descriptor);
            std::io::copy(&mut content, file).map(|_| ())
        })?;
    }
    for entry in index_json(images).entries {
        if entry.name().is_none() {
            index.entries.retain(|old| old.name().is_some());
        }
        index.set(entry).map_err(broken)?;
    }
    let layout_path = directory.join(layout::LAYOUT_FILE);
    if !layout_path.is_file() {
        replace(&layout_path, |file| file.write_all(layout::LAYOUT))?;
    }
    replace(&index_path, |file| file.write_all(&index.to_json()))
}

/// Writes a file that appears complete or not at all.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), OutputError> {
    let io = |verb| move |source| OutputError::Io { verb, path: path.to_owned(), source };
    let create = |path: &Path| File::options().write(true).create_new(true).open(path);
    let (temporary, mut file): (Temporary, File) = beside(path, create).map_err(io("create"))?;
    write(&mut file).map_err(io("write"))?;
    std::fs::rename(&temporary.0, path).map_err(io("rename a file to"))?;
    std::mem::forget(temporary);
    Ok(())
}
