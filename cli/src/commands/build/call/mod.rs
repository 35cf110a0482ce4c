//! `--call`: looking at a Dockerfile instead of building it. Nothing is executed; base images are asked for their configuration only if
//! they are in the local store. Answers go to standard output, as text or as JSON, in the shapes of docker's own builder.

mod json;
mod text;

use std::collections::BTreeSet;

use bld_executor::context::ignore_file;
use bld_executor::image::policy::KnownImages;
use bld_executor::image::sources::ImageSources;
use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::suggest::did_you_mean;
use bld_solver::lower;
use bld_solver::lower::Extent;
use bld_solver::lower::IgnoreRules;
use bld_solver::lower::LowerRequest;
use bld_solver::worker::Resolved;
use bld_solver::worker::SourceResolver;

use super::checks::Checks;
use super::context;
use super::context::MainContext;
use super::dockerfile::Source;
use super::request::BuildRequest;
use crate::commands::Session;
use crate::commands::print;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::write_line;

/// `--call`, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) json: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Build,
    Check,
    Outline,
    Targets,
    Describe,
}

const METHODS: [(&str, Method); 6] = [
    ("build", Method::Build),
    ("check", Method::Check),
    ("lint", Method::Check),
    ("outline", Method::Outline),
    ("targets", Method::Targets),
    ("subrequests.describe", Method::Describe),
];

impl Call {
    /// `METHOD[,format=text|json]`.
    pub(super) fn parse(text: &str) -> Result<Call, CommandError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default().trim();
        let bare = name.strip_prefix("frontend.").unwrap_or(name);
        let known = METHODS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(bare));
        let Some((_, method)) = known else {
            let error = CommandError::usage(format!("`--call {text}`: there is no method `{name}`"));
            let names = || METHODS.into_iter().map(|(name, _)| name);
            let all = || "the methods are build, check, outline, targets and subrequests.describe".to_owned();
            return Err(error.hint(did_you_mean(bare, names()).unwrap_or_else(all)));
        };
        let mut call = Call { method, json: false };
        for part in parts {
            match part.trim().split_once('=') {
                Some(("format", "json")) => call.json = true,
                Some(("format", "text")) => call.json = false,
                _ => {
                    let error = CommandError::usage(format!("`--call {text}`: unknown option `{part}`"));
                    return Err(error.hint("write `format=text` or `format=json`"));
                }
            }
        }
        Ok(call)
    }
}

/// Answers the call.
pub(super) fn run(session: &Session, request: &BuildRequest) -> Result<(), CommandError> {
    let Call { method, json } = request.call;
    if method == Method::Describe {
        return print(&if json { json::describe()? } else { text::describe() });
    }
    let (main, source) = context::look(session, request)?;
    let quoted = Quoted::new(&source.name, &source.bytes);
    let parsed = bld_parser::parse(&source.bytes);
    let Some(dockerfile) = parsed.dockerfile else {
        let errors = errors(parsed.diagnostics);
        return if method == Method::Check {
            report(&source, &quoted, json, &[], &errors)
        } else {
            refuse(&quoted, &errors)
        };
    };
    if method == Method::Targets {
        let targets = lower::targets(&dockerfile);
        return print(&if json { json::targets(&targets, &source, &quoted)? } else { text::targets(&targets) });
    }
    let extent = if method == Method::Check { Extent::AllStages } else { Extent::Target };
    let examined = examine(session, request, &main, &source, &dockerfile, extent)?;
    if method == Method::Check {
        let findings = parsed.diagnostics.into_iter().chain(examined.findings).collect();
        let wanted = Checks::new(&dockerfile, request).wanted(findings);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|found| found.severity == Severity::Error);
        return report(&source, &quoted, json, &warnings, &errors);
    }
    let errors = errors(examined.findings);
    match examined.outline.filter(|_| errors.is_empty()) {
        Some(outline) if json => print(&json::outline(&outline, &source, &quoted)?),
        Some(outline) => print(&text::outline(&outline)),
        None => refuse(&quoted, &errors),
    }
}

fn examine(
    session: &Session,
    request: &BuildRequest,
    main: &MainContext,
    source: &Source,
    dockerfile: &Dockerfile,
    extent: Extent,
) -> Result<lower::Examined, CommandError> {
    let ignore = if main.is_local { ignore_file(&main.directory, source.path.as_deref())? } else { None };
    let ignore = ignore.map(|ignore| IgnoreRules { file: ignore.name, patterns: ignore.patterns });
    let lower = LowerRequest { ignore, context_time: main.time, ..request.lower.clone() };
    // A store that is not there, or not ours, has no images for us.
    let store = if session.root.exists() { session.open_store().ok() } else { None };
    let sources = store.map(|store| ImageSources::new(KnownImages::local(store), request.named.clone()));
    let names = request.named.keys().map(|name| name.to_lowercase()).collect();
    super::block_on(lower::examine(dockerfile, &lower, extent, &Known { sources, names }))
}

fn errors(findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.into_iter().filter(|found| found.severity == Severity::Error).collect()
}

/// The answer of `check`: its exit code is 1 if there is anything to say.
fn report(
    source: &Source,
    quoted: &Quoted<'_>,
    json: bool,
    warnings: &[Diagnostic],
    errors: &[Diagnostic],
) -> Result<(), CommandError> {
    print(&if json { json::check(warnings, errors, source, quoted)? } else { text::check(warnings, errors, quoted) })?;
    if warnings.is_empty() && errors.is_empty() { Ok(()) } else { Err(CommandError::failed("")) }
}

/// A Dockerfile with mistakes has no outline.
fn refuse(quoted: &Quoted<'_>, errors: &[Diagnostic]) -> Result<(), CommandError> {
    for error in errors {
        write_line(quoted.diagnostic(error).trim_end());
    }
    Err(super::mistakes(quoted.name(), errors.len()))
}

/// Images that are known already; nothing is fetched.
struct Known {
    sources: Option<ImageSources>,
    names: BTreeSet<String>,
}

/// Not known.
#[derive(Debug, thiserror::Error)]
#[error("it is not in the local store")]
struct Unknown;

impl SourceResolver for Known {
    type Error = Unknown;

    async fn resolve(&self, name: &str, platform: &Platform) -> Result<Resolved, Unknown> {
        match &self.sources {
            Some(sources) => sources.resolve(name, platform).await.map_err(|_| Unknown),
            None => Err(Unknown),
        }
    }

    fn is_named_context(&self, name: &str) -> bool {
        self.sources
            .as_ref()
            .map_or_else(|| self.names.contains(&name.to_lowercase()), |sources| sources.is_named_context(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Call;
    use super::Method;

    #[test]
    fn calls() {
        let call = |text: &str| Call::parse(text).unwrap();
        assert_eq!(call("check"), Call { method: Method::Check, json: false });
        assert_eq!(call("lint,format=json"), Call { method: Method::Check, json: true });
        assert_eq!(call("frontend.outline").method, Method::Outline);
        for text in ["", "chek", "check,json", "check,format=xml"] {
            assert!(Call::parse(text).is_err(), "{text}");
        }
    }
}
