//! Images by name: `oci/index.json`, as any OCI tool reads it.
//!
//! An entry carries its full reference twice: in `io.containerd.image.name` and, because one tag may be that of many images, also in
//! `org.opencontainers.image.ref.name`, by which OCI tools look up. An image whose last tag moved away stays as an entry without a name. The file is replaced as a whole under `locks/images`; entries
//! and fields that bld does not know stay as they are.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;

use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::reference::Reference;
use rusqlite::OptionalExtension as _;
use rusqlite::params;
use rustix::fs::FlockOperation;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::database::signed;
use crate::store::database::unsigned;
use crate::store::file;

const NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Manifests and configurations are read up to this size.
pub(crate) const METADATA_LIMIT: u64 = 8 << 20;

/// The images of a store.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    store: &'a Store,
}

/// What lists show of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetails {
    /// The digest of its configuration: docker's image ID. `None` for an index of several images.
    pub config: Option<Digest>,
    /// The bytes of its files, if they were ever noted; else those of its configuration and its layers as stored.
    pub size: u64,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

impl<'a> Images<'a> {
    pub(crate) fn new(store: &'a Store) -> Images<'a> {
        Images { store }
    }

    /// The manifest of the image of this full name.
    pub fn get(self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.list()?.into_iter().find(|(found, _)| found.as_deref() == Some(name)).map(|(_, descriptor)| descriptor))
    }

    /// Gives an image a full name (`docker.io/library/app:1`). The image that had it before stays, without a name if it had no other.
    pub fn set(self, name: &str, manifest: &Descriptor) -> Result<(), StoreError> {
        // A rebuild that changed nothing changes nothing here.
        if self.get(name)?.as_ref() == Some(manifest) {
            return Ok(());
        }
        self.edit(|entries| {
            let before: Vec<Value> = take(entries, |entry| name_of(entry) == Some(name));
            let same = |entry: &Value| digest_of(entry) == Some(manifest.digest);
            // What this very image had as a nameless entry is named now.
            let mut kept = take(entries, |entry| name_of(entry).is_none() && same(entry)).into_iter().next();
            let entry = kept.get_or_insert_with(|| entry_for(manifest));
            set_name(entry, Some(name));
            for mut old in before {
                let elsewhere = entries.iter().any(|entry| digest_of(entry) == digest_of(&old));
                if !elsewhere && !same(&old) {
                    set_name(&mut old, None);
                    entries.push(old);
                }
            }
            entries.extend(kept);
        })
    }

    /// Puts an image on the list without a name, unless it is there.
    pub fn add_untagged(self, manifest: &Descriptor) -> Result<(), StoreError> {
        self.edit(|entries| {
            if !entries.iter().any(|entry| digest_of(entry) == Some(manifest.digest)) {
                entries.push(entry_for(manifest));
            }
        })
    }

    /// Takes a name away; the image it had. The image is off the list if this was its last name: its blobs stay until
    /// [`Garbage::remove_unreferenced`](super::Garbage::remove_unreferenced).
    pub fn remove(self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        let mut removed = None;
        self.edit(|entries| {
            removed = take(entries, |entry| name_of(entry) == Some(name)).first().and_then(descriptor_of);
        })?;
        Ok(removed)
    }

    /// Takes a nameless image off the list; says whether it was there.
    pub fn remove_untagged(self, digest: &Digest) -> Result<bool, StoreError> {
        let mut removed = false;
        self.edit(|entries| {
            removed = !take(entries, |entry| name_of(entry).is_none() && digest_of(entry) == Some(*digest)).is_empty();
        })?;
        Ok(removed)
    }

    /// Takes all nameless images off the list.
    pub fn remove_all_untagged(self) -> Result<(), StoreError> {
        if self.list()?.iter().all(|(name, _)| name.is_some()) {
            return Ok(());
        }
        self.edit(|entries| entries.retain(|entry| name_of(entry).is_some()))
    }

    /// All images, in the order of the file; an image with several names comes several times.
    pub fn list(self) -> Result<Vec<(Option<String>, Descriptor)>, StoreError> {
        let index = self.read()?;
        Ok(entries(&index)
            .iter()
            .filter_map(|entry| Some((name_of(entry).map(str::to_owned), descriptor_of(entry)?)))
            .collect())
    }

    /// The image of a full name, of a manifest or configuration digest (`sha256:` or not), or of the beginning of one.
    pub fn find(self, text: &str) -> Result<Option<Descriptor>, StoreError> {
        let list = self.list()?;
        if let Some((_, descriptor)) = list.iter().find(|(name, _)| name.as_deref() == Some(text)) {
            return Ok(Some(descriptor.clone()));
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let digits = digits.to_ascii_lowercase();
        let mut found: Vec<(String, Vec<String>, Descriptor)> = Vec::new();
        for (name, descriptor) in list {
            let config = self.details(&descriptor).ok().and_then(|details| details.config);
            let matches = descriptor.digest.hex().starts_with(&digits)
                || config.is_some_and(|config| config.hex().starts_with(&digits));
            if !matches {
                continue;
            }
            let at = found.iter().position(|(_, _, other)| other.digest == descriptor.digest).unwrap_or(found.len());
            if at == found.len() {
                // What is shown must be told apart by whoever types it again.
                let id = config.filter(|config| config.hex().starts_with(&digits)).unwrap_or(descriptor.digest);
                let shown = id.hex().chars().take((digits.len() + 4).max(12)).collect();
                found.push((shown, Vec::new(), descriptor));
            }
            if let (Some((_, names, _)), Some(name)) = (found.get_mut(at), name) {
                names.push(name.parse::<Reference>().map_or(name, |reference| reference.familiar()));
            }
        }
        if found.len() > 1 {
            let candidates = found.into_iter().map(|(id, names, _)| match names.as_slice() {
                [] => id,
                names => format!("{id} ({})", names.join(", ")),
            });
            return Err(StoreError::Ambiguous { text: text.to_owned(), candidates: candidates.collect() });
        }
        Ok(found.pop().map(|(_, _, descriptor)| descriptor))
    }

    /// What lists show of an image; read once, then remembered.
    pub fn details(self, manifest: &Descriptor) -> Result<ImageDetails, StoreError> {
        let known = self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT config, size, created FROM images WHERE manifest = ?1")?
                .query_row([manifest.digest.as_bytes()], |row| {
                    let config = row.get::<_, Option<[u8; 32]>>(0)?.map(Digest::from_hash);
                    Ok(ImageDetails { config, size: unsigned(row.get(1)?), created: row.get(2)? })
                })
                .optional()
        })?;
        if let Some(known) = known {
            return Ok(known);
        }
        let details = self.read_details(manifest)?;
        let noted = self.store.database().write(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO images (manifest, config, size, created) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    manifest.digest.as_bytes(),
                    details.config.as_ref().map(Digest::as_bytes),
                    signed(details.size),
                    details.created
                ])
                .map(|_| ())
        });
        // A disk may be full: then it is read again the next time.
        noted.ok();
        Ok(details)
    }

    /// Notes the bytes of an image's files, once they are known, for as long as it is on the list.
    pub fn note_size(self, manifest: &Descriptor, size: u64) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            connection
                .prepare_cached("UPDATE images SET size = ?2 WHERE manifest = ?1")?
                .execute(params![manifest.digest.as_bytes(), signed(size)])
                .map(|_| ())
        })
    }

    /// The list's bytes, to be kept once everything before is on disk.
    pub(crate) fn snapshot(self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path();
        let bytes = file::gone(fs::read(&path)).context("read", &path)?;
        Ok(bytes.filter(|bytes| parse(bytes).is_ok()))
    }

    /// Keeps a snapshot to fall back on.
    pub(crate) fn keep(self, snapshot: Option<Vec<u8>>) -> Result<(), StoreError> {
        match snapshot {
            Some(bytes) if !self.is_kept(Some(&bytes)) => self.replace(&self.store.path("images.json"), &bytes, true),
            _ => Ok(()),
        }
    }

    /// Whether a snapshot is the one kept.
    pub(crate) fn is_kept(self, snapshot: Option<&[u8]>) -> bool {
        snapshot.is_none_or(|bytes| fs::read(self.store.path("images.json")).is_ok_and(|kept| kept == bytes))
    }

    fn read_details(self, manifest: &Descriptor) -> Result<ImageDetails, StoreError> {
        let blobs = self.store.blobs();
        let path = blobs.path(&manifest.digest);
        let parse = |bytes: &[u8]| -> Result<Value, StoreError> {
            serde_json::from_slice(bytes).map_err(|source| StoreError::ImageList { path: path.clone(), source })
        };
        let value = parse(&blobs.read(&manifest.digest, METADATA_LIMIT)?)?;
        let parts = children(&value);
        let size = parts.iter().map(|part| part.size).fold(0, u64::saturating_add);
        let config = value.get("config").and_then(descriptor_of).map(|config| config.digest);
        let created = match config {
            Some(config) => {
                parse(&blobs.read(&config, METADATA_LIMIT)?)?.get("created").and_then(Value::as_str).map(str::to_owned)
            }
            None => None,
        };
        Ok(ImageDetails { config, size, created })
    }

    fn path(self) -> PathBuf {
        self.store.path("oci/index.json")
    }

    /// The list. If a power cut emptied it, the one that was last known to be on disk.
    fn read(self) -> Result<Value, StoreError> {
        let path = self.path();
        match file::gone(fs::read(&path)).context("read", &path)?.map(|bytes| parse(&bytes)) {
            Some(Ok(index)) => Ok(index),
            Some(Err(source)) => self.kept().ok_or(StoreError::ImageList { path, source }),
            None => Ok(self.kept().unwrap_or_else(empty)),
        }
    }

    fn kept(self) -> Option<Value> {
        fs::read(self.store.path("images.json")).ok().and_then(|bytes| parse(&bytes).ok())
    }

    fn edit(self, change: impl FnOnce(&mut Vec<Value>)) -> Result<(), StoreError> {
        let lock = self.store.path("locks/images");
        let guard = file::open_lock(&lock)?;
        file::lock(&guard, &lock, FlockOperation::LockExclusive)?;
        let mut index = self.read()?;
        let before = index.clone();
        if let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) {
            change(entries);
        }
        if index == before && self.path().exists() {
            return Ok(());
        }
        self.replace(&self.path(), index.to_string().as_bytes(), false)
    }

    fn replace(self, path: &Path, bytes: &[u8], wait: bool) -> Result<(), StoreError> {
        let from = self.store.shared.process.fresh();
        let mut file = fs::File::create_new(&from).context("create", &from)?;
        file.write_all(bytes).context("write", &from)?;
        if wait {
            file.sync_all().context("write to disk", &from)?;
        }
        fs::rename(&from, path).context("rename", &from)
    }
}

/// The descriptors a manifest or an index holds: configuration, layers, manifests.
pub(crate) fn children(manifest: &Value) -> Vec<Descriptor> {
    let lists = ["layers", "manifests", "blobs"].into_iter().filter_map(|key| manifest.get(key)?.as_array());
    manifest.get("config").into_iter().chain(lists.flatten()).filter_map(descriptor_of).collect()
}

fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut index: Value = serde_json::from_slice(bytes)?;
    let Some(fields) = index.as_object_mut() else {
        return Err(serde::de::Error::custom("an image index is an object"));
    };
    if !fields.entry("manifests").or_insert_with(|| json!([])).is_array() {
        return Err(serde::de::Error::custom("`manifests` is a list"));
    }
    Ok(index)
}

fn empty() -> Value {
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] })
}

fn entries(index: &Value) -> &[Value] {
    index.get("manifests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entry_for(manifest: &Descriptor) -> Value {
    json!({ "mediaType": manifest.media_type, "digest": manifest.digest.to_string(), "size": manifest.size })
}

fn name_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(NAME)?.as_str()
}

fn digest_of(entry: &Value) -> Option<Digest> {
    entry.get("digest")?.as_str()?.parse().ok()
}

fn descriptor_of(entry: &Value) -> Option<Descriptor> {
    let media_type = entry.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Descriptor { media_type, digest: digest_of(entry)?, size: entry.get("size")?.as_u64()? })
}

fn set_name(entry: &mut Value, name: Option<&str>) {
    let Some(fields) = entry.as_object_mut() else { return };
    let annotations = fields.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(NAME);
        annotations.remove(REF_NAME);
        if let Some(name) = name {
            annotations.insert(NAME.to_owned(), name.into());
            annotations.insert(REF_NAME.to_owned(), name.into());
        }
        if annotations.is_empty() {
            fields.remove("annotations");
        }
    }
}

/// Takes the entries that match out of the list.
fn take(entries: &mut Vec<Value>, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
    entries.extract_if(.., |entry| matches(entry)).collect()
}
