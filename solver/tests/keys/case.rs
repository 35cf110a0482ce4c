//! A vertex with what it is given, its keys, and what it means.

use bld_cache::key::CacheKey;
use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_oci::image::ImageLayer;
use bld_solver::graph::Vertex;
use bld_solver::keys;
use bld_solver::op::BindMount;
use bld_solver::op::CacheMount;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Exec;
use bld_solver::op::ExecMount;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::MountContent;
use bld_solver::op::Op;
use bld_solver::op::Selector;
use bld_solver::op::Sharing;
use bld_solver::op::Source;

use crate::fake::layer;

/// More than any vertex takes.
pub(super) const DIGESTS: usize = 8;

/// A vertex and what it is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) vertex: Vertex,
    /// Definition keys and states of its inputs.
    pub(super) inputs: Vec<(CacheKey, StateId)>,
    /// Of what it is pinned to and takes from trees; only as many as it needs count.
    pub(super) digests: [[u8; 32]; DIGESTS],
}

/// All keys of a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Keys {
    pub(super) definition: CacheKey,
    pub(super) content: CacheKey,
    pub(super) operation: CacheKey,
}

/// What must be equal for each of the keys to be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) definition: String,
    pub(super) content: String,
    pub(super) operation: String,
}

/// For each digest an operation needs, whether it can be known before its inputs are.
pub(super) fn known_early(op: &Op) -> Vec<bool> {
    let taken = keys::selections(op).into_iter().map(|selection| matches!(selection.from, CopyFrom::Context(_)));
    keys::pinned(op).map(|_| true).into_iter().chain(taken).collect()
}

impl Case {
    pub(super) fn keys(&self) -> Keys {
        let (early, late) = self.digests();
        let (definitions, states): (Vec<CacheKey>, Vec<StateId>) = self.inputs.iter().copied().unzip();
        let op = &self.vertex.op;
        Keys {
            definition: keys::definition_key(op, &definitions, &early).0,
            content: keys::content_key(op, &states, &late).0,
            operation: keys::operation(op, &early).0,
        }
    }

    pub(super) fn meaning(&self) -> Meaning {
        let (early, late) = self.digests();
        let (definitions, states): (Vec<CacheKey>, Vec<StateId>) = self.inputs.iter().copied().unzip();
        let op = format!("{:?}", op(&self.vertex.op));
        // What is only copied from or mounted shows by its digest.
        let all = matches!(self.vertex.op, Op::Merge | Op::Source(_));
        let seen = if all { &states[..] } else { &states[..states.len().min(1)] };
        Meaning {
            definition: format!("{op} {definitions:?} {early:?}"),
            content: format!("{op} {} {seen:?} {late:?}", states.len()),
            operation: format!("{op} {early:?}"),
        }
    }

    fn digests(&self) -> (Vec<Option<[u8; 32]>>, Vec<[u8; 32]>) {
        let early = known_early(&self.vertex.op);
        assert!(early.len() <= DIGESTS);
        let early = early.into_iter().zip(self.digests);
        early.map(|(known, digest)| (known.then_some(digest), digest)).unzip()
    }
}

/// The operation without what says nothing about its result.
fn op(op: &Op) -> Op {
    match op {
        Op::Exec(operation) => Op::Exec(exec(operation)),
        Op::File(FileOp { actions }) => Op::File(FileOp { actions: actions.iter().map(action).collect() }),
        Op::Source(Source::Image { layers }) => {
            let blob = layer("").blob;
            let layers = layers.iter().map(|ImageLayer { diff_id, blob: _ }| (*diff_id, blob.clone()));
            let layers = layers.map(|(diff_id, blob)| ImageLayer { diff_id, blob }).collect();
            Op::Source(Source::Image { layers })
        }
        Op::Source(Source::Local { context: _ }) => Op::Source(Source::Local { context: String::new() }),
        // The pin says it all: see the changes of sources.
        Op::Source(Source::Http(_)) => super::examples::remote("https://host.test/file"),
        Op::Source(Source::Git(_)) => super::examples::remote("https://host.test/a.git"),
        Op::Merge => Op::Merge,
    }
}

fn exec(exec: &Exec) -> Exec {
    let Exec {
        args,
        env,
        unkeyed_env: _,
        cwd,
        user,
        network,
        security,
        mounts,
        hostname,
        extra_hosts,
        script,
        shm_size: _,
        platform,
    } = exec.clone();
    Exec {
        args,
        env,
        unkeyed_env: Vec::new(),
        cwd,
        user,
        network,
        security,
        mounts: mounts.iter().map(mount).collect(),
        hostname,
        extra_hosts: extra_hosts.into_iter().map(|(name, _)| (name, String::new())).collect(),
        script,
        shm_size: None,
        platform,
    }
}

fn mount(mount: &ExecMount) -> ExecMount {
    match mount.clone() {
        ExecMount::Bind(BindMount { target, from, read_write }) => {
            ExecMount::Bind(BindMount { target, from: mounted(from), read_write })
        }
        ExecMount::Cache(CacheMount { target, id: _, sharing: _, initial, subpath, mode, uid, gid, read_only }) => {
            let initial = initial.map(mounted);
            let (id, sharing) = (String::new(), Sharing::Shared);
            ExecMount::Cache(CacheMount { target, id, sharing, initial, subpath, mode, uid, gid, read_only })
        }
        ExecMount::Tmpfs(tmpfs) => ExecMount::Tmpfs(tmpfs),
        ExecMount::Secret(secret) => ExecMount::Secret(secret),
        ExecMount::Ssh(agent) => ExecMount::Ssh(agent),
    }
}

/// What is mounted of a context shows by its digest.
fn mounted(MountContent { from, source }: MountContent) -> MountContent {
    let source = if matches!(from, CopyFrom::Context(_)) { ImagePath::root() } else { source };
    MountContent { from: tree(&from), source }
}

fn tree(from: &CopyFrom) -> CopyFrom {
    match from {
        CopyFrom::Context(_) => CopyFrom::Context(String::new()),
        CopyFrom::Input(index) => CopyFrom::Input(*index),
    }
}

fn action(action: &FileAction) -> FileAction {
    match action.clone() {
        FileAction::Copy(CopyAction { from, selector, destination, owner, mode, unpack }) => {
            let Selector { sources, exclude, parents, tree: _ } = selector;
            let selector = Selector { sources, exclude, parents, tree: String::new() };
            FileAction::Copy(CopyAction { from: tree(&from), selector, destination, owner, mode, unpack })
        }
        FileAction::Mkfile(file) => FileAction::Mkfile(file),
        FileAction::Mkdir(directory) => FileAction::Mkdir(directory),
    }
}
