//! Which files of a selection changed.
//!
//! ```text
//! list  = "bldfiles2" entry*                 sorted by path
//! entry = same suffix mode kind xattrs       same: how many bytes of the path before are kept; suffix: length and bytes
//! kind  = 0 hash(16) | 1 | 2 target | 3      file, directory, link, anything else
//!       | 4 hash(16) path                    file that has another name in the list, which comes first
//! ```
//! Numbers are as in LEB128, `xattrs` is eight bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;

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

/// What changed between two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanges {
    /// How many files there are now.
    pub total: usize,
    /// How many changed.
    pub changed: usize,
    /// The first of them.
    pub first: Vec<FileChange>,
    /// The ignore file that brought or took them, if all of them came or went by it.
    pub ignore_file: Option<String>,
    /// All that changed is modes, in a way that `--context-perms=git` levels.
    pub only_modes: bool,
}

/// How a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path below the root of the context.
    pub path: String,
    /// How.
    pub how: FileDifference,
}

/// How a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileDifference {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It had another name.
    Renamed {
        /// Which.
        from: String,
    },
    /// What it holds.
    Content,
    /// Its permission bits.
    Mode {
        /// Before.
        was: u32,
        /// Now.
        is: u32,
    },
    /// Its extended attributes.
    Xattrs,
    /// Where a link leads.
    Target {
        /// Before.
        was: String,
        /// Now.
        is: String,
    },
    /// It was a file and is a directory, or the like.
    Kind {
        /// `a file`.
        was: String,
        /// `a directory`.
        is: String,
    },
    /// It became, or is no more, another name of a file.
    HardLink {
        /// The other name before.
        was: Option<String>,
        /// The other name now.
        is: Option<String>,
    },
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

/// Reads a list; `None` if it is none.
pub fn decode(bytes: &[u8]) -> Option<Vec<FileFacts>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut files: Vec<FileFacts> = Vec::new();
    while !rest.is_empty() {
        let same = usize::try_from(take_number(&mut rest)?).ok()?;
        let before = files.last().map(|file| file.path.as_slice()).unwrap_or_default();
        let mut path = before.get(..same)?.to_vec();
        path.extend_from_slice(take_bytes(&mut rest)?);
        let mode = u32::try_from(take_number(&mut rest)?).ok()?;
        let mut same_as = None;
        let kind = match *rest.split_off_first()? {
            kind @ (0 | 4) => {
                let (hash, after) = rest.split_first_chunk()?;
                rest = after;
                if kind == 4 {
                    same_as = Some(take_bytes(&mut rest)?.to_vec());
                }
                FileKind::File(*hash)
            }
            1 => FileKind::Directory,
            2 => FileKind::Link(take_bytes(&mut rest)?.to_vec()),
            _ => FileKind::Other,
        };
        let (xattrs, after) = rest.split_first_chunk()?;
        rest = after;
        files.push(FileFacts { path, kind, mode, xattrs: u64::from_le_bytes(*xattrs), same_as });
    }
    Some(files)
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

/// So many changes are named.
const NAMED: usize = 20;

/// So many of them in one line of text.
const SHOWN: usize = 3;

impl FileChanges {
    /// Compares two lists, each sorted by path; `None` if nothing changed.
    pub fn between(was: &[FileFacts], is: &[FileFacts]) -> Option<FileChanges> {
        let mut changes: Vec<(Vec<u8>, FileDifference)> = Vec::new();
        // What a directory holds that was none, or a file that was one.
        let mut replaced: Vec<Vec<u8>> = Vec::new();
        let (mut added, mut removed): (Vec<&FileFacts>, Vec<&FileFacts>) = (Vec::new(), Vec::new());
        let (mut old, mut new) = (was.iter().peekable(), is.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(now)) => before.path.cmp(&now.path),
            };
            match order {
                Ordering::Less => removed.extend(old.next()),
                Ordering::Greater => added.extend(new.next()),
                Ordering::Equal => {
                    if let (Some(before), Some(now)) = (old.next(), new.next()) {
                        let how = difference(before, now);
                        if let Some(FileDifference::Kind { .. }) = how {
                            replaced.push([now.path.as_slice(), b"/"].concat());
                        }
                        changes.extend(how.map(|how| (shown_path(now), how)));
                    }
                }
            }
        }
        let is_replaced = |file: &&FileFacts| replaced.iter().any(|above| file.path.starts_with(above));
        added.retain(|file| !is_replaced(file));
        removed.retain(|file| !is_replaced(file));
        let only_modes = added.is_empty()
            && removed.is_empty()
            && !changes.is_empty()
            && changes
                .iter()
                .all(|(_, how)| matches!(how, FileDifference::Mode { was, is } if level(*was) == level(*is)));
        // A directory that came or went says no more than what is in it.
        let within = |all: &[&FileFacts], path: &[u8]| {
            all.iter().any(|other| {
                other.path.len() > path.len() && other.path.starts_with(path) && other.path[path.len()] == b'/'
            })
        };
        let mut gone: BTreeMap<[u8; 16], Vec<&FileFacts>> = BTreeMap::new();
        for file in &removed {
            if let FileKind::File(hash) = file.kind {
                gone.entry(hash).or_default().push(file);
            }
        }
        let mut renamed: Vec<&[u8]> = Vec::new();
        for file in &added {
            let from = match &file.kind {
                FileKind::File(hash) => gone.get_mut(hash).and_then(Vec::pop),
                FileKind::Directory if within(&added, &file.path) => continue,
                _ => None,
            };
            let how = match from {
                Some(from) => {
                    renamed.push(&from.path);
                    FileDifference::Renamed { from: text(&from.path) }
                }
                None => FileDifference::Added,
            };
            changes.push((shown_path(file), how));
        }
        for file in &removed {
            let is_told = renamed.contains(&file.path.as_slice())
                || (file.kind == FileKind::Directory && within(&removed, &file.path));
            if !is_told {
                changes.push((shown_path(file), FileDifference::Removed));
            }
        }
        if changes.is_empty() {
            return None;
        }
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        let count = |list: &[FileFacts]| list.iter().filter(|file| file.kind != FileKind::Directory).count();
        Some(FileChanges {
            total: count(is),
            changed: changes.len(),
            first: changes.into_iter().take(NAMED).map(|(path, how)| FileChange { path: text(&path), how }).collect(),
            ignore_file: None,
            only_modes,
        })
    }
}

/// What git keeps of a mode.
fn level(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// A directory is shown as one.
fn shown_path(file: &FileFacts) -> Vec<u8> {
    let slash: &[u8] = if file.kind == FileKind::Directory { b"/" } else { b"" };
    [file.path.as_slice(), slash].concat()
}

impl FileKind {
    fn noun(&self) -> String {
        match self {
            FileKind::File(_) => "a file",
            FileKind::Directory => "a directory",
            FileKind::Link(_) => "a symbolic link",
            FileKind::Other => "a special file",
        }
        .to_owned()
    }
}

fn difference(was: &FileFacts, is: &FileFacts) -> Option<FileDifference> {
    let other_name = |file: &FileFacts| file.same_as.as_deref().map(text);
    Some(match (&was.kind, &is.kind) {
        (FileKind::File(before), FileKind::File(now)) if before != now => FileDifference::Content,
        (FileKind::Link(before), FileKind::Link(now)) if before != now => {
            FileDifference::Target { was: text(before), is: text(now) }
        }
        (before, now) if std::mem::discriminant(before) != std::mem::discriminant(now) => {
            FileDifference::Kind { was: before.noun(), is: now.noun() }
        }
        _ if was.mode != is.mode => FileDifference::Mode { was: was.mode, is: is.mode },
        _ if was.xattrs != is.xattrs => FileDifference::Xattrs,
        _ if was.same_as != is.same_as => FileDifference::HardLink { was: other_name(was), is: other_name(is) },
        _ => return None,
    })
}

/// A path for people; the root of the context is `.`.
fn text(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(path).into_owned() }
}

impl fmt::Display for FileChanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total.max(self.changed);
        let files = if total == 1 { "file" } else { "files" };
        if let Some(ignore_file) = &self.ignore_file {
            write!(formatter, "{ignore_file} changed: ")?;
        }
        let are_all = |wanted: &FileDifference| {
            self.first.iter().all(|change| std::mem::discriminant(&change.how) == std::mem::discriminant(wanted))
        };
        // Files that went are none of those that are here now.
        let are_gone = are_all(&FileDifference::Removed);
        if are_gone {
            let word = if self.changed == 1 { "file" } else { "files" };
            write!(formatter, "{} {word} gone: ", self.changed)?;
        } else {
            write!(formatter, "{} of {total} {files} changed: ", self.changed)?;
        }
        for (position, change) in self.first.iter().take(SHOWN).enumerate() {
            if position > 0 {
                formatter.write_str(", ")?;
            }
            if are_gone {
                formatter.write_str(&change.path)?;
            } else {
                write!(formatter, "{change}")?;
            }
        }
        let shown = self.first.len().min(SHOWN);
        if self.changed > shown {
            write!(formatter, " and {} more", self.changed - shown)?;
        }
        if self.only_modes {
            formatter.write_str("; --context-perms=git levels modes")?;
        }
        Ok(())
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)?;
        match &self.how {
            FileDifference::Added => formatter.write_str(" (new)"),
            FileDifference::Removed => formatter.write_str(" (gone)"),
            FileDifference::Renamed { from } => write!(formatter, " (renamed from {from})"),
            FileDifference::Content => formatter.write_str(" (content)"),
            FileDifference::Mode { was, is } => write!(formatter, " (mode {is:04o}, was {was:04o})"),
            FileDifference::Xattrs => formatter.write_str(" (extended attributes)"),
            FileDifference::Target { was, is } => write!(formatter, " (link to {is}, was {was})"),
            FileDifference::Kind { was, is } => write!(formatter, " ({is}, was {was})"),
            FileDifference::HardLink { is: Some(name), .. } => write!(formatter, " (hard link to {name})"),
            FileDifference::HardLink { was: Some(name), .. } => write!(formatter, " (no longer a hard link to {name})"),
            FileDifference::HardLink { .. } => formatter.write_str(" (hard links)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: u8) -> FileFacts {
        FileFacts { path: path.into(), kind: FileKind::File([content; 16]), mode: 0o644, xattrs: 0, same_as: None }
    }

    fn directory(path: &str) -> FileFacts {
        FileFacts { kind: FileKind::Directory, mode: 0o755, ..file(path, 0) }
    }

    fn link(path: &str, target: &str) -> FileFacts {
        FileFacts { kind: FileKind::Link(target.into()), mode: 0o777, ..file(path, 0) }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "a/".repeat(300);
        let files = [
            directory("a"),
            file("a/b", 1),
            FileFacts { same_as: Some(b"a/b".to_vec()), ..file("a/bc", 1) },
            link(&long, "../x"),
            FileFacts { kind: FileKind::Other, mode: 0o7777, xattrs: u64::MAX, ..file("z", 0) },
        ];
        let bytes = encode(&files);
        assert_eq!(decode(&bytes).unwrap(), files);
        for end in MAGIC.len() + 1..bytes.len() {
            // What was cut off is noticed, or is a whole list by itself.
            assert!(decode(&bytes[..end]).is_none_or(|read| files.starts_with(&read)));
        }
        assert_eq!(decode(b"something else"), None);
    }

    #[test]
    fn changes_in_words() {
        let mode = |file: FileFacts, mode| FileFacts { mode, ..file };
        let old = [directory("d"), file("d/a", 1), file("d/b", 2), link("l", "x")];
        for (new, text) in [
            (
                vec![directory("d"), file("d/a", 9), file("d/b", 2), link("l", "x")],
                "1 of 3 files changed: d/a (content)",
            ),
            (
                vec![directory("d"), file("d/a", 1), file("d/c", 2), link("l", "x")],
                "1 of 3 files changed: d/c (renamed from d/b)",
            ),
            (vec![directory("d"), file("d/a", 1), link("l", "x")], "1 file gone: d/b"),
            (
                vec![directory("d"), file("d/a", 1), file("d/b", 2), link("l", "y")],
                "1 of 3 files changed: l (link to y, was x)",
            ),
            (
                vec![directory("d"), mode(file("d/a", 1), 0o664), file("d/b", 2), link("l", "x")],
                "1 of 3 files changed: d/a (mode 0664, was 0644); --context-perms=git levels modes",
            ),
            (
                vec![directory("d"), mode(file("d/a", 1), 0o755), file("d/b", 2), link("l", "x")],
                "1 of 3 files changed: d/a (mode 0755, was 0644)",
            ),
            (
                vec![directory("d"), FileFacts { xattrs: 7, ..file("d/a", 1) }, file("d/b", 2), link("l", "x")],
                "1 of 3 files changed: d/a (extended attributes)",
            ),
            (
                vec![directory("d"), file("d/a", 1), file("d/b", 2), directory("e"), file("e/f", 5), link("l", "x")],
                "1 of 4 files changed: e/f (new)",
            ),
            (vec![], "3 files gone: d/a, d/b, l"),
            (vec![file("d", 1), link("l", "x")], "1 of 2 files changed: d (a file, was a directory)"),
            (
                vec![directory("d"), file("d/a", 1), directory("d/b"), file("d/b/x", 1), link("l", "x")],
                "1 of 3 files changed: d/b/ (a directory, was a file)",
            ),
            (
                vec![mode(directory("d"), 0o700), file("d/a", 1), file("d/b", 2), link("l", "x")],
                "1 of 3 files changed: d/ (mode 0700, was 0755); --context-perms=git levels modes",
            ),
            (
                vec![
                    directory("d"),
                    file("d/a", 1),
                    FileFacts { same_as: Some(b"d/a".to_vec()), ..file("d/b", 2) },
                    link("l", "x"),
                ],
                "1 of 3 files changed: d/b (hard link to d/a)",
            ),
            (
                vec![directory("d"), file("d/c", 3), link("l", "x")],
                "3 of 3 files changed: d/a (gone), d/b (gone), d/c (new)",
            ),
        ] {
            let shown = FileChanges::between(&old, &new).unwrap().to_string();
            assert_eq!(shown, text);
        }
        assert_eq!(FileChanges::between(&old, &old), None);
    }
}
