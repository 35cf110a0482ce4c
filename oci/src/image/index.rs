//! Writing an index: one image for each platform (OCI image specification 1.1, `image-index.md`; docker's manifest list).

use std::collections::BTreeMap;

use serde_json::json;

use super::AssembleOptions;
use super::Descriptor;
use super::Format;
use crate::layout::LayoutEntry;
use crate::media_type;
use crate::platform::Platform;

/// An index, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What names it.
    pub descriptor: Descriptor,
}

/// Makes the index of some images, in this order.
pub fn assemble_index(images: &[(Descriptor, Option<Platform>)], options: &AssembleOptions) -> ImageIndex {
    let annotated: Vec<_> =
        images.iter().map(|(image, platform)| (image.clone(), platform.clone(), BTreeMap::new())).collect();
    assemble_annotated_index(&annotated, options)
}

/// The same, with annotations of each image's descriptor.
pub fn assemble_annotated_index(
    images: &[(Descriptor, Option<Platform>, BTreeMap<String, String>)],
    options: &AssembleOptions,
) -> ImageIndex {
    let media_type = match options.format {
        Format::Oci => media_type::OCI_INDEX,
        Format::Docker => media_type::DOCKER_INDEX,
    };
    let entries: Vec<serde_json::Value> = images
        .iter()
        .map(|(image, platform, annotations)| {
            let mut entry = LayoutEntry::new(image.clone(), platform.as_ref());
            if options.format == Format::Oci {
                entry.annotations.clone_from(annotations);
            }
            entry.to_value()
        })
        .collect();
    let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    if options.format == Format::Oci && !options.annotations.is_empty() {
        index["annotations"] = json!(options.annotations);
    }
    let bytes = index.to_string().into_bytes();
    let descriptor = Descriptor::of(media_type, &bytes);
    ImageIndex { bytes, descriptor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_the_platform_of_each_image() {
        let image = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
        let platforms = [Platform::new("linux", "arm", Some("v7")), Platform::new("linux", "amd64", None)];
        let images = platforms.map(|platform| (image.clone(), Some(platform)));
        let index = assemble_index(&images, &AssembleOptions::default());
        let read = super::super::read_index(&index.bytes).unwrap();
        let found: Vec<String> =
            read.manifests.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
        assert_eq!(found, ["linux/arm/v7", "linux/amd64"]);
        assert_eq!(index.descriptor, Descriptor::of(media_type::OCI_INDEX, &index.bytes));
    }
}
