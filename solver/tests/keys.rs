//! Keys: their format is fixed by a golden file, their meaning by a property.

use std::fmt::Write as _;

use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_oci::image::ImageLayer;
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
use proptest::prelude::*;
use proptest::sample::select;

use crate::fake::layer;
use crate::golden;

fn example_exec() -> Exec {
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

fn example_copy(from: CopyFrom) -> CopyAction {
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
fn example_mounts() -> Vec<ExecMount> {
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

fn remote(url: &str) -> Op {
    match Remote::parse(url) {
        Ok(Some(Remote::Http(http))) => Op::Source(Source::Http(http)),
        Ok(Some(Remote::Git(git))) => Op::Source(Source::Git(git)),
        other => panic!("{url} is {other:?}"),
    }
}

/// One of each operation, with how many inputs it has.
fn examples() -> Vec<(&'static str, Op, usize)> {
    let script = Script { path: ImagePath::new("/dev/pipes/EOF"), body: "#!/bin/python\n".to_owned() };
    let mkfile = Mkfile {
        name: "EOF".to_owned(),
        destination: Destination { path: ImagePath::new("/etc/motd"), is_directory: false },
        body: b"hello\n".to_vec(),
        mode: Some(ModeChange::Absolute(0o644)),
        owner: None,
    };
    let file = |action| Op::File(FileOp { actions: vec![action] });
    vec![
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
    ]
}

#[test]
fn formats_are_what_they_were() {
    let (input, _) = keys::definition_key(&Op::Merge, &[], &[]);
    let mut text = String::new();
    for (name, op, inputs) in examples() {
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

#[test]
fn an_input_that_is_only_copied_from_enters_by_its_files() {
    let op = Op::File(FileOp { actions: vec![FileAction::Copy(example_copy(CopyFrom::Input(InputIndex(1))))] });
    let (one, two) = (StateId::scratch(), StateId::scratch().push(&[1; 32]));
    let key = |base, from, digest| keys::content_key(&op, &[base, from], &[digest]).0;
    assert_eq!(key(one, one, [1; 32]), key(one, two, [1; 32]));
    assert_ne!(key(one, one, [1; 32]), key(one, one, [2; 32]));
    assert_ne!(key(one, one, [1; 32]), key(two, one, [1; 32]));
}

#[test]
fn a_tree_that_is_only_mounted_enters_by_its_files() {
    let mut exec = example_exec();
    exec.mounts = example_mounts().drain(1..2).collect();
    let op = Op::Exec(exec.clone());
    let (one, two) = (StateId::scratch(), StateId::scratch().push(&[1; 32]));
    let key = |base, from, digest| keys::content_key(&op, &[base, from], &[digest]).0;
    assert_eq!(key(one, one, [1; 32]), key(one, two, [1; 32]));
    assert_ne!(key(one, one, [1; 32]), key(one, one, [2; 32]));
    assert_ne!(key(one, one, [1; 32]), key(two, one, [1; 32]));
    // Before the input is known, another part of it is another step.
    let input = keys::definition_key(&Op::Merge, &[], &[]).0;
    let definition = |op: &Op| keys::definition_key(op, &[input, input], &[None]).0;
    exec.mounts.iter_mut().for_each(changed_mount);
    assert_ne!(definition(&op), definition(&Op::Exec(exec)));
}

#[test]
fn a_mounted_path_is_no_pattern() {
    for (path, source) in [("/", "/"), ("/a/b\\c", "/a/b\\c"), ("/a\\b/c*[d]?/e\\f", "/a\\b/c[*][[]d][?]/e\\\\f")] {
        let content = MountContent { from: CopyFrom::Context("context".to_owned()), source: ImagePath::new(path) };
        assert_eq!(content.selection().selector.sources, [source]);
    }
}

#[test]
fn definition_and_content_keys_never_meet() {
    for (_, op, _) in examples() {
        let digests = vec![[7; 32]; keys::selections(&op).len()];
        let known = digests.iter().copied().map(Some).collect::<Vec<_>>();
        assert_ne!(keys::definition_key(&op, &[], &known).0, keys::content_key(&op, &[], &digests).0);
    }
}

/// Few values, so that equal ones are met often.
fn word() -> impl Strategy<Value = String> {
    select(vec!["", "a", "b", "ab", "a b"]).prop_map(str::to_owned)
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 0..3)
}

fn path() -> impl Strategy<Value = ImagePath> {
    word().prop_map(ImagePath::new)
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((word(), word()), 0..2)
}

fn owner() -> impl Strategy<Value = Option<Owner>> {
    prop::option::of((word(), prop::option::of(word())).prop_map(|(user, group)| Owner { user, group }))
}

fn mode() -> impl Strategy<Value = ModeChange> {
    prop_oneof![
        (0_u32..3).prop_map(ModeChange::Absolute),
        select(vec!["0", "u+x"]).prop_map(|text| ModeChange::Symbolic(text.to_owned()))
    ]
}

fn destination() -> impl Strategy<Value = Destination> {
    (path(), any::<bool>()).prop_map(|(path, is_directory)| Destination { path, is_directory })
}

fn exec_op() -> impl Strategy<Value = Op> {
    let network = select(vec![NetworkMode::Default, NetworkMode::None, NetworkMode::Host]);
    let script = prop::option::of((path(), word()).prop_map(|(path, body)| Script { path, body }));
    let platform = (word(), word(), prop::option::of(word())).prop_map(|(os, architecture, variant)| Platform {
        os,
        architecture,
        variant,
    });
    let security = select(vec![SecurityMode::Sandbox, SecurityMode::Insecure]);
    let mounts = prop::sample::subsequence(example_mounts(), 0..=6);
    let first = (words(), pairs(), pairs(), path(), word(), network, security, mounts);
    let second = (word(), pairs(), script, prop::option::of(0_u64..2), platform);
    (first, second).prop_map(
        |(
            (args, env, unkeyed_env, cwd, user, network, security, mounts),
            (hostname, extra_hosts, script, shm_size, platform),
        )| {
            Op::Exec(Exec {
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
            })
        },
    )
}

fn action() -> impl Strategy<Value = FileAction> {
    let from = prop_oneof![
        word().prop_map(CopyFrom::Context),
        (0_usize..2).prop_map(|index| CopyFrom::Input(InputIndex(index)))
    ];
    let selector = (words(), words(), any::<bool>()).prop_map(|(sources, exclude, parents)| Selector {
        sources,
        exclude,
        parents,
        tree: String::new(),
    });
    let copy = (from, selector, destination(), owner(), prop::option::of(mode()), prop::option::of(any::<bool>()))
        .prop_map(|(from, selector, destination, owner, mode, unpack)| {
            FileAction::Copy(CopyAction { from, selector, destination, owner, mode, unpack })
        });
    let mkfile = (word(), destination(), word(), prop::option::of(mode()), owner()).prop_map(
        |(name, destination, body, mode, owner)| {
            FileAction::Mkfile(Mkfile { name, destination, body: body.into_bytes(), mode, owner })
        },
    );
    let mkdir = (path(), owner()).prop_map(|(path, owner)| FileAction::Mkdir(Mkdir { path, owner }));
    prop_oneof![copy, mkfile, mkdir]
}

fn op() -> impl Strategy<Value = Op> {
    let layers = prop::collection::vec(word().prop_map(|name| layer(&name)), 0..3);
    prop_oneof![
        4 => exec_op(),
        4 => prop::collection::vec(action(), 0..3).prop_map(|actions| Op::File(FileOp { actions })),
        1 => layers.prop_map(|layers| Op::Source(Source::Image { layers })),
        1 => word().prop_map(|context| Op::Source(Source::Local { context })),
        1 => Just(Op::Merge),
    ]
}

/// The operation without what does not matter.
fn meaning(op: &Op) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Exec(exec) => {
            exec.unkeyed_env.clear();
            exec.shm_size = None;
            for (_, address) in &mut exec.extra_hosts {
                address.clear();
            }
            for mount in &mut exec.mounts {
                forget(mount);
            }
        }
        Op::Source(Source::Image { layers }) => {
            for ImageLayer { blob, .. } in layers {
                *blob = layer("").blob;
            }
        }
        Op::Source(Source::Local { context }) => context.clear(),
        Op::File(FileOp { actions }) => {
            for action in actions {
                if let FileAction::Copy(CopyAction { from: CopyFrom::Context(name), .. }) = action {
                    name.clear();
                }
            }
        }
        Op::Source(Source::Http(_) | Source::Git(_)) | Op::Merge => {}
    }
    op
}

fn forget(mount: &mut ExecMount) {
    let content = match mount {
        ExecMount::Bind(bind) => Some(&mut bind.from),
        ExecMount::Cache(cache) => {
            cache.id.clear();
            cache.sharing = Sharing::Shared;
            cache.initial.as_mut()
        }
        ExecMount::Tmpfs(_) | ExecMount::Secret(_) | ExecMount::Ssh(_) => None,
    };
    if let Some(MountContent { from: CopyFrom::Context(name), source }) = content {
        name.clear();
        *source = ImagePath::root();
    }
}

fn changed_mount(mount: &mut ExecMount) {
    match mount {
        ExecMount::Bind(bind) => bind.from.source = bind.from.source.join("x"),
        ExecMount::Cache(cache) => cache.id.push('x'),
        ExecMount::Tmpfs(tmpfs) => tmpfs.size = None,
        ExecMount::Secret(secret) => secret.id.push('x'),
        ExecMount::Ssh(ssh) => ssh.required = !ssh.required,
    }
}

/// Changes one thing of an operation, sometimes one that does not matter.
fn changed(op: &Op, what: usize) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Exec(exec) => match what {
            0 => exec.args.push(String::new()),
            1 => exec.env.push(("x".to_owned(), String::new())),
            2 => exec.unkeyed_env.push(("x".to_owned(), String::new())),
            3 => exec.shm_size = Some(77),
            4 => exec.extra_hosts.push(("x".to_owned(), "y".to_owned())),
            5 => exec.hostname.push('x'),
            6 => exec.platform.variant = Some("v9".to_owned()),
            7 => exec.user.push('x'),
            8 => exec.cwd = exec.cwd.join("x"),
            10 => exec.security = SecurityMode::Insecure,
            11 => exec.mounts.first_mut().into_iter().for_each(changed_mount),
            12 => exec.mounts.last_mut().into_iter().for_each(changed_mount),
            _ => {
                if let Some((_, address)) = exec.extra_hosts.first_mut() {
                    address.push('x');
                }
            }
        },
        Op::File(FileOp { actions }) => match actions.first_mut() {
            Some(FileAction::Copy(copy)) => match what {
                0 => copy.selector.sources.push("x".to_owned()),
                1 => copy.selector.exclude.push("x".to_owned()),
                2 => copy.selector.parents = !copy.selector.parents,
                3 => copy.destination.is_directory = !copy.destination.is_directory,
                4 => copy.owner = Some(Owner { user: "x".to_owned(), group: None }),
                5 => copy.mode = None,
                6 => copy.unpack = None,
                7 => copy.from = CopyFrom::Context("x".to_owned()),
                _ => copy.destination.path = copy.destination.path.join("x"),
            },
            Some(FileAction::Mkfile(file)) => file.body.push(b'x'),
            Some(FileAction::Mkdir(directory)) => directory.path = directory.path.join("x"),
            None => {}
        },
        Op::Source(Source::Image { layers }) => layers.push(layer("x")),
        Op::Source(Source::Local { context }) => context.push('x'),
        Op::Source(Source::Http(_) | Source::Git(_)) | Op::Merge => {}
    }
    op
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_meaning_is_equal_key(one in op(), other in op(), what in 0_usize..13) {
        for other in [&other, &one, &changed(&one, what)] {
            let digests = |op: &Op| vec![[7; 32]; keys::selections(op).len()];
            let known = |op: &Op| digests(op).into_iter().map(Some).collect::<Vec<_>>();
            let same = meaning(&one) == meaning(other);
            let definition = keys::definition_key(&one, &[], &known(&one)).0 == keys::definition_key(other, &[], &known(other)).0;
            let content = keys::content_key(&one, &[], &digests(&one)).0 == keys::content_key(other, &[], &digests(other)).0;
            prop_assert_eq!(same, definition);
            prop_assert_eq!(same, content);
        }
    }
}
