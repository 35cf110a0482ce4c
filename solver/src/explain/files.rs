//! Which files of a selection changed.

mod list;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use self::list::Apart;
pub use self::list::FileFacts;
pub use self::list::FileKind;
pub use self::list::encode;

/// What changed between two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanges {
    /// How many files there are now.
    pub total: usize,
    /// How many changed.
    pub changed: usize,
    /// How many of those are gone.
    #[serde(default)]
    pub removed: usize,
    /// The first of them: those that changed before those that came, and those before the ones that went.
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

/// So many changes are named.
const NAMED: usize = 20;

/// So many of them in one line of text.
const SHOWN: usize = 3;

impl FileChanges {
    /// Compares two lists; `None` if nothing changed, or if one is no list.
    pub fn between(was: &[u8], is: &[u8]) -> Option<FileChanges> {
        let Apart { mut added, mut removed, changed, total } = Apart::of(was, is)?;
        let mut changes: Vec<(Vec<u8>, FileDifference)> = Vec::new();
        // What a directory holds that was none, or a file that was one.
        let mut replaced: HashSet<Vec<u8>> = HashSet::new();
        for (before, now) in changed {
            let how = difference(&before, &now);
            if let Some(FileDifference::Kind { .. }) = how {
                replaced.insert(now.path.clone());
            }
            changes.extend(how.map(|how| (shown_path(&now), how)));
        }
        if !replaced.is_empty() {
            added.retain(|file| !above(&file.path).any(|path| replaced.contains(path)));
            removed.retain(|file| !above(&file.path).any(|path| replaced.contains(path)));
        }
        let only_modes = added.is_empty()
            && removed.is_empty()
            && !changes.is_empty()
            && changes
                .iter()
                .all(|(_, how)| matches!(how, FileDifference::Mode { was, is } if level(*was) == level(*is)));
        let mut gone: HashMap<[u8; 16], Vec<&FileFacts>> = HashMap::new();
        for file in &removed {
            if let FileKind::File(hash) = file.kind {
                gone.entry(hash).or_default().push(file);
            }
        }
        let mut renamed: HashSet<&[u8]> = HashSet::new();
        for file in &added {
            let from = match &file.kind {
                FileKind::File(hash) => gone.get_mut(hash).and_then(Vec::pop),
                // One that came or went says no more than what is in it.
                FileKind::Directory if holds_any(&added, &file.path) => continue,
                _ => None,
            };
            let how = match from {
                Some(from) => {
                    renamed.insert(&from.path);
                    FileDifference::Renamed { from: text(&from.path) }
                }
                None => FileDifference::Added,
            };
            changes.push((shown_path(file), how));
        }
        for file in &removed {
            let is_told = renamed.contains(file.path.as_slice())
                || (file.kind == FileKind::Directory && holds_any(&removed, &file.path));
            if !is_told {
                changes.push((shown_path(file), FileDifference::Removed));
            }
        }
        if changes.is_empty() {
            return None;
        }
        changes.sort_by(|a, b| a.1.rank().cmp(&b.1.rank()).then_with(|| a.0.cmp(&b.0)));
        let removed = changes.iter().filter(|(_, how)| *how == FileDifference::Removed).count();
        Some(FileChanges {
            total,
            changed: changes.len(),
            removed,
            first: changes.into_iter().take(NAMED).map(|(path, how)| FileChange { path: text(&path), how }).collect(),
            ignore_file: None,
            only_modes,
        })
    }
}

impl FileDifference {
    /// What says most comes first.
    fn rank(&self) -> u8 {
        match self {
            FileDifference::Renamed { .. } => 1,
            FileDifference::Added => 2,
            FileDifference::Removed => 3,
            _ => 0,
        }
    }
}

/// Whether something below a directory is in a list, which is sorted by path.
fn holds_any(files: &[FileFacts], directory: &[u8]) -> bool {
    let below = [directory, b"/"].concat();
    let first = files.partition_point(|file| file.path < below);
    files.get(first).is_some_and(|file| file.path.starts_with(&below))
}

/// The directories a path is in.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
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
        let total = (self.total + self.removed).max(self.changed);
        let files = if total == 1 { "file" } else { "files" };
        if let Some(ignore_file) = &self.ignore_file {
            write!(formatter, "{ignore_file} changed: ")?;
        }
        // Files that went are none of those that are here now.
        let are_gone = self.removed == self.changed;
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
