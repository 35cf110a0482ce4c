//! The files of two images side by side.

use std::collections::BTreeMap;

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;

use crate::view::TreeView as _;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::merged::MergedTree;

/// A path that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: ImagePath,
    /// How it differs.
    pub change: Change,
}

/// How a path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the second image has it.
    Added(String),
    /// Only the first image has it.
    Removed(String),
    /// Both have it: what is different, the first image's value and the second's.
    Changed(Vec<(&'static str, String, String)>),
}

/// What differs between two trees, in tree order. Times count only if `times`.
pub fn compare(left: &MergedTree, right: &MergedTree, times: bool) -> Result<Vec<Difference>, ViewError> {
    let (left_nodes, right_nodes) = (nodes(left)?, nodes(right)?);
    let mut found = Vec::new();
    for (path, node) in &left_nodes {
        let change = match right_nodes.get(path) {
            None => Change::Removed(shown(node)),
            Some(other) => {
                let contents = (content(left, path, node)?, content(right, path, other)?);
                let fields = fields(node, other, contents, times);
                if fields.is_empty() {
                    continue;
                }
                Change::Changed(fields)
            }
        };
        found.push(Difference { path: path.clone(), change });
    }
    for (path, node) in right_nodes.iter().filter(|(path, _)| !left_nodes.contains_key(*path)) {
        found.push(Difference { path: path.clone(), change: Change::Added(shown(node)) });
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

fn nodes(view: &MergedTree) -> Result<BTreeMap<ImagePath, ViewNode>, ViewError> {
    let mut nodes = BTreeMap::new();
    view.walk::<ViewError>(&mut |path, node| {
        nodes.insert(path.clone(), node);
        Ok(())
    })?;
    Ok(nodes)
}

fn content(view: &MergedTree, path: &ImagePath, node: &ViewNode) -> Result<Option<ContentHash>, ViewError> {
    if matches!(node.kind, ViewKind::File { .. }) { view.content(path).map(Some) } else { Ok(None) }
}

fn shown(node: &ViewNode) -> String {
    match &node.kind {
        ViewKind::File { size, .. } => format!("{size} bytes"),
        ViewKind::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
        kind => kind.article().to_owned(),
    }
}

fn fields(
    left: &ViewNode,
    right: &ViewNode,
    contents: (Option<ContentHash>, Option<ContentHash>),
    times: bool,
) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    let mut field = |name, left: String, right: String| {
        if left != right {
            found.push((name, left, right));
        }
    };
    // Which other names a file has is not said by the number of its group.
    let kind = |node: &ViewNode| match &node.kind {
        ViewKind::File { .. } => ViewKind::File { size: 0, link_group: None }.article().to_owned(),
        ViewKind::CharDevice { major, minor } => format!("a character device {major}:{minor}"),
        ViewKind::BlockDevice { major, minor } => format!("a block device {major}:{minor}"),
        other => other.article().to_owned(),
    };
    field("kind", kind(left), kind(right));
    match (&left.kind, &right.kind) {
        (ViewKind::Symlink { target }, ViewKind::Symlink { target: other }) => {
            let text = |target: &[u8]| String::from_utf8_lossy(target).into_owned();
            field("target", text(target), text(other));
        }
        (ViewKind::File { size, link_group }, ViewKind::File { size: other, link_group: other_group }) => {
            if contents.0 != contents.1 {
                let text = |hash: Option<ContentHash>, size: &u64| {
                    let hash = hash.map(|hash| hash.to_string().chars().take(12).collect::<String>());
                    format!("{size} bytes {}", hash.unwrap_or_default())
                };
                field("content", text(contents.0, size), text(contents.1, other));
            }
            let linked = |group: &Option<u64>| if group.is_some() { "several names" } else { "one name" }.to_owned();
            field("links", linked(link_group), linked(other_group));
        }
        _ => {}
    }
    let (old, new) = (&left.metadata, &right.metadata);
    field("mode", format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    field("owner", format!("{}:{}", old.uid, old.gid), format!("{}:{}", new.uid, new.gid));
    if times {
        field("time", old.mtime.to_string(), new.mtime.to_string());
    }
    let names = old.xattrs.keys().chain(new.xattrs.keys()).collect::<std::collections::BTreeSet<_>>();
    for name in names {
        let value = |map: &BTreeMap<Vec<u8>, Vec<u8>>| map.get(name).map_or_else(|| "none".to_owned(), hex::encode);
        let (old, new) = (value(&old.xattrs), value(&new.xattrs));
        if old != new {
            let name = String::from_utf8_lossy(name).into_owned();
            found.push(("xattr", format!("{name}={old}"), format!("{name}={new}")));
        }
    }
    found
}
