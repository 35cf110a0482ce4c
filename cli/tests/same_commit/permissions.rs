//! What `--context-perms` does to files.

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Store;

const DOCKERFILE: &str = "\
FROM busybox:1
COPY files /copied/
ADD files /added/
COPY files/plain /one/
RUN --mount=type=bind,source=files,target=/mounted,rw \
    for place in copied added mounted; do (cd /$place; stat -c '%a %h %n' . * */*); done; stat -c '%a %h one' /one/plain
";

/// In order of names, as the step lists them.
const KEPT: &str = "755 . : 2775 directory : 4711 executable : 777 link : 640 plain : 640 twin : 1600 directory/inner";
const AS_GIT: &str = "755 . : 755 directory : 755 executable : 777 link : 644 plain : 644 twin : 644 directory/inner";

fn listed(permissions: &[&str]) -> Vec<String> {
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("modes-").unwrap());
    std::fs::write(work.path().join("Dockerfile"), DOCKERFILE).unwrap();
    let script = "umask 022; mkdir -p files/directory; cd files; echo plain > plain; ln plain twin; echo run > executable; \
        echo inner > directory/inner; ln -s plain link; chmod 755 .; chmod 4711 executable; chmod 640 plain; \
        chmod 1600 directory/inner; chmod 2775 directory";
    support::run(std::process::Command::new("sh").args(["-euc", script]).current_dir(work.path())).succeeded();
    let mut command = store.bld();
    command.args(["build", "--progress", "plain", "--network", "none"]).args(permissions).arg(work.path());
    let run = support::run(&mut command).succeeded();
    let is_listed =
        |line: &&str| line.split(' ').count() == 3 && line.split(' ').take(2).all(|word| word.parse::<u32>().is_ok());
    let lines = run.stderr.lines().filter_map(|line| line.split_once(' ')?.1.split_once(' ').map(|(_, text)| text));
    lines.filter(is_listed).map(str::to_owned).collect()
}

/// Checks the four places against `expected`; `twins` is how many names the file with two names has.
fn check(lines: &[String], expected: &str, twins: &str) {
    let wanted: Vec<&str> = expected.split(" : ").collect();
    assert_eq!(lines.len(), 3 * wanted.len() + 1, "{lines:#?}");
    for place in lines[..3 * wanted.len()].chunks(wanted.len()) {
        for (line, wanted) in place.iter().zip(&wanted) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(format!("{} {}", words[0], words[2]), *wanted, "{place:#?}");
            if ["plain", "twin"].contains(&words[2]) {
                assert_eq!(words[1], twins, "{place:#?}");
            }
        }
    }
    let plain = if expected == KEPT { "640" } else { "644" };
    assert_eq!(*lines.last().unwrap(), format!("{plain} 1 one"));
}

#[test]
fn files_are_as_on_disk() {
    check(&listed(&[]), KEPT, "2");
    check(&listed(&["--context-perms=keep"]), KEPT, "2");
}

#[test]
fn files_are_as_git_keeps_them() {
    check(&listed(&["--context-perms", "git"]), AS_GIT, "1");
}

#[test]
fn other_values_are_refused() {
    let (store, work) = (Store::empty(), TempDir::with_prefix("modes-").unwrap());
    for value in ["GIT", "0644", "none"] {
        let mut command = store.bld();
        let run = support::run(command.args(["build", &format!("--context-perms={value}")]).arg(work.path()));
        assert_eq!(run.code, Some(2), "{}", run.failure());
        let said = format!("error: `--context-perms` has no value `{value}`\nhint: the values are keep, git\n");
        assert_eq!(run.stderr, said, "{}", run.failure());
    }
}
