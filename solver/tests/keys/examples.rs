//! One of each operation, mount and action, and the keys they had from the beginning.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_oci::platform::Platform;
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
use bld_solver::remote::Remote;

use super::case::known_early;
use crate::fake::layer;
use crate::golden;

pub(super) fn example_exec() -> Exec {
    Exec {
        args: vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()],
        env: vec![("PATH".to_owned(), "/bin".to_owned()), ("A".to_owned(), "b".to_owned())],
        unkeyed_env: vec![("http_proxy".to_owned(), "http://proxy".to_owned())],
        cwd: ImagePath::new("/src"),
        user: "builder".to_owned(),
        network: NetworkMode::None,
        security: SecurityMode::Sandbox,
        mounts: Vec::new(),
        hostname: "buildkitsandbox".to_owned(),
        extra_hosts: vec![("db".to_owned(), "10.0.0.1".to_owned())],
        script: None,
        shm_size: Some(1 << 20),
        platform: Platform { os: "linux".to_owned(), architecture: "arm64".to_owned(), variant: Some("v8".to_owned()) },
    }
}

pub(super) fn example_copy(from: CopyFrom) -> CopyAction {
    CopyAction {
        from,
        selector: Selector {
            sources: vec!["a".to_owned(), "b/*".to_owned()],
            exclude: vec!["*.md".to_owned()],
            parents: true,
            tree: String::new(),
        },
        destination: Destination { path: ImagePath::new("/app"), is_directory: true },
        owner: Some(Owner { user: "1000".to_owned(), group: Some("staff".to_owned()) }),
        mode: Some(ModeChange::Symbolic("u=rwX".to_owned())),
        unpack: Some(false),
    }
}

/// One of each.
pub(super) fn example_mounts() -> Vec<ExecMount> {
    let at = |path: &str| ImagePath::new(path);
    let content = |from, path: &str| MountContent { from, source: at(path) };
    let main = CopyFrom::Context("context".to_owned());
    vec![
        ExecMount::Bind(BindMount { target: at("/src"), from: content(main, "/lib"), read_write: false }),
        ExecMount::Bind(BindMount {
            target: at("/tool"),
            from: content(CopyFrom::Input(InputIndex(1)), "/usr"),
            read_write: true,
        }),
        ExecMount::Cache(CacheMount {
            target: at("/root/.cache"),
            id: "go".to_owned(),
            sharing: Sharing::Locked,
            initial: None,
            subpath: ImagePath::root(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            read_only: false,
        }),
        ExecMount::Tmpfs(TmpfsMount { target: at("/tmp"), size: Some(1 << 20) }),
        ExecMount::Secret(SecretMount {
            id: "token".to_owned(),
            target: None,
            env: Some("TOKEN".to_owned()),
            required: true,
            mode: 0o400,
            uid: 0,
            gid: 0,
        }),
        ExecMount::Ssh(SshMount {
            id: "default".to_owned(),
            target: at("/run/buildkit/ssh_agent.0"),
            required: false,
            mode: 0o600,
            uid: 1000,
            gid: 1000,
        }),
    ]
}

pub(super) fn remote(url: &str) -> Op {
    match Remote::parse(url) {
        Ok(Some(Remote::Http(http))) => Op::Source(Source::Http(http)),
        Ok(Some(Remote::Git(git))) => Op::Source(Source::Git(git)),
        other => panic!("{url} is {other:?}"),
    }
}

/// One of each operation, with how many inputs it has.
pub(super) fn operations() -> Vec<(&'static str, Op, usize)> {
    let script = Script { path: ImagePath::new("/dev/pipes/EOF"), body: "#!/bin/python\n".to_owned() };
    let mkfile = Mkfile {
        name: "EOF".to_owned(),
        destination: Destination { path: ImagePath::new("/etc/motd"), is_directory: false },
        body: b"hello\n".to_vec(),
        mode: Some(ModeChange::Absolute(0o644)),
        owner: None,
    };
    let file = |action| Op::File(FileOp { actions: vec![action] });
    let mut operations = vec![
        ("image", Op::Source(Source::Image { layers: vec![layer("one"), layer("two")] }), 0),
        ("scratch", Op::Source(Source::Image { layers: Vec::new() }), 0),
        ("local", Op::Source(Source::Local { context: "src".to_owned() }), 0),
        ("http", remote("https://user:password@host.test/a.txt?token=secret"), 0),
        ("git", remote("https://user:password@host.test/a.git#main:sub"), 0),
        ("exec", Op::Exec(example_exec()), 1),
        ("exec with mounts", Op::Exec(Exec { mounts: example_mounts(), ..example_exec() }), 2),
        ("insecure exec", Op::Exec(Exec { security: SecurityMode::Insecure, ..example_exec() }), 1),
        ("exec with script", Op::Exec(Exec { script: Some(script), ..example_exec() }), 1),
        ("copy from context", file(FileAction::Copy(example_copy(CopyFrom::Context("context".to_owned())))), 1),
        ("copy from input", file(FileAction::Copy(example_copy(CopyFrom::Input(InputIndex(1))))), 2),
        ("mkfile", file(FileAction::Mkfile(mkfile)), 1),
        ("mkdir", file(FileAction::Mkdir(Mkdir { path: ImagePath::new("/app"), owner: None })), 1),
        ("merge", Op::Merge, 2),
    ];
    // Each mount by itself, and what no mount above has.
    for mount in example_mounts().into_iter().chain(more_mounts()) {
        let inputs = if matches!(known_early(&exec_with(&mount))[..], [false]) { 2 } else { 1 };
        operations.push((mount_name(&mount), exec_with(&mount), inputs));
    }
    let plain = CopyAction { owner: None, mode: None, unpack: None, ..example_copy(CopyFrom::Input(InputIndex(1))) };
    let mkdir = Mkdir { path: ImagePath::new("/app"), owner: Some(Owner { user: "app".to_owned(), group: None }) };
    let several = vec![
        FileAction::Copy(plain.clone()),
        FileAction::Copy(CopyAction { unpack: Some(true), mode: Some(ModeChange::Absolute(0o4755)), ..plain }),
        FileAction::Mkdir(mkdir),
    ];
    operations.push(("several actions", Op::File(FileOp { actions: several }), 2));
    operations
}

fn more_mounts() -> [ExecMount; 3] {
    let seed = MountContent { from: CopyFrom::Input(InputIndex(1)), source: ImagePath::new("/seed") };
    [
        ExecMount::Cache(CacheMount {
            target: ImagePath::new("/cache"),
            id: "seeded".to_owned(),
            sharing: Sharing::Private,
            initial: Some(seed),
            subpath: ImagePath::new("/part"),
            mode: 0o1777,
            uid: 1,
            gid: 2,
            read_only: true,
        }),
        ExecMount::Secret(SecretMount {
            id: "file".to_owned(),
            target: Some(ImagePath::new("/run/secrets/file")),
            env: None,
            required: false,
            mode: 0o440,
            uid: 1,
            gid: 2,
        }),
        ExecMount::Tmpfs(TmpfsMount { target: ImagePath::new("/tmp"), size: None }),
    ]
}

fn exec_with(mount: &ExecMount) -> Op {
    Op::Exec(Exec { mounts: vec![mount.clone()], ..example_exec() })
}

fn mount_name(mount: &ExecMount) -> &'static str {
    match mount {
        ExecMount::Bind(BindMount { from: MountContent { from: CopyFrom::Context(_), .. }, .. }) => "bind of a context",
        ExecMount::Bind(_) => "bind of an input",
        ExecMount::Cache(CacheMount { initial: None, .. }) => "cache",
        ExecMount::Cache(_) => "cache that begins with a tree",
        ExecMount::Tmpfs(TmpfsMount { size: None, .. }) => "tmpfs",
        ExecMount::Tmpfs(_) => "tmpfs of a size",
        ExecMount::Secret(SecretMount { target: None, .. }) => "secret in a variable",
        ExecMount::Secret(_) => "secret in a file",
        ExecMount::Ssh(_) => "ssh",
    }
}

/// What kinds of operations, sources, mounts and actions there are in an operation.
fn kinds(op: &Op) -> Vec<&'static str> {
    let mount = |mount: &ExecMount| match mount {
        ExecMount::Bind(_) => "bind",
        ExecMount::Cache(_) => "cache",
        ExecMount::Tmpfs(_) => "tmpfs",
        ExecMount::Secret(_) => "secret",
        ExecMount::Ssh(_) => "ssh",
    };
    let action = |action: &FileAction| match action {
        FileAction::Copy(_) => "copy",
        FileAction::Mkfile(_) => "mkfile",
        FileAction::Mkdir(_) => "mkdir",
    };
    match op {
        Op::Source(Source::Image { layers: _ }) => vec!["image"],
        Op::Source(Source::Local { context: _ }) => vec!["local"],
        Op::Source(Source::Http(_)) => vec!["http"],
        Op::Source(Source::Git(_)) => vec!["git"],
        Op::Exec(exec) => exec.mounts.iter().map(mount).chain(["exec"]).collect(),
        Op::File(file) => file.actions.iter().map(action).chain(["file"]).collect(),
        Op::Merge => vec!["merge"],
    }
}

#[test]
fn no_kind_is_without_an_example() {
    let found: BTreeSet<&str> = operations().iter().flat_map(|(_, op, _)| kinds(op)).collect();
    // As many as the arms of `kinds`.
    assert_eq!(found.len(), 15, "{found:?}");
}

#[test]
fn formats_are_what_they_were() {
    let (input, _) = keys::definition_key(&Op::Merge, &[], &[]);
    let mut text = String::new();
    for (name, op, inputs) in operations() {
        let pins = usize::from(keys::pinned(&op).is_some());
        let digests = vec![[7; 32]; keys::selections(&op).len() + pins];
        let taken = keys::selections(&op);
        let taken = taken.iter().map(|selection| matches!(selection.from, CopyFrom::Context(_)).then_some([7; 32]));
        let known = std::iter::repeat_n(Some([7; 32]), pins).chain(taken).collect::<Vec<_>>();
        for (by, (key, parts)) in [
            ("definition", keys::definition_key(&op, &vec![input; inputs], &known)),
            ("content", keys::content_key(&op, &vec![StateId::scratch(); inputs], &digests)),
        ] {
            writeln!(text, "{name}, {by}: {key}").unwrap();
            for part in parts {
                writeln!(text, "    {} = {:?}", part.name, part.value).unwrap();
            }
        }
    }
    golden::compare(&golden::testdata("keys.golden"), &text).unwrap();
}
