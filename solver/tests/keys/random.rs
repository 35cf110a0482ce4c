//! Random vertices. Few values for each field, so that equal vertices are met too.

use bld_cache::key::CacheKey;
use bld_cache::record::StateId;
use bld_oci::Digest;
use bld_oci::ImagePath;
use bld_oci::platform::Platform;
use bld_solver::graph::Vertex;
use bld_solver::keys;
use bld_solver::op::BindMount;
use bld_solver::op::CacheMount;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::Exec;
use bld_solver::op::ExecMount;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::InputIndex;
use bld_solver::op::Mkdir;
use bld_solver::op::Mkfile;
use bld_solver::op::ModeChange;
use bld_solver::op::MountContent;
use bld_solver::op::NetworkMode;
use bld_solver::op::Op;
use bld_solver::op::Owner;
use bld_solver::op::Script;
use bld_solver::op::SecretMount;
use bld_solver::op::SecurityMode;
use bld_solver::op::Selector;
use bld_solver::op::Sharing;
use bld_solver::op::Source;
use bld_solver::op::SshMount;
use bld_solver::op::TmpfsMount;
use bld_solver::remote::GitSource;
use bld_solver::remote::HttpSource;
use bld_solver::remote::RemoteUrl;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::case::Case;
use super::case::DIGESTS;
use crate::fake::layer;

/// The same vertices in every run.
pub(super) fn cases(count: usize) -> impl Iterator<Item = Case> {
    let mut runner = TestRunner::deterministic();
    let strategy = case();
    (0..count).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

fn case() -> impl Strategy<Value = Case> {
    let state = select(vec![StateId::scratch(), StateId::scratch().push(&[1; 32])]);
    let inputs = prop::collection::vec((key(), state), 0..4);
    let digest = select(vec![[1; 32], [2; 32]]);
    let digests = prop::collection::vec(digest, DIGESTS).prop_map(|digests| digests.try_into().unwrap());
    (op(), inputs, digests).prop_map(|(op, inputs, digests)| {
        let vertex = Vertex::new(op, "RUN make".to_owned());
        Case { vertex, inputs, digests }
    })
}

fn key() -> impl Strategy<Value = CacheKey> {
    any::<bool>().prop_map(|one| {
        let none: &[CacheKey] = &[];
        let first = keys::definition_key(&Op::Merge, none, &[]).0;
        if one { first } else { keys::definition_key(&Op::Merge, &[first], &[]).0 }
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => exec().prop_map(Op::Exec),
        4 => prop::collection::vec(action(), 0..4).prop_map(|actions| Op::File(FileOp { actions })),
        2 => source().prop_map(Op::Source),
        1 => Just(Op::Merge),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let layers = prop::collection::vec(word().prop_map(|name| layer(&name)), 0..3);
    let url = || word().prop_map(|path| RemoteUrl::new(format!("https://user:password@host.test/{path}")));
    let checksum = prop::option::of(word().prop_map(|text| Digest::of(text.as_bytes())));
    let http = (url(), checksum, word()).prop_map(|(url, checksum, name)| HttpSource { url, checksum, name });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let git = (url(), prop::option::of(word()), prop::option::of(word()), word(), flags).prop_map(
        |(remote, reference, checksum, subdirectory, (submodules, keep_git_dir, commit_time))| GitSource {
            remote,
            reference,
            checksum,
            subdirectory,
            submodules,
            keep_git_dir,
            commit_time,
        },
    );
    prop_oneof![
        layers.prop_map(|layers| Source::Image { layers }),
        word().prop_map(|context| Source::Local { context }),
        http.prop_map(Source::Http),
        git.prop_map(Source::Git),
    ]
}

fn exec() -> impl Strategy<Value = Exec> {
    let network = select(vec![NetworkMode::Default, NetworkMode::None, NetworkMode::Host]);
    let security = select(vec![SecurityMode::Sandbox, SecurityMode::Insecure]);
    let script = prop::option::of((path(), word()).prop_map(|(path, body)| Script { path, body }));
    let mounts = prop::collection::vec(mount(), 0..4);
    let first = (words(), pairs(), pairs(), path(), word(), network, security, mounts);
    let second = (word(), pairs(), script, prop::option::of(0_u64..2), platform());
    (first, second).prop_map(
        |(
            (args, env, unkeyed_env, cwd, user, network, security, mounts),
            (hostname, extra_hosts, script, shm_size, platform),
        )| Exec {
            args,
            env,
            unkeyed_env,
            cwd,
            user,
            network,
            security,
            mounts,
            hostname,
            extra_hosts,
            script,
            shm_size,
            platform,
        },
    )
}

fn mount() -> impl Strategy<Value = ExecMount> {
    let bind = (path(), content(), any::<bool>())
        .prop_map(|(target, from, read_write)| ExecMount::Bind(BindMount { target, from, read_write }));
    let sharing = select(vec![Sharing::Shared, Sharing::Private, Sharing::Locked]);
    let initial = prop::option::of(content());
    let cache = (path(), word(), sharing, initial, path(), owned(), any::<bool>()).prop_map(
        |(target, id, sharing, initial, subpath, (mode, uid, gid), read_only)| {
            ExecMount::Cache(CacheMount { target, id, sharing, initial, subpath, mode, uid, gid, read_only })
        },
    );
    let tmpfs =
        (path(), prop::option::of(0_u64..3)).prop_map(|(target, size)| ExecMount::Tmpfs(TmpfsMount { target, size }));
    let secret = (word(), prop::option::of(path()), prop::option::of(word()), any::<bool>(), owned()).prop_map(
        |(id, target, env, required, (mode, uid, gid))| {
            ExecMount::Secret(SecretMount { id, target, env, required, mode, uid, gid })
        },
    );
    let ssh = (word(), path(), any::<bool>(), owned()).prop_map(|(id, target, required, (mode, uid, gid))| {
        ExecMount::Ssh(SshMount { id, target, required, mode, uid, gid })
    });
    prop_oneof![bind, cache, tmpfs, secret, ssh]
}

fn action() -> impl Strategy<Value = FileAction> {
    let selector = (words(), words(), any::<bool>(), word()).prop_map(|(sources, exclude, parents, tree)| Selector {
        sources,
        exclude,
        parents,
        tree,
    });
    let unpack = prop::option::of(any::<bool>());
    let copy = (tree(), selector, destination(), owner(), mode(), unpack).prop_map(
        |(from, selector, destination, owner, mode, unpack)| {
            FileAction::Copy(CopyAction { from, selector, destination, owner, mode, unpack })
        },
    );
    let mkfile = (word(), destination(), word(), mode(), owner()).prop_map(|(name, destination, body, mode, owner)| {
        FileAction::Mkfile(Mkfile { name, destination, body: body.into_bytes(), mode, owner })
    });
    let mkdir = (path(), owner()).prop_map(|(path, owner)| FileAction::Mkdir(Mkdir { path, owner }));
    prop_oneof![copy, mkfile, mkdir]
}

fn word() -> impl Strategy<Value = String> {
    select(vec!["", "a", "b", "ab", "a b"]).prop_map(str::to_owned)
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 0..3)
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((word(), word()), 0..2)
}

fn path() -> impl Strategy<Value = ImagePath> {
    word().prop_map(ImagePath::new)
}

fn tree() -> impl Strategy<Value = CopyFrom> {
    prop_oneof![word().prop_map(CopyFrom::Context), (0_usize..3).prop_map(|index| CopyFrom::Input(InputIndex(index)))]
}

fn content() -> impl Strategy<Value = MountContent> {
    (tree(), path()).prop_map(|(from, source)| MountContent { from, source })
}

/// Mode, user and group.
fn owned() -> impl Strategy<Value = (u32, u32, u32)> {
    (select(vec![0o400, 0o755]), 0_u32..2, select(vec![0, 12]))
}

fn owner() -> impl Strategy<Value = Option<Owner>> {
    prop::option::of((word(), prop::option::of(word())).prop_map(|(user, group)| Owner { user, group }))
}

fn mode() -> impl Strategy<Value = Option<ModeChange>> {
    prop::option::of(prop_oneof![
        (0_u32..3).prop_map(ModeChange::Absolute),
        select(vec!["0000", "u+x"]).prop_map(|text| ModeChange::Symbolic(text.to_owned()))
    ])
}

fn destination() -> impl Strategy<Value = Destination> {
    (path(), any::<bool>()).prop_map(|(path, is_directory)| Destination { path, is_directory })
}

fn platform() -> impl Strategy<Value = Platform> {
    (word(), word(), prop::option::of(word())).prop_map(|(os, architecture, variant)| Platform {
        os,
        architecture,
        variant,
    })
}
