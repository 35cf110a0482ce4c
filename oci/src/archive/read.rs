//! Reading image archives: OCI layouts and docker archives, new and old, plain or compressed.
//!
//! A stream is read once and in its own order, and what names the images may come last. So every file is handed on as it comes, by its
//! name, and afterwards it is told which of them make which image.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::io::Read;

use super::ArchiveError;
use super::DOCKER_FILE;
use crate::compression::Decoder;
use crate::image::Descriptor;
use crate::image::ImageError;
use crate::image::MAX_DOCUMENT;
use crate::image::MAX_LAYERS;
use crate::layer::EntryKind;
use crate::layer::LayerReader;
use crate::layout;
use crate::layout::LayoutIndex;
use crate::path::ImagePath;

const MAX_ENTRIES: usize = 100_000;
const MAX_LINKS: usize = 16;

/// What an archive holds, without its blobs.
#[derive(Debug, Default)]
pub struct ArchiveContents {
    documents: BTreeMap<&'static str, Vec<u8>>,
    files: BTreeSet<ImagePath>,
    links: BTreeMap<ImagePath, ImagePath>,
}

/// An image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchivedImage {
    /// As an OCI layout has it. The blobs came under the names that [`layout::blob_path`] gives.
    Oci {
        /// Its full reference, or whatever name its annotations give.
        name: Option<String>,
        /// The manifest or index.
        descriptor: Descriptor,
    },
    /// As docker has it, without a manifest.
    Docker {
        /// `RepoTags`.
        tags: Vec<String>,
        /// Name of the configuration's file.
        config: String,
        /// Names of the layers' files, bottom to top. Each may be compressed or not, and may occur more than once.
        layers: Vec<String>,
    },
}

#[derive(serde::Deserialize)]
struct DockerRow {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// Reads an archive to its end. `take` gets the name, size and bytes of each file that is not an index; what it does not read is
/// passed over. The bytes are not verified here.
pub fn scan<R: Read>(
    source: R,
    mut take: impl FnMut(&str, u64, &mut dyn Read) -> io::Result<()>,
) -> Result<ArchiveContents, ArchiveError> {
    let decoder = Decoder::new(source).map_err(|source| ArchiveError::Decompress { source })?;
    let mut reader = LayerReader::archive(decoder);
    let mut contents = ArchiveContents::default();
    let mut count = 0;
    while let Some((entry, mut content)) = reader.next_entry().map_err(|source| ArchiveError::Read { source })? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(ArchiveError::TooManyEntries { limit: MAX_ENTRIES });
        }
        let name = String::from_utf8_lossy(entry.path.relative()).into_owned();
        if contents.files.contains(&entry.path) || contents.links.contains_key(&entry.path) {
            return Err(ArchiveError::Duplicate { name });
        }
        match entry.kind {
            EntryKind::File { size } => {
                let document =
                    [layout::LAYOUT_FILE, layout::INDEX_FILE, DOCKER_FILE].into_iter().find(|known| *known == name);
                if let Some(known) = document {
                    contents.documents.insert(known, read_document(&name, size, &mut content)?);
                } else {
                    take(&name, size, &mut content).map_err(|source| ArchiveError::Entry { name, source })?;
                }
                contents.files.insert(entry.path);
            }
            EntryKind::Symlink { target } => {
                let parent = entry.path.parent().unwrap_or_else(ImagePath::root);
                contents.links.insert(entry.path, parent.join(target));
            }
            EntryKind::Hardlink { target } => {
                contents.links.insert(entry.path, target);
            }
            _ => {}
        }
    }
    let decoder = reader.finish().map_err(|source| ArchiveError::Read { source })?;
    decoder.finish().map_err(|source| ArchiveError::Decompress { source })?;
    Ok(contents)
}

impl ArchiveContents {
    /// The images. An archive that is a layout and docker's at once is read as a layout.
    pub fn images(&self) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let document = |name: &'static str| self.documents.get(name).map(Vec::as_slice);
        match (document(layout::LAYOUT_FILE), document(layout::INDEX_FILE), document(DOCKER_FILE)) {
            (Some(version), Some(index), _) => {
                layout::check_layout(version).map_err(|source| in_document(layout::LAYOUT_FILE, source))?;
                self.layout_images(index)
            }
            (_, _, Some(rows)) => self.docker_images(rows),
            _ => Err(ArchiveError::NotAnImage),
        }
    }

    fn layout_images(&self, index: &[u8]) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let index = LayoutIndex::parse(index).map_err(|source| in_document(layout::INDEX_FILE, source))?;
        let image = |entry: layout::LayoutEntry| {
            self.resolve(&layout::blob_path(entry.descriptor.digest))?;
            Ok(ArchivedImage::Oci { name: entry.name().map(str::to_owned), descriptor: entry.descriptor })
        };
        index.entries.into_iter().map(image).collect()
    }

    fn docker_images(&self, rows: &[u8]) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let error = |source| in_document(DOCKER_FILE, source);
        let rows: Vec<DockerRow> = serde_json::from_slice(rows)
            .map_err(|source| error(ImageError::Json { document: "docker manifest", source }))?;
        // Of all rows together: each may name the same long file again and again.
        let count: usize = rows.iter().filter_map(|row| row.layers.as_ref()).map(Vec::len).sum();
        if count > MAX_LAYERS {
            return Err(error(ImageError::TooMany { document: "docker manifest", limit: MAX_LAYERS }));
        }
        let image = |row: DockerRow| {
            let layers = row.layers.unwrap_or_default();
            Ok(ArchivedImage::Docker {
                tags: row.tags.unwrap_or_default(),
                config: self.resolve(&row.config)?,
                layers: layers.iter().map(|layer| self.resolve(layer)).collect::<Result<_, _>>()?,
            })
        };
        rows.into_iter().map(image).collect()
    }

    /// The name under which a file was handed on, through links: docker once wrote equal layers as links to the first.
    fn resolve(&self, name: &str) -> Result<String, ArchiveError> {
        let mut path = ImagePath::new(name);
        for _ in 0..MAX_LINKS {
            if self.files.contains(&path) {
                return Ok(String::from_utf8_lossy(path.relative()).into_owned());
            }
            let Some(target) = self.links.get(&path) else { break };
            path = target.clone();
        }
        Err(ArchiveError::Missing { name: name.chars().take(200).collect() })
    }
}

fn in_document(name: &str, source: ImageError) -> ArchiveError {
    ArchiveError::Document { name: name.to_owned(), source }
}

fn read_document(name: &str, size: u64, content: &mut dyn Read) -> Result<Vec<u8>, ArchiveError> {
    let limit = MAX_DOCUMENT as u64;
    if size > limit {
        return Err(in_document(name, ImageError::TooLarge { document: "document", size, limit }));
    }
    let mut bytes = Vec::new();
    let read = content.read_to_end(&mut bytes);
    read.map_err(|source| ArchiveError::Entry { name: name.to_owned(), source })?;
    Ok(bytes)
}
