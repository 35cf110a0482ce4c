//! Images of the store as they are: in an archive, or in a layout directory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use bld_cache::Store;
use bld_oci::Digest;
use bld_oci::archive::ArchiveError;
use bld_oci::archive::ArchiveImage;
use bld_oci::archive::DockerImage;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::read_document;
use bld_oci::layer::WriteError;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::Destination;
use super::OutputError;
use super::blob;
use super::layout::write_layout;
use super::quarantine_damaged;
use super::with_file;
use crate::image::ImagesError;
use crate::image::MAX_DOCUMENT;
use crate::image::local;

/// An index may list an index; nobody nests deeper.
const MAX_DEPTH: u32 = 2;

/// An image to be written.
#[derive(Debug, Clone)]
pub struct SavedImage {
    /// The names it gets.
    pub names: Vec<Reference>,
    /// Its manifest, or an index of several.
    pub descriptor: Descriptor,
}

/// Writes one tar that is an OCI layout and, if `docker`, docker's archive too. Of an image for several platforms docker sees the one
/// for `host`.
pub fn archive(
    store: &Store,
    images: &[SavedImage],
    host: &Platform,
    docker: bool,
    destination: &Destination,
) -> Result<(), SaveError> {
    let collected = collect(store, images, host, docker)?;
    with_file(destination, |file, path| {
        let blobs = collected.blobs.values().map(|descriptor| blob(store, descriptor)).collect();
        let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
        bld_oci::archive::write_archive(&mut file, &collected.images, blobs).map_err(|error| {
            if matches!(&error, ArchiveError::Write { source: WriteError::Read { .. } }) {
                quarantine_damaged(store, collected.blobs.values());
            }
            OutputError::Archive { path: path.to_owned(), source: Box::new(error) }
        })?;
        file.flush().map_err(|source| OutputError::Io { verb: "write", path: path.to_owned(), source })
    })?;
    Ok(())
}

/// Adds the images to a layout directory, which is made if it is missing. Blobs that are there are not written again.
pub fn layout(store: &Store, images: &[SavedImage], host: &Platform, directory: &Path) -> Result<(), SaveError> {
    let collected = collect(store, images, host, false)?;
    write_layout(directory, &collected.images, collected.blobs.values().map(|descriptor| blob(store, descriptor)))?;
    Ok(())
}

/// Images cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// An image is not whole.
    #[error(transparent)]
    Image(#[from] ImagesError),
    /// The output failed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

struct Collected {
    images: Vec<ArchiveImage>,
    blobs: BTreeMap<Digest, Descriptor>,
}

/// Everything the images are made of.
fn collect(store: &Store, images: &[SavedImage], host: &Platform, docker: bool) -> Result<Collected, ImagesError> {
    let mut collected = Collected { images: Vec::new(), blobs: BTreeMap::new() };
    for image in images {
        let platform = add(store, &image.descriptor, &mut collected.blobs, 0)?;
        let opened = local::open_any(store, &image.descriptor, host)?;
        let shown = DockerImage { config: opened.manifest.config.clone(), layers: opened.manifest.layers.clone() };
        collected.images.push(ArchiveImage {
            names: image.names.clone(),
            manifest: image.descriptor.clone(),
            platform,
            annotations: BTreeMap::new(),
            docker: docker.then_some(shown),
        });
    }
    Ok(collected)
}

/// Notes the blobs of an image, which must be there, and answers what it runs on. Of an index, the images that are there.
fn add(
    store: &Store,
    descriptor: &Descriptor,
    blobs: &mut BTreeMap<Digest, Descriptor>,
    depth: u32,
) -> Result<Option<Platform>, ImagesError> {
    let is_here = |blob: &Descriptor| -> Result<bool, ImagesError> {
        Ok(store.blobs().contains(&blob.digest)? == Some(blob.size))
    };
    let missing = |blob: &Descriptor| ImagesError::BlobMissing {
        what: format!("image {}", descriptor.digest),
        digest: blob.digest,
    };
    if !is_here(descriptor)? {
        return Err(missing(descriptor));
    }
    let broken = |source| ImagesError::Broken { what: descriptor.digest.to_string(), source };
    let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
    blobs.insert(descriptor.digest, descriptor.clone());
    match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
        Document::Manifest(manifest) => {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if !is_here(blob)? {
                    return Err(missing(blob));
                }
                blobs.insert(blob.digest, blob.clone());
            }
            // An attestation has no platform.
            let config = store.blobs().read(&manifest.config.digest, MAX_DOCUMENT)?;
            Ok(ImageConfig::parse(&config).ok().map(|config| config.platform()))
        }
        Document::Index(index) => {
            for entry in &index.manifests {
                if depth < MAX_DEPTH && is_here(&entry.descriptor)? {
                    add(store, &entry.descriptor, blobs, depth + 1)?;
                }
            }
            Ok(None)
        }
    }
}
