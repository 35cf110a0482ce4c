//! Which stages the target needs, and what they start from.

mod order;
mod resolve;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Located;
use bld_parser::ast::Stage;
use bld_parser::ast::Text;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::parse_trigger;
use bld_parser::source::Span;
use bld_parser::suggest::did_you_mean;

use super::LowerError;
use super::LowerRequest;
use super::checks;
use super::globals::Globals;
use super::renewed::Renewed;
use super::renewed::is_stage;
use super::report::Report;
use super::words;
use crate::worker::Resolved;
use crate::worker::SourceResolver;

/// Something that is no stage: an image or a named context.
#[derive(Debug)]
pub(super) struct External {
    pub(super) name: String,
    pub(super) platform: Platform,
    /// Where it is named first.
    span: Span,
    /// Never named by FROM: a stage could stand there.
    copied: bool,
    /// It was asked for.
    asked: bool,
    /// `None` if it could not be resolved.
    pub(super) resolved: Option<Resolved>,
}

/// What FROM or `--from` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Scratch,
    Stage(usize),
    /// Position in the list of externals.
    External(usize),
}

/// A trigger about to be fired.
#[derive(Debug, Clone)]
pub(super) struct Trigger {
    pub(super) text: String,
    pub(super) instruction: Located,
    /// What there is to say against it.
    pub(super) warnings: Vec<Diagnostic>,
}

/// A stage the target needs.
#[derive(Debug)]
pub(super) struct Needed {
    pub(super) base: Reference,
    /// FROM's, or the request's; a stage that starts from a stage has the platform of that one.
    pub(super) platform: Platform,
    pub(super) triggers: Vec<Trigger>,
    /// A named context replaces the whole stage.
    pub(super) replaced: bool,
    /// Stages it needs, and where.
    uses: Vec<(usize, Span)>,
}

/// The stages of a Dockerfile as the target sees them.
#[derive(Debug)]
pub(super) struct Stages<'a> {
    dockerfile: &'a Dockerfile,
    /// Numbers of the stages of a name in lower case, in order.
    numbers: HashMap<String, Vec<usize>>,
    target: usize,
    needed: BTreeMap<usize, Needed>,
    externals: Vec<External>,
    /// Their positions.
    places: HashMap<(String, Platform), usize>,
    named_contexts: BTreeSet<String>,
    platform: Platform,
}

/// How much of a Dockerfile is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The target and what it needs.
    Target,
    /// All stages, unless the request names a target.
    AllStages,
}

/// Finds what the target needs. `None` if there is no such target.
pub(super) async fn find<'a, S: SourceResolver>(
    dockerfile: &'a Dockerfile,
    request: &LowerRequest,
    extent: Extent,
    globals: &Globals,
    resolver: &S,
    report: &mut Report,
    unresolved: &mut Vec<LowerError<S::Error>>,
) -> Option<Stages<'a>> {
    let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        if let Some(name) = &stage.from.name {
            numbers.entry(name.value.to_ascii_lowercase()).or_default().push(number);
        }
    }
    let mut stages = Stages {
        dockerfile,
        numbers,
        target: 0,
        needed: BTreeMap::new(),
        externals: Vec::new(),
        places: HashMap::new(),
        named_contexts: BTreeSet::new(),
        platform: request.platform.clone(),
    };
    stages.check_filter(&request.no_cache_filter, &request.no_cache_steps, report);
    stages.target = stages.find_target(request.target.as_deref(), report)?;
    let is_named = |name: &str| !is_reserved(name) && resolver.is_named_context(name);
    let mut waiting = vec![stages.target];
    if extent == Extent::AllStages && request.target.is_none() {
        waiting = (0..dockerfile.stages.len()).collect();
    }
    loop {
        while let Some(index) = waiting.pop() {
            if !stages.needed.contains_key(&index) {
                let needed = stages.open(index, request, globals, &is_named, report);
                waiting.extend(needed.uses.iter().map(|(stage, _)| *stage));
                stages.needed.insert(index, needed);
            }
        }
        let fresh = stages.resolve(resolver, report, unresolved).await;
        if fresh.is_empty() {
            break;
        }
        waiting.extend(stages.read_triggers(&fresh, &is_named, report));
    }
    stages.check_order(report);
    Some(stages)
}

/// Names that are never looked up among named contexts.
fn is_reserved(name: &str) -> bool {
    matches!(name, "scratch" | "context")
}

/// Notes every ARG of a stage, so that a build argument for a stage that is not built does not count as unused.
pub(super) fn declare_arguments(stage: &Stage, globals: &mut Globals) {
    for located in &stage.instructions {
        if let Instruction::Arg(arg) = &located.instruction {
            for declaration in &arg.declarations {
                globals.declare(&declaration.name.value);
            }
        }
    }
}

impl<'a> Stages<'a> {
    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// Numbers of the needed stages, in the order of the file: a possible order, or [`find`] has reported why not.
    pub(super) fn needed(&self) -> Vec<usize> {
        self.needed.keys().copied().collect()
    }

    pub(super) fn get(&self, index: usize) -> Option<(&'a Stage, &Needed)> {
        Some((self.dockerfile.stages.get(index)?, self.needed.get(&index)?))
    }

    pub(super) fn external(&self, id: usize) -> Option<&External> {
        self.externals.get(id)
    }

    /// What `--from` names in stage `index`.
    pub(super) fn source(&self, from: &str, index: usize) -> Option<Reference> {
        if !self.named_contexts.contains(from) {
            if let Some(stage) = self.by_name(from, index) {
                return Some(Reference::Stage(stage));
            }
            if let Some(stage) = as_number(from) {
                return (stage < self.dockerfile.stages.len()).then_some(Reference::Stage(stage));
            }
        }
        if from == "scratch" {
            return Some(Reference::Scratch);
        }
        self.places.get(&(from.to_owned(), self.platform.clone())).copied().map(Reference::External)
    }

    pub(super) fn skipped(&self) -> Vec<String> {
        (0..self.dockerfile.stages.len())
            .filter(|index| !self.needed.contains_key(index))
            .map(|index| self.label(index))
            .collect()
    }

    /// The stage's name, or its number.
    pub(super) fn label(&self, index: usize) -> String {
        let name = self.dockerfile.stages.get(index).and_then(|stage| stage.from.name.as_ref());
        name.map_or_else(|| index.to_string(), |name| name.value.clone())
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref()).map(|name| name.value.as_str())
    }

    fn find_target(&self, wanted: Option<&str>, report: &mut Report) -> Option<usize> {
        let count = self.dockerfile.stages.len();
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return count.checked_sub(1) };
        let found = self.by_name(wanted, count).or_else(|| as_number(wanted).filter(|index| *index < count));
        if found.is_none() {
            self.report_unknown("UnknownTarget", &format!("`--target {wanted}`"), wanted, report);
        }
        found
    }

    /// Stages whose results are not to come from the cache must be there.
    fn check_filter(&self, filter: &[String], steps: &[String], report: &mut Report) {
        let count = self.dockerfile.stages.len();
        let is_there = |wanted: &str| (0..count).any(|index| is_stage(wanted, index, &self.label(index)));
        for wanted in filter.iter().filter(|wanted| !wanted.is_empty() && !is_there(wanted)) {
            self.report_unknown("UnknownNoCacheFilter", &format!("`--no-cache-filter {wanted}`"), wanted, report);
        }
        for text in steps {
            let flag = format!("`--no-cache={text}`");
            match Renewed::parse(text, count) {
                Some(Renewed { stage: Some(wanted), .. }) if !is_there(wanted) => {
                    self.report_unknown("UnknownNoCacheFilter", &flag, wanted, report);
                }
                Some(_) => {}
                None => {
                    let hint = "write STAGE:N for the step that is shown as `[STAGE N/M]`";
                    let message = format!("{flag}: the step is not a number");
                    report.error("UnknownNoCacheFilter", Span::new(0, 0), message, Some(hint.to_owned()));
                }
            }
        }
    }

    /// A flag names a stage that is not there: no place in the Dockerfile is wrong.
    fn report_unknown(&self, code: &'static str, flag: &str, wanted: &str, report: &mut Report) {
        let names: Vec<&str> = self.names().collect();
        let all = match names.as_slice() {
            [] if self.dockerfile.stages.len() < 2 => "the only stage has no name: its number is 0".to_owned(),
            [] => format!("no stage has a name: their numbers are 0 to {}", self.dockerfile.stages.len() - 1),
            names => format!("the stages are `{}`", names.join("`, `")),
        };
        let hint = match did_you_mean(wanted, names.iter().copied()) {
            Some(near) if names.len() > 1 => format!("{near} {all}"),
            Some(near) => near,
            None => all,
        };
        report.error(code, Span::new(0, 0), format!("{flag}: there is no such stage"), Some(hint));
    }

    /// The last stage of that name before `index`, else the first one behind it.
    fn by_name(&self, name: &str, index: usize) -> Option<usize> {
        let numbers = self.numbers.get(&name.to_ascii_lowercase())?;
        let before = numbers.partition_point(|number| *number < index).checked_sub(1);
        numbers.get(before.unwrap_or(0)).copied()
    }

    fn open(
        &mut self,
        index: usize,
        request: &LowerRequest,
        globals: &Globals,
        is_named: &impl Fn(&str) -> bool,
        report: &mut Report,
    ) -> Needed {
        let mut needed = Needed {
            base: Reference::Scratch,
            platform: request.platform.clone(),
            triggers: Vec::new(),
            replaced: false,
            uses: Vec::new(),
        };
        let Some(stage) = self.dockerfile.stages.get(index) else { return needed };
        let escape = self.dockerfile.directives.escape;
        if let Some(word) = &stage.from.platform
            && let Some(text) = words::expand(report, word, escape, globals)
        {
            match Platform::parse(&text, &request.build_platform) {
                Ok(platform) => needed.platform = platform,
                Err(_) if text.is_empty() => {
                    let message = format!("the platform `{}` is empty", word.raw);
                    let hint = "give its variables a default: `ARG NAME=VALUE` before the first FROM".to_owned();
                    report.error("InvalidPlatform", word.span, message, Some(hint));
                }
                Err(error) => report.error("InvalidPlatform", word.span, error.to_string(), None),
            }
        }
        if let Some(name) = stage.from.name.as_ref().filter(|name| is_named(&name.value)) {
            needed.base = Reference::External(self.intern(&name.value, &needed.platform, name.span, false));
            needed.replaced = true;
            return needed;
        }
        if let Some(base) = words::expand(report, &stage.from.base, escape, globals) {
            self.find_base(index, base.trim(), is_named, &mut needed, report);
        }
        if let Reference::Stage(base) = needed.base {
            needed.uses.push((base, stage.from.base.span));
            for located in self.dockerfile.stages.get(base).map_or(&[][..], |stage| &stage.instructions) {
                if let Instruction::Onbuild(onbuild) = &located.instruction {
                    needed.triggers.extend(read_trigger(&onbuild.text.value, onbuild.text.span, report));
                }
            }
        }
        let own = stage.instructions.iter().map(|located| (located, None));
        let triggers = needed.triggers.clone();
        let fired = triggers.iter().map(|trigger| (&trigger.instruction, Some((stage.from.base.span, &*trigger.text))));
        for (located, trigger) in fired.chain(own) {
            needed.uses.extend(self.copied_from(index, located, trigger, is_named, report));
        }
        needed
    }

    fn find_base(
        &mut self,
        index: usize,
        base: &str,
        is_named: &impl Fn(&str) -> bool,
        needed: &mut Needed,
        report: &mut Report,
    ) {
        let Some(stage) = self.dockerfile.stages.get(index) else { return };
        let span = stage.from.base.span;
        if base.is_empty() {
            let message = format!("base name (`{}`) should not be blank", stage.from.base.raw);
            let name = checks::variable(&stage.from.base.raw).unwrap_or("NAME");
            let hint = format!(
                "`{name}` is empty: write `ARG {name}=IMAGE` before the first FROM; `--build-arg {name}=IMAGE` then changes it"
            );
            report.error("BlankBaseName", span, message, Some(hint));
        } else if base == "scratch" {
            needed.base = Reference::Scratch;
            // Nothing has no platform of its own.
            needed.platform.clone_from(&self.platform);
        } else if let Some(earlier) = self.by_name(base, index).filter(|found| *found < index && !is_named(base)) {
            needed.base = Reference::Stage(earlier);
        } else {
            if is_named(base) {
                self.named_contexts.insert(base.to_owned());
            }
            needed.base = Reference::External(self.intern(base, &needed.platform, span, false));
        }
    }

    /// The stages an instruction copies or mounts from; images and contexts are noted for resolution.
    fn copied_from(
        &mut self,
        index: usize,
        located: &Located,
        trigger: Option<(Span, &str)>,
        is_named: &impl Fn(&str) -> bool,
        report: &mut Report,
    ) -> Vec<(usize, Span)> {
        if let Some((span, text)) = trigger {
            report.enter_trigger(span, text);
        }
        let mut used = Vec::new();
        for mut from in named_by(located) {
            if let Some((span, _)) = trigger {
                from.span = span;
            }
            used.extend(self.named(index, &from, is_named, report).map(|stage| (stage, from.span)));
        }
        report.leave_trigger();
        used
    }

    fn named(
        &mut self,
        index: usize,
        from: &Text,
        is_named: &impl Fn(&str) -> bool,
        report: &mut Report,
    ) -> Option<usize> {
        if is_named(&from.value) {
            self.named_contexts.insert(from.value.clone());
        }
        match self.source(&from.value, index) {
            Some(Reference::Stage(stage)) => return Some(stage),
            Some(Reference::External(id)) => {
                if let Some(known) = self.externals.get_mut(id) {
                    known.span = known.span.min(from.span);
                }
            }
            Some(Reference::Scratch) => {}
            None if as_number(&from.value).is_some() => {
                let message = format!("there is no stage number {}", from.value);
                let count = self.dockerfile.stages.len();
                let last = count.saturating_sub(1);
                let hint = format!("stages are counted from 0: this file has {count}, so the last is {last}");
                report.error("UnknownStageNumber", from.span, message, Some(hint));
            }
            None => {
                let platform = self.platform.clone();
                self.intern(&from.value, &platform, from.span, true);
            }
        }
        None
    }

    /// Reads the triggers of images just resolved; answers with the stages those copy from.
    fn read_triggers(&mut self, fresh: &[usize], is_named: &impl Fn(&str) -> bool, report: &mut Report) -> Vec<usize> {
        let mut more = Vec::new();
        let fresh: BTreeSet<&usize> = fresh.iter().collect();
        for index in self.needed() {
            let Some((stage, needed)) = self.get(index) else { continue };
            let Reference::External(id) = needed.base else { continue };
            let Some(Resolved::Image(image)) = self.external(id).and_then(|external| external.resolved.as_ref()) else {
                continue;
            };
            if !fresh.contains(&id) || needed.replaced {
                continue;
            }
            let span = stage.from.base.span;
            let texts = image.config.container.on_build.clone();
            let triggers: Vec<Trigger> = texts.iter().filter_map(|text| read_trigger(text, span, report)).collect();
            for trigger in &triggers {
                let fired = Some((span, trigger.text.as_str()));
                let found = self.copied_from(index, &trigger.instruction, fired, is_named, report);
                more.extend(found.iter().map(|(stage, _)| *stage));
                if let Some(needed) = self.needed.get_mut(&index) {
                    needed.uses.extend(found);
                }
            }
            if let Some(needed) = self.needed.get_mut(&index) {
                needed.triggers = triggers;
            }
        }
        more
    }
}

/// What `COPY --from` or `RUN --mount=from=` name. None of them is ever expanded.
fn named_by(located: &Located) -> Vec<Text> {
    match &located.instruction {
        Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(super::mounts::from).collect(),
        _ => Vec::new(),
    }
}

fn as_number(name: &str) -> Option<usize> {
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten()
}

/// What to write instead helps only those who can change the base.
pub(super) const CORRECT_THE_BASE: &str = "it is an ONBUILD of the base: correct it there, or build on another one";

/// The instruction of a trigger. What is wrong with it is reported at `span`.
fn read_trigger(text: &str, span: Span, report: &mut Report) -> Option<Trigger> {
    let parsed = parse_trigger(text);
    report.enter_trigger(span, text);
    let (errors, warnings) =
        parsed.diagnostics.into_iter().partition::<Vec<_>, _>(|found| found.severity == Severity::Error);
    for error in errors {
        report.error(error.code, span, error.message, Some(CORRECT_THE_BASE.to_owned()));
    }
    report.leave_trigger();
    parsed.instruction.map(|instruction| Trigger { text: text.to_owned(), instruction, warnings })
}
