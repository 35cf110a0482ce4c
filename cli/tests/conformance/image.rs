//! An image read from an OCI layout, and how two of them are compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use super::differences::Difference;
use super::tree::Tree;
use crate::support::layout::Layout;

/// The parts of an image that somebody can tell apart.
#[derive(Debug)]
pub(super) struct Image {
    /// Field name to value; what is missing, null or empty is left out.
    config: BTreeMap<String, Value>,
    /// One element for each history entry: whether it has no layer.
    empty: Vec<bool>,
    layers: usize,
    tree: Tree,
}

/// Every field of the config that means something to a runtime or to a later build.
const FIELDS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
];

impl Image {
    /// Reads the one image of the layout in `directory`.
    pub(super) fn read(directory: &Path) -> Self {
        Self::of(&Layout::read(directory))
    }

    /// The image of `layout`.
    pub(super) fn of(layout: &Layout) -> Self {
        let mut tree = Tree::default();
        let layers = layout.layers();
        for layer in &layers {
            read_layer(layer, |content| tree.apply(content));
        }
        let history = layout.document["history"].as_array().cloned().unwrap_or_default();
        let empty: Vec<bool> = history.iter().map(|entry| entry["empty_layer"] == Value::Bool(true)).collect();
        Self { config: config(&layout.document), empty, layers: layers.len(), tree }
    }

    /// In what `self` (ours) differs from `other`. Another Dockerfile has another history, so that is not looked at then.
    pub(super) fn compare(&self, other: &Self, other_dockerfile: bool) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut fields: Vec<&String> = self.config.keys().chain(other.config.keys()).collect();
        fields.sort();
        fields.dedup();
        for field in fields {
            note(&mut found, format!("config.{field}"), &self.config.get(field), &other.config.get(field));
        }
        if !other_dockerfile {
            note(&mut found, "history.count".to_owned(), &self.empty.len(), &other.empty.len());
            if self.empty.len() == other.empty.len() {
                note(&mut found, "history.empty".to_owned(), &positions(&self.empty), &positions(&other.empty));
            }
            note(&mut found, "layers".to_owned(), &self.layers, &other.layers);
        }
        self.tree.compare(&other.tree, &mut found);
        found
    }
}

fn note<T: PartialEq + std::fmt::Debug>(found: &mut Vec<Difference>, field: String, ours: &T, theirs: &T) {
    if ours != theirs {
        found.push(Difference { field, values: format!("bld {ours:?}, buildah {theirs:?}") });
    }
}

fn positions(empty: &[bool]) -> Vec<usize> {
    empty.iter().enumerate().filter(|(_, empty)| **empty).map(|(position, _)| position).collect()
}

fn config(document: &Value) -> BTreeMap<String, Value> {
    let mut config = BTreeMap::new();
    for field in ["architecture", "os", "author"] {
        insert(&mut config, field, document[field].clone());
    }
    for field in FIELDS {
        let mut value = document["config"][field].clone();
        match field {
            // The builder's own mark.
            "Labels" => drop(value.as_object_mut().and_then(|labels| labels.remove("io.buildah.version"))),
            // No working directory means the root.
            "WorkingDir" if value == "/" => value = Value::Null,
            _ => {}
        }
        insert(&mut config, field, value);
    }
    config
}

fn insert(config: &mut BTreeMap<String, Value>, field: &str, value: Value) {
    let nothing = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if !nothing {
        config.insert(field.to_owned(), value);
    }
}

/// Gives `use_content` the tar archive in `path`, whatever it is compressed with.
pub(super) fn read_layer(path: &Path, use_content: impl FnOnce(&mut dyn Read)) {
    let mut magic = [0; 4];
    let read = File::open(path).unwrap().read(&mut magic).unwrap();
    let program = match &magic[..read] {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "zstd",
        _ => return use_content(&mut File::open(path).unwrap()),
    };
    let mut child =
        Command::new(program).arg("-dc").stdin(File::open(path).unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    use_content(&mut output);
    // The padding after the end of the archive: a program that cannot write it would fail.
    std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} cannot read {}", path.display());
}
