//! OCI layout directories into the store: one image of each.
//!
//! ```text
//! oci-layout                   not looked at
//! index.json                   the images; a name is in the annotation org.opencontainers.image.ref.name
//! blobs/sha256/HEX             manifests, configurations, layers, and indexes of several platforms
//! ```
//! Nothing of it is believed: blobs are hashed while they are copied, and only regular files are read.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageError;
use bld_oci::image::Index;
use bld_oci::image::Manifest;
use bld_oci::image::read_document;
use bld_oci::image::read_index;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::ImagesError;
use super::MAX_DOCUMENT;

/// How much of an image for several platforms is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// What is for this one.
    Platform(&'a Platform),
    /// All of it, and its index.
    AllPlatforms,
}

/// Takes the image called `image`, else the only one, into the store and answers what names it: with one platform a manifest. What is
/// there already is not read again.
pub(super) fn ingest(
    store: &Store,
    directory: &Path,
    image: Option<&str>,
    wanted: Wanted<'_>,
) -> Result<Descriptor, ImagesError> {
    let index = read_index(&read_small(&directory.join("index.json"))?).map_err(|source| broken(directory, source))?;
    let root = choose(&index, directory, image, wanted)?;
    match wanted {
        Wanted::Platform(platform) => ingest_one(store, directory, root, platform),
        Wanted::AllPlatforms => ingest_all(store, directory, &root).map(|()| root),
    }
}

fn choose(index: &Index, directory: &Path, image: Option<&str>, wanted: Wanted<'_>) -> Result<Descriptor, ImagesError> {
    let named: Vec<(Option<&str>, &Descriptor)> = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation())
        .map(|entry| {
            (entry.annotations.get("org.opencontainers.image.ref.name").map(String::as_str), &entry.descriptor)
        })
        .collect();
    let choices = || {
        let labels =
            named.iter().map(|(name, descriptor)| name.map_or_else(|| descriptor.digest.to_string(), str::to_owned));
        labels.collect::<Vec<_>>().join(", ")
    };
    Ok(match image {
        Some(name) => match find_named(&named, name).as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other.digest == first.digest) => (*first).clone(),
            [] => {
                return Err(ImagesError::NoSuchImage {
                    path: directory.to_owned(),
                    wanted: name.to_owned(),
                    choices: choices(),
                });
            }
            _ => return Err(ImagesError::SeveralImages { path: directory.to_owned(), choices: choices() }),
        },
        None => match named.as_slice() {
            [(_, descriptor)] => (*descriptor).clone(),
            [] => {
                return Err(ImagesError::NoSuchImage {
                    path: directory.to_owned(),
                    wanted: "latest".to_owned(),
                    choices: String::new(),
                });
            }
            // Several tags may name one image, and several platforms may stand side by side without an inner index.
            [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other.digest == first.digest) => (*first).clone(),
            several => match several.iter().find(|(name, _)| *name == Some("latest")) {
                Some((_, descriptor)) => (*descriptor).clone(),
                None => match wanted {
                    Wanted::Platform(platform) if named.iter().all(|(name, _)| name.is_none()) => {
                        let found = select_platform(index, platform);
                        found.map_err(|source| broken(directory, source))?.descriptor.clone()
                    }
                    Wanted::Platform(_) | Wanted::AllPlatforms => {
                        return Err(ImagesError::SeveralImages { path: directory.to_owned(), choices: choices() });
                    }
                },
            },
        },
    })
}

fn ingest_one(
    store: &Store,
    directory: &Path,
    root: Descriptor,
    platform: &Platform,
) -> Result<Descriptor, ImagesError> {
    let mut descriptor = root;
    for _ in 0..3 {
        match ingest_document(store, directory, &descriptor)? {
            Document::Index(index) => {
                let found = select_platform(&index, platform).map_err(|source| broken(directory, source))?;
                descriptor = found.descriptor.clone();
            }
            Document::Manifest(manifest) => {
                ingest_blobs(store, directory, &manifest)?;
                let config = store.blobs().read(&manifest.config.digest, MAX_DOCUMENT)?;
                ImageConfig::parse(&config).map_err(|source| broken(directory, source))?;
                return Ok(descriptor);
            }
        }
    }
    Err(ImagesError::BlobMissing { what: directory.display().to_string(), digest: descriptor.digest })
}

fn ingest_all(store: &Store, directory: &Path, root: &Descriptor) -> Result<(), ImagesError> {
    let mut open = vec![root.clone()];
    let mut seen = HashSet::new();
    while let Some(descriptor) = open.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        match ingest_document(store, directory, &descriptor)? {
            Document::Index(index) => open.extend(index.manifests.into_iter().map(|entry| entry.descriptor)),
            Document::Manifest(manifest) => ingest_blobs(store, directory, &manifest)?,
        }
    }
    Ok(())
}

/// The images that `wanted` means: those of this very name or digest, else those whose name is a reference that is equal, or has it as tag.
fn find_named<'a>(named: &[(Option<&str>, &'a Descriptor)], wanted: &str) -> Vec<&'a Descriptor> {
    let full = wanted.parse::<Reference>().ok().map(|reference| reference.to_string());
    let exactly =
        |name: Option<&str>, descriptor: &Descriptor| name == Some(wanted) || descriptor.digest.to_string() == wanted;
    let roughly = |name: Option<&str>, _: &Descriptor| {
        let Some(Ok(reference)) = name.filter(|name| name.contains(['/', ':'])).map(str::parse::<Reference>) else {
            return false;
        };
        Some(reference.to_string()) == full || reference.tag() == Some(wanted)
    };
    let select = |matches: &dyn Fn(Option<&str>, &Descriptor) -> bool| {
        named.iter().filter(|(name, image)| matches(*name, image)).map(|(_, image)| *image).collect::<Vec<_>>()
    };
    let found = select(&exactly);
    if found.is_empty() { select(&roughly) } else { found }
}

pub(super) fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

fn ingest_document(store: &Store, directory: &Path, descriptor: &Descriptor) -> Result<Document, ImagesError> {
    ingest_blob(store, directory, descriptor)?;
    let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
    read_document(&bytes, Some(&descriptor.media_type)).map_err(|source| broken(directory, source))
}

/// The configuration and the layers.
fn ingest_blobs(store: &Store, directory: &Path, manifest: &Manifest) -> Result<(), ImagesError> {
    [&manifest.config].into_iter().chain(&manifest.layers).try_for_each(|blob| ingest_blob(store, directory, blob))
}

/// Copies a blob into the store unless it is there.
fn ingest_blob(store: &Store, directory: &Path, descriptor: &Descriptor) -> Result<(), ImagesError> {
    if store.blobs().contains(&descriptor.digest)? == Some(descriptor.size) {
        return Ok(());
    }
    let path = blob_path(directory, &descriptor.digest);
    let mut file = match open_regular(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ImagesError::BlobMissing { what: directory.display().to_string(), digest: descriptor.digest });
        }
        opened => opened.map_err(|source| ImagesError::Io { verb: "open", path: path.clone(), source })?,
    };
    let mut ingest = store.blobs().ingest()?;
    std::io::copy(&mut file, &mut ingest).map_err(|source| ImagesError::Io { verb: "copy", path, source })?;
    Ok(ingest.commit_verified(descriptor)?)
}

pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, ImagesError> {
    use std::io::Read as _;
    let failed = |source| ImagesError::Io { verb: "read", path: path.to_owned(), source };
    let file = open_regular(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Opens a regular file; a pipe or device in its place neither blocks nor is read.
fn open_regular(path: &Path) -> std::io::Result<File> {
    use rustix::fs::Mode;
    use rustix::fs::OFlags;
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

fn broken(directory: &Path, source: ImageError) -> ImagesError {
    ImagesError::Broken { what: directory.display().to_string(), source }
}
