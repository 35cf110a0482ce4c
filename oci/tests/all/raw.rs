//! Tar built byte by byte, which no honest writer would do.

use std::io::Read as _;

use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerReader;

/// A header, editable before it is summed.
pub(crate) struct Raw {
    pub(crate) block: [u8; 512],
}

impl Raw {
    pub(crate) fn new(name: &[u8], kind: u8, size: u64) -> Raw {
        let mut raw = Raw { block: [0; 512] };
        raw.block[..name.len()].copy_from_slice(name);
        raw.block[156] = kind;
        raw.block[257..265].copy_from_slice(b"ustar\x0000");
        raw.field(100, b"0000644").field(108, b"0000000").field(116, b"0000000").field(136, b"00000000000");
        raw.field(124, format!("{size:011o}").as_bytes());
        raw
    }

    pub(crate) fn gnu(name: &[u8], kind: u8, size: u64) -> Raw {
        let mut raw = Raw::new(name, kind, size);
        raw.field(257, b"ustar  \0");
        raw
    }

    pub(crate) fn field(&mut self, offset: usize, bytes: &[u8]) -> &mut Raw {
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn link(mut self, target: &[u8]) -> Raw {
        self.field(157, target);
        self
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        self.field(148, b"        ");
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        self.field(148, format!("{sum:06o}\0 ").as_bytes());
        self.block.to_vec()
    }

    pub(crate) fn with(self, content: &[u8]) -> Vec<u8> {
        let mut out = self.done();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    Raw::new(name.as_bytes(), b'0', content.len() as u64).with(content)
}

pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..rest + 9).find(|length| *length == rest + length.to_string().len()).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(crate) fn pax(records: &[u8]) -> Vec<u8> {
    Raw::new(b"pax", b'x', records.len() as u64).with(records)
}

pub(crate) fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}

/// All entries with their content, then everything to the end.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(LayerEntry, Vec<u8>)>, String> {
    let mut reader = LayerReader::new(bytes);
    let mut found = Vec::new();
    while let Some((entry, mut content)) = reader.next_entry().map_err(|error| error.to_string())? {
        let mut bytes = Vec::new();
        if matches!(entry.kind, EntryKind::File { size } if size < 10 << 20) {
            content.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        }
        found.push((entry, bytes));
    }
    let rest = reader.finish().map_err(|error| error.to_string())?;
    assert!(rest.is_empty());
    Ok(found)
}

/// The names alone.
pub(crate) fn names(bytes: &[u8]) -> Result<Vec<String>, String> {
    Ok(read(bytes)?.into_iter().map(|(entry, _)| entry.path.to_string()).collect())
}
