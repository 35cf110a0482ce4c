//! What would have made a build shorter, told from its record alone.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::Cause;
use super::VariableSource;
use crate::record::BuildRecord;
use crate::record::Outcome;
use crate::record::StepRecord;
use crate::record::arguments::Argument;
use crate::record::arguments::Naming;
use crate::record::arguments::names;

/// Something that can be done about a build's misses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What it is about.
    pub kind: AdviceKind,
    /// The vertex of the step with the root cause.
    pub vertex: u32,
    /// The vertices of the steps that ran and need not have run.
    pub steps: Vec<u32>,
    /// What these took together, in microseconds.
    pub cost_us: u64,
    /// The advice as a line of text.
    pub text: String,
}

/// What an advice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdviceKind {
    /// An ARG stands above steps that do not name it.
    LateArgument,
    /// All files are copied before a step that needs few of them.
    CopyAfterInstall,
    /// Nothing but permission bits changed.
    Permissions,
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What costs less is nobody's trouble.
const WORTH_SAYING_US: u64 = 100_000;

/// What would have made the build shorter, the dearest first.
pub fn advice(record: &BuildRecord) -> Vec<Advice> {
    let mut found = Vec::new();
    let mut late: Vec<(&Argument, Vec<&StepRecord>)> = Vec::new();
    for step in record.steps.iter().filter(|step| step.outcome != Outcome::Cached) {
        match &step.cause {
            Some(Cause::Variable { source: VariableSource::Arg, name, .. }) => {
                // Steps that an earlier one did not drag along have the same cause once more.
                let Some(argument) = late_argument(record, step, name) else { continue };
                match late.iter_mut().find(|(known, _)| *known == argument) {
                    Some((_, roots)) => roots.push(step),
                    None => late.push((argument, vec![step])),
                }
            }
            Some(Cause::Files { changes, .. }) if changes.only_modes => found.push(permissions(record, step)),
            Some(Cause::Files { taken, changes }) => {
                let paths = changes.first.iter().map(|change| change.path.as_str());
                // Of files that are not named nobody knows what they are.
                if changes.changed == changes.first.len() && is_everything(taken) {
                    found.extend(early_copy(record, step, &paths.collect::<Vec<_>>()));
                }
            }
            _ => {}
        }
    }
    found.extend(late.into_iter().filter_map(|(argument, roots)| move_argument(record, argument, &roots)));
    found.retain(|advice| advice.cost_us >= WORTH_SAYING_US);
    found.sort_by_key(|advice| std::cmp::Reverse(advice.cost_us));
    found
}

/// Variables that programs look at though nobody names them.
const READ_BY_PROGRAMS: [&str; 24] = [
    "AR",
    "CC",
    "CFLAGS",
    "CGO_ENABLED",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "GOARCH",
    "GOFLAGS",
    "GOOS",
    "GOPROXY",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LDFLAGS",
    "MAKEFLAGS",
    "NODE_ENV",
    "NODE_OPTIONS",
    "PATH",
    "PYTHONPATH",
    "RUSTFLAGS",
    "SOURCE_DATE_EPOCH",
    "TERM",
    "TZ",
];

/// The same for what their names begin with.
const PREFIXES_READ_BY_PROGRAMS: [&str; 8] =
    ["BUNDLE_", "CARGO_", "DEBIAN_", "LC_", "MAVEN_", "NPM_CONFIG_", "PIP_", "npm_config_"];

/// The ARG that `root`, which does not name it, ran for, if it could stand further down.
fn late_argument<'a>(record: &'a BuildRecord, root: &StepRecord, name: &str) -> Option<&'a Argument> {
    let is_read = READ_BY_PROGRAMS.contains(&name)
        || name.to_ascii_lowercase().ends_with("_proxy")
        || PREFIXES_READ_BY_PROGRAMS.iter().any(|prefix| name.starts_with(prefix));
    let above = |argument: &&Argument| {
        argument.name == name && argument.stage == root.stage && root.line.is_some_and(|line| argument.line < line)
    };
    let argument = record.arguments.iter().filter(above).max_by_key(|argument| argument.line)?;
    let stays = barrier(argument).is_some_and(|barrier| root.line.is_some_and(|line| barrier.line <= line));
    (!is_read && !stays && is_run(root) && !names(&root.instruction, name)).then_some(argument)
}

/// Where an ARG has to stay above. What only says something about the image can move down with it.
fn barrier(argument: &Argument) -> Option<&Naming> {
    argument.named.iter().find(|naming| !is_about_the_image(&naming.instruction))
}

fn move_argument(record: &BuildRecord, argument: &Argument, roots: &[&StepRecord]) -> Option<Advice> {
    let (name, stage, barrier) = (&argument.name, &argument.stage, barrier(argument));
    let stays = |step: &StepRecord| {
        let is_below = || {
            barrier.is_some_and(|barrier| step.stage == *stage && step.line.is_some_and(|line| line >= barrier.line))
        };
        names(&step.instruction, name) || is_below()
    };
    let root = *roots.first()?;
    let avoidable: Vec<&StepRecord> = roots.iter().flat_map(|root| avoidable(record, root, &stays)).collect();
    let runs = avoidable.iter().filter(|step| is_run(step)).count();
    let last = avoidable.iter().filter(|step| step.stage == *stage).filter_map(|step| step.line).max()?;
    let end = barrier.map_or(argument.stage_end + 1, |barrier| barrier.line);
    let movable = argument.named.iter().filter(|naming| naming.line < end);
    let (with_it, below): (Vec<_>, Vec<_>) = movable.partition(|naming| naming.line < last);
    let target = below.first().map_or(end, |naming| naming.line) - 1;
    let together = match with_it.as_slice() {
        [] => "it".to_owned(),
        [one] => format!("it and the {} of line {}", one.instruction, one.line),
        several => {
            let lines: Vec<String> = several.iter().map(|naming| naming.line.to_string()).collect();
            format!("it and lines {}, which name it,", lines.join(" and "))
        }
    };
    let (later, cost_us) = (if runs == 1 { "RUN does" } else { "RUNs do" }, cost(&avoidable));
    let text = format!(
        "ARG {name} (line {}) changed; {runs} later {later} not name it; it cost {}; move {together} below line {target}",
        argument.line,
        seconds(cost_us)
    );
    Some(made(AdviceKind::LateArgument, root, &avoidable, text))
}

/// Everything was copied, and behind it comes a step that installs what few files list.
fn early_copy(record: &BuildRecord, root: &StepRecord, changed: &[&str]) -> Option<Advice> {
    let dragged = record.dragged_by(root);
    let mut ran = dragged.iter().filter(|step| step.outcome == Outcome::Ran && step.stage == root.stage);
    let (step, installer) = ran.find_map(|step| Some((*step, installer(&step.instruction)?)))?;
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    if changed.iter().any(|path| installer.manifests.iter().any(|manifest| fits(manifest, &base(path)))) {
        return None;
    }
    let (cost_us, line) = (step.wall_us(), root.line?);
    let needs = match installer.manifests {
        [] => format!("needs none of the files: move line {line} below it"),
        [only] => format!("needs {only} only: copy that first, and everything else below it"),
        [all @ .., last] => {
            format!("needs {} and {last} only: copy those first, and everything else below it", all.join(", "))
        }
    };
    let text = format!(
        "`{}` (line {line}) comes before `{}`{}, which {needs}; it cost {}",
        shortened(&root.instruction),
        shortened(&step.instruction),
        step.line.map_or_else(String::new, |line| format!(" (line {line})")),
        seconds(cost_us)
    );
    Some(made(AdviceKind::CopyAfterInstall, root, &[step], text))
}

fn permissions(record: &BuildRecord, root: &StepRecord) -> Advice {
    let avoidable = avoidable(record, root, &|_| false);
    let count = avoidable.len();
    let steps = if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
    let text = format!(
        "nothing but permissions of files changed; {steps} ran for it; it cost {}; --context-perms=git takes them as git keeps them",
        seconds(cost(&avoidable))
    );
    made(AdviceKind::Permissions, root, &avoidable, text)
}

/// What ran because of `root`, but for what has to run anyway and what is made of that.
fn avoidable<'a>(
    record: &'a BuildRecord,
    root: &'a StepRecord,
    has_to_run: &dyn Fn(&StepRecord) -> bool,
) -> Vec<&'a StepRecord> {
    let mut running: BTreeSet<u32> =
        record.steps.iter().filter(|step| has_to_run(step)).map(|step| step.vertex).collect();
    // Each round goes one step further down; steps are few.
    loop {
        let further = record.steps.iter().filter(|step| step.inputs.iter().any(|input| running.contains(input)));
        let before = running.len();
        running.extend(further.map(|step| step.vertex).collect::<Vec<_>>());
        if running.len() == before {
            break;
        }
    }
    let all = std::iter::once(root).chain(record.dragged_by(root));
    all.filter(|step| step.end_us > 0 && !running.contains(&step.vertex)).collect()
}

fn made(kind: AdviceKind, root: &StepRecord, steps: &[&StepRecord], text: String) -> Advice {
    let vertices = steps.iter().map(|step| step.vertex).collect();
    Advice { kind, vertex: root.vertex, steps: vertices, cost_us: cost(steps), text }
}

fn cost(steps: &[&StepRecord]) -> u64 {
    steps.iter().map(|step| step.wall_us()).sum()
}

fn is_run(step: &StepRecord) -> bool {
    step.instruction.split_whitespace().next().is_some_and(|keyword| keyword.eq_ignore_ascii_case("RUN"))
}

/// Instructions that make no files and that no step sees.
fn is_about_the_image(keyword: &str) -> bool {
    matches!(keyword, "LABEL" | "EXPOSE" | "STOPSIGNAL" | "VOLUME")
}

/// Whether a COPY took the whole context.
fn is_everything(taken: &str) -> bool {
    let words = taken.split_whitespace().skip(1).filter(|word| !word.starts_with("--"));
    matches!(words.collect::<Vec<_>>().as_slice(), [] | ["." | "./" | "/" | "*" | "./*"])
}

/// A program that installs what files list.
#[derive(Debug)]
struct Installer {
    /// What its command begins with, one way each.
    commands: &'static [&'static str],
    /// The files it reads; none if it reads none.
    manifests: &'static [&'static str],
}

/// Packages come from elsewhere: no file is needed.
static PACKAGES: Installer = Installer {
    commands: &[
        "apt-get install",
        "apt-get -y install",
        "apt-get update",
        "apt install",
        "apt update",
        "apk add",
        "apk update",
        "dnf install",
        "dnf -y install",
        "microdnf install",
        "yum install",
        "yum -y install",
    ],
    manifests: &[],
};

const REQUIREMENTS: &[&str] = &["requirements*.txt"];

static INSTALLERS: [Installer; 11] = [
    Installer {
        commands: &["npm ci", "npm install", "npm i", "npm clean-install"],
        manifests: &["package.json", "package-lock.json"],
    },
    Installer { commands: &["yarn", "yarn install"], manifests: &["package.json", "yarn.lock"] },
    Installer { commands: &["pnpm install", "pnpm i", "pnpm fetch"], manifests: &["package.json", "pnpm-lock.yaml"] },
    Installer {
        commands: &["pip install", "pip3 install", "python -m pip install", "python3 -m pip install"],
        manifests: REQUIREMENTS,
    },
    Installer { commands: &["poetry install --no-root"], manifests: &["pyproject.toml", "poetry.lock"] },
    Installer { commands: &["uv sync --no-install-project"], manifests: &["pyproject.toml", "uv.lock"] },
    Installer { commands: &["bundle install"], manifests: &["Gemfile", "Gemfile.lock"] },
    Installer {
        commands: &["composer install --no-scripts --no-autoloader"],
        manifests: &["composer.json", "composer.lock"],
    },
    Installer { commands: &["go mod download"], manifests: &["go.mod", "go.sum"] },
    Installer { commands: &["cargo fetch"], manifests: &["Cargo.toml", "Cargo.lock"] },
    Installer { commands: &["mvn dependency:go-offline", "mvn -B dependency:go-offline"], manifests: &["pom.xml"] },
];

/// What may stand beside an installer without needing more files.
const CLEANING: [&str; 10] = [
    "rm",
    "set",
    "true",
    "npm cache clean",
    "yarn cache clean",
    "apt-get clean",
    "apt clean",
    "dnf clean",
    "yum clean",
    "pip cache purge",
];

/// The installer that a RUN is, if it does nothing else.
fn installer(instruction: &str) -> Option<&'static Installer> {
    let mut words = instruction.split_whitespace();
    if !words.next()?.eq_ignore_ascii_case("RUN") {
        return None;
    }
    let command = words.skip_while(|word| word.starts_with("--")).collect::<Vec<_>>().join(" ");
    let begins =
        |part: &str, with: &str| part.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let mut found: Option<&'static Installer> = None;
    for part in command.split("&&").flat_map(|part| part.split(';')).map(str::trim).filter(|part| !part.is_empty()) {
        if CLEANING.iter().any(|cleaning| begins(part, cleaning)) {
            continue;
        }
        let known = INSTALLERS
            .iter()
            .chain([&PACKAGES])
            .find(|installer| installer.commands.iter().any(|known| begins(part, known)))?;
        let known = if known.manifests == REQUIREMENTS { requirements(part, known)? } else { known };
        let is_other = found.is_some_and(|found| !std::ptr::eq(found, known));
        if is_other || needs_more(part, known) {
            return None;
        }
        found = Some(known);
    }
    found
}

/// pip needs a list only if it is given one, and only a list with the usual name can be told from other files.
fn requirements(part: &str, pip: &'static Installer) -> Option<&'static Installer> {
    let words: Vec<&str> = part.split(' ').collect();
    let lists = words.windows(2).filter(|pair| matches!(pair, ["-r" | "--requirement", _])).map(|pair| pair[1]);
    let mut lists = lists.map(|list| list.rsplit('/').next().unwrap_or_default()).peekable();
    if lists.peek().is_none() {
        return Some(&PACKAGES);
    }
    lists.all(|list| REQUIREMENTS.iter().any(|manifest| fits(manifest, list))).then_some(pip)
}

/// Whether files are named that are no manifests: `pip install .`, `apt-get install ./x.deb`.
fn needs_more(part: &str, installer: &Installer) -> bool {
    let is_path = |word: &str| {
        let base = word.rsplit('/').next().unwrap_or_default();
        let is_manifest = installer.manifests.iter().any(|manifest| fits(manifest, base));
        !is_manifest
            && (word == "."
                || word == ".."
                || word.starts_with("./")
                || word.starts_with("../")
                || word.starts_with(".["))
    };
    let runs_more = ["|", "`", "$(", "<", ">"].iter().any(|sign| part.contains(sign));
    // Without a list of requirements pip installs what is named, and that is no reason for files to come first either.
    runs_more || part.split(' ').any(is_path) || part.split(' ').any(|word| word == "-e" || word == "--editable")
}

/// Whether a file's name is that of a manifest, in which one `*` may stand.
fn fits(manifest: &str, name: &str) -> bool {
    match manifest.split_once('*') {
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
        None => name == manifest,
    }
}

const SHOWN: usize = 50;

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// `252 s`, `1.5 s`.
fn seconds(us: u64) -> String {
    let tenths = us.saturating_add(50_000) / 100_000;
    if tenths < 100 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{} s", us.saturating_add(500_000) / 1_000_000)
    }
}

#[cfg(test)]
mod tests;
