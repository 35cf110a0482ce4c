//! Images that nobody would make but to hurt.

use bld_cache::Store;
use bld_oci::Timestamp;
use bld_oci::image::Descriptor;
use bld_oci::media_type;

use super::absent_layers;

struct Documents {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Documents {
    fn new() -> Documents {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), || Timestamp::FIXED).unwrap();
        Documents { store, _directory: directory }
    }

    fn put(&self, media_type: &str, document: &serde_json::Value) -> Descriptor {
        let bytes = document.to_string().into_bytes();
        self.store.blobs().write(&bytes).unwrap();
        Descriptor::of(media_type, &bytes)
    }

    fn index(&self, of: &[&Descriptor]) -> Descriptor {
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": of });
        self.put(media_type::OCI_INDEX, &index)
    }

    fn manifest(&self, layers: &[&Descriptor]) -> Descriptor {
        let config = self.put(media_type::OCI_CONFIG, &serde_json::json!({}));
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers,
        });
        self.put(media_type::OCI_MANIFEST, &manifest)
    }
}

/// Six levels of a hundred each lead to 10^12 manifests, which are one.
#[test]
fn what_is_listed_often_is_read_once() {
    let documents = Documents::new();
    let layer = Descriptor::of(media_type::OCI_LAYER_GZIP, b"not here");
    let mut root = documents.manifest(&[&layer, &layer]);
    for _ in 0..6 {
        root = documents.index(&vec![&root; 100]);
    }
    let absent = absent_layers(&documents.store, &root).unwrap();
    assert_eq!(absent.iter().map(|layer| layer.digest).collect::<Vec<_>>(), [layer.digest]);
}
