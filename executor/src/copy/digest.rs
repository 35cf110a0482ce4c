//! The digest of a selection: equal exactly if the copy would come out equal, times aside.

use std::collections::HashMap;
use std::collections::hash_map;

use bld_cache::tree::ContentHash;
use bld_oci::layer::Metadata;
use bld_solver::explain::files::FileFacts;
use bld_solver::explain::files::FileKind;
use rayon::prelude::*;

use super::error::CopyError;
use super::select::Entry;
use super::select::Pick;
use super::select::Selection;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;

/// Changed with every change of what is hashed below.
const DOMAIN: &str = "bld.selection.v1";

impl Selection {
    /// A digest of what is picked: names as they will appear, kinds, modes, owners, extended attributes, link targets, bytes, and
    /// which names are one file. The name of a picked directory does not enter, because what is copied is what it holds.
    pub fn digest(&self, view: &dyn TreeView) -> Result<[u8; 32], CopyError> {
        Ok(self.digest_of(&self.contents(view)?))
    }

    /// The same, and the files it stands for if `is_wanted` says so of the digest: sorted by path, each once.
    pub fn digest_and_files(
        &self,
        view: &dyn TreeView,
        is_wanted: impl FnOnce(&[u8; 32]) -> bool,
    ) -> Result<([u8; 32], Option<Vec<FileFacts>>), CopyError> {
        let contents = self.contents(view)?;
        let digest = self.digest_of(&contents);
        let files = is_wanted(&digest).then(|| self.files(&contents));
        Ok((digest, files))
    }

    fn digest_of(&self, contents: &[ContentHash]) -> [u8; 32] {
        let mut contents = contents.iter().copied();
        let mut hasher = Fields::default();
        hasher.bytes(DOMAIN.as_bytes());
        hasher.number(self.picks.len() as u64);
        for pick in &self.picks {
            hasher.pick(pick, &mut contents);
        }
        *hasher.finish().as_bytes()
    }

    fn files(&self, contents: &[ContentHash]) -> Vec<FileFacts> {
        let mut contents = contents.iter();
        let mut files = Vec::new();
        for pick in &self.picks {
            let own = (!pick.pivot).then(|| (pick.path.clone(), &pick.node));
            let entries = pick.entries.iter().map(|entry| (pick.entry_path(entry), &entry.node));
            let mut first_names: HashMap<u64, Vec<u8>> = HashMap::new();
            for (path, node) in own.into_iter().chain(entries) {
                let kind = match &node.kind {
                    ViewKind::Directory => FileKind::Directory,
                    ViewKind::File { .. } => FileKind::File(contents.next().map(half).unwrap_or_default()),
                    ViewKind::Symlink { target } => FileKind::Link(target.clone()),
                    _ => FileKind::Other,
                };
                let mode = if matches!(kind, FileKind::Link(_)) { 0 } else { node.metadata.mode };
                let path = path.as_bytes().strip_prefix(b"/").unwrap_or_default().to_vec();
                let same_as = match &node.kind {
                    ViewKind::File { link_group: Some(group), .. } => match first_names.entry(*group) {
                        hash_map::Entry::Occupied(first) => Some(first.get().clone()),
                        hash_map::Entry::Vacant(place) => {
                            place.insert(path.clone());
                            None
                        }
                    },
                    _ => None,
                };
                files.push(FileFacts { path, kind, mode, xattrs: xattrs(&node.metadata), same_as });
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        files
    }

    /// The hashes of all picked regular files, in order.
    fn contents(&self, view: &dyn TreeView) -> Result<Vec<ContentHash>, ViewError> {
        let files: Vec<(&Pick, Option<&Entry>)> = self.picks.iter().flat_map(files).collect();
        let content = |(pick, entry): &(&Pick, Option<&Entry>)| match entry {
            Some(entry) => view.content(&pick.entry_path(entry)),
            None => view.content(&pick.path),
        };
        files.par_iter().with_min_len(16).map(content).collect()
    }
}

/// As much of a hash as tells two files apart.
fn half(hash: &ContentHash) -> [u8; 16] {
    hash.0.first_chunk().copied().unwrap_or_default()
}

fn xattrs(metadata: &Metadata) -> u64 {
    if metadata.xattrs.is_empty() {
        return 0;
    }
    let mut hasher = Fields::default();
    for (name, value) in &metadata.xattrs {
        hasher.bytes(name);
        hasher.bytes(value);
    }
    hasher.finish().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The regular files of a pick: itself, if there is no entry.
fn files(pick: &Pick) -> impl Iterator<Item = (&Pick, Option<&Entry>)> {
    let is_file = |node: &ViewNode| matches!(node.kind, ViewKind::File { .. });
    let own = is_file(&pick.node).then_some((pick, None));
    let entries = pick.entries.iter().filter(move |entry| is_file(&entry.node));
    own.into_iter().chain(entries.map(move |entry| (pick, Some(entry))))
}

/// Writes fields so that no two sequences of fields look the same.
#[derive(Default)]
struct Fields {
    hasher: blake3::Hasher,
    /// Not hashed yet: many bytes at a time take a fraction of the time of a few.
    pending: Vec<u8>,
}

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= 64 * 1024 {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    fn number(&mut self, number: u64) {
        self.pending.extend_from_slice(&number.to_le_bytes());
    }

    fn finish(mut self) -> blake3::Hash {
        self.hasher.update(&self.pending);
        self.hasher.finalize()
    }

    fn pick(&mut self, pick: &Pick, contents: &mut impl Iterator<Item = ContentHash>) {
        let mut groups = HashMap::new();
        self.number(u64::from(pick.is_directory()) + 2 * u64::from(pick.pivot));
        self.bytes(if pick.is_directory() { b"" } else { &pick.name });
        if !pick.pivot {
            self.node(&pick.node, 0, &mut groups, contents);
        }
        self.number(pick.entries.len() as u64);
        for (index, entry) in pick.entries.iter().enumerate() {
            self.bytes(&entry.relative);
            self.node(&entry.node, index as u64 + 1, &mut groups, contents);
        }
    }

    fn node(
        &mut self,
        node: &ViewNode,
        position: u64,
        groups: &mut HashMap<u64, u64>,
        contents: &mut impl Iterator<Item = ContentHash>,
    ) {
        match &node.kind {
            ViewKind::Directory => self.number(0),
            ViewKind::File { link_group, .. } => {
                self.number(1);
                // Where the first name of the same file stands; a file's own position if it is the first.
                let first = link_group.map_or(position, |group| *groups.entry(group).or_insert(position));
                self.number(position - first);
                let content = contents.next().map_or([0; 32], |hash| hash.0);
                self.bytes(&content);
            }
            ViewKind::Symlink { target } => {
                self.number(2);
                self.bytes(target);
            }
            ViewKind::CharDevice { major, minor } => self.device(3, *major, *minor),
            ViewKind::BlockDevice { major, minor } => self.device(4, *major, *minor),
            ViewKind::Fifo => self.number(5),
            // Never copied: whether it is there changes nothing, but an entry more or less has been counted already.
            ViewKind::Socket => return self.number(6),
        }
        self.metadata(&node.metadata, matches!(node.kind, ViewKind::Symlink { .. }));
    }

    fn device(&mut self, kind: u64, major: u32, minor: u32) {
        self.number(kind);
        self.number(major.into());
        self.number(minor.into());
    }

    /// The mode of a symbolic link means nothing and differs between file systems.
    fn metadata(&mut self, metadata: &Metadata, is_link: bool) {
        self.number(if is_link { 0 } else { metadata.mode.into() });
        self.number(metadata.uid.into());
        self.number(metadata.gid.into());
        self.number(metadata.xattrs.len() as u64);
        for (name, value) in &metadata.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }
}
