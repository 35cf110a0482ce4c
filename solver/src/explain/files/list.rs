//! Lists of the files of a selection: how they are stored, and what two of them do not have in common.
//!
//! ```text
//! list  = "bldfiles2" entry*                 sorted by path
//! entry = same suffix mode kind xattrs       same: how many bytes of the path before are kept; suffix: length and bytes
//! kind  = 0 hash(16) | 1 | 2 target | 3      file, directory, link, anything else
//!       | 4 hash(16) path                    file that has another name in the list, which comes first
//! ```
//! Numbers are as in LEB128, `xattrs` is eight bytes.

use std::cmp::Ordering;

/// A file of a selection, as far as it enters a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Below the root of the context, as bytes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// A digest of its extended attributes; 0 if there are none.
    pub xattrs: u64,
    /// The first path of a file that has several.
    pub same_as: Option<Vec<u8>>,
}

/// What a file is, and the first half of a digest of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File([u8; 16]),
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
    /// A device, a pipe or a socket.
    Other,
}

const MAGIC: &[u8] = b"bldfiles2";

/// Writes a list, which must be sorted by path.
pub fn encode(files: &[FileFacts]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + files.len() * 48);
    out.extend_from_slice(MAGIC);
    let mut before: &[u8] = &[];
    for FileFacts { path, kind, mode, xattrs, same_as } in files {
        let same = before.iter().zip(path).take_while(|(a, b)| a == b).count();
        put_number(&mut out, same as u64);
        put_bytes(&mut out, &path[same..]);
        put_number(&mut out, u64::from(*mode));
        match kind {
            FileKind::File(hash) => {
                out.push(if same_as.is_some() { 4 } else { 0 });
                out.extend_from_slice(hash);
                if let Some(first) = same_as {
                    put_bytes(&mut out, first);
                }
            }
            FileKind::Directory => out.push(1),
            FileKind::Link(target) => {
                out.push(2);
                put_bytes(&mut out, target);
            }
            FileKind::Other => out.push(3),
        }
        out.extend_from_slice(&xattrs.to_le_bytes());
        before = path;
    }
    out
}

/// Reads a list entry by entry, without a copy of any but the path.
struct Cursor<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
    entry: Option<Entry<'a>>,
}

/// An entry of a list, without its path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    kind: EntryKind<'a>,
    mode: u32,
    xattrs: u64,
    same_as: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryKind<'a> {
    File(&'a [u8; 16]),
    Directory,
    Link(&'a [u8]),
    Other,
}

impl<'a> Cursor<'a> {
    /// At the first entry; `None` if it is no list.
    fn new(list: &'a [u8]) -> Option<Cursor<'a>> {
        let mut cursor = Cursor { rest: list.strip_prefix(MAGIC)?, path: Vec::new(), entry: None };
        cursor.advance()?;
        Some(cursor)
    }

    /// Goes to the next entry, or to the end; `None` if it is no list.
    fn advance(&mut self) -> Option<()> {
        self.entry = None;
        if self.rest.is_empty() {
            return Some(());
        }
        let rest = &mut self.rest;
        let same = usize::try_from(take_number(rest)?).ok()?;
        if same > self.path.len() {
            return None;
        }
        self.path.truncate(same);
        self.path.extend_from_slice(take_bytes(rest)?);
        let mode = u32::try_from(take_number(rest)?).ok()?;
        let mut same_as = None;
        let kind = match *rest.split_off_first()? {
            kind @ (0 | 4) => {
                let (hash, after) = rest.split_first_chunk()?;
                *rest = after;
                if kind == 4 {
                    same_as = Some(take_bytes(rest)?);
                }
                EntryKind::File(hash)
            }
            1 => EntryKind::Directory,
            2 => EntryKind::Link(take_bytes(rest)?),
            _ => EntryKind::Other,
        };
        let (xattrs, after) = rest.split_first_chunk()?;
        *rest = after;
        self.entry = Some(Entry { kind, mode, xattrs: u64::from_le_bytes(*xattrs), same_as });
        Some(())
    }

    fn facts(&self) -> Option<FileFacts> {
        let Entry { kind, mode, xattrs, same_as } = self.entry?;
        let kind = match kind {
            EntryKind::File(hash) => FileKind::File(*hash),
            EntryKind::Directory => FileKind::Directory,
            EntryKind::Link(target) => FileKind::Link(target.to_vec()),
            EntryKind::Other => FileKind::Other,
        };
        Some(FileFacts { path: self.path.clone(), kind, mode, xattrs, same_as: same_as.map(<[u8]>::to_vec) })
    }
}

/// What two lists do not have in common.
#[derive(Default)]
pub(super) struct Apart {
    pub(super) added: Vec<FileFacts>,
    pub(super) removed: Vec<FileFacts>,
    /// Under one path: before, and now.
    pub(super) changed: Vec<(FileFacts, FileFacts)>,
    /// How many files, directories apart, the second list has.
    pub(super) total: usize,
}

impl Apart {
    /// `None` if one of them is no list.
    pub(super) fn of(was: &[u8], is: &[u8]) -> Option<Apart> {
        let mut apart = Apart::default();
        let (mut old, mut new) = (Cursor::new(was)?, Cursor::new(is)?);
        loop {
            let order = match (&old.entry, &new.entry) {
                (None, None) => return Some(apart),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), Some(_)) => old.path.cmp(&new.path),
            };
            match order {
                Ordering::Less => apart.removed.extend(old.facts()),
                Ordering::Greater => apart.added.extend(new.facts()),
                Ordering::Equal if old.entry != new.entry => apart.changed.extend(old.facts().zip(new.facts())),
                Ordering::Equal => {}
            }
            if order.is_ge() {
                let is_directory = new.entry.is_some_and(|entry| entry.kind == EntryKind::Directory);
                apart.total += usize::from(!is_directory);
                new.advance()?;
            }
            if order.is_le() {
                old.advance()?;
            }
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    rest.split_off(..length)
}
