//! `--squash`: all layers of a build as one, and layers of base images compressed in another way.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::Store;
use bld_cache::tree::NodeKind;
use bld_cache::tree::Tree;
use bld_oci::DiffId;
use bld_oci::Digest;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::compression::Decoder;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageLayer;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerSink;
use bld_oci::layer::LayerWriter;
use bld_oci::layer::Metadata;
use bld_oci::media_type;

use crate::error::ExecuteError;
use crate::layers::LayerError;
use crate::view::TreeView as _;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::merged::MergedTree;

/// Where it is noted what came out the last time.
const MEMO: &str = "derived-blob";

/// Layers as files: index and directory, bottom to top.
type Stack = Vec<(Arc<Tree>, PathBuf)>;

/// The upper layers of `stack`, from `base` on, as one layer. `identity` names them.
pub(super) fn squash(
    store: &Store,
    stack: Stack,
    base: usize,
    identity: &str,
    compression: Compression,
    clamp: Option<Timestamp>,
) -> Result<ImageLayer, ExecuteError> {
    let clamped = clamp.map_or_else(String::new, |time| time.seconds.to_string());
    let key = format!("squash {identity} {base} {} {clamped}", compression.identity());
    derived(store, &key, || {
        let mut lower = stack;
        let upper = lower.split_off(base);
        let trees: Vec<Arc<Tree>> = upper.iter().map(|(tree, _)| Arc::clone(tree)).collect();
        let entries = Entries { trees, upper: MergedTree::new(upper), lower: MergedTree::new(lower) };
        let failed = |source| ExecuteError::Io { verb: "write", path: "the squashed layer".into(), source };
        let sink = LayerSink::new(store.blobs().ingest()?, compression).map_err(failed)?;
        let mut writer = LayerWriter::new(sink);
        entries.write(&mut writer, clamp)?;
        let sink = writer.finish().map_err(|error| failed(std::io::Error::other(error)))?;
        let (made, ingest) = sink.complete().map_err(failed)?;
        ingest.commit_verified(&made.blob)?;
        Ok(ImageLayer { diff_id: made.diff_id, blob: made.blob })
    })
}

/// A layer of a base image compressed as it is wanted; as it is, if it is compressed by the same algorithm already.
pub(super) fn recompress(
    store: &Store,
    layer: &ImageLayer,
    compression: Compression,
) -> Result<ImageLayer, ExecuteError> {
    if media_type::oci_layer(&layer.blob.media_type) == compression.media_type() {
        return Ok(layer.clone());
    }
    derived(store, &format!("recompress {} {}", layer.blob.digest, compression.identity()), || {
        let failed = |source| ExecuteError::Io { verb: "compress", path: layer.blob.digest.to_string().into(), source };
        let mut decoder = Decoder::new(store.blobs().open(&layer.blob.digest)?).map_err(failed)?;
        let mut sink = LayerSink::new(store.blobs().ingest()?, compression).map_err(failed)?;
        std::io::copy(&mut decoder, &mut sink).map_err(failed)?;
        decoder.finish().map_err(failed)?;
        let (made, ingest) = sink.complete().map_err(failed)?;
        if made.diff_id != layer.diff_id {
            let source = format!("its uncompressed bytes have digest {}", made.diff_id).into();
            return Err(ExecuteError::Unpack { diff_id: layer.diff_id.to_string(), source });
        }
        ingest.commit_verified(&made.blob)?;
        Ok(ImageLayer { diff_id: made.diff_id, blob: made.blob })
    })
}

/// What `work` makes, or made the last time.
fn derived(
    store: &Store,
    key: &str,
    work: impl FnOnce() -> Result<ImageLayer, ExecuteError>,
) -> Result<ImageLayer, ExecuteError> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Noted {
        diff_id: Digest,
        blob: Descriptor,
    }
    let noted = store.memo().get(MEMO, key.as_bytes())?;
    if let Some(Noted { diff_id, blob }) = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok())
        && store.blobs().contains(&blob.digest)? == Some(blob.size)
    {
        return Ok(ImageLayer { diff_id: DiffId(diff_id), blob });
    }
    let made = work()?;
    let value = serde_json::json!({ "diff_id": made.diff_id.0, "blob": made.blob });
    store.memo().put(MEMO, key.as_bytes(), value.to_string().as_bytes())?;
    Ok(made)
}

/// The change set of several layers together.
struct Entries {
    trees: Vec<Arc<Tree>>,
    /// These layers alone.
    upper: MergedTree,
    /// What is below them.
    lower: MergedTree,
}

impl Entries {
    fn write<W: std::io::Write>(
        &self,
        writer: &mut LayerWriter<W>,
        clamp: Option<Timestamp>,
    ) -> Result<(), ExecuteError> {
        let mut entries: BTreeMap<ImagePath, Option<ViewNode>> = BTreeMap::new();
        let has_root = self.trees.iter().any(|tree| tree.get(&ImagePath::root()).is_some());
        self.upper.walk::<ExecuteError>(&mut |path, node| {
            if has_root || !path.is_root() {
                entries.insert(path.clone(), Some(node));
            }
            Ok(())
        })?;
        for (path, node) in self.trees.iter().flat_map(|tree| tree.iter()) {
            if node.kind == NodeKind::Whiteout && self.is_deleted(path)? {
                entries.entry(path.clone()).or_insert(None);
            }
        }
        let mut links: HashMap<u64, ImagePath> = HashMap::new();
        for (path, node) in &entries {
            let failed = |source| ExecuteError::Layer(LayerError::Write { path: path.clone(), source });
            let entry = |kind, metadata: &Metadata| {
                let mut metadata = metadata.clone();
                metadata.mtime = clamp.map_or(metadata.mtime, |clamp| metadata.mtime.min(clamp));
                LayerEntry { path: path.clone(), kind, metadata }
            };
            let Some(ViewNode { kind, metadata }) = node else {
                let metadata =
                    Metadata { mode: 0, uid: 0, gid: 0, mtime: Timestamp::from_seconds(0), xattrs: BTreeMap::new() };
                writer.append(&entry(EntryKind::Whiteout, &metadata), None).map_err(failed)?;
                continue;
            };
            let kind = match kind {
                ViewKind::Directory => {
                    writer.append(&entry(EntryKind::Directory, metadata), None).map_err(failed)?;
                    if self.is_opaque(path)? {
                        writer.append(&entry(EntryKind::Opaque, metadata), None).map_err(failed)?;
                    }
                    continue;
                }
                ViewKind::File { size, link_group } => {
                    if let Some(target) = link_group.and_then(|group| links.get(&group)) {
                        EntryKind::Hardlink { target: target.clone() }
                    } else {
                        if let Some(group) = link_group {
                            links.insert(*group, path.clone());
                        }
                        let mut content = Hashing { inner: self.upper.open(path)?, hasher: blake3::Hasher::new() };
                        let kind = EntryKind::File { size: *size };
                        writer.append(&entry(kind, metadata), Some(&mut content)).map_err(failed)?;
                        if *content.hasher.finalize().as_bytes() != self.upper.content(path)?.0 {
                            let path = self.upper.locate(path)?;
                            return Err(ExecuteError::Layer(LayerError::Changed { path }));
                        }
                        continue;
                    }
                }
                ViewKind::Symlink { target } => EntryKind::Symlink { target: target.clone() },
                ViewKind::CharDevice { major, minor } => EntryKind::CharDevice { major: *major, minor: *minor },
                ViewKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major: *major, minor: *minor },
                ViewKind::Fifo => EntryKind::Fifo,
                ViewKind::Socket => continue,
            };
            writer.append(&entry(kind, metadata), None).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether something of the lower layers is gone at `path`, and not only because the directory it was in is.
    fn is_deleted(&self, path: &ImagePath) -> Result<bool, ExecuteError> {
        let Some(parent) = path.parent() else { return Ok(false) };
        let directory = self.upper.node(&parent)?.is_some_and(|node| node.kind == ViewKind::Directory);
        Ok(directory && self.upper.node(path)?.is_none() && self.lower.node(path)?.is_some())
    }

    /// Whether a directory hides what the lower layers have below it.
    fn is_opaque(&self, path: &ImagePath) -> Result<bool, ExecuteError> {
        let hides = |tree: &Arc<Tree>| match tree.get(path).map(|node| &node.kind) {
            None | Some(NodeKind::Directory { opaque: false }) => false,
            Some(_) => true,
        };
        if !self.trees.iter().any(hides) {
            return Ok(false);
        }
        Ok(self.lower.node(path)?.is_some_and(|node| node.kind == ViewKind::Directory))
    }
}

struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
