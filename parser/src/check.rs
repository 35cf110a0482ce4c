//! Which warnings a file wants to hear: the value of `# check=` and of the build argument that overrides it.
//!
//! ```text
//! value = part { ";" part }
//! part  = ( "skip" | "experimental" ) "=" ( "all" | name { "," name } ) | "error" "=" ( "true" | "false" )
//! ```
//! In front of one instruction the comment holds for that instruction, in front of FROM for the whole stage.

use crate::ast::Dockerfile;
use crate::ast::Text;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::rules;
use crate::rules::Kind;
use crate::source::Span;
use thiserror::Error;

/// Some rules, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Every rule.
    All,
    /// These, named as their code is: case matters.
    Named(Vec<String>),
}

impl Rules {
    /// Whether a rule is among them.
    pub fn contains(&self, code: &str) -> bool {
        match self {
            Rules::All => true,
            Rules::Named(names) => names.iter().any(|name| name == code),
        }
    }
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules not to report.
    pub skip: Rules,
    /// Whether a warning stops the build.
    pub error: bool,
    /// Experimental rules to report.
    pub experimental: Rules,
}

/// A value that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCheck {
    /// A part without `=`, or with a key nobody knows.
    #[error("unknown check option `{part}`")]
    UnknownOption {
        /// The part.
        part: String,
    },
    /// `error` is true or false.
    #[error("check option `error` is true or false, not `{value}`")]
    NotBoolean {
        /// The value.
        value: String,
    },
}

impl CheckOptions {
    /// Reads a value.
    pub fn parse(text: &str) -> Result<CheckOptions, InvalidCheck> {
        let nothing = || Rules::Named(Vec::new());
        let mut options = CheckOptions { skip: nothing(), error: false, experimental: nothing() };
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim() {
                "skip" if part.contains('=') => options.skip = listed(value),
                "experimental" if part.contains('=') => options.experimental = listed(value),
                "error" if value.eq_ignore_ascii_case("true") => options.error = true,
                "error" if value.eq_ignore_ascii_case("false") => options.error = false,
                "error" => return Err(InvalidCheck::NotBoolean { value: value.to_owned() }),
                _ => return Err(InvalidCheck::UnknownOption { part: part.to_owned() }),
            }
        }
        Ok(options)
    }

    /// Names in it that are no rule.
    pub(crate) fn unknown_rules(&self) -> impl Iterator<Item = &str> {
        let names = [&self.skip, &self.experimental].into_iter().flat_map(|rules| match rules {
            Rules::All => &[][..],
            Rules::Named(names) => names.as_slice(),
        });
        names.map(String::as_str).filter(|name| rules::find(name).is_none())
    }
}

/// The findings a file wants to hear: errors always, warnings unless the file, its stage or its instruction skips them,
/// experimental ones only if the file asks for them.
///
/// `override_options` stands in for the directive of the file if the user gave one.
pub fn wanted(
    diagnostics: Vec<Diagnostic>,
    dockerfile: &Dockerfile,
    override_options: Option<&CheckOptions>,
) -> Vec<Diagnostic> {
    let directive = dockerfile.directives.check.as_ref().and_then(|text| CheckOptions::parse(&text.value).ok());
    let whole = override_options.or(directive.as_ref());
    let scopes = scopes(dockerfile);
    diagnostics
        .into_iter()
        .filter(|diagnostic| {
            let code = diagnostic.code;
            let of_scope = || scopes.iter().filter_map(|scopes| around(scopes, diagnostic.span));
            let all = || whole.into_iter().chain(of_scope());
            let is_experimental = rules::find(code).is_some_and(|rule| rule.kind == Kind::Experimental);
            let wanted = if is_experimental {
                all().any(|options| options.experimental.contains(code))
            } else {
                !all().any(|options| options.skip.contains(code))
            };
            diagnostic.severity == Severity::Error || wanted
        })
        .collect()
}

fn listed(value: &str) -> Rules {
    let names: Vec<String> =
        value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case("all")) { Rules::All } else { Rules::Named(names) }
}

/// Whether any warning that is left stops the build: `error=true`.
pub fn is_fatal(dockerfile: &Dockerfile, override_options: Option<&CheckOptions>) -> bool {
    let directive = || dockerfile.directives.check.as_ref().and_then(|text| CheckOptions::parse(&text.value).ok());
    override_options.map_or_else(|| directive().is_some_and(|options| options.error), |options| options.error)
}

/// Where a comment in front of an instruction holds, and what it says.
type Scope = (Span, CheckOptions);

/// Those of stages and those of other instructions, in the order of the text. No two of a kind overlap.
fn scopes(dockerfile: &Dockerfile) -> [Vec<Scope>; 2] {
    let (mut stages, mut instructions) = (Vec::new(), Vec::new());
    let add = |scopes: &mut Vec<Scope>, check: Option<&Text>, span: Span| {
        if let Some(options) = check.and_then(|check| CheckOptions::parse(&check.value).ok()) {
            // A comment in front describes what follows and is about it.
            scopes.push((
                Span { start: span.start.min(check.map_or(u32::MAX, |check| check.span.start)), ..span },
                options,
            ));
        }
    };
    for stage in &dockerfile.stages {
        let end = stage.instructions.last().map_or(stage.from.span, |located| located.span);
        add(&mut stages, stage.from.check.as_ref(), stage.from.span.to(end));
        for located in &stage.instructions {
            add(&mut instructions, located.check.as_ref(), located.span);
        }
    }
    [stages, instructions]
}

/// What the scope around a finding says.
fn around(scopes: &[Scope], inner: Span) -> Option<&CheckOptions> {
    let behind = scopes.partition_point(|(outer, _)| outer.start <= inner.start);
    let (outer, options) = scopes.get(behind.checked_sub(1)?)?;
    (inner.end <= outer.end).then_some(options)
}

#[cfg(test)]
mod tests {
    use super::CheckOptions;
    use super::Rules;
    use super::wanted;

    #[test]
    fn values() {
        let options = CheckOptions::parse("skip=A, B;error=true;experimental=all").unwrap();
        assert_eq!(options.skip, Rules::Named(vec!["A".to_owned(), "B".to_owned()]));
        assert!(options.error && options.experimental == Rules::All);
        assert_eq!(CheckOptions::parse("").unwrap().skip, Rules::Named(Vec::new()));
        let unknown: Vec<&str> = options.unknown_rules().collect();
        assert_eq!(unknown, ["A", "B"]);
        for text in ["skip", "x=y", "error=maybe", "error", "all"] {
            assert!(CheckOptions::parse(text).is_err(), "{text}");
        }
    }

    fn codes(text: &str, override_options: Option<&str>) -> Vec<&'static str> {
        let parsed = crate::parse(text.as_bytes());
        let options = override_options.map(|text| CheckOptions::parse(text).unwrap());
        let dockerfile = parsed.dockerfile.unwrap();
        wanted(parsed.diagnostics, &dockerfile, options.as_ref()).iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn scopes() {
        let plain = "FROM a\nMAINTAINER b\nCMD c\n";
        assert_eq!(codes(plain, None), ["MaintainerDeprecated", "JSONArgsRecommended"]);
        assert_eq!(codes(plain, Some("skip=all")), [""; 0]);
        let all = format!("# check=skip=all\n{plain}");
        assert_eq!(codes(&all, None), [""; 0]);
        assert_eq!(codes(&all, Some("skip=MaintainerDeprecated")), ["JSONArgsRecommended"]);
        let one = "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER b\nMAINTAINER c\n";
        assert_eq!(codes(one, None), ["MaintainerDeprecated"]);
        let stage = "\n# check=skip=MaintainerDeprecated\nFROM a\nMAINTAINER b\nFROM c\nMAINTAINER d\n";
        assert_eq!(codes(stage, None), ["MaintainerDeprecated"]);
    }

    #[test]
    fn experimental_rules_are_opt_in() {
        let plain = "# something\nARG NAME\nFROM a\n";
        assert_eq!(codes(plain, None), [""; 0]);
        assert_eq!(codes(plain, Some("experimental=all")), ["InvalidDefinitionDescription"]);
        assert_eq!(codes(plain, Some("skip=all;experimental=all")), ["InvalidDefinitionDescription"]);
        let scoped = format!("\n# check=experimental=InvalidDefinitionDescription\n{plain}");
        assert_eq!(codes(&scoped, None), [""; 0], "ARGs before FROM have no scope");
    }

    #[test]
    fn names_that_are_no_rule() {
        assert_eq!(codes("# check=skip=MaintainerDepricated\nFROM a\n", None), ["InvalidCheck"]);
        assert_eq!(codes("FROM a\n# check=skip=Nonsense\nRUN b\n", None), ["InvalidCheck"]);
    }
}
