//! The rules of destinations as a table, digests, and real layer directories with something outside that must not change.

mod disk;
mod keys;

use std::os::fd::AsFd;

use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::Mkdir;
use bld_solver::op::Mkfile;
use bld_solver::op::ModeChange;
use bld_solver::op::Owner;
use bld_solver::op::Selector;

use super::apply::ApplyOptions;
use super::apply::plan;
use super::error::CopyError;
use super::error::Note;
use super::memory::MemoryTree;
use super::plan::Bytes;
use super::plan::Plan;
use super::plan::Planned;
use super::select::CopySource;
use crate::layers::LayerMode;
use crate::layers::OverlayFlavor;
use crate::layers::Ownership;
use crate::view::ViewKind;

const OPTIONS: ApplyOptions = ApplyOptions {
    mode: LayerMode { flavor: OverlayFlavor::Trusted, ownership: Ownership::Real },
    time: Timestamp::FIXED,
};

/// A COPY line: flags, sources, destination.
fn copy(line: &str) -> CopyAction {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let destination = words.pop().unwrap();
    let mut selector = Selector { sources: Vec::new(), exclude: Vec::new(), parents: false, tree: String::new() };
    let (mut owner, mut mode) = (None, None);
    for word in words {
        if let Some(pattern) = word.strip_prefix("--exclude=") {
            selector.exclude.push(pattern.to_owned());
        } else if let Some(value) = word.strip_prefix("--chown=") {
            let (user, group) = value.split_once(':').map_or((value, None), |(user, group)| (user, Some(group)));
            owner = Some(Owner { user: user.to_owned(), group: group.map(str::to_owned) });
        } else if let Some(value) = word.strip_prefix("--chmod=") {
            mode = Some(match u32::from_str_radix(value, 8) {
                Ok(octal) => ModeChange::Absolute(octal),
                Err(_) => ModeChange::Symbolic(value.to_owned()),
            });
        } else if word == "--parents" {
            selector.parents = true;
        } else {
            selector.sources.push(word.to_owned());
        }
    }
    let is_directory = destination.ends_with('/') || destination.ends_with("/.");
    let destination = Destination { path: ImagePath::new(destination), is_directory };
    let from = CopyFrom::Context("context".to_owned());
    CopyAction { from, selector, destination, owner, mode, unpack: Some(false) }
}

fn operation(actions: Vec<FileAction>) -> FileOp {
    FileOp { actions }
}

fn with_plan<T>(
    source: &MemoryTree,
    lower: &MemoryTree,
    actions: Vec<FileAction>,
    look: impl FnOnce(Result<Plan<'_>, CopyError>) -> T,
) -> T {
    let directory = tempfile::tempdir().unwrap();
    let layer = std::fs::File::open(directory.path()).unwrap();
    let sources = vec![Some(CopySource { view: source, exclusions: None }); actions.len()];
    look(plan(&operation(actions), &sources, lower, layer.as_fd(), &OPTIONS))
}

fn shown(plan: &Plan<'_>) -> String {
    let show = |(path, planned): (&ImagePath, &Planned)| {
        let name = String::from_utf8_lossy(path.relative()).into_owned();
        match planned {
            Planned::Directory { .. } => format!("{name}/"),
            Planned::File(inode) => match &plan.inodes[*inode].bytes {
                Bytes::View(_, from) => format!("{name}={}", String::from_utf8_lossy(from.relative())),
                Bytes::Memory(bytes) => format!("{name}={}", String::from_utf8_lossy(bytes)),
                Bytes::Spooled(number, _) => format!("{name}=#{number}"),
            },
            Planned::Other { kind: ViewKind::Symlink { target }, .. } => {
                format!("{name}>{}", String::from_utf8_lossy(target))
            }
            Planned::Other { .. } => format!("{name}|"),
        }
    };
    let nodes = plan.nodes.iter().filter(|(path, _)| !path.is_root());
    nodes.map(show).collect::<Vec<_>>().join(" ")
}

fn error_name(error: &CopyError) -> String {
    let debug = format!("{error:?}");
    debug.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned()
}

#[test]
fn destinations() {
    let table = include_str!("../../../testdata/copy.table");
    let mut rows = 0;
    let mut wrong = Vec::new();
    for (number, line) in table.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        // `|` also ends the name of a pipe: columns are set off by blanks.
        let padded = format!("{line} ");
        let columns: Vec<&str> = padded.split(" | ").map(str::trim).collect();
        let [source, line, lower, expected] = columns[..] else { panic!("line {}: four columns", number + 1) };
        let (source, lower) = (MemoryTree::new(source), MemoryTree::new(lower));
        let result = with_plan(&source, &lower, vec![FileAction::Copy(copy(line))], |plan| match plan {
            Ok(plan) => shown(&plan),
            Err(error) => format!("error {}", error_name(&error)),
        });
        if result != expected {
            wrong.push(format!("line {}: {line}: `{result}`, not `{expected}`", number + 1));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 60, "{rows} rows");
}

#[test]
fn later_actions_see_earlier_ones() {
    let source = MemoryTree::new("passwd=app:x:77:88::/:");
    let lower = MemoryTree::new("");
    let actions = vec![
        FileAction::Copy(copy("passwd /etc/")),
        FileAction::Mkdir(Mkdir {
            path: ImagePath::new("/w/x"),
            owner: Some(Owner { user: "app".to_owned(), group: None }),
        }),
        FileAction::Mkfile(Mkfile {
            name: "EOF".to_owned(),
            destination: Destination { path: ImagePath::new("/w/x"), is_directory: false },
            body: b"hi".to_vec(),
            mode: Some(ModeChange::Absolute(0o600)),
            owner: None,
        }),
        FileAction::Mkdir(Mkdir { path: ImagePath::new("/w"), owner: None }),
    ];
    with_plan(&source, &lower, actions, |plan| {
        let plan = plan.unwrap();
        assert_eq!(shown(&plan), "etc/ etc/passwd=passwd w/ w/x/ w/x/EOF=hi");
        let Some(Planned::Directory { metadata, .. }) = plan.nodes.get(&ImagePath::new("/w/x")) else { panic!() };
        assert_eq!((metadata.uid, metadata.gid, metadata.mode, metadata.mtime), (77, 88, 0o755, Timestamp::FIXED));
    });
}

#[test]
fn metadata_of_what_is_made_and_what_is_there() {
    let mut source = MemoryTree::new("d/e/f l>d/e/f");
    source.change("/d", |node| node.metadata.mode = 0o711);
    source.change("/d/e", |node| node.metadata.mode = 0o700);
    source.change("/d/e/f", |node| node.metadata.mode = 0o4755);
    let mut lower = MemoryTree::new("old/e/");
    lower.change("/old", |node| (node.metadata.mode, node.metadata.uid) = (0o1777, 5));
    let check = |line: &str, expected: &[(&str, u32, u32)]| {
        with_plan(&source, &lower, vec![FileAction::Copy(copy(line))], |plan| {
            let plan = plan.unwrap();
            for (path, mode, uid) in expected {
                let metadata = match &plan.nodes[&ImagePath::new(path)] {
                    Planned::Directory { metadata, .. } | Planned::Other { metadata, .. } => metadata,
                    Planned::File(inode) => &plan.inodes[*inode].metadata,
                };
                assert_eq!((metadata.mode, metadata.uid), (*mode, *uid), "{line}: {path}");
            }
        });
    };
    check("d /p/new", &[("/p", 0o755, 0), ("/p/new", 0o755, 0), ("/p/new/e/f", 0o4755, 0)]);
    check("d /old", &[("/old", 0o1777, 5), ("/old/e", 0o700, 0)]);
    check("--chown=9 d /p/new", &[("/p", 0o755, 9), ("/p/new", 0o755, 9), ("/p/new/e/f", 0o4755, 9)]);
    check("--chown=9 d /old", &[("/old", 0o1777, 5), ("/old/e", 0o700, 9)]);
    check("--chmod=640 d /p/new", &[("/p", 0o640, 0), ("/p/new/e", 0o640, 0), ("/p/new/e/f", 0o640, 0)]);
    check("--chmod=go+rX d /p/new", &[("/p", 0o755, 0), ("/p/new/e", 0o755, 0), ("/p/new/e/f", 0o4755, 0)]);
}

#[test]
fn missing_sources_are_explained() {
    let source = MemoryTree::new("package.json src/main.rs a passwd>/etc/passwd chain>src/mian.rs");
    let lower = MemoryTree::new("");
    let hint = |line: &str| {
        let mut copy = copy(line);
        copy.selector.tree = "stage `a`".to_owned();
        with_plan(&source, &lower, vec![FileAction::Copy(copy)], |plan| {
            let Err(error) = plan else { panic!("{line}") };
            (error.to_string(), error.hint())
        })
    };
    assert_eq!(
        hint("pakcage.json /x"),
        ("`/pakcage.json` not found in stage `a`".to_owned(), Some("did you mean `/package.json`?".to_owned()))
    );
    assert_eq!(hint("scr/main.rs /x").1.as_deref(), Some("did you mean `/src/main.rs`?"));
    assert_eq!(hint("b /x").1, None, "anything is like a name of one letter");
    for (line, link, target) in [("passwd /x", "/passwd", "/etc/passwd"), ("chain /x", "/chain", "src/mian.rs")] {
        let message = format!("`{link}` is a symbolic link to `{target}`, which is not in stage `a`");
        assert_eq!(hint(line), (message, None));
    }
    assert_eq!(hint("zzz /x").1, None);
    assert_eq!(hint("zz yyy /x/").0, "`/zz` not found in stage `a`; `/yyy` not found in stage `a`");
    assert_eq!(hint("--chown=bob package.json /x").0, "no user `bob` in the image's /etc/passwd");
}

#[test]
fn sources_missing_from_a_context_are_explained() {
    struct Nothing;
    impl crate::context::Exclusions for Nothing {
        fn excluded_by(&self, _: &ImagePath) -> Option<crate::context::Exclusion> {
            None
        }
    }
    let tree = MemoryTree::new("package.json link>/etc/passwd");
    let source = CopySource { view: &tree, exclusions: Some(&Nothing) };
    let told = |line: &str| {
        let Err(error) = super::select(source, &copy(line).selector) else { panic!("{line}") };
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let stay = "sources are relative to the build context and cannot leave it; use a wider context, or \
                `--build-context NAME=DIR` with `COPY --from=NAME`";
    assert_eq!(told("../x /x"), ("`../x` not found".to_owned(), stay.to_owned()));
    assert_eq!(told("a/../../x /x"), ("`a/../../x` not found".to_owned(), stay.to_owned()));
    assert_eq!(told("/etc/passwd /x"), ("`/etc/passwd` not found".to_owned(), stay.to_owned()));
    let both = format!("did you mean `package.json`? {stay}");
    assert_eq!(told("../pakage.json /x"), ("`../pakage.json` not found".to_owned(), both));
    let link = "`link` is a symbolic link to `/etc/passwd`, which is not in the build context";
    let inside = "copy what it points to into the build context; paths are relative to the build context, the last \
                  argument of `bld build`";
    assert_eq!(told("link x/../yyy /x/"), (format!("{link}; `x/../yyy` not found"), inside.to_owned()));
    assert_eq!(told("--parents link/x /x/").0, link);
}

#[test]
fn what_is_no_directory_is_named() {
    let (source, lower) = (MemoryTree::new("a"), MemoryTree::new("f"));
    with_plan(&source, &lower, vec![FileAction::Copy(copy("a /f/x"))], |plan| {
        let Err(error) = plan else { panic!() };
        assert_eq!(error.to_string(), "`/f` is a file in the image, not a directory");
    });
}

#[test]
fn patterns_without_a_match_are_noted() {
    let (source, lower) = (MemoryTree::new("a"), MemoryTree::new(""));
    with_plan(&source, &lower, vec![FileAction::Copy(copy("*.go /x/"))], |plan| {
        let expected = Note::NoMatch { pattern: "*.go".to_owned(), excluded: None };
        assert_eq!(plan.unwrap().notes, [expected]);
    });
}
