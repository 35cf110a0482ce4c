//! One commit is one context, wherever, by whom and with whatever umask it was checked out: with `--context-perms=git` every step is
//! known, and the image is the same.

mod permissions;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::rootless::user::User;
use crate::sources::repository::Repository;
use crate::sources::repository::git;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::progress::Outcome;
use crate::support::progress::Progress;

/// Everything that reads a context: directories, single files, links, an archive, a mount, a second context.
const DOCKERFILE: &str = "\
FROM busybox:1
WORKDIR /src
COPY . .
COPY bin/tool docs/guide.txt link /single/
ADD vendor.tar /vendor/
RUN --mount=type=bind,source=code,target=/code cat /code/*.c /code/deep/* > /all
RUN --mount=type=bind,source=bin/tool,target=/tool /tool > /tool.out
COPY --from=shared . /shared/
RUN stat -c '%a %u:%g %n' /src/* /src/code/* /single/* /shared/* > /modes
";

const COPY_ALL: &str = "COPY . .";
const COPY_SINGLE: &str = "COPY bin/tool docs/guide.txt link /single/";
const ADD: &str = "ADD vendor.tar /vendor/";
const RUN_CODE: &str = "RUN --mount=type=bind,source=code,target=/code cat /code/*.c /code/deep/* > /all";
const COPY_SHARED: &str = "COPY --from=shared . /shared/";

/// A commit, and a store in which it was built once: from a clone made with umask 022.
struct Site {
    work: TempDir,
    store: Store,
    digest: String,
}

struct Built {
    digest: String,
    said: String,
    progress: Progress,
}

impl Site {
    fn built() -> Site {
        let work = TempDir::with_prefix("commit-").unwrap();
        commit(&work.path().join("origin"));
        let mut site = Site { work, store: Store::with(&[Base::Busybox]), digest: String::new() };
        let clone = site.clone_with_umask("022", "first");
        let built = site.build(&clone, &["--context-perms=git"]);
        assert_eq!(built.progress.which(Outcome::Cached), BTreeSet::new());
        site.digest = built.digest;
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn origin(&self) -> PathBuf {
        self.path("origin")
    }

    fn clone_with_umask(&self, umask: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        self.shell(&format!("umask {umask}; mkdir -p '{0}'; git clone -q --no-hardlinks origin '{0}'", path.display()));
        path
    }

    /// Runs lines of sh where the clones are.
    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.work.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        support::run(&mut command).succeeded();
    }

    fn build(&self, context: &Path, arguments: &[&str]) -> Built {
        let mut command = self.store.bld();
        command.args(["build", "--progress", "plain", "--network", "none"]).args(arguments);
        command.arg("--build-context").arg(format!("shared={}", context.join("shared").display())).arg(context);
        of(support::run(&mut command))
    }

    /// Builds as git sees the files; demands that nothing runs and nothing is different.
    #[track_caller]
    fn is_known(&self, context: &Path) {
        self.is_known_as(&self.build(context, &["--context-perms=git"]));
    }

    #[track_caller]
    fn is_known_as(&self, built: &Built) {
        assert_eq!(built.progress.executed(), BTreeSet::new(), "steps that ran again");
        assert_eq!(built.progress.which(Outcome::Cached).len(), built.progress.names().len());
        assert_eq!(built.progress.names().len(), DOCKERFILE.lines().count());
        assert_eq!(built.digest, self.digest);
    }
}

#[track_caller]
fn of(run: Run) -> Built {
    let run = run.succeeded();
    Built { digest: run.stdout.trim().to_owned(), progress: Progress::parse(&run.stderr), said: run.stderr }
}

/// Makes the repository with its one commit.
fn commit(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let repository = Repository::create(path.to_owned());
    let archive = "mkdir -p v/lib && echo 1 > v/lib/one && echo 2 > v/two && chmod 640 v/two && \
        tar --sort=name --mtime=@1000000000 --owner=7 --group=8 --numeric-owner -cf vendor.tar -C v . && rm -r v";
    support::run(Command::new("sh").args(["-euc", archive]).current_dir(path)).succeeded();
    symlink("docs/guide.txt", path.join("link")).unwrap();
    symlink("/nowhere", path.join("dangling")).unwrap();
    let files = [
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", ".git\n*.log\n"),
        ("bin/tool", "#!/bin/sh\necho tool\n"),
        ("docs/guide.txt", "read me\n"),
        ("docs/a name with blanks", "blanks\n"),
        ("code/a.c", "a\n"),
        ("code/b.c", "b\n"),
        ("code/nested/c.h", "c\n"),
        ("code/deep/d.h", "d\n"),
        ("shared/s.txt", "s\n"),
        ("shared/run.sh", "#!/bin/sh\n"),
    ];
    for (name, text) in files {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    for name in ["bin/tool", "shared/run.sh"] {
        std::fs::set_permissions(path.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    repository.commit(&[]);
}

#[test]
fn a_umask_does_not_count() {
    let site = Site::built();
    for umask in ["022", "002", "077", "000"] {
        site.is_known(&site.clone_with_umask(umask, &format!("umask-{umask}")));
    }
    // The tree in which the commit was made.
    site.is_known(&site.origin());
}

#[test]
fn place_time_and_a_second_clone_do_not_count() {
    let site = Site::built();
    site.is_known(&site.clone_with_umask("022", "another place/with blanks/and ünïcode"));
    let first = site.path("first");
    site.shell("find first -exec touch -h {} +");
    site.is_known(&first);
    site.shell("find first -exec touch -h -d '1999-12-31 23:59:59' {} +");
    site.is_known(&first);
    site.shell("mv first moved");
    site.is_known(&site.path("moved"));
    site.is_known(&site.clone_with_umask("022", "first"));
    git(&site.origin(), &["worktree", "add", "-q", "--detach", "../beside"]);
    site.is_known(&site.path("beside"));
    site.shell("cp -r first copied; cp -al first linked");
    site.is_known(&site.path("copied"));
    site.is_known(&site.path("linked"));
}

#[test]
fn an_archive_is_the_commit() {
    let site = Site::built();
    site.shell("git -C origin archive -o ../commit.tar HEAD; mkdir plain other; tar -xpf commit.tar -C plain");
    site.is_known(&site.path("plain"));
    site.shell("umask 027; tar --no-same-permissions -xf commit.tar -C other");
    site.is_known(&site.path("other"));
    // The same archive as the context itself.
    let mut command = Command::new("sh");
    let inner = site.store.bld();
    command.args(["-c", "exec \"$0\" \"$@\" < commit.tar"]).arg(inner.get_program()).current_dir(site.work.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["build", "--progress", "plain", "--network", "none", "--context-perms=git"]);
    command.args(["--build-context", "shared=plain/shared", "-"]);
    site.is_known_as(&of(support::run(&mut command)));
}

#[test]
fn owners_and_what_git_does_not_keep_do_not_count() {
    let site = Site::built();
    let first = site.path("first");
    if rustix::process::geteuid().is_root() {
        site.shell("chown -hR 1234:4321 first");
        site.is_known(&first);
    } else {
        support::host::cannot_run("only root can give files away");
    }
    site.shell("find first -type d -exec chmod 2775 {} +; chmod 1777 first/docs; chmod u+s first/bin/tool");
    site.is_known(&first);
    site.shell("setfattr -n user.note -v new first/docs/guide.txt; setfattr -n user.note -v new first/code");
    site.is_known(&first);
    // Two names of one file; git keeps two files.
    site.shell("cp first/docs/guide.txt twin; cd first; ln -f ../twin docs/guide.txt; ln -f docs/guide.txt ../again");
    site.is_known(&first);
}

/// The same commit in a store of somebody else's. Stores are not shared by users, so it is the image that tells.
#[test]
fn another_user_makes_the_same_image() {
    if !rustix::process::geteuid().is_root() {
        support::host::cannot_run("only root can become another user");
        return;
    }
    let site = Site::built();
    let arguments = ["--context-perms=git", "--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    let mine = site.build(&site.path("first"), &arguments).digest;
    // The very same base image: one that is imported anew has another time.
    let base = site.path("base.tar");
    support::run(site.store.bld().args(["save", "-o"]).arg(&base).arg("busybox:1")).succeeded();
    for has_subordinate_ids in [true, false] {
        let user = User::new(has_subordinate_ids);
        let (clone, copy) = (user.home().join("clone"), user.home().join("base.tar"));
        std::fs::copy(&base, &copy).unwrap();
        User::own(&copy);
        user.bld(&["load", "-i", "base.tar"]).succeeded();
        site.shell(&format!("umask 002; git clone -q --no-hardlinks origin '{}'", clone.display()));
        User::own(&clone);
        let build = |arguments: &[&str]| {
            let fixed = ["build", "--progress", "plain", "--network", "none", "--build-context", "shared=clone/shared"];
            of(user.bld(&[&fixed, arguments, &["clone"]].concat()))
        };
        assert_eq!(build(&arguments).digest, mine, "with subordinate ids: {has_subordinate_ids}");
        assert_eq!(build(&arguments).progress.executed(), BTreeSet::new());
    }
}

#[test]
fn without_the_flag_a_umask_counts() {
    let site = Site::built();
    let first = site.path("first");
    let kept = site.build(&first, &[]);
    // With umask 022 git writes what it would keep.
    site.is_known_as(&kept);
    let other = site.clone_with_umask("002", "other");
    let plan = |permissions: &str| {
        let mut command = site.store.bld();
        command.args(["plan", "--network", "none", permissions, "--build-context"]);
        support::run(command.arg(format!("shared={}", other.join("shared").display())).arg(&other)).code
    };
    assert_eq!((plan("--context-perms=git"), plan("--context-perms=keep")), (Some(0), Some(10)));
    let built = site.build(&other, &["--context-perms=keep"]);
    let missed = built.progress.executed();
    for step in [COPY_ALL, COPY_SINGLE, RUN_CODE, COPY_SHARED] {
        assert!(missed.contains(step), "{step} is known: {missed:?}");
    }
    // There and back again: what was remembered of the files serves both.
    for _ in 0..2 {
        site.is_known(&other);
        let again = site.build(&other, &[]);
        assert_eq!(again.progress.executed(), BTreeSet::new());
        assert_ne!(again.digest, site.digest);
    }
}

#[test]
fn what_would_help_is_said() {
    let site = Site::built();
    let first = site.path("first");
    site.build(&first, &[]);
    site.shell("chmod -R g+w first");
    let built = site.build(&first, &[]);
    assert!(built.progress.executed().contains(COPY_ALL));
    let says =
        |line: &str| ["MISS COPY", "mode 0664, was 0644", "--context-perms=git"].iter().all(|part| line.contains(part));
    assert!(built.said.lines().any(says), "{}", built.said);
    site.is_known(&first);
}

#[test]
fn what_git_keeps_counts() {
    let site = Site::built();
    let first = site.path("first");
    let misses = |script: &str, steps: &[&str]| {
        site.shell(script);
        let built = site.build(&first, &["--context-perms=git"]);
        let executed = built.progress.executed();
        assert!(steps.iter().all(|step| executed.contains(step)), "{script}: {executed:?}");
        assert_ne!(built.digest, site.digest, "{script}");
        site.shell("git -C first checkout -q -f HEAD . && git -C first clean -fdq");
        site.is_known(&first);
    };
    misses("echo x > first/code/a.c", &[COPY_ALL, RUN_CODE]);
    misses("printf 'A\\n' > first/code/a.c", &[COPY_ALL, RUN_CODE]);
    misses("chmod u+x first/docs/guide.txt", &[COPY_ALL, COPY_SINGLE]);
    misses("chmod a-x first/shared/run.sh", &[COPY_ALL, COPY_SHARED]);
    misses("rm first/link; ln -s docs first/link", &[COPY_ALL]);
    misses("mv first/code/b.c first/code/e.c", &[COPY_ALL, RUN_CODE]);
    misses("cp first/code/a.c first/vendor.tar", &[COPY_ALL, ADD]);
}
