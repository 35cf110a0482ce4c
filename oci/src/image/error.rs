//! What can be wrong with an image's documents.

/// A configuration, manifest or index that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// More bytes than any such document has.
    #[error("{document} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Which kind of document.
        document: &'static str,
        /// Its size.
        size: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// Not JSON, or not of the shape the specification gives.
    #[error("{document} is not valid")]
    Json {
        /// Which kind of document.
        document: &'static str,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// A field of the wrong type.
    #[error("{document}: field `{field}` must be {expected}")]
    Field {
        /// Which kind of document.
        document: &'static str,
        /// The field's name.
        field: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A digest that is not sha256.
    #[error("{document} has an unusable digest")]
    Digest {
        /// Which kind of document.
        document: &'static str,
        /// What is wrong with it.
        source: crate::digest::DigestError,
    },
    /// Both a manifest and an index: two readers would see two images.
    #[error("ambiguous document: it has both `layers` and `manifests`")]
    Ambiguous,
    /// `mediaType` says one thing and the fields another.
    #[error("ambiguous document: its media type is `{media_type}`, but its fields are those of {actual}")]
    MediaTypeMismatch {
        /// What the document or its server says.
        media_type: String,
        /// What it is.
        actual: &'static str,
    },
    /// A version of the format that is not supported.
    #[error("{document} has schema version {version}, only 2 is supported")]
    SchemaVersion {
        /// Which kind of document.
        document: &'static str,
        /// The number found.
        version: String,
    },
    /// Manifest and configuration do not belong together.
    #[error("the manifest lists {layers} layers, the image configuration {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Entries of `rootfs.diff_ids`.
        diff_ids: usize,
    },
    /// Too many entries.
    #[error("{document} has more than {limit} entries")]
    TooMany {
        /// Which kind of document.
        document: &'static str,
        /// The largest number accepted.
        limit: usize,
    },
    /// No image for the platform.
    #[error("no image for {wanted}; the index has {available}")]
    NoPlatform {
        /// What was asked for.
        wanted: crate::platform::Platform,
        /// What there is, as a list.
        available: String,
    },
    /// A layer that docker's own format cannot name.
    #[error("docker media types cannot describe a layer of type `{media_type}`; use OCI media types")]
    NoDockerType {
        /// The layer's media type.
        media_type: String,
    },
}
