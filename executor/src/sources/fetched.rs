//! A fetched file as a tree with one file in it.

use std::collections::BTreeMap;
use std::fs::File;

use bld_cache::Store;
use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::Metadata;

use super::http::Fetched;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;

/// The tree.
#[derive(Debug)]
pub(crate) struct FetchedTree {
    pub(crate) store: Store,
    pub(crate) name: String,
    pub(crate) file: Fetched,
    pub(crate) time: Timestamp,
}

impl FetchedTree {
    fn is_file(&self, path: &ImagePath) -> bool {
        path.relative() == self.name.as_bytes()
    }

    fn missing(&self) -> ViewError {
        ViewError::Store { source: format!("{} is no file", self.name).into() }
    }
}

impl TreeView for FetchedTree {
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError> {
        let metadata = |mode| Metadata { mode, uid: 0, gid: 0, mtime: self.time, xattrs: BTreeMap::new() };
        Ok(if path.is_root() {
            Some(ViewNode { kind: ViewKind::Directory, metadata: metadata(0o755) })
        } else if self.is_file(path) {
            let kind = ViewKind::File { size: self.file.size, link_group: None };
            Some(ViewNode { kind, metadata: metadata(0o600) })
        } else {
            None
        })
    }

    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        Ok(if path.is_root() { vec![self.name.as_bytes().to_vec()] } else { Vec::new() })
    }

    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError> {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut self.open(path)?, &mut hasher)
            .map_err(|source| ViewError::Store { source: Box::new(source) })?;
        Ok(ContentHash(*hasher.finalize().as_bytes()))
    }

    fn open(&self, path: &ImagePath) -> Result<File, ViewError> {
        if !self.is_file(path) {
            return Err(self.missing());
        }
        let opened = self.store.blobs().open_raw(&self.file.digest);
        opened.map(|(file, _)| file).map_err(|error| ViewError::Store { source: Box::new(error) })
    }
}
