//! Builds every project of `testdata/conformance`, one behaviour each, and looks at all of the result.
//!
//! ```text
//! testdata/conformance/DIFFERENCES             in what we and buildah differ on purpose: case | field | reason
//!                     /prepare.lib              what several prepare.sh do: they source it
//!                     /CASE/Dockerfile
//!                          /context/           may be absent: an empty context
//!                          /prepare.sh         run inside a copy of the context: makes what git cannot carry. The builders
//!                                              are started in its parent directory: more contexts and secrets may lie there
//!                          /args               one extra command-line argument per line, for both builders
//!                          /env                NAME=VALUE lines: environment variables of both builders
//!                          /Dockerfile.dockerignore
//!
//!                          /expect.ast         golden: the Dockerfile as the parser understands it, and its complaints
//!                          /expect.image       golden: config, history and the entries of each layer that is not the base's
//!                          /unstable           paths, as in expect.image, of files whose content depends on the day or on the
//!                                              state of the package archive: one per line
//!
//!                          /Dockerfile.buildah the same image written for buildah, where it lacks a feature
//!                          /args.buildah       buildah's arguments, where they are not ours
//!                          /no-buildah         one line: why buildah cannot build it. The goldens then rest on the
//!                                              specification of the language alone
//! ```
//!
//! Each case is built once with bld and, if nothing forbids it, once with buildah, whose images are kept for the next run.
//! `BLD_CASE=name,name` runs some cases alone, `UPDATE=1` rewrites the goldens: read the difference before believing it.

mod buildah;
mod case;
mod differences;
mod image;
mod listing;
mod ordered;
mod tree;
mod workshop;

#[path = "../../../parser/tests/dump.rs"]
#[expect(clippy::format_push_string, reason = "short texts; speed is no concern here")]
mod dump;

use self::case::Case;
use self::differences::Differences;
use self::workshop::Workshop;
use crate::support;

fn names() -> Vec<String> {
    let names = support::cases(&support::testdata("conformance"));
    assert!(!names.is_empty(), "no such case");
    names
}

#[test]
fn parsed_as_recorded() {
    let problems = support::for_each(&names(), |name| {
        let directory = support::testdata("conformance").join(name);
        let text = std::fs::read(directory.join("Dockerfile")).unwrap();
        let tree = bld_parser::parse(&text).dockerfile.as_ref().map(dump::dockerfile).unwrap_or_default();
        support::golden(&directory.join("expect.ast"), &(tree + &dump::diagnostics(&text)))
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn same_images_as_recorded() {
    let workshop = Workshop::enter();
    let problems = support::for_each(&names(), |name| {
        let expected = support::testdata("conformance").join(name).join("expect.image");
        support::golden(&expected, &workshop.built(name).listing)
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What `bld plan` says of the first build and of the second is what they do; the second does nothing.
#[test]
fn foretold() {
    let workshop = Workshop::enter();
    let told = |name: &str, problem: &String| format!("{name}: {problem}");
    let problems = support::for_each(&names(), |name| {
        workshop.built(name).mispredicted.iter().map(|problem| told(name, problem)).collect()
    });
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn same_images_as_buildah() {
    let names: Vec<String> = names().into_iter().filter(|name| case::not_for_buildah(name).is_none()).collect();
    let workshop = Workshop::enter();
    let differences = Differences::read();
    let mut problems = support::for_each(&names, |name| {
        let case = Case::prepare(name);
        let theirs = workshop.buildah.build(&case);
        let found = workshop.built(name).image.compare(&theirs, case.buildah_dockerfile().1);
        differences.judge(name, &found)
    });
    problems.extend(differences.of_unknown_cases());
    assert!(
        problems.is_empty(),
        "{} differences from buildah in {} cases:\n{}",
        problems.len(),
        names.len(),
        problems.join("\n")
    );
}
