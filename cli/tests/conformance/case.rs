//! One case of the corpus: its folder, and a prepared copy of its context.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;

/// What may lie in the folder of a case.
const MEMBERS: [&str; 12] = [
    "Dockerfile",
    "Dockerfile.buildah",
    "Dockerfile.dockerignore",
    "args",
    "args.buildah",
    "context",
    "env",
    "expect.ast",
    "expect.image",
    "no-buildah",
    "prepare.sh",
    "unstable",
];

/// One project, copied and prepared.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// The case's folder in the source tree.
    pub(super) source: PathBuf,
    /// Holds the prepared context. The builders are started here.
    pub(super) work: TempDir,
    /// What the builders find in their environment.
    pub(super) environment: Vec<(String, String)>,
}

impl Case {
    pub(super) fn prepare(name: &str) -> Self {
        let source = source(name);
        for entry in std::fs::read_dir(&source).unwrap() {
            let member = entry.unwrap().file_name().into_string().unwrap();
            assert!(MEMBERS.contains(&member.as_str()), "{name}: no builder reads {member}");
        }
        let work = TempDir::new().unwrap();
        let context = work.path().join("context");
        if source.join("context").exists() {
            support::copy_tree(&source.join("context"), &context);
            // As a checkout with the usual umask has them: the modes become part of the image.
            support::run(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&context)).succeeded();
        } else {
            std::fs::create_dir(&context).unwrap();
        }
        let script = source.join("prepare.sh");
        if script.exists() {
            let mut command = Command::new("bash");
            command.args(["-c", "umask 022; exec bash \"$0\""]).arg(script).current_dir(&context);
            support::run(&mut command).succeeded();
        }
        let environment = lines(name, "env")
            .into_iter()
            .map(|line| {
                let (variable, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: no `=` in {line:?}"));
                (variable.to_owned(), value.to_owned())
            })
            .collect();
        Self { name: name.to_owned(), source, work, environment }
    }

    pub(super) fn context(&self) -> PathBuf {
        self.work.path().join("context")
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        lines(&self.name, "args")
    }

    pub(super) fn buildah_arguments(&self) -> Vec<String> {
        let own = self.source.join("args.buildah").exists();
        lines(&self.name, if own { "args.buildah" } else { "args" })
    }

    /// The Dockerfile buildah gets, and whether it is another one than ours.
    pub(super) fn buildah_dockerfile(&self) -> (PathBuf, bool) {
        let own = self.source.join("Dockerfile.buildah");
        if own.exists() { (own, true) } else { (self.source.join("Dockerfile"), false) }
    }

    /// Whether the times in the image are the case's own.
    pub(super) fn fixes_times(&self) -> bool {
        ["args", "env", "Dockerfile"]
            .iter()
            .any(|file| lines(&self.name, file).iter().any(|line| line.contains("SOURCE_DATE_EPOCH")))
    }

    /// The files of the image whose content is another one each time.
    pub(super) fn unstable(&self) -> Vec<String> {
        lines(&self.name, "unstable")
    }
}

/// The base images of a case.
pub(super) fn bases(name: &str) -> Vec<Base> {
    let dockerfile = std::fs::read_to_string(source(name).join("Dockerfile")).unwrap();
    let mut bases = vec![Base::Busybox];
    if dockerfile.contains(Base::Debian.image()) {
        bases.push(Base::Debian);
    }
    bases
}

/// Why buildah cannot be asked about a case.
pub(super) fn not_for_buildah(name: &str) -> Option<String> {
    let path = source(name).join("no-buildah");
    let text = std::fs::read_to_string(&path).ok()?;
    let reason = text.trim().to_owned();
    assert!(!reason.is_empty() && !reason.contains('\n'), "{}: must give one line of reason", path.display());
    Some(reason)
}

fn source(name: &str) -> PathBuf {
    support::testdata("conformance").join(name)
}

/// The lines of a file that need not be there.
fn lines(name: &str, file: &str) -> Vec<String> {
    let text = std::fs::read(source(name).join(file)).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}
