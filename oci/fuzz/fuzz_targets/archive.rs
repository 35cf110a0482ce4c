//! Any bytes are an image archive, or are refused: nothing panics, and an image names only files that were handed on.

#![no_main]

#[path = "../pieces.rs"]
mod pieces;
#[path = "../tar_input.rs"]
mod tar_input;

use std::collections::BTreeSet;
use std::io::Read;

use bld_oci::archive;
use bld_oci::archive::ArchivedImage;
use bld_oci::layout;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check(input);
    if let Some(summed) = tar_input::with_checksums(input) {
        check(&summed);
    }
});

fn check(input: &[u8]) {
    let whole = scan(input);
    let in_pieces = scan(pieces::Pieces(input));
    assert_eq!(whole, in_pieces);
}

fn scan(source: impl Read) -> Result<Vec<ArchivedImage>, String> {
    let mut files = BTreeSet::new();
    let contents = archive::scan(source, |name, size, content| {
        assert!(files.insert(name.to_owned()) || !name.is_ascii(), "{name} twice");
        // Half of the files are read, as a caller that knows a blob already leaves it.
        if size % 2 == 0 {
            let read = std::io::copy(&mut content.take(1 << 16), &mut std::io::sink())?;
            assert_eq!(read, size.min(1 << 16));
        }
        Ok(())
    });
    let images = contents.and_then(|contents| contents.images()).map_err(|error| error.to_string())?;
    // Documents are files too, and may be named like any other.
    files.extend([layout::LAYOUT_FILE, layout::INDEX_FILE, archive::DOCKER_FILE].map(str::to_owned));
    for image in &images {
        match image {
            ArchivedImage::Oci { descriptor, .. } => drop(descriptor.digest.hex()),
            ArchivedImage::Docker { config, layers, .. } => {
                assert!(layers.iter().chain([config]).all(|name| files.contains(name)));
            }
        }
    }
    Ok(images)
}
