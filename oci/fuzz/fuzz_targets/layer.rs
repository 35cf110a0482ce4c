//! Any bytes are a layer, or are refused: nothing panics, entries are what the rest of bld may rely on, a layer reads the same
//! however its bytes arrive, and what was read and written again reads the same.

#![no_main]

#[path = "../pieces.rs"]
mod pieces;
#[path = "../tar_input.rs"]
mod tar_input;

use std::io::Read as _;

use bld_oci::ImagePath;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerReader;
use bld_oci::layer::LayerWriter;
use bld_oci::layer::is_overlay_xattr;

/// A sparse file of some hundred bytes may claim any size.
const MAX_CONTENT: u64 = 1 << 16;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check(input);
    if let Some(summed) = tar_input::with_checksums(input) {
        check(&summed);
    }
});

type Entries = Vec<(LayerEntry, Vec<u8>)>;

fn check(input: &[u8]) {
    let whole = read(LayerReader::new(input));
    let in_pieces = read(LayerReader::new(pieces::Pieces(input)));
    assert_eq!(whole, in_pieces);
    if let Ok(entries) = &whole {
        entries.iter().for_each(|(entry, _)| check_entry(entry));
        write_and_read(entries);
    }
    if let Ok(entries) = read(LayerReader::archive(input)) {
        entries.iter().for_each(|(entry, _)| check_entry(entry));
        assert!(!entries.iter().any(|(entry, _)| matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque)));
    }
}

fn read<R: std::io::Read>(mut reader: LayerReader<R>) -> Result<Entries, String> {
    let mut entries = Vec::new();
    while let Some((entry, mut content)) = reader.next_entry().map_err(|error| error.to_string())? {
        let mut bytes = Vec::new();
        content.by_ref().take(MAX_CONTENT).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        match entry.kind {
            EntryKind::File { size } => assert_eq!(bytes.len() as u64, size.min(MAX_CONTENT)),
            // Bytes behind a deletion mean nothing.
            EntryKind::Whiteout | EntryKind::Opaque => bytes.clear(),
            _ => assert!(bytes.is_empty(), "content of {:?}", entry.kind),
        }
        entries.push((entry, bytes));
    }
    let mut rest = reader.finish().map_err(|error| error.to_string())?;
    assert_eq!(rest.read(&mut [0; 1]).ok(), Some(0));
    Ok(entries)
}

fn check_entry(entry: &LayerEntry) {
    check_path(&entry.path);
    assert!(entry.metadata.mode <= 0o7777);
    assert!(entry.metadata.uid != u32::MAX && entry.metadata.gid != u32::MAX);
    assert!(entry.metadata.mtime.nanoseconds < 1_000_000_000);
    assert!(!entry.metadata.xattrs.keys().any(|name| name.is_empty() || is_overlay_xattr(name)));
    match &entry.kind {
        EntryKind::Hardlink { target } => {
            check_path(target);
            assert!(!target.is_root());
        }
        EntryKind::Symlink { target } => assert!(!target.is_empty() && !target.contains(&0)),
        EntryKind::CharDevice { major, minor } => assert!((*major, *minor) != (0, 0)),
        EntryKind::Directory | EntryKind::Opaque => return,
        _ => {}
    }
    assert!(!entry.path.is_root());
}

fn check_path(path: &ImagePath) {
    assert!(path.as_bytes().starts_with(b"/") && !path.as_bytes().contains(&0));
    assert!(path.components().all(|name| !matches!(name, b"" | b"." | b"..")));
    assert_eq!(&ImagePath::new(path.as_bytes()), path);
}

fn write_and_read(entries: &Entries) {
    let mut writer = LayerWriter::new(Vec::new());
    let mut written = Vec::new();
    for (entry, bytes) in entries {
        let mut content = bytes.as_slice();
        let content: Option<&mut dyn std::io::Read> = match entry.kind {
            EntryKind::File { size } if size > MAX_CONTENT => continue,
            EntryKind::File { .. } => Some(&mut content),
            _ => None,
        };
        // The writer refuses what must not leave bld; a refusal ends its output.
        if writer.append(entry, content).is_err() {
            return;
        }
        written.push((entry.clone(), bytes.clone()));
    }
    let Ok(layer) = writer.finish() else { return };
    let again = read(LayerReader::new(layer.as_slice())).expect("what was written can be read");
    assert_eq!(again.len(), written.len());
    for ((left, left_bytes), (right, right_bytes)) in again.iter().zip(&written) {
        assert_eq!((&left.path, &left.kind), (&right.path, &right.kind));
        assert_eq!(left_bytes, right_bytes);
        if !matches!(left.kind, EntryKind::Whiteout | EntryKind::Opaque) {
            assert_eq!(left.metadata, right.metadata);
        }
    }
}
