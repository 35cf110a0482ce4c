//! `SOURCE_DATE_EPOCH` by name: the time of a named context on the network, or of a stage that holds one such source and nothing else.
//!
//! ```text
//! ARG SOURCE_DATE_EPOCH=source
//! FROM scratch AS source
//! ADD https://host/repository.git#v1 /
//! ```

use bld_parser::ast::Add;
use bld_parser::ast::CopySource;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Stage;
use bld_parser::source::Span;
use bld_parser::suggest::did_you_mean;

use super::LowerError;
use super::LowerRequest;
use super::copy::expect_checksum;
use super::globals::Globals;
use super::report::Report;
use super::scope::Scope;
use super::words;
use super::words::Variables as _;
use crate::remote::Remote;
use crate::worker::Resolved;
use crate::worker::SourceResolver;

/// A value of `SOURCE_DATE_EPOCH` that is a name, and the time it stands for.
#[derive(Debug)]
pub(super) struct NamedTime {
    pub(super) name: String,
    /// `None` if the source has none: then nothing is set.
    pub(super) time: Option<i64>,
}

/// The variables of FROM lines, with the time looked up that `SOURCE_DATE_EPOCH` may name.
pub(super) async fn globals<S: SourceResolver>(
    dockerfile: &Dockerfile,
    request: &LowerRequest,
    resolver: &S,
    report: &mut Report,
    unresolved: &mut Vec<LowerError<S::Error>>,
) -> Globals {
    let plain = Globals::new(dockerfile, request, None, &mut Report::default());
    let Some((name, span)) = plain.epoch_name() else { return Globals::new(dockerfile, request, None, report) };
    let found = find(dockerfile, request, resolver, &plain, (name, span), report).await;
    let time = found.unwrap_or_else(|source| {
        unresolved.push(LowerError::Source { name: name.to_owned(), span, unknown: false, hint: None, source });
        None
    });
    Globals::new(dockerfile, request, Some(&NamedTime { name: name.to_owned(), time }), report)
}

async fn find<S: SourceResolver>(
    dockerfile: &Dockerfile,
    request: &LowerRequest,
    resolver: &S,
    plain: &Globals,
    (name, span): (&str, Span),
    report: &mut Report,
) -> Result<Option<i64>, S::Error> {
    if resolver.is_named_context(name) {
        return match resolver.resolve(name, &request.platform).await? {
            Resolved::Remote(remote) => resolver.time(&remote).await,
            Resolved::Image(_) | Resolved::Context(_) => Ok(None),
        };
    }
    let is_called = |stage: &&Stage| stage.from.name.as_ref().is_some_and(|own| own.value.eq_ignore_ascii_case(name));
    let Some(stage) = dockerfile.stages.iter().find(is_called) else {
        report_unknown(dockerfile, name, span, report);
        return Ok(None);
    };
    match remote_of(dockerfile, stage, plain, report) {
        Some(remote) => resolver.time(&remote).await,
        None => Ok(None),
    }
}

fn report_unknown(dockerfile: &Dockerfile, name: &str, span: Span, report: &mut Report) {
    let names = dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref()).map(|name| name.value.as_str());
    let message = format!("`SOURCE_DATE_EPOCH` must be a number of seconds, not `{name}`");
    let hint = did_you_mean(name, names.chain(["context"])).unwrap_or_else(|| {
        "write seconds since 1970-01-01T00:00:00Z, `context`, or the name of a --build-context or of a stage with one ADD from the network".to_owned()
    });
    report.error("InvalidEpoch", span, message, Some(hint));
}

/// The one source of a stage. What keeps it from being the only thing in there is reported.
fn remote_of(dockerfile: &Dockerfile, stage: &Stage, globals: &Globals, report: &mut Report) -> Option<Remote> {
    let escape = dockerfile.directives.escape;
    let base = words::expand(report, &stage.from.base, escape, globals)?;
    if base.trim() != "scratch" {
        refuse(stage, stage.from.base.span, "it must start from scratch", report);
        return None;
    }
    let mut scope = Scope::default();
    let mut found = None;
    for located in &stage.instructions {
        match &located.instruction {
            Instruction::Arg(arg) => {
                for declaration in &arg.declarations {
                    let name = &declaration.name.value;
                    let default = declaration.default.as_ref();
                    let default = default.map(|word| words::expand(report, word, escape, &scope));
                    let value = globals.build_arg(name).or_else(|| globals.get(name).filter(|_| default.is_none()));
                    let value = value.map(str::to_owned).or(default.flatten());
                    scope.set_arg(name.clone(), value);
                }
            }
            Instruction::Add(add) if found.is_none() => found = Some(added(add, escape, &scope, report).ok()?),
            Instruction::Add(_) => {
                refuse(stage, located.span, "it has more than one ADD", report);
                return None;
            }
            _ => {
                refuse(stage, located.span, "it may only have ARG and one ADD from the network", report);
                return None;
            }
        }
    }
    let Some(remote) = found.flatten() else {
        refuse(stage, stage.from.base.span, "it must have one ADD with one source, a URL or a git repository", report);
        return None;
    };
    Some(remote)
}

/// What an ADD fetches, if that is one thing. What is wrong with it is reported.
fn added(add: &Add, escape: char, scope: &Scope, report: &mut Report) -> Result<Option<Remote>, ()> {
    let [CopySource::Path(word)] = add.paths.sources.as_slice() else { return Ok(None) };
    let text = words::expand(report, word, escape, scope).ok_or(())?;
    let mut remote = match Remote::parse(&text) {
        Ok(remote) => remote,
        Err(error) => {
            report.error("InvalidRemote", word.span, error.to_string(), error.hint());
            return Err(());
        }
    };
    if let (Some(remote), Some(word)) = (&mut remote, &add.checksum) {
        let text = words::expand(report, word, escape, scope).ok_or(())?;
        if let Err(message) = expect_checksum(remote, &text) {
            report.error("InvalidChecksum", word.span, message, None);
            return Err(());
        }
    }
    Ok(remote)
}

fn refuse(stage: &Stage, span: Span, reason: &str, report: &mut Report) {
    let name = stage.from.name.as_ref().map_or("", |name| name.value.as_str());
    let message = format!("stage `{name}` has no time that `SOURCE_DATE_EPOCH` could take: {reason}");
    report.error("InvalidEpoch", span, message, None);
}
