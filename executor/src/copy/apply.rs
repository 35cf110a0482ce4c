//! Where everything goes: the actions of a file operation, planned one after the other.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use bld_cache::tree::Tree;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::Metadata;
use bld_parser::mode::Chmod;
use bld_solver::op::CopyAction;
use bld_solver::op::Destination;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::Mkdir;
use bld_solver::op::Mkfile;
use bld_solver::op::ModeChange;
use bld_solver::op::Owner;

use super::archive;
use super::error::CopyError;
use super::error::Note;
use super::plan::Bytes;
use super::plan::Inode;
use super::plan::Plan;
use super::plan::Planned;
use super::select::CopySource;
use super::select::Pick;
use super::select::select;
use super::write::write;
use crate::layers::LayerMode;
use crate::passwd::resolve_owner;
use crate::view::TreeView;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::resolve;

/// How a layer directory is written.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// What a layer directory can hold here. Where owners are only recorded, files stay accessible to their real owner.
    pub mode: LayerMode,
    /// The time of everything bld makes up: parents, heredocs, working directories.
    pub time: Timestamp,
}

/// A finished layer directory.
#[derive(Debug)]
pub struct Applied {
    /// What it holds.
    pub tree: Tree,
    /// What the user should hear about.
    pub notes: Vec<Note>,
}

/// Does `operation` on top of `lower`, into the fresh layer directory `directory`. `sources` has one element per action: the tree
/// that a copy reads, nothing for the others.
pub fn apply(
    operation: &FileOp,
    sources: &[Option<CopySource<'_>>],
    lower: &dyn TreeView,
    directory: BorrowedFd<'_>,
    options: &ApplyOptions,
) -> Result<Applied, CopyError> {
    write(plan(operation, sources, lower, directory, options)?, directory, options)
}

/// Plans `operation`. Writes nothing but the bodies of archives.
pub(super) fn plan<'a>(
    operation: &FileOp,
    sources: &[Option<CopySource<'a>>],
    lower: &'a dyn TreeView,
    directory: BorrowedFd<'a>,
    options: &'a ApplyOptions,
) -> Result<Plan<'a>, CopyError> {
    let several = operation.actions.len() > 1;
    let mut planner = Planner { plan: Plan::new(lower), directory, options, several };
    for (index, action) in operation.actions.iter().enumerate() {
        match action {
            FileAction::Copy(copy) => {
                let source = sources.get(index).copied().flatten();
                planner.copy(copy, source.ok_or(CopyError::NoSource { action: index })?)?;
            }
            FileAction::Mkfile(mkfile) => planner.mkfile(mkfile)?,
            FileAction::Mkdir(mkdir) => planner.mkdir(mkdir)?,
        }
    }
    Ok(planner.plan)
}

struct Planner<'a> {
    plan: Plan<'a>,
    directory: BorrowedFd<'a>,
    options: &'a ApplyOptions,
    /// More than one action brings files to the same destination.
    several: bool,
}

/// What a copy does to the metadata of what it copies.
struct Changes {
    owner: Option<(u32, u32)>,
    mode: Option<Chmod>,
}

impl Changes {
    fn of(&self, metadata: &Metadata, kind: &ViewKind) -> Metadata {
        let mut metadata = metadata.clone();
        if let Some((uid, gid)) = self.owner {
            (metadata.uid, metadata.gid) = (uid, gid);
        }
        if let (Some(mode), false) = (&self.mode, matches!(kind, ViewKind::Symlink { .. })) {
            metadata.mode = mode.apply(metadata.mode, *kind == ViewKind::Directory);
        }
        metadata
    }
}

impl<'a> Planner<'a> {
    fn copy(&mut self, action: &CopyAction, source: CopySource<'a>) -> Result<(), CopyError> {
        let selection = select(source, &action.selector)?;
        self.plan.notes.extend(selection.notes.iter().cloned());
        let changes = Changes { owner: self.owner(action.owner.as_ref())?, mode: chmod(action.mode.as_ref())? };
        let made_up = self.made_up(&changes);
        for pick in &selection.picks {
            if matches!(pick.node.kind, ViewKind::File { .. }) && action.unpack != Some(false) {
                let target = Unpacking { destination: &action.destination, owner: changes.owner };
                if self.unpack(pick, source, &target)? {
                    continue;
                }
            }
            if pick.is_directory() {
                self.copy_directory(pick, source, &action.destination, &changes, &made_up)?;
            } else {
                let path = self.file_destination(
                    pick,
                    &action.destination,
                    &made_up,
                    selection.picks.len() > 1 || self.several,
                )?;
                self.place(pick, source, path, &changes)?;
            }
        }
        Ok(())
    }

    /// Merges what `pick` holds into the destination. A destination that is there keeps its metadata, a new one is made like any parent;
    /// directories below take the source's either way, as the file-by-file copy of docker has it.
    fn copy_directory(
        &mut self,
        pick: &Pick,
        source: CopySource<'a>,
        destination: &Destination,
        changes: &Changes,
        made_up: &Metadata,
    ) -> Result<(), CopyError> {
        let (target, node) = resolve(&self.plan, &destination.path, true)?;
        match node {
            // Nothing matched: nothing is touched, but the directory is made if it is not there.
            Some(ViewNode { kind: ViewKind::Directory, .. }) if pick.pivot && pick.entries.is_empty() => {}
            Some(ViewNode { kind: ViewKind::Directory, .. }) => self.plan.ensure_directory(&target, made_up)?,
            Some(_) => {
                return Err(CopyError::DirectoryOntoFile { source_path: pick.written.clone(), destination: target });
            }
            None if pick.pivot => self.plan.ensure_directory(&target, made_up)?,
            None => {
                if let Some(parent) = target.parent() {
                    self.plan.ensure_directory(&parent, made_up)?;
                }
                // As BuildKit and buildah have it: the new directory is a parent that was missing, not the source itself.
                let mtime = pick.node.metadata.mtime;
                self.plan.insert_directory(target.clone(), Metadata { mtime, ..made_up.clone() })?;
            }
        }
        let mut links = HashMap::new();
        for entry in &pick.entries {
            let path = target.join(&entry.relative);
            let there = self.plan.node(&path)?.map(|node| node.kind);
            let written = || format!("{}/{}", pick.written, String::from_utf8_lossy(&entry.relative));
            let metadata = changes.of(&entry.node.metadata, &entry.node.kind);
            match (&entry.node.kind, there) {
                (ViewKind::Directory, None | Some(ViewKind::Directory)) => {
                    self.plan.insert_directory(path, metadata)?;
                }
                (ViewKind::Directory, Some(_)) => {
                    return Err(CopyError::DirectoryOntoFile { source_path: written(), destination: path });
                }
                (_, Some(ViewKind::Directory)) => {
                    return Err(CopyError::FileOntoDirectory { source_path: written(), destination: path });
                }
                _ => self.place_leaf(source, pick.entry_path(entry), &entry.node, path, metadata, &mut links)?,
            }
        }
        Ok(())
    }

    /// Where a source that is no directory goes; its parent directories are planned then.
    fn file_destination(
        &mut self,
        pick: &Pick,
        destination: &Destination,
        made_up: &Metadata,
        is_one_of_several: bool,
    ) -> Result<ImagePath, CopyError> {
        self.named_destination(&pick.name, &pick.written, destination, made_up, is_one_of_several)
    }

    fn named_destination(
        &mut self,
        name: &[u8],
        written: &str,
        destination: &Destination,
        made_up: &Metadata,
        is_one_of_several: bool,
    ) -> Result<ImagePath, CopyError> {
        let (mut target, mut node) = resolve(&self.plan, &destination.path, true)?;
        let is_directory = node.as_ref().is_some_and(|node| node.kind == ViewKind::Directory);
        if is_directory || destination.is_directory {
            self.plan.ensure_directory(&target, made_up)?;
            target = target.join(name);
            node = self.plan.node(&target)?;
        } else if is_one_of_several {
            return Err(CopyError::SeveralSources { destination: destination.path.clone() });
        } else if let Some(parent) = target.parent() {
            self.plan.ensure_directory(&parent, made_up)?;
        }
        if node.is_some_and(|node| node.kind == ViewKind::Directory) {
            return Err(CopyError::FileOntoDirectory { source_path: written.to_owned(), destination: target });
        }
        Ok(target)
    }

    fn place(
        &mut self,
        pick: &Pick,
        source: CopySource<'a>,
        path: ImagePath,
        changes: &Changes,
    ) -> Result<(), CopyError> {
        let metadata = changes.of(&pick.node.metadata, &pick.node.kind);
        self.place_leaf(source, pick.path.clone(), &pick.node, path, metadata, &mut HashMap::new())
    }

    /// Plans anything but a directory. `links` knows the files of this copy that have several names.
    fn place_leaf(
        &mut self,
        source: CopySource<'a>,
        from: ImagePath,
        node: &ViewNode,
        path: ImagePath,
        metadata: Metadata,
        links: &mut HashMap<u64, usize>,
    ) -> Result<(), CopyError> {
        let planned = match &node.kind {
            ViewKind::File { size, link_group } => {
                let known = link_group.and_then(|group| links.get(&group).copied());
                let inode = known.unwrap_or_else(|| {
                    self.plan.add_inode(Inode { metadata, size: *size, bytes: Bytes::View(source.view, from) })
                });
                if let Some(group) = link_group {
                    links.insert(*group, inode);
                }
                Planned::File(inode)
            }
            ViewKind::Socket | ViewKind::Directory => {
                self.plan.notes.push(Note::SocketSkipped { path });
                return Ok(());
            }
            kind => Planned::Other { kind: kind.clone(), metadata },
        };
        self.plan.insert(path, planned)
    }

    /// Unpacks `pick` if it is an archive.
    fn unpack(&mut self, pick: &Pick, source: CopySource<'a>, to: &Unpacking<'_>) -> Result<bool, CopyError> {
        let Some(reader) = archive::recognise(source.view, &pick.path)? else { return Ok(false) };
        let (target, _) = resolve(&self.plan, &to.destination.path, true)?;
        // --chmod is not for archives, and directories that an archive only implies are root's.
        self.plan.ensure_directory(&target, &self.made_up(&Changes { owner: to.owner, mode: None }))?;
        let implied = self.made_up(&Changes { owner: None, mode: None });
        archive::unpack(&mut self.plan, self.directory, reader, &pick.written, &target, to.owner, &implied)?;
        Ok(true)
    }

    fn mkfile(&mut self, action: &Mkfile) -> Result<(), CopyError> {
        let changes = Changes { owner: self.owner(action.owner.as_ref())?, mode: chmod(action.mode.as_ref())? };
        let made_up = self.made_up(&changes);
        let name = action.name.as_bytes();
        let path = self.named_destination(name, &action.name, &action.destination, &made_up, self.several)?;
        let mode = changes.mode.map_or(0o644, |mode| mode.apply(0o644, false));
        let metadata = Metadata { mode, ..made_up };
        let size = action.body.len() as u64;
        let inode = self.plan.add_inode(Inode { metadata, size, bytes: Bytes::Memory(action.body.clone()) });
        self.plan.insert(path, Planned::File(inode))
    }

    fn mkdir(&mut self, action: &Mkdir) -> Result<(), CopyError> {
        let owner = self.owner(action.owner.as_ref())?;
        let made_up = self.made_up(&Changes { owner, mode: None });
        let (path, node) = resolve(&self.plan, &action.path, true)?;
        match node {
            // It is there: an empty change set is the honest answer.
            Some(ViewNode { kind: ViewKind::Directory, .. }) => Ok(()),
            Some(node) => Err(CopyError::NotADirectory { destination: path, kind: node.kind.article() }),
            None => self.plan.ensure_directory(&path, &made_up),
        }
    }

    fn owner(&self, owner: Option<&Owner>) -> Result<Option<(u32, u32)>, CopyError> {
        Ok(owner.map(|owner| resolve_owner(owner, &self.plan)).transpose()?)
    }

    /// The metadata of directories that nobody copied: 0755 or an octal `--chmod`, owned by `--chown` or root.
    fn made_up(&self, changes: &Changes) -> Metadata {
        let (uid, gid) = changes.owner.unwrap_or((0, 0));
        let mode = changes.mode.as_ref().and_then(Chmod::octal).unwrap_or(0o755);
        Metadata { mode, uid, gid, mtime: self.options.time, xattrs: std::collections::BTreeMap::new() }
    }
}

/// Where ADD unpacks to.
struct Unpacking<'a> {
    destination: &'a Destination,
    owner: Option<(u32, u32)>,
}

fn chmod(change: Option<&ModeChange>) -> Result<Option<Chmod>, CopyError> {
    let text = match change {
        None => return Ok(None),
        Some(ModeChange::Absolute(mode)) => format!("{mode:o}"),
        Some(ModeChange::Symbolic(text)) => text.clone(),
    };
    Chmod::parse(&text).map(Some).map_err(|error| CopyError::Mode { source: Box::new(error) })
}
