//! `BLD_CACHE_SIZE`, `bld prune --max-size` and `--unused-for`.

use std::process::Stdio;
use std::time::Duration;

use super::Scene;
use super::is_evicted;
use crate::support;
use crate::support::Run;

/// Each build makes a layer of its own of some 1 MB.
const DOCKERFILE: &str = "\
FROM busybox:1
ARG N
RUN dd if=/dev/zero of=/big bs=1000 count=1000 2> /dev/null && echo $N > /n
";

fn limited(scene: &Scene, limit: &str, arguments: &[&str]) -> Run {
    let mut command = scene.command(&[&["build", "--network", "none"], arguments, &["."]].concat());
    support::run(command.env("BLD_CACHE_SIZE", limit))
}

fn results(scene: &Scene) -> usize {
    scene.says(&["cache", "ls", "-q", "--project", "."]).lines().count()
}

#[test]
fn a_build_keeps_to_the_limit_and_says_so() {
    let scene = Scene::new(DOCKERFILE);
    let first = limited(&scene, "8MB", &["--build-arg", "N=1", "-t", "one"]).succeeded();
    assert!(!first.stderr.contains("note: removed"), "{}", first.stderr);
    limited(&scene, "8MB", &["--build-arg", "N=2"]).succeeded();
    assert_eq!(results(&scene), 2);
    let oldest = scene.says(&["cache", "ls", "-q", "--project", "."]).lines().last().unwrap().to_owned();
    // What is not listed does not count as an image.
    let third = limited(&scene, "4.5MB", &["--build-arg", "N=3"]).succeeded();
    let note = third.stderr.lines().last().unwrap();
    assert!(note.starts_with("note: removed 1 result, ") && note.ends_with("MB freed, to stay under 4.5MB"), "{note}");
    assert_eq!(results(&scene), 2);
    // The one that goes was used longest ago.
    let gone = scene.says(&["cache", "show", &oldest]);
    assert!(gone.contains("   removed ") && gone.contains(" to stay under 4.5MB ("), "{gone}");
    limited(&scene, "1TB", &["--build-arg", "N=1"]).succeeded();
    assert!(limited(&scene, "1TB", &["--build-arg", "N=3"]).succeeded().stderr.contains("0 steps ran"));
    // Quietly.
    let quiet = limited(&scene, "10kB", &["--build-arg", "N=4", "-q"]).succeeded();
    assert_eq!(quiet.stderr, "");
    assert_eq!(results(&scene), 1, "a build keeps what it made itself");
    // A listed image needs nothing of that.
    assert_eq!(scene.says(&["run", "one", "cat", "/n"]), "1\n");
    // A build of which no step ran removes nothing.
    limited(&scene, "1TB", &["--build-arg", "N=5"]).succeeded();
    limited(&scene, "10kB", &["--build-arg", "N=5"]).succeeded();
    assert_eq!(results(&scene), 2);
}

#[test]
fn a_build_that_failed_keeps_to_the_limit_too() {
    let scene = Scene::new(DOCKERFILE);
    limited(&scene, "1TB", &["--build-arg", "N=1"]).succeeded();
    scene.write("Dockerfile", "FROM busybox:1\nRUN false\n");
    let failed = limited(&scene, "10kB", &[]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("note: removed 1 result, "), "{}", failed.stderr);
}

#[test]
fn what_is_no_limit_is_refused_at_once() {
    let scene = Scene::new(DOCKERFILE);
    for text in ["lots", "20GBs", "0%", "-1"] {
        let run = limited(&scene, text, &[]);
        assert_eq!(run.code, Some(2), "{}", run.failure());
        assert!(run.stderr.starts_with(&format!("error: BLD_CACHE_SIZE is `{text}`: it must be a size\nhint: ")));
    }
    for (arguments, expected) in [
        (&["--max-size", "much"][..], "`--max-size much` is not a size"),
        (&["--unused-for", "soon"], "`--unused-for soon`: it is not a duration"),
        (&["--filter", "type=regular"], "there is no such filter\nhint: the filters are until=DURATION"),
        (&["--min-free-space", "1GB"], "`--min-free-space` is not supported: the cache has one limit"),
    ] {
        let said = scene.fails(&[&["prune"][..], arguments].concat());
        assert!(said.contains(expected), "{said}");
    }
    limited(&scene, "100%", &[]).succeeded();
}

#[test]
fn prune_goes_down_to_a_size() {
    let scene = Scene::new(DOCKERFILE);
    for number in ["N=1", "N=2", "N=3"] {
        scene.build(&["--build-arg", number, "-t", number.to_lowercase().replace('=', "").as_str()]);
    }
    assert_eq!(results(&scene), 3);
    let archive = |name: &str| {
        let path = scene.path().join(name);
        scene.says(&["save", "n1", "-o", path.to_str().unwrap()]);
        std::fs::read(path).unwrap()
    };
    let before = archive("before.tar");
    let sizes = scene.says(&["images", "--format", "{{.Repository}} {{.Size}}"]);
    scene.says(&["prune", "--max-used-space", "1TB"]);
    assert_eq!(results(&scene), 3);
    // docker's flags mean the same.
    let said = scene.says(&["prune", "--keep-storage", "4.3MB"]);
    assert!(said.starts_with("Removed: 1 result\nTotal reclaimed space: 1"), "{said}");
    assert_eq!(results(&scene), 2);
    scene.says(&["prune", "--reserved-space", "4.3MB"]);
    assert_eq!(results(&scene), 2);
    scene.says(&["prune", "--all", "--filter", "until=24h"]);
    scene.says(&["prune", "--unused-for", "1h"]);
    assert_eq!(results(&scene), 2);
    scene.says(&["prune", "--unused-for", "1h", "--max-size", "0"]);
    assert_eq!(results(&scene), 2, "nothing is as old as that");
    scene.says(&["prune", "--max-size", "0"]);
    assert_eq!(scene.says(&["cache", "ls", "-q", "--all"]), "");
    assert_eq!(std::fs::read_dir(scene.store.root().join("layers")).unwrap().count(), 0);
    // Nothing that is listed is lost, or shown with another size.
    assert_eq!(archive("after.tar"), before);
    assert_eq!(scene.says(&["images", "--format", "{{.Repository}} {{.Size}}"]), sizes);
    assert_eq!(scene.says(&["run", "n2", "cat", "/n"]), "2\n");
    let again = scene.run(&["build", "--network", "none", "--build-arg", "N=3", "."]).succeeded();
    assert!(is_evicted(&again.stderr, "to stay under 0B"), "{}", again.stderr);
}

#[test]
fn age_is_a_reason() {
    let scene = Scene::new(DOCKERFILE);
    scene.build(&["--build-arg", "N=1"]);
    std::thread::sleep(Duration::from_millis(1100));
    let said = scene.says(&["prune", "--unused-for", "1s"]);
    assert!(said.contains("\nRemoved: ") && results(&scene) == 0, "{said}");
    let again = scene.run(&["build", "--network", "none", "--build-arg", "N=1", "."]).succeeded();
    assert!(is_evicted(&again.stderr, "after 1s without use"), "{}", again.stderr);
}

#[test]
fn whatever_removed_it_is_named() {
    let scene = Scene::new("FROM busybox:1\nCOPY src /src\nRUN cat /src/* > /made\n");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("Dockerfile"), "FROM busybox:1\nRUN echo other > /other\n").unwrap();
    let other = other.path().to_str().unwrap();
    scene.build(&[]);
    for (removal, reason) in [
        (&["prune", "--max-size", "0"][..], "to stay under 0B"),
        (&["cache", "rm", "--all"], "by bld cache rm"),
        (&["cache", "rm", "--project", "."], "by bld cache rm"),
        (&["prune", "-f", "--max-size", "1kB"], "to stay under 1kB"),
        (&["prune", "--unused-for", "1s"], "after 1s without use"),
        (&["prune", "-af"], "by bld prune"),
        (&["build", "--network", "none", other], "to stay under 1B"),
    ] {
        if removal.contains(&"1s") {
            std::thread::sleep(Duration::from_millis(1100));
        }
        support::run(scene.command(removal).env("BLD_CACHE_SIZE", "1B")).succeeded();
        let again = scene.run(&["build", "--network", "none", "."]).succeeded();
        assert!(is_evicted(&again.stderr, reason), "{removal:?}: {}", again.stderr);
        assert!(again.stderr.contains("MISS after [2/3]"), "{removal:?}: {}", again.stderr);
    }
}

#[test]
fn the_log_of_the_index_stays_small() {
    let scene = Scene::new("FROM busybox:1\nCOPY src /src\n");
    let log = scene.store.root().join("index.db-wal");
    let mut largest = 0;
    for round in 0..60 {
        scene.write("src/a", &format!("{round}\n"));
        scene.build(&[]);
        largest = largest.max(std::fs::metadata(&log).unwrap().len());
    }
    assert!(largest < 6_000_000, "{largest}");
}

#[test]
fn killed_while_it_removes() {
    let scene = Scene::new(DOCKERFILE);
    scene.build(&["--build-arg", "N=0", "-t", "kept"]);
    for round in 0..12_u64 {
        scene.build(&["--build-arg", "N=0"]);
        scene.build(&["--build-arg", &format!("N={round}")]);
        let mut prune = scene.command(&["prune", "--max-size", "0"]);
        let mut prune = prune.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2 + round * 3));
        prune.kill().unwrap();
        prune.wait().unwrap();
        scene.build(&["--build-arg", "N=0", "-t", "again"]);
        assert_eq!(scene.says(&["run", "again", "cat", "/n"]), "0\n");
        assert_eq!(scene.says(&["run", "kept", "cat", "/n"]), "0\n");
    }
    scene.says(&["prune", "--max-size", "0"]);
    for name in ["layers", "trash", "leases"] {
        assert_eq!(std::fs::read_dir(scene.store.root().join(name)).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn builds_side_by_side_do_not_take_from_each_other() {
    let scene = Scene::new(DOCKERFILE);
    let scene = &scene;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                scope.spawn(move || {
                    for round in 0..5 {
                        let number = format!("N={}", (worker + round) % 4);
                        let name = format!("w{worker}");
                        limited(scene, "1kB", &["--build-arg", &number, "-t", &name]).succeeded();
                        let said = scene.says(&["run", &name, "cat", "/n"]);
                        assert_eq!(format!("N={}", said.trim()), number);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}
