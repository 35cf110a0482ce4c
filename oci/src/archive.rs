//! Images in one tar: an OCI layout and a docker archive at the same time.
//!
//! ```text
//! blobs/sha256/<hex>    manifests, configurations, layers: each once
//! index.json            OCI: one descriptor for each name of each image
//! manifest.json         docker: [{"Config": <blob>, "Layers": [<blob> ..], "RepoTags": [<name> ..]}]
//! oci-layout
//! ```
//!
//! Every entry has the same owner, mode and time, and they are sorted, so that equal images give equal archives.

mod read;

use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Write;

use serde_json::json;

pub use read::ArchiveContents;
pub use read::ArchivedImage;
pub use read::scan;

use crate::hashing::VerifyingReader;
use crate::image::Descriptor;
use crate::image::ImageError;
use crate::layer::EntryKind;
use crate::layer::LayerEntry;
use crate::layer::LayerWriter;
use crate::layer::Metadata;
use crate::layer::ReadError;
use crate::layer::WriteError;
use crate::layout;
use crate::layout::LayoutEntry;
use crate::layout::LayoutIndex;
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::time::Timestamp;

/// Name of docker's index of an archive.
pub const DOCKER_FILE: &str = "manifest.json";

/// An image to be written, whose blobs are given beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// Its names, perhaps none.
    pub names: Vec<Reference>,
    /// Its manifest, or an index of several.
    pub manifest: Descriptor,
    /// What it runs on, if it is one image.
    pub platform: Option<Platform>,
    /// Annotations of its descriptors in `index.json`, beside the names.
    pub annotations: BTreeMap<String, String>,
    /// What docker needs to load it; `None` keeps it out of `manifest.json`, as an index of several platforms must be.
    pub docker: Option<DockerImage>,
}

/// An image as docker's archives describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerImage {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom to top.
    pub layers: Vec<Descriptor>,
}

/// Opens a blob when its turn comes.
pub type Opener<'a> = Box<dyn FnOnce() -> io::Result<Box<dyn Read + 'a>> + 'a>;

/// A blob to be written.
pub struct ArchiveBlob<'a> {
    /// What it must turn out to be.
    pub descriptor: Descriptor,
    /// Gives its bytes.
    pub open: Opener<'a>,
}

impl std::fmt::Debug for ArchiveBlob<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ArchiveBlob").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

impl<'a> ArchiveBlob<'a> {
    /// A blob that is in memory.
    pub fn of_bytes(descriptor: Descriptor, bytes: &'a [u8]) -> ArchiveBlob<'a> {
        ArchiveBlob { descriptor, open: Box::new(move || Ok(Box::new(bytes))) }
    }
}

/// An archive that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A blob could not be opened.
    #[error("cannot open blob {digest}: {source}")]
    Open {
        /// Which.
        digest: crate::digest::Digest,
        /// Why.
        source: io::Error,
    },
    /// The output failed, or a blob was not what it should be.
    #[error("cannot write the archive: {source}")]
    Write {
        /// Why.
        source: WriteError,
    },
    /// An image refers to a blob that is not given.
    #[error("blob {digest} is missing from the archive to be written")]
    NoBlob {
        /// Which.
        digest: crate::digest::Digest,
    },
    /// The stream could not be decompressed.
    #[error("cannot read the archive: {source}")]
    Decompress {
        /// Why.
        source: io::Error,
    },
    /// Not a tar, or a bad one.
    #[error("cannot read the archive: {source}")]
    Read {
        /// Why.
        source: ReadError,
    },
    /// A file of the archive could not be read, or not be taken over.
    #[error("cannot read `{name}` from the archive: {source}")]
    Entry {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A document of the archive is not valid.
    #[error("`{name}` in the archive: {source}")]
    Document {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ImageError,
    },
    /// Two files of one name, which two readers would read differently.
    #[error("the archive has two files named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A file that is referred to and not there.
    #[error("the archive has no file `{name}`")]
    Missing {
        /// The name, as written.
        name: String,
    },
    /// Too many files.
    #[error("the archive has more than {limit} entries")]
    TooManyEntries {
        /// The largest number accepted.
        limit: usize,
    },
    /// Some other tar.
    #[error("not an image archive: it has neither `oci-layout` with `index.json`, nor `manifest.json`")]
    NotAnImage,
}

/// The `index.json` of these images.
pub fn index_json(images: &[ArchiveImage]) -> LayoutIndex {
    let entries = images.iter().flat_map(|image| {
        let mut entry = LayoutEntry::new(image.manifest.clone(), image.platform.as_ref());
        entry.annotations.clone_from(&image.annotations);
        if image.names.is_empty() {
            return vec![entry];
        }
        image.names.iter().map(|name| entry.clone().named(name)).collect()
    });
    LayoutIndex { entries: entries.collect(), extra: BTreeMap::new() }
}

/// docker's `manifest.json` of these images; `None` if docker could load none of them.
pub fn docker_json(images: &[ArchiveImage]) -> Option<Vec<u8>> {
    let rows = images.iter().filter_map(|image| image.docker.as_ref().map(|docker| (image, docker)));
    let rows: Vec<_> = rows
        .map(|(image, docker)| {
            let layers: Vec<String> = docker.layers.iter().map(|layer| layout::blob_path(layer.digest)).collect();
            let tagged = image.names.iter().filter(|name| name.tag().is_some() && name.digest().is_none());
            let tags: Vec<String> = tagged.map(Reference::familiar).collect();
            json!({"Config": layout::blob_path(docker.config.digest), "RepoTags": tags, "Layers": layers})
        })
        .collect();
    if rows.is_empty() { None } else { Some(json!(rows).to_string().into_bytes()) }
}

/// Writes an archive. Every blob is checked on the way; one that is given twice is written once.
pub fn write_archive<W: Write>(
    out: W,
    images: &[ArchiveImage],
    blobs: Vec<ArchiveBlob<'_>>,
) -> Result<W, ArchiveError> {
    let mut sorted = BTreeMap::new();
    for blob in blobs {
        sorted.entry(blob.descriptor.digest).or_insert(blob);
    }
    for image in images {
        let docker = image.docker.iter().flat_map(|docker| docker.layers.iter().chain([&docker.config]));
        if let Some(missing) = docker.chain([&image.manifest]).find(|blob| !sorted.contains_key(&blob.digest)) {
            return Err(ArchiveError::NoBlob { digest: missing.digest });
        }
    }
    let mut writer = LayerWriter::new(out);
    add(&mut writer, "blobs", EntryKind::Directory, None)?;
    add(&mut writer, "blobs/sha256", EntryKind::Directory, None)?;
    for (digest, blob) in sorted {
        let content = (blob.open)().map_err(|source| ArchiveError::Open { digest, source })?;
        let mut content = VerifyingReader::new(content, &blob.descriptor);
        let kind = EntryKind::File { size: blob.descriptor.size };
        add(&mut writer, &layout::blob_path(digest), kind, Some(&mut content))?;
    }
    let documents = [
        (layout::INDEX_FILE, Some(index_json(images).to_json())),
        (DOCKER_FILE, docker_json(images)),
        (layout::LAYOUT_FILE, Some(layout::LAYOUT.to_vec())),
    ];
    for (name, bytes) in documents {
        let Some(bytes) = bytes else { continue };
        let kind = EntryKind::File { size: bytes.len() as u64 };
        add(&mut writer, name, kind, Some(&mut bytes.as_slice()))?;
    }
    writer.finish().map_err(|source| ArchiveError::Write { source })
}

fn add<W: Write>(
    writer: &mut LayerWriter<W>,
    name: &str,
    kind: EntryKind,
    content: Option<&mut dyn Read>,
) -> Result<(), ArchiveError> {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    let metadata = Metadata { mode, uid: 0, gid: 0, mtime: Timestamp::FIXED, xattrs: BTreeMap::new() };
    let entry = LayerEntry { path: ImagePath::new(name), kind, metadata };
    writer.append(&entry, content).map_err(|source| ArchiveError::Write { source })
}
