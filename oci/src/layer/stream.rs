//! The entries of a tar stream, of any of its dialects: old, ustar, PAX, GNU.
//!
//! Header fields are found with the `tar` crate; the walk from header to header, PAX records and sparse maps are our own. That
//! crate splits PAX records at line feeds, which binary attributes contain, and passes over what it cannot read; a reader that
//! does so sees other entries than GNU tar and Go do. Whatever the three do not agree on is an error here.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::io::Read;

use super::fields::check_sum;
use super::fields::device;
use super::fields::id;
use super::fields::number;
use super::fields::time;
use super::pax;
use super::reader::ReadError;
use super::sparse;
use super::sparse::Part;
use super::sparse::PaxSparse;
use super::sparse::SparseMap;
use super::writer::padding;

const BLOCK: usize = 512;
/// The largest PAX or long-name header that is read.
const MAX_EXTENSION: u64 = 1 << 20;
const MAX_NAME: usize = 4096;
const MAX_DIGITS: usize = 20;

/// A tar being read: positioned behind a header, before or in its content.
#[derive(Debug)]
pub(crate) struct TarStream<R> {
    source: R,
    position: u64,
    /// Content as it will be handed out, front to back.
    parts: VecDeque<Part>,
    padding: u64,
    is_done: bool,
}

/// One entry, its names and numbers as they were meant.
#[derive(Debug)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// The type flag, except that `0`, `7`, old-style and sparse files are all `0`.
    pub(crate) kind: u8,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: crate::time::Timestamp,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What extension headers said about the entry that follows.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl<R: Read> TarStream<R> {
    pub(crate) fn new(source: R) -> TarStream<R> {
        TarStream { source, position: 0, parts: VecDeque::new(), padding: 0, is_done: false }
    }

    /// The next entry; what is left of the last one's content is passed over. `None` at the end of the archive, or where the
    /// stream ends between two entries, as GNU tar and Go have it.
    pub(crate) fn next(&mut self) -> Result<Option<RawEntry>, ReadError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        while !self.is_done {
            let offset = self.position;
            let malformed = |reason| ReadError::Malformed { offset, reason };
            let Some(block) = self.header_block()? else {
                self.is_done = true;
                break;
            };
            let header = tar::Header::from_byte_slice(&block);
            let stored =
                u64::try_from(number(&block[124..136]).map_err(malformed)?).map_err(|_| malformed("negative size"))?;
            match block[156] {
                b'L' if extensions.name.is_none() => extensions.name = Some(self.long_name(stored)?),
                b'K' if extensions.link.is_none() => extensions.link = Some(self.long_name(stored)?),
                b'x' if extensions.records.is_none() => {
                    let bytes = self.extension(stored)?;
                    extensions.records = Some(pax::parse_records(&bytes).map_err(malformed)?);
                }
                b'L' | b'K' | b'x' => return Err(malformed("two extension headers of one kind for one entry")),
                b'g' => {
                    let bytes = self.extension(stored)?;
                    let records = pax::parse_records(&bytes).map_err(malformed)?;
                    if records.keys().any(|key| pax::is_understood(key)) {
                        return Err(malformed("global PAX header that changes entries"));
                    }
                }
                _ => return self.entry(&block, header, stored, extensions, offset).map(Some),
            }
        }
        if extensions.name.is_some() || extensions.link.is_some() || extensions.records.is_some() {
            let reason = "extension header without an entry after it";
            return Err(ReadError::Malformed { offset: self.position, reason });
        }
        Ok(None)
    }

    /// Reads content of the current entry; 0 at its end.
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.parts.front_mut() {
            let (Part::Hole(left) | Part::Data(left)) = part;
            if *left == 0 {
                self.parts.pop_front();
                continue;
            }
            let wanted = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
            if wanted == 0 {
                return Ok(0);
            }
            let count = if matches!(part, Part::Hole(_)) {
                buffer[..wanted].fill(0);
                wanted
            } else {
                let count = self.source.read(&mut buffer[..wanted])?;
                if count == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within a file"));
                }
                self.position += count as u64;
                count
            };
            let (Part::Hole(left) | Part::Data(left)) = part;
            *left -= count as u64;
            return Ok(count);
        }
        Ok(0)
    }

    /// Reads everything behind the end of the archive, so that a hasher below sees every byte, and returns the source.
    pub(crate) fn finish(mut self) -> Result<R, ReadError> {
        while self.next()?.is_some() {}
        io::copy(&mut self.source, &mut io::sink())
            .map_err(|source| ReadError::Read { offset: self.position, source })?;
        Ok(self.source)
    }

    fn skip_content(&mut self) -> Result<(), ReadError> {
        let stored = self.parts.drain(..).map(|part| if let Part::Data(size) = part { size } else { 0 });
        let left = stored.fold(std::mem::take(&mut self.padding), u64::saturating_add);
        if left == 0 {
            return Ok(());
        }
        let skipped = io::copy(&mut self.source.by_ref().take(left), &mut io::sink())
            .map_err(|source| ReadError::Read { offset: self.position, source })?;
        self.position += skipped;
        if skipped == left {
            return Ok(());
        }
        let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within a file");
        Err(ReadError::Read { offset: self.position, source })
    }

    /// Fills `block`; false if the stream ends right before it.
    fn read_block(&mut self, block: &mut [u8]) -> Result<bool, ReadError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    return Err(ReadError::Malformed {
                        offset: self.position,
                        reason: "the archive ends within a block",
                    });
                }
                Ok(count) => filled += count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Read { offset: self.position, source }),
            }
        }
        self.position += filled as u64;
        Ok(true)
    }

    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let mut block = [0; BLOCK];
        let offset = self.position;
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            if self.read_block(&mut block)? && block.iter().any(|byte| *byte != 0) {
                return Err(ReadError::Malformed { offset, reason: "a lone block of zeros between entries" });
            }
            return Ok(None);
        }
        check_sum(&block).map_err(|reason| ReadError::Malformed { offset, reason })?;
        Ok(Some(block))
    }

    /// The content of an extension header, with its padding.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        let offset = self.position;
        if size > MAX_EXTENSION {
            return Err(ReadError::Malformed { offset, reason: "extension header larger than 1 MiB" });
        }
        let size = usize::try_from(size).unwrap_or(0);
        let mut bytes = vec![0; size + padding(size as u64)];
        if !bytes.is_empty() && !self.read_block(&mut bytes)? {
            return Err(ReadError::Malformed { offset, reason: "the archive ends within an extension header" });
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        let mut name = self.extension(size)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        if name.is_empty() {
            return Err(ReadError::Malformed { offset: self.position, reason: "empty long name" });
        }
        Ok(name)
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        header: &tar::Header,
        stored: u64,
        extensions: Extensions,
        offset: u64,
    ) -> Result<RawEntry, ReadError> {
        let malformed = |reason| ReadError::Malformed { offset, reason };
        let mut records = extensions.records.unwrap_or_default();
        let mut pick =
            |long: Option<Vec<u8>>, key: &[u8], short: &dyn Fn() -> Vec<u8>| match (long, records.remove(key)) {
                (Some(_), Some(_)) => Err(malformed("both a GNU long name and a PAX name")),
                (Some(name), None) | (None, Some(name)) => Ok(name),
                (None, None) => Ok(short()),
            };
        let name = pick(extensions.name, b"path", &|| header.path_bytes().into_owned())?;
        let link = pick(extensions.link, b"linkpath", &|| header.link_name_bytes().unwrap_or_default().into_owned())?;
        let sparse = PaxSparse::take(&mut records).map_err(malformed)?;
        let name = sparse.as_ref().and_then(|sparse| sparse.name.clone()).unwrap_or(name);
        if name.len() > MAX_NAME || link.len() > MAX_NAME {
            return Err(malformed("name longer than 4096 bytes"));
        }
        let mut take = |key: &[u8], field: &[u8]| match records.remove(key) {
            Some(value) => pax::decimal(&value).ok_or("PAX record with a number that is none"),
            None => number(field).and_then(|value| u64::try_from(value).map_err(|_| "negative number")),
        };
        let stored_by_header = stored;
        let stored = take(b"size", &block[124..136]).map_err(malformed)?;
        let uid = take(b"uid", &block[108..116]).and_then(id).map_err(malformed)?;
        let gid = take(b"gid", &block[116..124]).and_then(id).map_err(malformed)?;
        let mtime = match records.remove(b"mtime".as_slice()) {
            Some(value) => time(&value).ok_or("PAX record with a time that is none").map_err(malformed)?,
            None => crate::time::Timestamp::from_seconds(number(&block[136..148]).map_err(malformed)?),
        };
        let mode = number(&block[100..108]).map_err(malformed)?;
        let kind = match block[156] {
            0 if name.ends_with(b"/") => b'5',
            0 | b'0' | b'7' | b'S' => b'0',
            other => other,
        };
        let device = if matches!(kind, b'3' | b'4') { device(header, block).map_err(malformed)? } else { (0, 0) };
        let size = if block[156] == b'S' {
            self.sparse(header, stored, offset)?
        } else if let Some(sparse) = sparse {
            if kind != b'0' {
                return Err(malformed("sparse map of what is not a file"));
            }
            self.pax_sparse(sparse, stored, offset)?
        } else if kind == b'1' {
            // Everybody agrees that a hard link has no content, whatever its size field repeats from the file.
            0
        } else {
            if matches!(kind, b'2'..=b'6') && (stored != 0 || stored_by_header != 0) {
                return Err(malformed("content after an entry that can have none"));
            }
            self.parts.push_back(Part::Data(stored));
            stored
        };
        self.padding = if kind == b'1' { 0 } else { padding(stored) as u64 };
        let xattrs = records
            .into_iter()
            .filter_map(|(key, value)| key.strip_prefix(pax::XATTR).map(|name| (name.to_vec(), value)))
            .filter(|(name, _)| !name.is_empty() && !super::is_overlay_xattr(name))
            .collect();
        let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
        Ok(RawEntry { name, link, kind, size, mode, uid, gid, mtime, device, xattrs })
    }

    /// GNU's old sparse format: a map in the header and in blocks that follow it.
    fn sparse(&mut self, header: &tar::Header, stored: u64, offset: u64) -> Result<u64, ReadError> {
        let malformed = |reason| ReadError::Malformed { offset, reason };
        let gnu = header.as_gnu().ok_or_else(|| malformed("sparse file without a GNU header"))?;
        let total = number(&gnu.realsize).ok().and_then(|size| u64::try_from(size).ok());
        let total = total.ok_or_else(|| malformed("sparse file with a bad size"))?;
        let mut map = SparseMap::new(stored);
        gnu.sparse.iter().try_for_each(|part| map.add_fields(&part.offset, &part.numbytes)).map_err(malformed)?;
        let mut is_extended = gnu.is_extended();
        while is_extended {
            let mut extension = tar::GnuExtSparseHeader::new();
            if !self.read_block(extension.as_mut_bytes())? {
                return Err(malformed("the archive ends within a sparse map"));
            }
            let mut parts = extension.sparse.iter();
            parts.try_for_each(|part| map.add_fields(&part.offset, &part.numbytes)).map_err(malformed)?;
            is_extended = extension.is_extended();
        }
        self.parts = map.finish(total).map_err(malformed)?;
        Ok(total)
    }

    /// The PAX sparse formats: 0.1 with the map in a record, 1.0 with the map before the content.
    fn pax_sparse(&mut self, sparse: PaxSparse, stored: u64, offset: u64) -> Result<u64, ReadError> {
        let malformed = |reason| ReadError::Malformed { offset, reason };
        let (numbers, map_size) = match sparse.map {
            Some(numbers) => (numbers, 0),
            None => self.leading_map(stored, offset)?,
        };
        let left = stored.checked_sub(map_size).ok_or_else(|| malformed("sparse map longer than its file"))?;
        let mut map = SparseMap::new(left);
        numbers.chunks(2).try_for_each(|pair| map.add(pair)).map_err(malformed)?;
        self.parts = map.finish(sparse.size).map_err(malformed)?;
        Ok(sparse.size)
    }

    /// The map of format 1.0, decimal numbers in lines of which the first counts the parts; and the bytes it takes, in whole blocks.
    fn leading_map(&mut self, stored: u64, offset: u64) -> Result<(Vec<u64>, u64), ReadError> {
        let malformed = |reason| ReadError::Malformed { offset, reason };
        let (mut numbers, mut line, mut size) = (Vec::new(), Vec::new(), 0);
        loop {
            let mut block = [0; BLOCK];
            size += BLOCK as u64;
            if size > stored || !self.read_block(&mut block)? {
                return Err(malformed("sparse map longer than its file"));
            }
            for byte in block {
                if byte != b'\n' {
                    // As many digits as the largest number has: a line without an end must not fill memory.
                    if line.len() == MAX_DIGITS {
                        return Err(malformed("sparse map with a number that is none"));
                    }
                    line.push(byte);
                    continue;
                }
                numbers.push(pax::decimal(&line).ok_or_else(|| malformed("sparse map with a number that is none"))?);
                line.clear();
                let wanted = numbers[0].saturating_mul(2).saturating_add(1);
                if wanted > 2 * sparse::MAX_PARTS as u64 {
                    return Err(malformed("sparse map with too many parts"));
                }
                if numbers.len() as u64 == wanted {
                    return Ok((numbers.split_off(1), size));
                }
            }
        }
    }
}
