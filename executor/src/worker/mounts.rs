//! `RUN --mount`: what a step is shown besides its root file system, and what has to be held and thrown away with it.
//!
//! ```text
//! mounts/<hash of the id>/<n>/   copies of a cache mount: see `bld_cache::store::CacheMounts`
//! ```
//! Their claims are taken together for shared, alone for locked and private. They are flocks: who dies lets go.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_cache::store::ActiveLayer;
use bld_cache::store::Claim;
use bld_cache::store::mount_claim;
use bld_cache::store::mount_hash;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_solver::graph::VertexId;
use bld_solver::op::BindMount;
use bld_solver::op::CacheMount;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::Exec;
use bld_solver::op::ExecMount;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::MountContent;
use bld_solver::op::SecretMount;
use bld_solver::op::Sharing;
use bld_solver::op::SshMount;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Stream;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;

use super::LocalWorker;
use super::cancel::Canceler;
use crate::copy;
use crate::copy::ApplyOptions;
use crate::error::ExecuteError;
use crate::layers;
use crate::sandbox::FileMount;
use crate::sandbox::Identity;
use crate::sandbox::Mount;
use crate::sandbox::MountSource;
use crate::sandbox::Upper;
use crate::ssh::Access;
use crate::ssh::Forward;
use crate::view::ViewKind;
use crate::view::resolve;

/// How often a cache mount that is in use is looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// The mounts of one step. Dropped when the step has ended: then locks are let go, sockets closed, writes thrown away.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// Secrets.
    pub(super) files: Vec<FileMount>,
    /// Added to the environment; wins over what is there.
    pub(super) env: Vec<(String, String)>,
    /// The step could get hold of a secret, so its layer has to be searched.
    pub(super) sees_secrets: bool,
    forwards: Vec<Forward>,
    claims: Vec<Claim>,
    thrown_away: Vec<ActiveLayer>,
}

/// A cache mount's directory and its lock, by its hash.
type Caches = BTreeMap<String, PathBuf>;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// Gets everything ready. Secrets and agents come first: their absence is known at once, a lock may take long.
    pub(super) fn mount(
        &self,
        id: VertexId,
        exec: &Exec,
        inputs: &[State],
        canceler: &Canceler,
    ) -> Result<Mounted, ExecuteError> {
        let mut mounted = Mounted::default();
        for mount in &exec.mounts {
            match mount {
                ExecMount::Secret(secret) => self.mount_secret(secret, &mut mounted)?,
                ExecMount::Ssh(ssh) => self.mount_ssh(ssh, exec, &mut mounted)?,
                ExecMount::Bind(_) | ExecMount::Cache(_) | ExecMount::Tmpfs(_) => {}
            }
        }
        let caches = self.lock_caches(id, exec, inputs, canceler, &mut mounted)?;
        for mount in &exec.mounts {
            match mount {
                ExecMount::Bind(bind) => self.mount_bind(id, bind, inputs, &mut mounted)?,
                ExecMount::Cache(cache) => {
                    let source = caches.get(&mount_hash(&cache.id)).cloned().ok_or(ExecuteError::Canceled)?;
                    let subpath = relative(&cache.subpath);
                    mounted.sees_secrets |= !self.shared.config.secrets.is_empty();
                    let source = MountSource::Bind { source, subpath, read_only: cache.read_only };
                    mounted.mounts.push(Mount { target: absolute(&cache.target), source });
                }
                ExecMount::Tmpfs(tmpfs) => {
                    let source = MountSource::Tmpfs { size: tmpfs.size, mode: 0o1777, executable: true };
                    mounted.mounts.push(Mount { target: absolute(&tmpfs.target), source });
                }
                ExecMount::Secret(_) | ExecMount::Ssh(_) => {}
            }
        }
        Ok(mounted)
    }

    fn mount_secret(&self, secret: &SecretMount, mounted: &mut Mounted) -> Result<(), ExecuteError> {
        let SecretMount { id, target, env, required, mode, uid, gid } = secret;
        let Some(value) = self.shared.config.secrets.get(id) else {
            if *required {
                return Err(ExecuteError::SecretMissing { id: id.clone() });
            }
            // Set, as BuildKit has it: a script that runs with `set -u` may look at it.
            mounted.env.extend(env.iter().map(|name| (name.clone(), String::new())));
            return Ok(());
        };
        mounted.sees_secrets = true;
        if let Some(target) = target {
            let (uid, gid) = self.owner(*uid, *gid).unwrap_or((0, 0));
            let target = absolute(target);
            mounted.files.push(FileMount { target, body: value.to_vec(), mode: *mode, uid, gid });
        }
        if let Some(name) = env {
            let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| ExecuteError::SecretNotText { id: id.clone() })?;
            mounted.env.push((name.clone(), text.to_owned()));
        }
        Ok(())
    }

    fn mount_ssh(&self, ssh: &SshMount, exec: &Exec, mounted: &mut Mounted) -> Result<(), ExecuteError> {
        let SshMount { id, target, required, mode, uid, gid } = ssh;
        let Some(agent) = self.shared.config.agents.socket(id) else {
            return if *required { Err(ExecuteError::AgentMissing { id: id.clone() }) } else { Ok(()) };
        };
        let directory = self.shared.store.scratch()?;
        let access = Access { mode: *mode, owner: self.owner(*uid, *gid) };
        let forward = Forward::start(&directory, agent, access)?;
        let source =
            MountSource::Bind { source: forward.socket().to_owned(), subpath: PathBuf::new(), read_only: false };
        mounted.mounts.push(Mount { target: absolute(target), source });
        let is_set = exec.env.iter().chain(&mounted.env).any(|(name, _)| name == "SSH_AUTH_SOCK");
        if !is_set {
            mounted.env.push(("SSH_AUTH_SOCK".to_owned(), target.to_string()));
        }
        mounted.forwards.push(forward);
        Ok(())
    }

    /// The owner as far as the disk can tell.
    fn owner(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        (self.shared.config.identity != Identity::SingleId).then_some((uid, gid))
    }

    fn mount_bind(
        &self,
        id: VertexId,
        bind: &BindMount,
        inputs: &[State],
        mounted: &mut Mounted,
    ) -> Result<(), ExecuteError> {
        let view = self.copy_view(&bind.from.from, inputs)?;
        let source = view.as_source();
        let (real, node) = resolve(source.view, &bind.from.source, true)?;
        let Some(node) = node else {
            return Err(ExecuteError::MountSource { path: bind.from.source.clone(), reason: "it is not there" });
        };
        let (lowers, subpath) = match &bind.from.from {
            CopyFrom::Input(index) => {
                let state = inputs.get(index.0).ok_or(ExecuteError::LayerMissing)?;
                (self.shared.layers.directories(&state.layers)?, relative(&real))
            }
            CopyFrom::Context(_) => {
                // A copy of what was hashed: what is ignored is not there, and what changes meanwhile does not show.
                let active = self.shared.store.layers().create()?;
                self.copy_into(id, &bind.from, inputs, active.directory())?;
                let lower = active.directory().to_owned();
                mounted.thrown_away.push(active);
                let name = if node.kind == ViewKind::Directory { None } else { bind.from.source.file_name() };
                (vec![lower], name.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name))).unwrap_or_default())
            }
        };
        let lowers = if lowers.is_empty() {
            // An image without layers.
            let active = self.shared.store.layers().create()?;
            let lower = active.directory().to_owned();
            mounted.thrown_away.push(active);
            vec![lower]
        } else {
            lowers
        };
        let upper = if bind.read_write {
            let active = self.shared.store.layers().create()?;
            if matches!(bind.from.from, CopyFrom::Input(_)) {
                layers::prepare::prepare(active.directory(), source.view, self.shared.layers.mode())?;
            }
            let upper = Upper { upper: active.directory().to_owned(), work: active.work().to_owned() };
            mounted.thrown_away.push(active);
            Some(upper)
        } else {
            None
        };
        let source = MountSource::Overlay { lowers, upper, subpath };
        mounted.mounts.push(Mount { target: absolute(&bind.target), source });
        Ok(())
    }

    /// Copies a file or what a directory holds to the top of an empty layer directory.
    fn copy_into(
        &self,
        id: VertexId,
        content: &MountContent,
        inputs: &[State],
        directory: &Path,
    ) -> Result<(), ExecuteError> {
        let view = self.copy_view(&content.from, inputs)?;
        let lower = self.view(&State { id: StateId::scratch(), layers: Vec::new() })?;
        let action = FileAction::Copy(CopyAction {
            from: content.from.clone(),
            selector: content.selection().selector,
            destination: Destination { path: ImagePath::root(), is_directory: true },
            owner: None,
            mode: None,
            unpack: Some(false),
        });
        let opened = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open", directory, errno.into()))?;
        let options = ApplyOptions { mode: self.shared.layers.mode(), time: Timestamp::FIXED };
        let operation = FileOp { actions: vec![action] };
        let applied = copy::apply(&operation, &[Some(view.as_source())], lower.as_ref(), opened.as_fd(), &options)?;
        self.tell(id, &applied.notes);
        Ok(())
    }

    /// Locks the cache mounts of a step, always in the same order, so that two steps never wait for each other. One that the step
    /// mounts twice is locked once.
    fn lock_caches(
        &self,
        id: VertexId,
        exec: &Exec,
        inputs: &[State],
        canceler: &Canceler,
        mounted: &mut Mounted,
    ) -> Result<Caches, ExecuteError> {
        let mut wanted: BTreeMap<String, &CacheMount> = BTreeMap::new();
        for mount in &exec.mounts {
            if let ExecMount::Cache(cache) = mount {
                let entry = wanted.entry(mount_hash(&cache.id)).or_insert(cache);
                if entry.sharing == Sharing::Shared {
                    *entry = cache;
                }
            }
        }
        let mut caches = Caches::new();
        for (hash, cache) in wanted {
            let (claim, number) = self.lock_cache(id, &hash, cache, canceler)?;
            mounted.claims.push(claim);
            let directory = self.shared.store.mounts().join(&hash).join(number.to_string());
            if !directory.is_dir() {
                self.make_cache(id, cache, inputs, &directory)?;
            }
            self.shared.store.cache_mounts().touch(&hash)?;
            caches.insert(hash, directory);
        }
        Ok(caches)
    }

    fn lock_cache(
        &self,
        vertex: VertexId,
        hash: &str,
        cache: &CacheMount,
        canceler: &Canceler,
    ) -> Result<(Claim, usize), ExecuteError> {
        let store = &self.shared.store;
        let mut waits = false;
        loop {
            let name = |number: usize| mount_claim(hash, number);
            match cache.sharing {
                Sharing::Shared => {
                    if let Some(claim) = store.try_share_name(&name(0))? {
                        return Ok((claim, 0));
                    }
                }
                Sharing::Locked => {
                    if let Some(claim) = store.try_claim_name(&name(0))? {
                        return Ok((claim, 0));
                    }
                }
                Sharing::Private => {
                    for number in 0.. {
                        if let Some(claim) = store.try_claim_name(&name(number))? {
                            return Ok((claim, number));
                        }
                    }
                }
            }
            if !std::mem::replace(&mut waits, true) {
                let line = format!("waiting for the cache mount `{}`: another step uses it\n", cache.id);
                let event = Event::Log { stream: Stream::Stderr, bytes: line.as_bytes() };
                self.shared.reporter.on_event(vertex, event);
            }
            if canceler.is_canceled() {
                return Err(ExecuteError::Canceled);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Makes a cache mount's directory with its first content. It appears whole or not at all; who is second uses the first one's.
    fn make_cache(&self, id: VertexId, cache: &CacheMount, inputs: &[State], place: &Path) -> Result<(), ExecuteError> {
        let active = self.shared.store.layers().create()?;
        let made = active.directory();
        if let Some(content) = &cache.initial {
            let view = self.copy_view(&content.from, inputs)?;
            let (_, node) = resolve(view.as_source().view, &content.source, true)?;
            if node.is_none_or(|node| node.kind != ViewKind::Directory) {
                let reason = "a cache mount can only begin with a directory";
                return Err(ExecuteError::MountSource { path: content.source.clone(), reason });
            }
            self.copy_into(id, content, inputs, made)?;
        }
        if let Some((uid, gid)) = self.owner(cache.uid, cache.gid) {
            std::os::unix::fs::chown(made, Some(uid), Some(gid))
                .map_err(|source| failed("change the owner of", made, source))?;
        }
        std::fs::set_permissions(made, std::fs::Permissions::from_mode(cache.mode))
            .map_err(|source| failed("change the mode of", made, source))?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
            // For people: which cache it is.
            let note = parent.join("id");
            std::fs::write(&note, &cache.id).map_err(|source| failed("write", &note, source))?;
        }
        match rustix::fs::renameat_with(CWD, made, CWD, place, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("create", place, errno.into())),
        }
    }
}

fn absolute(path: &ImagePath) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

fn relative(path: &ImagePath) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.relative()))
}

fn failed(verb: &'static str, path: &Path, source: std::io::Error) -> ExecuteError {
    ExecuteError::Io { verb, path: path.to_owned(), source }
}
