//! How the image of a build is written: what `--output` and its attributes choose.

use std::collections::BTreeMap;

use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::image::Format;
use bld_oci::platform::Platform;

/// How an image is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// Compression of the layers that the build made.
    pub compression: Compression,
    /// Whether layers of the base image are compressed again if they are compressed in another way.
    pub force_compression: bool,
    /// Whose media types.
    pub format: Format,
    /// Annotations.
    pub annotations: Vec<Annotation>,
    /// Stands for `SOURCE_DATE_EPOCH`.
    pub epoch: Option<Timestamp>,
    /// Whether times of files in the layers of the build end at `SOURCE_DATE_EPOCH`.
    pub rewrite_times: bool,
    /// Whether all layers of the build become one.
    pub squash: bool,
}

/// An annotation, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// What it is of.
    pub of: Annotated,
    /// Of which platform's image; `None` = of all.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What annotations can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotated {
    /// An image's manifest.
    Manifest,
    /// The index of several platforms.
    Index,
    /// What refers to a manifest: in the index, or in a layout.
    ManifestDescriptor,
    /// What refers to the index in a layout.
    IndexDescriptor,
}

impl ImageOptions {
    /// An ordinary image.
    pub fn new(compression: Compression) -> ImageOptions {
        ImageOptions {
            compression,
            force_compression: false,
            format: Format::Oci,
            annotations: Vec::new(),
            epoch: None,
            rewrite_times: true,
            squash: false,
        }
    }

    /// The annotations of one thing; the last of a key wins.
    pub fn annotations_of(&self, of: Annotated, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let fits = |annotation: &&Annotation| {
            let here = annotation.platform.as_ref().is_none_or(|wanted| Some(wanted) == platform);
            annotation.of == of && here
        };
        let found = self.annotations.iter().filter(fits);
        found.map(|annotation| (annotation.key.clone(), annotation.value.clone())).collect()
    }
}
