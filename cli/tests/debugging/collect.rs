//! `--collect`: files of a stage, whatever becomes of the build.

use super::Site;
use super::listing;
use crate::support::Run;

const TESTS: &str = "FROM busybox:1 AS build\n\
    RUN echo built > /built\n\
    FROM build AS test\n\
    WORKDIR /src\n\
    RUN mkdir reports && echo '<testsuite/>' > reports/junit.xml && cp /built reports/log && test -e /passes\n\
    FROM build\n\
    COPY --from=test /src/reports /reports\n";

#[track_caller]
fn code(done: &Run, code: i32) {
    assert_eq!(done.code, Some(code), "{}", done.failure());
}

#[test]
fn a_failing_test_yields_its_report() {
    let site = Site::new();
    let failed =
        site.build(TESTS, &["--collect", "test:/src/reports=out", "--collect", "test:/src/reports/log=logs/deep"]);
    code(&failed, 1);
    assert_eq!(listing(&site.path("out")), ["/ 755", "junit.xml 644 <testsuite/>\n", "log 644 built\n"]);
    assert_eq!(site.read("logs/deep/log"), "built\n");
    let said = "collected /src/reports into ";
    assert!(failed.stderr.contains(said) && failed.stderr.contains("out, left by [test 2/2] RUN"), "{}", failed.stderr);
    // Without the flag nothing is copied, and the files can still be had.
    site.output(&["cp", "failed:/src/reports/junit.xml", "junit.xml"]);
    assert_eq!(site.read("junit.xml"), "<testsuite/>\n");
}

#[test]
fn a_build_that_goes_well_is_collected_from_too() {
    let site = Site::new();
    let lines = TESTS.replace(" && test -e /passes", "");
    for (round, flags) in [&[][..], &[], &["--no-cache"]].into_iter().enumerate() {
        let out = format!("out{round}");
        let collect = format!("test:/src={out}");
        code(&site.build(&lines, &[&["--collect", &collect], flags].concat()), 0);
        assert_eq!(site.read(&format!("{out}/reports/junit.xml")), "<testsuite/>\n", "round {round}");
    }
    // By number, and the last stage; quiet says nothing.
    let quiet = site.build(&lines, &["--quiet", "--collect", "1:/src=by number", "--collect", "2:/reports=last"]);
    code(&quiet, 0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(site.read("by number/reports/log"), site.read("last/log"));
}

#[test]
fn what_cannot_be_collected_is_said() {
    let site = Site::new();
    let missing = site.build(TESTS, &["--collect", "test:/none=out", "--collect", "build:/built=other"]);
    code(&missing, 1);
    assert!(
        missing.stderr.contains("warning: --collect test:/none: nothing is at /none after [test 2/2]"),
        "{}",
        missing.stderr
    );
    assert!(!site.path("out").exists());
    assert_eq!(site.read("other/built"), "built\n");
    // Not reached.
    let early = "FROM busybox:1 AS first\nRUN exit 3\nFROM busybox:1 AS second\nCOPY --from=first / /x\nFROM second\nRUN true\n";
    let early = site.build(early, &["--collect", "second:/etc=out"]);
    code(&early, 1);
    assert!(!site.path("out/x").exists(), "{}", early.stderr);
    // A COPY that fails: what was there before it.
    let copy = "FROM busybox:1 AS one\nRUN echo x > /x\nCOPY --from=busybox:1 /none /\n";
    let copy = site.build(copy, &["--collect", "one:/x=copied"]);
    code(&copy, 1);
    assert_eq!(site.read("copied/x"), "x\n");
    // Something to collect that fails in itself changes nothing about how the build ended.
    site.write("file", "");
    code(&site.build("FROM busybox:1 AS one\nRUN true\n", &["--collect", "one:/etc=file"]), 0);
}

#[test]
fn stages_that_are_not_built_are_refused_before_anything_runs() {
    let site = Site::new();
    for (flags, said) in [
        (&["--collect", "nope:/x=o"][..], "there is no stage `nope`\nhint: the stages are build, test, 2"),
        (&["--collect", "test:/x=o", "--target", "build"], "the target does not need stage `test`"),
        (&["--collect", "test"], "is not of the form STAGE:/PATH=DIR"),
        (&["--collect", "test:x=o"], "is not of the form STAGE:/PATH=DIR"),
    ] {
        let refused = site.build(TESTS, flags);
        code(&refused, 2);
        assert!(refused.stderr.contains(said) && !refused.stderr.contains("] RUN"), "{}", refused.stderr);
    }
}

/// A step that had to run again and failed is not mistaken for what an earlier build made of it.
#[test]
fn nothing_of_an_earlier_build_is_collected() {
    let site = Site::new();
    let lines = "FROM busybox:1 AS work\nRUN echo first > /a\nRUN echo second > /b\n";
    code(&site.build(lines, &[]), 0);
    let stops = "FROM busybox:1 AS work\nRUN echo first > /a\nRUN echo half > /b; exit 1\nRUN echo third > /c\n";
    code(&site.build(stops, &["--no-cache", "--collect", "work:/=all"]), 1);
    assert_eq!((site.read("all/a"), site.read("all/b")), ("first\n".to_owned(), "half\n".to_owned()));
    assert!(!site.path("all/c").exists());
}
