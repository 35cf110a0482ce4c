//! Reading an OCI image layout, apart from the layers.

use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

/// The manifest and the config of the one image of a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
    /// The config as it is in the image, with `config`, `history` and `rootfs` in it.
    pub(crate) document: Value,
    /// The text that [`Layout::document`] was read from: what it does not tell is the order of the fields.
    pub(crate) text: String,
    layers: Vec<Value>,
}

impl Layout {
    /// Reads the layout in `directory`.
    pub(crate) fn read(directory: &Path) -> Self {
        let index = json(&directory.join("index.json"));
        let mut manifest = json(&blob(directory, &index["manifests"][0]));
        // A platform's image may hide behind an index of platforms.
        if manifest["manifests"].is_array() {
            manifest = json(&blob(directory, &manifest["manifests"][0]));
        }
        let config = blob(directory, &manifest["config"]);
        let document = json(&config);
        let text = std::fs::read_to_string(&config).unwrap();
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let diff_ids = document["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
        assert_eq!(diff_ids, layers.len(), "{}: layers and diff ids must be as many", directory.display());
        Self { directory: directory.to_owned(), document, text, layers }
    }

    /// Unpacks the archive `file` (`-o type=oci`) to `directory` and reads it.
    pub(crate) fn unpack(file: &Path, directory: &Path) -> Self {
        let content =
            std::fs::File::open(file).unwrap_or_else(|error| panic!("cannot open {}: {error}", file.display()));
        tar::Archive::new(content).unpack(directory).unwrap();
        Self::read(directory)
    }

    /// The files of the layers, lowest first.
    pub(crate) fn layers(&self) -> Vec<PathBuf> {
        self.layers.iter().map(|layer| blob(&self.directory, layer)).collect()
    }
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()))
}

fn blob(directory: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap_or_else(|| panic!("no digest in {descriptor}"));
    directory.join("blobs").join(digest.replacen(':', "/", 1))
}
