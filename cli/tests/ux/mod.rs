//! The command line as a newcomer meets it: what it refuses, what it finds out before anything runs, and how it says so.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

#[test]
fn flags_of_others_are_refused_by_name_or_honoured() {
    let (store, work) = scene("FROM scratch\nLABEL a=b\n");
    let build = |flags: &[&str]| bld(&store, work.path(), &[&["build"], flags, &["."]].concat());
    for flag in ["--squash-all", "--cache-from=x", "--digest-file=x", "--sbom", "--memory=1g", "--destination=x"] {
        let refused = build(&[flag]);
        let name = flag.split('=').next().unwrap();
        says(&refused, 2, &[&format!("error: `{name}` is not supported: "), "hint: "]);
        assert!(!refused.stderr.contains("-- --"), "{}", refused.failure());
    }
    says(&build(&["--taget", "x"]), 2, &["has no flag `--taget`", "did you mean `--target`?"]);
    says(&build(&["--push"]), 2, &["needs a name that says where", "--tag REGISTRY/NAME:TAG"]);
    says(&build(&["--push", "-t", "x"]), 2, &["pushing needs a registry, and --offline (or BLD_OFFLINE) forbids"]);
    says(&bld(&store, work.path(), &["push", "x"]), 2, &["`bld push` needs a registry, and --offline"]);
    let accepted =
        build(&["--rm", "--force-rm", "--layers", "--pull=false", "--provenance=false", "--sbom=false", "-q"]);
    accepted.succeeded();
    // The image is really in the local store, besides the file.
    let digest = {
        // Whatever engine this machine has is left alone.
        let mut build = store.bld();
        build.args(["build", "--load", "-q", "-o", "type=oci,dest=a.tar", "."]).env("BLD_LOAD", "none");
        support::run(build.current_dir(work.path())).succeeded().stdout
    };
    assert!(bld(&store, work.path(), &["images", "--digests"]).succeeded().stdout.contains(digest.trim()));
    assert!(bld(&store, work.path(), &["build", "--help"]).succeeded().stdout.contains("--provenance=false"));
    assert!(bld(&store, work.path(), &["help", "build"]).succeeded().stdout.contains("--target"));
    assert!(bld(&store, work.path(), &["version"]).succeeded().stdout.starts_with("bld "));
    let usage = bld(&store, work.path(), &["build"]);
    says(&usage, 2, &["Usage: bld build", "hint: `bld build .` builds"]);
    assert!(!usage.stderr.contains("--root") && !usage.stderr.contains("--progress"), "{}", usage.failure());
}

#[test]
fn images_get_names_and_are_used_by_id() {
    let (store, work) = scene("FROM scratch\nCOPY Dockerfile /\n");
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    run(&["build", "-q", "-o", "type=oci,dest=a.tar", "."]).succeeded();
    says(&run(&["load", "a.tar"]), 2, &["use `-i a.tar`"]);
    assert_eq!(run(&["load", "-i", "a.tar", "named:1"]).succeeded().stdout, "Loaded image: named:1\n");
    run(&["tag", "named:1", "other", "third:3"]).succeeded();
    let images = run(&["images"]).succeeded().stdout;
    assert!(["named", "other", "third"].iter().all(|name| images.contains(name)), "{images}");
    let id = run(&["images", "-q", "named:1"]).succeeded().stdout.trim().to_owned();
    std::fs::write(work.path().join("by-id"), format!("FROM {id}\nLABEL by=id\n")).unwrap();
    run(&["build", "-q", "-f", "by-id", "-t", "child", "."]).succeeded();
    says(&run(&["tag", "nothing", "x"]), 1, &["nothing"]);
    says(&run(&["rmi", "namde:1"]), 1, &["did you mean `named:1`?"]);
    says(&run(&["rmi", "xy"]), 1, &["`bld images` lists"]);
    says(&run(&["inspect", "xy"]), 1, &["not in the local store"]);
}

#[test]
fn archives_of_the_wrong_kind_are_told_apart() {
    let (store, work) = scene("FROM scratch\nCOPY Dockerfile /\n");
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    run(&["build", "-q", "-o", "type=oci,dest=a.tar", "-o", "type=tar,dest=root.tar", "."]).succeeded();
    says(
        &run(&["import", "a.tar", "a:1"]),
        1,
        &["a.tar is an image archive, not a root file system", "bld load -i a.tar"],
    );
    says(&run(&["load", "-i", "root.tar"]), 1, &["root.tar is not an image archive", "bld import root.tar NAME:TAG"]);
    for command in [&["import", "Dockerfile", "a:1"][..], &["load", "-i", "Dockerfile"]] {
        let text = "error: Dockerfile is not a tar archive (plain, gzip, bzip2, xz or zstd)\n";
        assert_eq!(run(command).stderr, text);
    }
}

#[test]
fn a_dockerfile_alone_has_no_context() {
    let (store, work) = scene("FROM scratch\nCOPY app /\n");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {} build - < Dockerfile", env!("CARGO_BIN_EXE_bld"))]);
    let run = support::run(shell.env("BLD_ROOT", store.root()).current_dir(work.path()));
    says(
        &run,
        1,
        &["`app` not found", "hint: a Dockerfile alone has no build context: `bld build -f - DIRECTORY < FILE`"],
    );
}

#[test]
fn what_is_asked_about_an_image_is_answered_if_only_files_are_written() {
    let (store, work) = scene("FROM scratch\nCOPY Dockerfile /\n");
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    run(&["build", "-o", "type=tar,dest=a.tar", "--iidfile", "id", "--metadata-file", "metadata", "."]).succeeded();
    run(&["build", "-t", "app", "."]).succeeded();
    let id = std::fs::read_to_string(work.path().join("id")).unwrap();
    assert_eq!(run(&["inspect", "-f", "{{.Id}}", "app"]).succeeded().stdout.trim(), id);
    assert!(std::fs::read_to_string(work.path().join("metadata")).unwrap().contains(&id));
}

#[test]
fn an_index_is_as_old_as_its_image_for_this_machine() {
    let (store, work) = scene("FROM scratch\nCOPY Dockerfile /\n");
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments).succeeded().stdout;
    run(&["build", "-t", "many", "--platform", "linux/amd64,linux/arm64", "."]);
    run(&["build", "-t", "one", "."]);
    let created = |name: &str| run(&["images", "--format", "{{.CreatedAt}}", name]);
    assert!(created("many").contains(" UTC"), "{}", created("many"));
    assert_eq!(created("many"), created("one"));
}

/// Lines of a build's history that make no layer are not younger than the layers above them.
#[test]
fn history_goes_forward() {
    let (store, work) = scene("FROM scratch\nLABEL a=b\nCOPY first /\nENV c=d\nCOPY second /\n");
    std::fs::write(work.path().join("first"), "1").unwrap();
    for second in ["1", "2"] {
        std::fs::write(work.path().join("second"), second).unwrap();
        bld(&store, work.path(), &["build", "-t", "app", "."]).succeeded();
    }
    let history = bld(&store, work.path(), &["history", "-H=false", "--format", "{{.CreatedAt}}", "app"]);
    let times: Vec<String> = history.succeeded().stdout.lines().map(str::to_owned).collect();
    assert!(times.len() == 4 && times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
}

#[test]
fn only_what_makes_images_makes_a_store() {
    let work = TempDir::with_prefix("ux-").unwrap();
    let missing = work.path().join("missing");
    for command in
        [&["images"][..], &["inspect", "x"], &["history", "x"], &["rmi", "x"], &["tag", "x", "y"], &["prune"]]
    {
        let run = support::run(support::bld(&missing).args(command));
        says(&run, 1, &[&format!("there is no store in {}", missing.display())]);
        assert!(!missing.exists(), "{command:?}");
    }
    std::fs::write(work.path().join("file"), "").unwrap();
    let mut command = support::bld(work.path());
    let run = support::run(command.args(["--root", "file", "images"]).current_dir(work.path()));
    says(&run, 2, &["`--root file` is not a directory"]);
}

#[test]
fn outputs_that_cannot_be_written_stop_the_build_at_once() {
    let (store, work) = scene("FROM scratch\nCOPY Dockerfile /\n");
    std::fs::create_dir(work.path().join("directory")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, work.path().join("pipe"), fifo, mode, 0).unwrap();
    std::os::unix::fs::symlink("pipe", work.path().join("to-pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(work.path().join("socket")).unwrap();
    for (flags, code, wanted) in [
        (&["-o", "type=oci,dest=no/a.tar"][..], 1, "there is no directory"),
        (&["-o", "type=tar,dest=directory"], 1, "it is a directory"),
        (&["-o", "Dockerfile"], 1, "is not a directory"),
        (&["--iidfile", "no/id"], 1, "there is no directory"),
        (&["--iidfile", "pipe"], 1, "pipe: it is a named pipe"),
        (&["--metadata-file", "to-pipe"], 1, "pipe: it is a named pipe"),
        (&["--metadata-file", "socket"], 1, "socket: it is a socket"),
        (&["-o", "type=oci,dest=a", "-o", "type=tar,dest=a"], 2, "two outputs go to"),
    ] {
        let run = bld(&store, work.path(), &[&["build"], flags, &["."]].concat());
        says(&run, code, &[wanted]);
        assert!(!run.stderr.contains('#'), "{}", run.failure());
    }
    std::fs::remove_file(work.path().join("socket")).unwrap();
    std::fs::remove_file(work.path().join("pipe")).unwrap();
    // The controls.
    let run = bld(&store, work.path(), &["build", "--iidfile", "/dev/stdout", "--metadata-file", "/dev/null", "."]);
    let run = run.succeeded();
    assert_eq!(run.stdout.matches("sha256:").count(), 2, "{}", run.failure());
    let line = format!("{} build -o - .", env!("CARGO_BIN_EXE_bld"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("BLD_ROOT", store.root()).current_dir(work.path());
    let run = support::run(&mut script);
    assert!(run.code == Some(2) && run.stdout.contains("`dest=-` is a terminal"), "{}", run.failure());
}

#[test]
fn mistakes_of_flags_are_not_blamed_on_the_file() {
    let (store, work) = scene("FROM scratch AS one\nCOPY Dockerfile /\nFROM one AS two\nLABEL a=b\n");
    let build = |flags: &[&str]| bld(&store, work.path(), &[&["build"], flags, &["."]].concat());
    for (flag, code) in [("--target", 1), ("--no-cache-filter", 2)] {
        let run = build(&[flag, "nope"]);
        let text = format!("error: `{flag} nope`: there is no such stage");
        says(&run, code, &[&text, "the stages are `one`, `two`"]);
        assert!(!run.stderr.contains("-----") && !run.stderr.contains("mistake"), "{}", run.failure());
    }
    build(&["--no-cache-filter", "one,1", "-q"]).succeeded();
    says(&build(&["--platform", "foo"]), 2, &["`foo`"]);
    says(&build(&["--platform", "linux/foo"]), 2, &["--platform linux/foo"]);
    says(&build(&["--platform", "amiga/amd64"]), 2, &["--platform amiga/amd64"]);
}

#[test]
fn messages_count_and_say_things_once() {
    let (store, work) = scene("FROM nothing:1\nRUN true\n");
    let build = |flags: &[&str]| bld(&store, work.path(), &[&["build"], flags, &["."]].concat());
    let one = build(&[]);
    says(&one, 1, &["nothing:1"]);
    assert!(!one.stderr.contains("mistake") && !one.stderr.contains("missing"), "{}", one.failure());
    write(&work, "FROM nothing:1 AS a\nFROM nothing:2\nCOPY --from=a / /\n");
    says(&build(&[]), 1, &["error: 2 base images are missing"]);
    write(&work, "");
    let empty = build(&[]);
    says(&empty, 1, &["no instructions"]);
    assert!(!empty.stderr.contains("-----"), "{}", empty.failure());
    std::fs::rename(work.path().join("Dockerfile"), work.path().join("Containerfile")).unwrap();
    let missing = build(&[]);
    says(&missing, 1, &[&format!("there is no Dockerfile in `{}`", work.path().display()), "Containerfile"]);

    let store = Store::with(&[Base::Busybox]);
    let long = "x".repeat(120);
    write(&work, &format!("FROM busybox:1\nRUN echo said; {long}\n"));
    let failed = bld(&store, work.path(), &["build", "."]);
    says(&failed, 1, &["#2 ERROR: exited with status 127", " > [2/2] RUN\n", "…` exited with status 127"]);
    // The name of the step, the excerpt, what the shell says, and what to do about it.
    assert_eq!(failed.stderr.matches(&long).count(), 5, "{}", failed.failure());
    write(&work, "FROM busybox:1\nRUN true\n");
    let platform = ["build", "-q", "--platform", "linux/s390x", "."];
    says(&bld(&store, work.path(), &platform), 0, &["warning: base image"]);
    says(&bld(&store, work.path(), &["build", "."]), 0, &["1 step ran, 0 were cached"]);
    says(&bld(&store, work.path(), &["build", "."]), 0, &["0 steps ran, 1 was cached"]);
}

#[test]
fn names_cannot_fake_a_line_or_turn_one_around() {
    let (store, work) = scene("FROM scratch\nLABEL a=b\n");
    bld(&store, work.path(), &["build", "."]).succeeded();
    for (arguments, wanted) in [
        (&["rmi", "x\nhint: run y"][..], "x\\nhint: run y"),
        (&["run", "x\r\nerror: y"], "x\\r\\nerror: y"),
        (&["build", "--target", "x\nhint: run y", "."], "x\\nhint: run y"),
        (&["build", "--platform", "linux/x\u{202e}\nhint: run y", "."], "linux/x\\nhint: run y"),
    ] {
        let run = bld(&store, work.path(), arguments);
        assert!(run.code.is_some_and(|code| code > 0) && run.stderr.contains(wanted), "{wanted}: {}", run.failure());
        let is_faked = |line: &str| line.starts_with("hint: run y") || line.starts_with("error: y");
        assert!(!run.stderr.lines().any(is_faked) && !run.stderr.contains('\u{202e}'), "{}", run.failure());
    }
}

#[test]
fn sizes_are_those_of_the_files_and_what_goes_is_counted() {
    let store = Store::with(&[Base::Busybox]);
    let work = TempDir::with_prefix("ux-").unwrap();
    std::fs::write(work.path().join("zeros"), vec![0; 3_000_000]).unwrap();
    write(&work, "FROM scratch\nCOPY zeros /\n");
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    run(&["build", "-q", "-t", "zeros", "."]).succeeded();
    assert!(run(&["images", "zeros"]).succeeded().stdout.contains("3MB"));
    assert!(run(&["history", "zeros"]).succeeded().stdout.contains("3MB"));
    assert!(run(&["inspect", "zeros"]).succeeded().stdout.contains("\"Size\": 3000000"));
    write(&work, "FROM scratch\nCOPY zeros /other\n");
    run(&["build", "-q", "."]).succeeded();
    let pruned = run(&["prune"]).succeeded().stdout;
    assert!(pruned.contains("Deleted: sha256:") && pruned.contains("Total reclaimed space: "), "{pruned}");
    assert!(run(&["prune", "--all"]).succeeded().stdout.contains("MB\n"));
    // The layers' directories are gone; what was in them is still known.
    assert!(run(&["images", "zeros"]).succeeded().stdout.contains("3MB"));
    assert!(run(&["rmi", "zeros"]).succeeded().stderr.contains("Freed "));
}

#[test]
fn an_id_that_means_several_images_lists_them() {
    let (store, work) = scene("");
    // There are 16 hexadecimal digits: two of 17 IDs begin with the same.
    for number in 0..17 {
        write(&work, &format!("FROM scratch\nLABEL number={number}\n"));
        bld(&store, work.path(), &["build", "-q", "-t", &format!("n:{number}"), "."]).succeeded();
    }
    let ids = bld(&store, work.path(), &["images", "-q"]).succeeded().stdout;
    let twice = |digit: &char| ids.lines().filter(|id| id.starts_with(*digit)).count() > 1;
    let digit = "0123456789abcdef".chars().find(twice).unwrap();
    let run = bld(&store, work.path(), &["rmi", &digit.to_string()]);
    says(&run, 1, &[&format!("more than one image matches `{digit}`: ")]);
    for id in ids.lines().filter(|id| id.starts_with(digit)) {
        assert!(run.stderr.contains(&format!("{id} (n:")), "{id}: {}", run.failure());
    }
}

/// A store with nothing in it but its marks, and a directory with a Dockerfile.
fn scene(dockerfile: &str) -> (Store, TempDir) {
    let (store, work) = (Store::empty(), TempDir::with_prefix("ux-").unwrap());
    write(&work, dockerfile);
    (store, work)
}

fn write(work: &TempDir, dockerfile: &str) {
    std::fs::write(work.path().join("Dockerfile"), dockerfile).unwrap();
}

fn bld(store: &Store, directory: &Path, arguments: &[&str]) -> Run {
    support::run(store.bld().args(arguments).current_dir(directory))
}

#[track_caller]
fn says(run: &Run, code: i32, wanted: &[&str]) {
    let all = wanted.iter().all(|text| run.stderr.contains(text));
    assert!(run.code == Some(code) && all, "not {code} with {wanted:?}: {}", run.failure());
}
