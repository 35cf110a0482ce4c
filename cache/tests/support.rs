//! Things to store.

use bld_cache::Store;
use bld_cache::Tree;
use bld_cache::key::CacheKey;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::record::LayerId;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_cache::store::ActiveLayer;
use bld_cache::tree::ContentHash;
use bld_cache::tree::Node;
use bld_cache::tree::NodeKind;
use bld_oci::Digest;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::image::Descriptor;
use bld_oci::layer::Metadata;
use std::path::Path;

pub(crate) fn open(root: &Path) -> Store {
    Store::open(root, || Timestamp::from_seconds(1_800_000_000)).unwrap()
}

pub(crate) fn key(text: &str) -> CacheKey {
    KeyHasher::new(Domain("bld.test.v1")).text("text", text).finish().0
}

pub(crate) fn metadata(mode: u32) -> Metadata {
    Metadata { mode, uid: 0, gid: 0, mtime: Timestamp::from_seconds(1), xattrs: std::collections::BTreeMap::new() }
}

pub(crate) fn directory() -> Node {
    Node { kind: NodeKind::Directory { opaque: false }, metadata: metadata(0o755) }
}

pub(crate) fn file(text: &str) -> Node {
    let content = ContentHash(*blake3::hash(text.as_bytes()).as_bytes());
    Node { kind: NodeKind::File { size: text.len() as u64, content, hardlink: None }, metadata: metadata(0o644) }
}

/// A layer of one file, being made.
pub(crate) fn active(store: &Store, text: &str) -> (ActiveLayer, Tree) {
    let active = store.layers().create().unwrap();
    std::fs::write(active.directory().join("file"), text).unwrap();
    let nodes = vec![(ImagePath::root(), directory()), (ImagePath::new("file"), file(text))];
    (active, Tree::from_sorted(nodes).unwrap())
}

pub(crate) fn layer(store: &Store, text: &str) -> LayerId {
    let (active, tree) = active(store, text);
    store.layers().commit(active, &tree).unwrap()
}

pub(crate) fn record(layers: Vec<LayerId>, text: &str) -> Record {
    let id = StateId::scratch().push(blake3::hash(text.as_bytes()).as_bytes());
    Record::new(State { id, layers }, Timestamp::from_seconds(5))
}

pub(crate) fn descriptor(digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(), digest, size }
}

/// An image without layers.
pub(crate) fn image(store: &Store, text: &str) -> (Descriptor, Digest) {
    let config = serde_json::json!({ "created": "2020-01-01T00:00:00Z", "author": text }).to_string();
    let (config, size) = store.blobs().write(config.as_bytes()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size },
        "layers": [],
    });
    let (manifest, size) = store.blobs().write(manifest.to_string().as_bytes()).unwrap();
    (descriptor(manifest, size), config)
}
