//! Maps of sparse files: which bytes are stored, and where the holes are.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::fields::number;
use super::pax;

/// The largest number of stored parts of one file.
pub(super) const MAX_PARTS: usize = 100_000;

/// A stretch of a file's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Zeros that are not stored.
    Hole(u64),
    /// Stored bytes.
    Data(u64),
}

/// A map being checked: in order, inside the file, and covering exactly what is stored.
pub(super) struct SparseMap {
    parts: VecDeque<Part>,
    end: u64,
    left: u64,
}

impl SparseMap {
    /// The map of a file of which this many bytes are stored.
    pub(super) fn new(stored: u64) -> SparseMap {
        SparseMap { parts: VecDeque::new(), end: 0, left: stored }
    }

    /// Adds a part as GNU headers have it; unused places are empty.
    pub(super) fn add_fields(&mut self, offset: &[u8], length: &[u8]) -> Result<(), &'static str> {
        if offset.first() == Some(&0) || length.first() == Some(&0) {
            return Ok(());
        }
        let (Ok(offset), Ok(length)) = (u64::try_from(number(offset)?), u64::try_from(number(length)?)) else {
            return Err("sparse map with a negative number");
        };
        self.add(&[offset, length])
    }

    /// Adds a part: offset and length.
    pub(super) fn add(&mut self, part: &[u64]) -> Result<(), &'static str> {
        let [offset, length] = part else { return Err("sparse map with an odd number of numbers") };
        if self.parts.len() >= 2 * MAX_PARTS {
            return Err("sparse map with too many parts");
        }
        let hole = offset.checked_sub(self.end).ok_or("sparse map that is not in order")?;
        self.end = offset.checked_add(*length).ok_or("sparse map with a bad length")?;
        self.left = self.left.checked_sub(*length).ok_or("sparse map with more bytes than are stored")?;
        self.parts.extend([Part::Hole(hole), Part::Data(*length)]);
        Ok(())
    }

    /// The parts of a file of this size.
    pub(super) fn finish(mut self, size: u64) -> Result<VecDeque<Part>, &'static str> {
        if self.left != 0 {
            return Err("sparse map that does not cover the stored bytes");
        }
        let tail = size.checked_sub(self.end).ok_or("sparse map beyond the end of the file")?;
        self.parts.push_back(Part::Hole(tail));
        Ok(self.parts)
    }
}

/// What PAX records say about a sparse file.
pub(super) struct PaxSparse {
    /// Its name, if `path` is a substitute for readers that know no sparse files.
    pub(super) name: Option<Vec<u8>>,
    /// Its size with holes.
    pub(super) size: u64,
    /// Offsets and lengths in turn (format 0.1); `None` if they come before the content (format 1.0).
    pub(super) map: Option<Vec<u64>>,
}

impl PaxSparse {
    /// Takes the records out. Format 0.0 repeats its keys, and is refused.
    pub(super) fn take(records: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Option<PaxSparse>, &'static str> {
        if !records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Ok(None);
        }
        let mut take = |key: &str| records.remove(key.as_bytes());
        let version = (take("GNU.sparse.major"), take("GNU.sparse.minor"));
        let name = take("GNU.sparse.name");
        let size = take("GNU.sparse.realsize").or_else(|| take("GNU.sparse.size"));
        let size = size.and_then(|value| pax::decimal(&value)).ok_or("sparse file without a size")?;
        let map = match (take("GNU.sparse.map"), version) {
            (Some(map), (None, None)) => {
                let numbers = map.split(|byte| *byte == b',').map(pax::decimal).collect::<Option<Vec<u64>>>();
                Some(numbers.ok_or("sparse map with a number that is none")?)
            }
            (None, (Some(major), Some(minor))) if major == b"1" && minor == b"0" => None,
            _ => return Err("sparse file in a format that is not supported"),
        };
        Ok(Some(PaxSparse { name, size, map }))
    }
}
