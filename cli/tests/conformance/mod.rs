//! Builds every project of `testdata/conformance` with `bld` and with buildah and compares the two images.
//!
//! ```text
//! testdata/conformance/DIFFERENCES             what differs on purpose: case | field | reason
//!                     /CASE/Dockerfile
//!                          /Dockerfile.buildah the same image written for buildah, where it lacks a feature
//!                          /args               one extra command-line argument per line, for both builders
//!                          /prepare.sh         run inside a copy of the context: makes what git cannot carry
//!                          /context/           may be absent: an empty context
//! ```
//!
//! `BLD_CASE=name` runs one case alone.

mod buildah;
mod differences;
mod image;
mod tree;

use std::path::PathBuf;

use tempfile::TempDir;

use self::buildah::Buildah;
use self::differences::Differences;
use self::image::Image;
use crate::support;
use crate::support::Base;
use crate::support::Store;
use crate::support::layout::Layout;

/// One project, copied and prepared.
#[derive(Debug)]
pub(super) struct Case {
    name: String,
    /// The case's folder in the source tree.
    source: PathBuf,
    /// Holds the prepared context.
    work: TempDir,
    arguments: Vec<String>,
}

impl Case {
    fn prepare(name: &str) -> Self {
        let source = support::testdata("conformance").join(name);
        let work = TempDir::new().unwrap();
        let context = work.path().join("context");
        if source.join("context").exists() {
            support::copy_tree(&source.join("context"), &context);
        } else {
            std::fs::create_dir(&context).unwrap();
        }
        support::prepare(&source.join("prepare.sh"), &context);
        let arguments = std::fs::read_to_string(source.join("args")).unwrap_or_default();
        Self { name: name.to_owned(), source, work, arguments: arguments.lines().map(str::to_owned).collect() }
    }

    fn context(&self) -> PathBuf {
        self.work.path().join("context")
    }

    /// The Dockerfile buildah gets, and whether it is another one than ours.
    fn buildah_dockerfile(&self) -> (PathBuf, bool) {
        let own = self.source.join("Dockerfile.buildah");
        if own.exists() { (own, true) } else { (self.source.join("Dockerfile"), false) }
    }

    fn bases(&self) -> Vec<Base> {
        let dockerfile = std::fs::read_to_string(self.source.join("Dockerfile")).unwrap();
        let debian = dockerfile.contains(Base::Debian.image());
        if debian { vec![Base::Debian] } else { vec![Base::Busybox] }
    }
}

fn build_with_bld(store: &Store, case: &Case) -> Image {
    let output = case.work.path().join("bld.tar");
    let mut command = store.bld();
    command.args(["build", "--progress", "plain", "--network", "host", "-t", &case.name]);
    command.arg("-f").arg(case.source.join("Dockerfile"));
    command.arg("-o").arg(format!("type=oci,dest={}", output.display()));
    command.args(&case.arguments).arg(case.context());
    support::run(&mut command).succeeded();
    Image::of(&Layout::unpack(&output, &case.work.path().join("bld")))
}

#[test]
fn same_images_as_buildah() {
    let names = support::cases(&support::testdata("conformance"));
    assert!(!names.is_empty(), "no such case");
    let buildah = Buildah::open();
    let store = Store::empty();
    let mut loaded = Vec::new();
    for base in names.iter().flat_map(|name| Case::prepare(name).bases()) {
        if !loaded.contains(&base) {
            support::run(store.bld().arg("load").arg("-i").arg(buildah.base(base))).succeeded();
            loaded.push(base);
        }
    }
    let differences = Differences::read();
    let mut problems = support::for_each(&names, |name| {
        let case = Case::prepare(name);
        let theirs = buildah.build(&case);
        let ours = build_with_bld(&store, &case);
        let found = ours.compare(&theirs, case.buildah_dockerfile().1);
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
