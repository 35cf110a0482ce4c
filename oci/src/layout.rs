//! The two small documents of an OCI image layout; whoever calls does the files.
//!
//! ```text
//! oci-layout            {"imageLayoutVersion":"1.0.0"}
//! index.json            descriptors of images; annotations give their names
//! blobs/sha256/<hex>    manifests, configurations, layers
//! ```

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::digest::Digest;
use crate::image::Descriptor;
use crate::image::ImageError;
use crate::image::MAX_LAYERS;
use crate::media_type;
use crate::platform::Platform;
use crate::reference::Reference;

/// Name of the file that marks a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// What is in it.
pub const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Name of the index.
pub const INDEX_FILE: &str = "index.json";
/// Annotation: a tag, or whatever name the writer chose.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation: the full reference.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// `index.json`. What is not understood is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayoutIndex {
    /// The images, in order.
    pub entries: Vec<LayoutEntry>,
    /// Every other field.
    pub extra: BTreeMap<String, Value>,
}

/// One image of a layout under one name. An image with several names has several entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutEntry {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Every other field, `platform` among them.
    pub extra: BTreeMap<String, Value>,
}

/// Where a blob is in a layout: `blobs/sha256/<hex>`.
pub fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Refuses an `oci-layout` of an unknown version.
pub fn check_layout(bytes: &[u8]) -> Result<(), ImageError> {
    const DOCUMENT: &str = "oci-layout";
    let map = crate::image::parse_object(DOCUMENT, bytes)?;
    match map.get("imageLayoutVersion").and_then(Value::as_str) {
        Some("1.0.0") => Ok(()),
        _ => Err(ImageError::Field { document: DOCUMENT, field: "imageLayoutVersion".to_owned(), expected: "`1.0.0`" }),
    }
}

impl LayoutIndex {
    /// Reads `index.json`.
    pub fn parse(bytes: &[u8]) -> Result<LayoutIndex, ImageError> {
        // The typed reader checks what must hold for every index; this one keeps what that one drops.
        let index = crate::image::read_index(bytes)?;
        let mut map = crate::image::parse_object("index", bytes)?;
        map.retain(|name, _| !matches!(name.as_str(), "schemaVersion" | "mediaType"));
        let Some(Value::Array(rows)) = map.remove("manifests") else {
            return Ok(LayoutIndex { entries: Vec::new(), extra: rest(map) });
        };
        let entry = |(read, row): (crate::image::IndexEntry, Value)| {
            let mut fields = if let Value::Object(fields) = row { fields } else { Map::new() };
            fields.retain(|name, _| !matches!(name.as_str(), "mediaType" | "digest" | "size" | "annotations"));
            LayoutEntry { descriptor: read.descriptor, annotations: read.annotations, extra: rest(fields) }
        };
        Ok(LayoutIndex { entries: index.manifests.into_iter().zip(rows).map(entry).collect(), extra: rest(map) })
    }

    /// Canonical JSON: sorted keys, no blanks.
    pub fn to_json(&self) -> Vec<u8> {
        let mut map: Map<String, Value> = self.extra.clone().into_iter().collect();
        map.insert("schemaVersion".to_owned(), json!(2));
        map.insert("mediaType".to_owned(), json!(media_type::OCI_INDEX));
        map.insert("manifests".to_owned(), self.entries.iter().map(LayoutEntry::to_value).collect());
        Value::Object(map).to_string().into_bytes()
    }

    /// The first image of this name: a full reference, or whatever a `ref.name` annotation says.
    pub fn find(&self, name: &str) -> Option<&LayoutEntry> {
        self.entries.iter().find(|entry| entry.has_name(name))
    }

    /// The first entry of an image.
    pub fn find_digest(&self, digest: Digest) -> Option<&LayoutEntry> {
        self.entries.iter().find(|entry| entry.descriptor.digest == digest)
    }

    /// Adds an entry, in the place of those of the same name. One without a name only replaces its own like.
    pub fn set(&mut self, entry: LayoutEntry) -> Result<(), ImageError> {
        if self.entries.len() >= MAX_LAYERS {
            return Err(ImageError::TooMany { document: "index", limit: MAX_LAYERS });
        }
        match entry.name() {
            Some(name) => self.entries.retain(|old| old.name() != Some(name)),
            None => self.entries.retain(|old| old.name().is_some() || old.descriptor.digest != entry.descriptor.digest),
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Removes all entries of a name and returns the first.
    pub fn remove(&mut self, name: &str) -> Option<LayoutEntry> {
        let found = self.find(name).cloned();
        self.entries.retain(|entry| !entry.has_name(name));
        found
    }
}

impl LayoutEntry {
    /// An image without a name.
    pub fn new(descriptor: Descriptor, platform: Option<&Platform>) -> LayoutEntry {
        let platform = platform.map(|platform| {
            let mut value = json!({"os": platform.os, "architecture": platform.architecture});
            if let Some(variant) = &platform.variant {
                value["variant"] = json!(variant);
            }
            ("platform".to_owned(), value)
        });
        LayoutEntry { descriptor, annotations: BTreeMap::new(), extra: platform.into_iter().collect() }
    }

    /// This image under a name: the full reference as containerd wants it, the tag as the specification does.
    #[must_use]
    pub fn named(mut self, reference: &Reference) -> LayoutEntry {
        self.annotations.insert(IMAGE_NAME.to_owned(), reference.to_string());
        match reference.tag() {
            Some(tag) => self.annotations.insert(REF_NAME.to_owned(), tag.to_owned()),
            None => self.annotations.remove(REF_NAME),
        };
        self
    }

    /// The full reference, or else what `ref.name` says.
    pub fn name(&self) -> Option<&str> {
        self.annotations.get(IMAGE_NAME).or_else(|| self.annotations.get(REF_NAME)).map(String::as_str)
    }

    fn has_name(&self, name: &str) -> bool {
        [IMAGE_NAME, REF_NAME].iter().any(|key| self.annotations.get(*key).is_some_and(|found| found == name))
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut map: Map<String, Value> = self.extra.clone().into_iter().collect();
        map.insert("mediaType".to_owned(), json!(self.descriptor.media_type));
        map.insert("digest".to_owned(), json!(self.descriptor.digest));
        map.insert("size".to_owned(), json!(self.descriptor.size));
        if !self.annotations.is_empty() {
            map.insert("annotations".to_owned(), json!(self.annotations));
        }
        Value::Object(map)
    }
}

fn rest(map: Map<String, Value>) -> BTreeMap<String, Value> {
    map.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, name: &str) -> LayoutEntry {
        LayoutEntry::new(Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes()), None).named(&name.parse().unwrap())
    }

    #[test]
    fn entries_come_and_go() {
        let mut index = LayoutIndex::default();
        index.set(entry("a", "one")).unwrap();
        index.set(entry("b", "two:3")).unwrap();
        index.set(entry("c", "one")).unwrap();
        assert_eq!(index.entries.len(), 2);
        let found = index.find("docker.io/library/one:latest").unwrap();
        assert_eq!(found.descriptor.digest, Digest::of(b"c"));
        assert_eq!(index.find("3").unwrap().descriptor.digest, Digest::of(b"b"));
        assert!(index.find_digest(Digest::of(b"a")).is_none());
        assert_eq!(LayoutIndex::parse(&index.to_json()).unwrap().to_json(), index.to_json());
        assert!(index.remove("docker.io/library/one:latest").is_some());
        assert!(index.remove("docker.io/library/one:latest").is_none());
        let nameless = LayoutEntry::new(Descriptor::of("x/y", b""), Some(&"linux/arm/v6".parse().unwrap()));
        index.set(nameless.clone()).unwrap();
        index.set(nameless).unwrap();
        assert_eq!(index.entries.len(), 2);
    }

    #[test]
    fn unknown_fields_are_kept() {
        let text = json!({
            "annotations": {"x": "y"}, "future": 1, "mediaType": media_type::OCI_INDEX, "schemaVersion": 2,
            "manifests": [{
                "annotations": {REF_NAME: "t"}, "artifactType": "a/b", "digest": Digest::of(b"a"), "mediaType": "x/y",
                "platform": {"architecture": "amd64", "os": "windows", "os.version": "10"}, "size": 1
            }]
        });
        let index = LayoutIndex::parse(text.to_string().as_bytes()).unwrap();
        assert_eq!(index.find("t").unwrap().name(), Some("t"));
        assert_eq!(String::from_utf8(index.to_json()).unwrap(), text.to_string());
        assert!(LayoutIndex::parse(br#"{"schemaVersion":2,"manifests":null}"#).unwrap().entries.is_empty());
        assert!(LayoutIndex::parse(br#"{"schemaVersion":2,"manifests":[1]}"#).is_err());
    }

    #[test]
    fn versions() {
        assert!(check_layout(LAYOUT).is_ok());
        assert!(check_layout(br#"{"imageLayoutVersion":"2.0.0"}"#).is_err());
        assert!(check_layout(b"{}").is_err());
    }
}
