//! Build checks that need values: CopyIgnoredFile, WorkdirRelativePath, InvalidDefaultArgInFrom, UnusedBuildArg, and all that
//! triggers of the base bring with them. Those about words
//! (UndefinedVar), ports and base images are made where these are read.

use bld_oci::ImagePath;
use bld_oci::reference::Reference;
use bld_parser::ast::CopyPaths;
use bld_parser::ast::CopySource;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Stage;
use bld_parser::ast::Word;
use bld_parser::ignorefile::Patterns;
use bld_parser::source::Span;

use super::LowerRequest;
use super::globals::Globals;
use super::report::Report;
use super::stage::Lowering;
use super::stage::StageState;
use super::stages::CORRECT_THE_BASE;
use super::stages::Trigger;
use super::words;
use super::words::Variables as _;

/// What the ignore file of the build context takes away.
#[derive(Debug, Clone)]
pub struct IgnoreRules {
    /// The file's name as the user knows it.
    pub file: String,
    /// What it says.
    pub patterns: Patterns,
}

impl Lowering<'_> {
    /// A source that the ignore file takes away, with everything below it.
    pub(super) fn check_ignored(&mut self, state: &StageState, name: &str, paths: &CopyPaths) {
        let Some(ignore) = &self.request.ignore else { return };
        for source in &paths.sources {
            let CopySource::Path(word) = source else { continue };
            // What is wrong with the word is reported where it is used.
            let mut nobody = Report::default();
            let Some(path) = words::expand(&mut nobody, word, state.escape, &state.scope) else { continue };
            if !matches!(crate::remote::Remote::parse(&path), Ok(None)) {
                continue;
            }
            let clean = ImagePath::new(&path);
            let Some(pattern) = ignore.patterns.hidden_by(clean.relative()) else { continue };
            let message = format!("{name} of `{path}`, which {} excludes", ignore.file);
            let mut hint = format!("remove line {} of {}, `{}`", pattern.line, ignore.file, pattern.text);
            let clean = String::from_utf8_lossy(clean.relative());
            if !clean.is_empty() && clean != pattern.text {
                hint = format!("{hint}, or add `!{clean}` behind it");
            }
            self.report.warning("CopyIgnoredFile", word.span, message, Some(hint));
        }
    }

    /// What the text of a trigger about to be fired gives away.
    pub(super) fn check_trigger(&mut self, state: &StageState, trigger: &Trigger, span: Span) {
        for warning in &trigger.warnings {
            let reported = match warning.code {
                "JSONArgsRecommended" => state.config.container.shell.is_none(),
                "LegacyKeyValueFormat" | "SecretsUsedInArgOrEnv" => true,
                // Told where the ONBUILD is written: in the base they are nothing that could be changed here.
                _ => false,
            };
            if reported {
                let hint = Some(CORRECT_THE_BASE.to_owned());
                self.report.warning(warning.code, span, warning.message.clone(), hint);
            }
        }
    }

    /// Triggers without effect, because a later one or an instruction of the stage does the same once more.
    pub(super) fn check_triggers(&mut self, triggers: &[Trigger], stage: &Stage) {
        let own = stage.instructions.iter().map(|located| &located.instruction);
        let own: Vec<&Instruction> = own.collect();
        for (index, trigger) in triggers.iter().enumerate() {
            let Some(name) = only_once(&trigger.instruction.instruction) else { continue };
            let later = triggers[index + 1..].iter().map(|trigger| &trigger.instruction.instruction);
            if later.chain(own.iter().copied()).any(|instruction| only_once(instruction) == Some(name)) {
                let message = format!("{name} has no effect: a later {name} in the same stage replaces it");
                self.report.enter_trigger(stage.from.base.span, &trigger.text);
                let hint = format!("the base brings its own {name}: leave out yours, or build on another base");
                self.report.warning("MultipleInstructionsDisallowed", stage.from.base.span, message, Some(hint));
                self.report.leave_trigger();
            }
        }
    }

    /// The first WORKDIR of a stage, if it depends on what the base image happens to say.
    pub(super) fn check_workdir(&mut self, state: &mut StageState, word: &Word) {
        if std::mem::replace(&mut state.scope.workdir_set, true) {
            return;
        }
        let mut nobody = Report::default();
        let Some(path) = words::expand(&mut nobody, word, state.escape, &state.scope) else { return };
        if !path.starts_with('/') {
            let message = format!("relative WORKDIR `{path}`: where it is depends on the base image");
            let hint = if path.as_bytes().get(1) == Some(&b':') {
                "images hold Linux paths: write `WORKDIR /app` or the like".to_owned()
            } else {
                format!("write `WORKDIR {}`", state.directory().join(&path))
            };
            self.report.warning("WorkdirRelativePath", word.span, message, Some(hint));
        }
    }
}

/// The name of an instruction of which the last one counts.
fn only_once(instruction: &Instruction) -> Option<&'static str> {
    match instruction {
        Instruction::Cmd(_) => Some("CMD"),
        Instruction::Entrypoint(_) => Some("ENTRYPOINT"),
        Instruction::Healthcheck(_) => Some("HEALTHCHECK"),
        _ => None,
    }
}

/// FROM lines that name no image unless a build argument is given.
pub(super) fn default_arguments(dockerfile: &Dockerfile, request: &LowerRequest, report: &mut Report) {
    let mut nobody = Report::default();
    let unaided = LowerRequest { build_args: std::collections::BTreeMap::new(), ..request.clone() };
    let defaults = Globals::new(dockerfile, &unaided, None, &mut nobody);
    if nobody.has_errors() {
        return;
    }
    let escape = dockerfile.directives.escape;
    for stage in &dockerfile.stages {
        let word = &stage.from.base;
        let Some(base) = words::expand(&mut nobody, word, escape, &defaults) else { continue };
        // What is wrong with a constant is said elsewhere.
        if !word.raw.contains('$') || base.parse::<Reference>().is_ok() {
            continue;
        }
        let message = format!("with the defaults of its ARGs `{}` is no valid image name: `{base}`", word.raw);
        let name = variable(&word.raw).unwrap_or("NAME");
        let hint = format!("give it a default: `ARG {name}=VALUE` before the first FROM");
        report.warning("InvalidDefaultArgInFrom", word.span, message, Some(hint));
    }
}

/// The first variable of a word.
pub(super) fn variable(raw: &str) -> Option<&str> {
    let (_, behind) = raw.split_once('$')?;
    let behind = behind.strip_prefix('{').unwrap_or(behind);
    let end = behind.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(behind.len());
    behind.get(..end).filter(|name| !name.is_empty())
}

/// What registries, and bld itself, read of an image's configuration.
const MAX_CONFIG: usize = 4 << 20;
/// What a history entry has besides its text, at least.
const HISTORY_ENTRY: usize = 100;

/// An image whose configuration nobody would read is not worth building.
pub(super) fn config_size(target: &StageState, report: &mut Report) {
    let env = target.config.container.env.iter().map(String::len).sum::<usize>();
    let labels = target.config.container.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let mut size = env + labels;
    for step in &target.steps {
        size += step.created_by.len() + HISTORY_ENTRY;
        if size > MAX_CONFIG {
            let message = format!("the image's configuration would be larger than {MAX_CONFIG} bytes");
            let hint = format!(
                "no registry takes it: its history alone has {} entries, one for each instruction",
                target.steps.len()
            );
            return report.error("ConfigTooLarge", step.span, message, Some(hint));
        }
    }
}

/// Build arguments nobody asked for.
pub(super) fn unused_arguments(globals: &Globals, report: &mut Report) {
    for name in globals.unused() {
        let is_meant = |known: &&str| globals.get(known).is_none() || !is_platform(known);
        let hint = report.did_you_mean(&name, || globals.declared_names().filter(is_meant).collect());
        let hint = hint.unwrap_or_else(|| format!("declare it where it is used: `ARG {name}`"));
        let message = format!("no ARG declares the build argument `{name}`");
        report.warning("UnusedBuildArg", Span::new(0, 0), message, Some(hint));
    }
}

fn is_platform(name: &str) -> bool {
    name.starts_with("TARGET") || name.starts_with("BUILD")
}
