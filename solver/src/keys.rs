//! Cache keys of vertices.
//!
//! ```text
//! definition key = operation + definition keys of the inputs + digests of what it takes from contexts
//! content key    = operation + state ids of the inputs       + digests of what it takes from contexts and inputs
//! ```
//!
//! The definition key needs no result and so can be looked up before anything ran. The content key sees through a step that ran
//! again and made the same files, and through changes of files a COPY does not take: an input that is only copied from enters
//! by the digest of what is taken from it, never by its state.
//!
//! What an operation means enters its key; what it is called, where its Dockerfile line stands, proxies, addresses in
//! /etc/hosts and the size of /dev/shm do not. Neither do the name, the sharing and the content of a cache mount, nor the value of a
//! secret; a mounted tree enters by the digest of the part that is mounted.

use bld_cache::key::CacheKey;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::key::KeyPart;
use bld_cache::record::StateId;
use bld_oci::ChainId;
use bld_oci::ImagePath;

use crate::op::BindMount;
use crate::op::CacheMount;
use crate::op::CopyAction;
use crate::op::CopyFrom;
use crate::op::Destination;
use crate::op::Exec;
use crate::op::ExecMount;
use crate::op::FileAction;
use crate::op::FileOp;
use crate::op::Mkdir;
use crate::op::Mkfile;
use crate::op::ModeChange;
use crate::op::MountContent;
use crate::op::NetworkMode;
use crate::op::Op;
use crate::op::Owner;
use crate::op::SecretMount;
use crate::op::SecurityMode;
use crate::op::Selector;
use crate::op::Source;
use crate::op::SshMount;
use crate::op::TmpfsMount;

/// A part of a tree whose digest enters a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The tree.
    pub from: CopyFrom,
    /// The part.
    pub selector: Selector,
}

/// What an operation takes from trees, in the order [`definition_key`] and [`content_key`] want the digests.
pub fn selections(op: &Op) -> Vec<Selection> {
    match op {
        Op::Source(Source::Local { context }) => {
            let everything =
                Selector { sources: vec!["/".to_owned()], exclude: Vec::new(), parents: false, tree: String::new() };
            vec![Selection { from: CopyFrom::Context(context.clone()), selector: everything }]
        }
        Op::File(FileOp { actions }) => actions
            .iter()
            .filter_map(|action| match action {
                FileAction::Copy(copy) => Some(Selection { from: copy.from.clone(), selector: copy.selector.clone() }),
                FileAction::Mkfile(_) | FileAction::Mkdir(_) => None,
            })
            .collect(),
        Op::Exec(exec) => exec.mounts.iter().filter_map(mounted).map(MountContent::selection).collect(),
        Op::Source(Source::Image { .. } | Source::Http(_) | Source::Git(_)) | Op::Merge => Vec::new(),
    }
}

/// The tree a mount shows, or begins with.
fn mounted(mount: &ExecMount) -> Option<&MountContent> {
    match mount {
        ExecMount::Bind(bind) => Some(&bind.from),
        ExecMount::Cache(cache) => cache.initial.as_ref(),
        ExecMount::Tmpfs(_) | ExecMount::Secret(_) | ExecMount::Ssh(_) => None,
    }
}

impl MountContent {
    /// The same as a copy would ask for it: a path, never a pattern.
    pub fn selection(&self) -> Selection {
        // Classes and not escapes: an escape alone makes no pattern, and is then a letter like any other.
        let mut source = String::new();
        let mut is_pattern = false;
        for component in self.source.to_string().split('/').skip(1) {
            is_pattern |= component.contains(['*', '?', '[']);
            source.push('/');
            for letter in component.chars() {
                match letter {
                    '*' | '?' | '[' => source.extend(['[', letter, ']']),
                    '\\' if is_pattern => source.push_str("\\\\"),
                    _ => source.push(letter),
                }
            }
        }
        let selector = Selector { sources: vec![source], exclude: Vec::new(), parents: false, tree: String::new() };
        Selection { from: self.from.clone(), selector }
    }
}

/// The source whose pin enters the keys as their only digest.
pub fn pinned(op: &Op) -> Option<&Source> {
    match op {
        Op::Source(source) if source.is_remote() => Some(source),
        _ => None,
    }
}

/// A digest of what is done, whatever it is done on, and the parts it is made of: not of what the digests stand for.
pub fn operation(op: &Op, digests: &[Option<[u8; 32]>]) -> (CacheKey, Vec<KeyPart>) {
    let (operation, parts) = hash_op(op).finish();
    let hasher = KeyHasher::new(Domain("bld.operation.v1")).bytes("operation", operation.as_bytes());
    let (key, _) = digests.iter().copied().fold(hasher, add_digest).finish();
    (key, parts)
}

fn add_digest(hasher: KeyHasher, digest: Option<[u8; 32]>) -> KeyHasher {
    match digest {
        Some(digest) => hasher.bytes("content", &digest),
        None => hasher.text("content", "see input"),
    }
}

/// The key that needs no result. `inputs` are the inputs' definition keys; `digests` has an entry for each of [`selections`],
/// `None` for what is taken from an input, and one for what is [`pinned`].
pub fn definition_key(op: &Op, inputs: &[CacheKey], digests: &[Option<[u8; 32]>]) -> (CacheKey, Vec<KeyPart>) {
    let hasher = hash_op(op).text("by", "definition");
    let hasher = hasher.list("input", inputs.iter().map(CacheKey::as_bytes).map(hex));
    digests.iter().copied().fold(hasher, add_digest).finish()
}

/// The key by what the inputs hold. `inputs` are the inputs' state ids; `digests` has an entry for each of [`selections`].
pub fn content_key(op: &Op, inputs: &[StateId], digests: &[[u8; 32]]) -> (CacheKey, Vec<KeyPart>) {
    let states = inputs
        .iter()
        .enumerate()
        .map(|(position, state)| if is_only_copied_from(op, position) { String::new() } else { hex(state.as_bytes()) })
        .collect::<Vec<_>>();
    let hasher = hash_op(op).text("by", "content").list("input", states.iter());
    digests.iter().fold(hasher, |hasher, digest| hasher.bytes("content", digest)).finish()
}

fn is_only_copied_from(op: &Op, position: usize) -> bool {
    // Input 0 is what is written on or run in, even if something is copied from it too.
    matches!(op, Op::File(_) | Op::Exec(_)) && position > 0
}

fn hash_op(op: &Op) -> KeyHasher {
    match op {
        Op::Source(Source::Image { layers }) => {
            let chain = ChainId::of(layers.iter().map(|layer| layer.diff_id));
            let name = chain.map_or_else(|| "scratch".to_owned(), |chain| chain.digest().to_string());
            KeyHasher::new(Domain("bld.source.image.v1")).text("chain", &name)
        }
        // The name says nothing about the files: the digest of all of them does.
        Op::Source(Source::Local { .. }) => KeyHasher::new(Domain("bld.source.local.v1")),
        // Nor does a URL, which may hold secrets besides: the pin does.
        Op::Source(Source::Http(_)) => KeyHasher::new(Domain("bld.source.http.v1")),
        Op::Source(Source::Git(_)) => KeyHasher::new(Domain("bld.source.git.v1")),
        Op::Exec(exec) => hash_exec(exec),
        Op::File(file) => file
            .actions
            .iter()
            .fold(KeyHasher::new(Domain("bld.file.v1")).text("actions", &file.actions.len().to_string()), hash_action),
        Op::Merge => KeyHasher::new(Domain("bld.merge.v1")),
    }
}

fn hash_exec(exec: &Exec) -> KeyHasher {
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
    } = exec;
    let hasher = KeyHasher::new(Domain("bld.exec.v1"))
        .list("args", args.iter())
        .list("env", env.iter().map(|(name, value)| format!("{name}={value}")));
    let hasher = path(hasher, "cwd", cwd)
        .text("user", user)
        .text(
            "network",
            match network {
                NetworkMode::Default => "default",
                NetworkMode::None => "none",
                NetworkMode::Host => "host",
            },
        )
        .text(
            "security",
            match security {
                SecurityMode::Sandbox => "sandbox",
                SecurityMode::Insecure => "insecure",
            },
        )
        .text("hostname", hostname)
        .list("extra host", extra_hosts.iter().map(|(name, _)| name));
    let hasher = match script {
        None => hasher.text("script", "none"),
        Some(script) => {
            path(hasher.text("script", "file"), "script path", &script.path).text("script body", &script.body)
        }
    };
    mounts
        .iter()
        .fold(hasher.text("mounts", &mounts.len().to_string()), hash_mount)
        .text("os", &platform.os)
        .text("architecture", &platform.architecture)
        .list("variant", platform.variant.iter())
}

fn hash_mount(hasher: KeyHasher, mount: &ExecMount) -> KeyHasher {
    match mount {
        ExecMount::Bind(BindMount { target, from, read_write }) => {
            let hasher = path(hasher.text("mount", "bind"), "target", target).text("writable", flag(*read_write));
            content(hasher, Some(from))
        }
        ExecMount::Cache(CacheMount { target, id: _, sharing: _, initial, subpath, mode, uid, gid, read_only }) => {
            let hasher = content(path(hasher.text("mount", "cache"), "target", target), initial.as_ref());
            let hasher = path(hasher, "subpath", subpath).text("read-only", flag(*read_only));
            owned(hasher, *mode, *uid, *gid)
        }
        ExecMount::Tmpfs(TmpfsMount { target, size }) => {
            let hasher = path(hasher.text("mount", "tmpfs"), "target", target);
            hasher.list("size", size.iter().map(u64::to_string))
        }
        ExecMount::Secret(SecretMount { id, target, env, required, mode, uid, gid }) => {
            let hasher = hasher.text("mount", "secret").text("id", id);
            let hasher = hasher.list("target", target.iter().map(ImagePath::as_bytes)).list("variable", env.iter());
            owned(hasher.text("required", flag(*required)), *mode, *uid, *gid)
        }
        ExecMount::Ssh(SshMount { id, target, required, mode, uid, gid }) => {
            let hasher = path(hasher.text("mount", "ssh").text("id", id), "target", target);
            owned(hasher.text("required", flag(*required)), *mode, *uid, *gid)
        }
    }
}

fn content(hasher: KeyHasher, content: Option<&MountContent>) -> KeyHasher {
    match content {
        None => hasher.text("from", "nothing"),
        // Which part of a context it is does not matter: the digest says what is in it.
        Some(MountContent { from: CopyFrom::Context(_), source: _ }) => hasher.text("from", "context"),
        // The definition key has no digest of an input's files.
        Some(MountContent { from: CopyFrom::Input(index), source }) => {
            path(hasher.text("from", &format!("input {}", index.0)), "source", source)
        }
    }
}

fn owned(hasher: KeyHasher, mode: u32, uid: u32, gid: u32) -> KeyHasher {
    hasher.text("mode", &format!("{mode:04o}")).text("owner", &format!("{uid}:{gid}"))
}

fn hash_action(hasher: KeyHasher, action: &FileAction) -> KeyHasher {
    match action {
        FileAction::Copy(CopyAction { from, selector, destination: place, owner: by, mode, unpack }) => {
            let Selector { sources, exclude, parents, tree: _ } = selector;
            let hasher = hasher.text("action", "copy");
            let hasher = match from {
                // Owners become 0:0, so a context and an input are not the same; which context does not matter.
                CopyFrom::Context(_) => hasher.text("from", "context"),
                CopyFrom::Input(index) => hasher.text("from", &format!("input {}", index.0)),
            }
            .list("source", sources.iter())
            .list("exclude", exclude.iter())
            .text("parents", flag(*parents));
            let hasher = mode_change(owner(destination(hasher, place), by.as_ref()), mode.as_ref());
            hasher.text("unpack", unpack.map_or("archives", flag))
        }
        FileAction::Mkfile(Mkfile { name, destination: place, body, mode, owner: by }) => {
            let hasher = destination(hasher.text("action", "mkfile").text("name", name), place);
            owner(mode_change(hasher.list("body", std::iter::once(body)), mode.as_ref()), by.as_ref())
        }
        FileAction::Mkdir(Mkdir { path: place, owner: by }) => {
            owner(path(hasher.text("action", "mkdir"), "path", place), by.as_ref())
        }
    }
}

fn destination(hasher: KeyHasher, destination: &Destination) -> KeyHasher {
    path(hasher, "destination", &destination.path).text("is directory", flag(destination.is_directory))
}

fn owner(hasher: KeyHasher, owner: Option<&Owner>) -> KeyHasher {
    match owner {
        None => hasher.text("owner", "kept"),
        Some(Owner { user, group }) => hasher.text("owner", "given").text("user", user).list("group", group.iter()),
    }
}

fn mode_change(hasher: KeyHasher, mode: Option<&ModeChange>) -> KeyHasher {
    match mode {
        None => hasher.text("mode", "kept"),
        Some(ModeChange::Absolute(bits)) => hasher.text("mode", "octal").text("bits", &format!("{bits:04o}")),
        Some(ModeChange::Symbolic(text)) => hasher.text("mode", "symbolic").text("clauses", text),
    }
}

/// A list of one item: the only field that takes any bytes and shows them as text.
fn path(hasher: KeyHasher, name: &str, path: &ImagePath) -> KeyHasher {
    hasher.list(name, std::iter::once(path.as_bytes()))
}

fn flag(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn hex(bytes: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
