//! Image configurations and manifests.
//!
//! `oci-spec` reads manifests and indexes; the configuration is our own type because that crate's drops `Healthcheck`, `Shell`,
//! `OnBuild` and every unknown field, and its maps have no order. Everything written is canonical JSON: a fixed order of keys, no blanks.

mod assemble;
mod config;
mod error;
mod index;
mod manifest;
mod written;

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

pub use assemble::AssembleOptions;
pub use assemble::Format;
pub use assemble::Image;
pub use assemble::assemble;
pub use assemble::package;
pub use assemble::steps;
pub use error::ImageError;
pub use index::ImageIndex;
pub use index::assemble_annotated_index;
pub use index::assemble_index;
pub use manifest::Document;
pub use manifest::Index;
pub use manifest::IndexEntry;
pub use manifest::Manifest;
pub use manifest::read_document;
pub use manifest::read_index;
pub use manifest::read_manifest;
pub use manifest::select_platform;

use crate::digest::DiffId;
use crate::digest::Digest;

/// The largest JSON document that is read: what containerd accepts.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// The largest number of layers of an image that is read. Overlay mounts end at 500.
pub const MAX_LAYERS: usize = 10_000;

/// A layer of a base image as its manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The stored bytes.
    pub blob: Descriptor,
}

/// Media type, digest and size of stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Descriptor {
    /// Media type.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// One row of an image's history, and the layer it made. History and layers come from one list and so cannot disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The history entry's other fields: `created`, `created_by`, `comment`, `author` ... as JSON so that a base image's entries
    /// survive unchanged. `empty_layer` is derived from `layer`.
    pub history: serde_json::Map<String, Value>,
    /// The layer, if the step made one.
    pub layer: Option<ImageLayer>,
}

/// The configuration of an image (OCI image specification 1.1, with docker's extra fields).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// `architecture`.
    pub architecture: String,
    /// `os`.
    pub os: String,
    /// `variant`.
    pub variant: Option<String>,
    /// `author`.
    pub author: Option<String>,
    /// `created`, RFC 3339.
    pub created: Option<String>,
    /// `config`.
    pub container: ContainerConfig,
    /// `rootfs.diff_ids`.
    pub diff_ids: Vec<DiffId>,
    /// `history`, each entry as it was.
    pub history: Vec<serde_json::Map<String, Value>>,
    /// Every other top-level field, kept as it was.
    pub extra: BTreeMap<String, Value>,
}

/// What a container of the image starts with: the `config` object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerConfig {
    /// `User`.
    pub user: String,
    /// `ExposedPorts`: `80/tcp`, sorted.
    pub exposed_ports: std::collections::BTreeSet<String>,
    /// `Env`: `NAME=value`, in order.
    pub env: Vec<String>,
    /// `Entrypoint`. An empty list clears the base's.
    pub entrypoint: Option<Vec<String>>,
    /// `Cmd`.
    pub cmd: Option<Vec<String>>,
    /// `Volumes`.
    pub volumes: std::collections::BTreeSet<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
    /// `Healthcheck` (docker).
    pub healthcheck: Option<HealthcheckConfig>,
    /// `OnBuild` (docker).
    pub on_build: Vec<String>,
    /// `Shell` (docker).
    pub shell: Option<Vec<String>>,
    /// `ArgsEscaped` (docker).
    pub args_escaped: bool,
    /// Every other field, kept as it was.
    pub extra: BTreeMap<String, Value>,
}

/// docker's `Healthcheck`; durations in nanoseconds, 0 = inherit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthcheckConfig {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// `Interval`.
    pub interval: u64,
    /// `Timeout`.
    pub timeout: u64,
    /// `StartPeriod`.
    pub start_period: u64,
    /// `StartInterval`.
    pub start_interval: u64,
    /// `Retries`.
    pub retries: u32,
}

/// Parses a document that must be a JSON object of acceptable size. Nesting is limited by the parser itself.
pub(crate) fn parse_object(document: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, ImageError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(ImageError::TooLarge { document, size: bytes.len() as u64, limit: MAX_DOCUMENT as u64 });
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ImageError::Field { document, field: ".".to_owned(), expected: "an object" }),
        Err(source) => Err(ImageError::Json { document, source }),
    }
}

impl Descriptor {
    /// The descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

#[cfg(test)]
mod tests;
