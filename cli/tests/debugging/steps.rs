//! Steps that went well, and those that failed without being a RUN.

use super::Site;

const STAGES: &str = "FROM busybox:1 AS build\n\
    ENV WORD=tree\n\
    RUN echo one > /one\n\
    RUN echo two > /two && rm /one\n\
    FROM build AS test\n\
    RUN echo three > /three\n\
    FROM scratch\n\
    COPY --from=build /two /two\n\
    COPY --link --from=test /three /three\n";

#[test]
fn every_step_of_a_build_can_be_entered() {
    let site = Site::new();
    site.build(STAGES, &[]).succeeded();
    let list = |step: &str, before: bool| {
        let mut words = vec!["exec"];
        words.extend(before.then_some("--before"));
        words.extend([step, "--", "sh", "-c", "cd /; ls -d one two three 2>/dev/null; echo $WORD"]);
        site.output(&words)
    };
    for _ in 0..2 {
        assert_eq!(list("build:2", false), "one\ntree\n");
        assert_eq!(list("build:3", false), "two\ntree\n");
        assert_eq!(list("build:3", true), "one\ntree\n");
        assert_eq!(list("build", false), "two\ntree\n");
        assert_eq!(list("test", false), "three\ntwo\ntree\n");
        assert_eq!(list("test", true), "two\ntree\n");
        // The same when everything is cached.
        site.build(STAGES, &[]).succeeded();
    }
    assert_eq!(site.fed(&["shell", "build:2"], "cat /one\n").stdout, "one\n");
    let own = site.bld(&["exec", "test", "--", "true"]);
    assert_eq!(own.stderr, "");
    // Nothing has to stand before the command.
    assert_eq!(site.output(&["exec", "build:2", "echo", "-n", "--", "x"]), "-- x");
    // The last build has made another stage only.
    site.build(STAGES, &["--target", "build"]).succeeded();
    let absent = site.bld(&["exec", "test", "true"]);
    assert_eq!(absent.code, Some(125));
    assert!(absent.stderr.contains("hint: `--build "), "{}", absent.stderr);
    assert!(absent.stderr.contains(" has it, the newest build that does"), "{}", absent.stderr);
    site.build(STAGES, &[]).succeeded();
    // An image without a shell.
    let bare = site.bld(&["shell", "2:2"]);
    assert_eq!(bare.code, Some(127), "{}", bare.failure());
    assert!(bare.stderr.contains("hint: `--shell PROGRAM` chooses a shell that is there"), "{}", bare.stderr);
    let unknown = site.bld(&["exec", "build:9", "--", "true"]);
    assert_eq!(unknown.code, Some(125));
    assert!(
        unknown.stderr.contains("error: the build has no step `build:9`\nhint: its steps are"),
        "{}",
        unknown.stderr
    );
    site.check_nothing_is_left();
}

#[test]
fn files_come_out_of_images_without_programs() {
    let site = Site::new();
    site.build(STAGES, &[]).succeeded();
    for (step, path) in [("1", "/two"), ("2", "/three"), ("2", "/two")] {
        let source = format!("2:{step}:{path}");
        let target = format!("got{step}{}", path.replace('/', "-"));
        site.output(&["cp", &source, &target]);
        assert_eq!(site.read(&target), format!("{}\n", &path[1..]));
    }
    let missing = site.bld(&["cp", "2:1:/three", "x"]);
    assert_eq!(missing.code, Some(1), "{}", missing.failure());
    assert!(missing.stderr.starts_with("error: nothing is at /three\n"), "{}", missing.stderr);
    let before = site.bld(&["cp", "--before", "2:2:/three", "x"]);
    assert!(before.stderr.starts_with("error: nothing is at /three\n"), "{}", before.failure());
}

#[test]
fn a_copy_that_failed_shows_what_it_began_with() {
    let site = Site::new();
    site.fails("FROM busybox:1\nENV A=1\nRUN echo made > /made\nCOPY --from=busybox:1 /nothing /\n");
    for words in [&["exec", "failed", "--", "cat", "/made"][..], &["exec", "--before", "failed", "--", "cat", "/made"]]
    {
        let done = site.bld(words).succeeded();
        assert_eq!(done.stdout, "made\n");
        assert!(
            done.stderr.contains("note: environment, user and working directory are those of [2/3] RUN"),
            "{}",
            done.stderr
        );
        assert_eq!(done.stderr.contains("nothing is kept of [3/3] COPY"), words.len() == 5, "{}", done.stderr);
    }
    let shell = site.fed(&["shell"], "cat /made; echo $A\n");
    assert_eq!(shell.stdout, "made\n1\n", "{}", shell.failure());
    // What is not in the context is missed before any step is looked up.
    site.fails("FROM busybox:1\nENV A=1\nRUN echo made > /made\nCOPY nothing /\n");
    let early = site.bld(&["shell"]);
    assert_eq!(early.code, Some(125), "{}", early.failure());
    assert!(early.stderr.starts_with("error: the build failed before it looked"), "{}", early.stderr);
    assert_eq!(site.output(&["exec", "--build", "-2", "failed", "--", "cat", "/made"]), "made\n");
}

#[test]
fn what_was_removed_is_said_to_be() {
    let site = Site::new();
    site.build("FROM busybox:1\nRUN echo x > /x\n", &["-t", "some"]).succeeded();
    site.bld(&["prune", "--all"]).succeeded();
    let gone = site.bld(&["cp", "2:/x", "."]);
    assert_eq!(gone.code, Some(1), "{}", gone.failure());
    let said = gone.stderr.starts_with("error: the files of [2/2] RUN echo x > /x are gone: they were removed ");
    assert!(said && gone.stderr.contains("by bld prune\nhint: a build makes them again"), "{}", gone.stderr);
}

#[test]
fn a_program_that_is_no_shell_leads_to_sh() {
    let site = Site::new();
    site.fails("FROM busybox:1\nRUN [\"false\"]\n");
    assert_eq!(site.fed(&["shell"], "echo $0\n").stdout, "/bin/sh\n");
    site.fails("FROM busybox:1\nSHELL [\"/bin/ash\", \"-e\", \"-c\"]\nRUN false\n");
    // Its flags are not for people: a shell that ends with the first mistake is none.
    assert_eq!(site.fed(&["shell"], "false; echo $0\n").stdout, "/bin/ash\n");
    assert_eq!(site.fed(&["shell", "--shell", "sh"], "echo $0\n").stdout, "sh\n");
    site.fails("FROM busybox:1\nRUN [\"/no/such\"]\n");
    let nothing = site.fed(&["shell"], "echo here\n");
    assert!(nothing.stdout == "here\n" && nothing.stderr.contains("nothing is kept of"), "{}", nothing.failure());
}
