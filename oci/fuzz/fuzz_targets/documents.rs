//! Any bytes are a configuration, a manifest, an index or a layout, or are refused; what is written reads back as the same.

#![no_main]

use bld_oci::Platform;
use bld_oci::image;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::layout;
use bld_oci::layout::LayoutIndex;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let config = ImageConfig::parse(input);
    if let Ok(config) = &config {
        let written = config.to_json();
        let again = ImageConfig::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_json(), written);
        assert_eq!(again.diff_ids, config.diff_ids);
        assert_eq!(again.container.env, config.container.env);
        assert_eq!(again.container.labels, config.container.labels);
        let platform = config.platform();
        assert_eq!(Platform::new(&platform.os, &platform.architecture, platform.variant.as_deref()), platform);
        drop(platform.preferences());
    }
    match image::read_document(input, None) {
        Ok(Document::Manifest(manifest)) => {
            assert_eq!(image::read_manifest(input).as_ref().ok(), Some(&manifest));
            assert!(image::read_index(input).is_err());
            drop(config.map(|config| manifest.check_config(&config)));
        }
        Ok(Document::Index(index)) => {
            assert_eq!(image::read_index(input).as_ref().ok(), Some(&index));
            assert!(image::read_manifest(input).is_err());
            let wanted = Platform::new("linux", "arm64", None);
            if let Ok(entry) = image::select_platform(&index, &wanted) {
                assert!(index.manifests.contains(entry) && !entry.is_attestation());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(index) = LayoutIndex::parse(input) {
        let written = index.to_json();
        let again = LayoutIndex::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_json(), written);
        assert_eq!(again.entries.len(), index.entries.len());
        for entry in &index.entries {
            assert!(index.find_digest(entry.descriptor.digest).is_some());
            assert!(entry.name().is_none_or(|name| index.find(name).is_some()));
        }
    }
    drop(layout::check_layout(input));
});
