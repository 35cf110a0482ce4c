//! Answers to calls as JSON, with the names that docker's own builder uses.

use bld_parser::diagnostic::Diagnostic;
use bld_parser::rules;
use bld_parser::source::Span;
use bld_solver::lower;
use serde::Serialize;

use super::super::dockerfile::Source;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;

#[derive(Debug, Serialize)]
struct Location {
    ranges: Vec<Range>,
}

#[derive(Debug, Serialize)]
struct Range {
    start: Position,
    end: Position,
}

/// Lines count from 1, characters from 0.
#[derive(Debug, Serialize)]
struct Position {
    line: u32,
    #[serde(skip_serializing_if = "is_zero")]
    character: u32,
}

#[derive(Debug, Serialize)]
struct SourceFile<'a> {
    filename: &'a str,
    language: &'static str,
    data: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    warnings: Vec<Warning<'a>>,
    sources: Vec<SourceFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<BuildError<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning<'a> {
    rule_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

#[derive(Debug, Serialize)]
struct BuildError<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

pub(super) fn check(
    warnings: &[Diagnostic],
    errors: &[Diagnostic],
    source: &Source,
    quoted: &Quoted<'_>,
) -> Result<String, CommandError> {
    let build_error =
        errors.first().map(|found| BuildError { message: &found.message, location: location(found.span, quoted) });
    let file = SourceFile { filename: &source.name, language: "Dockerfile", data: base64(&source.bytes) };
    text(&Check {
        warnings: warnings.iter().map(|one| warning(one, quoted)).collect(),
        sources: vec![file],
        build_error,
    })
}

fn warning<'a>(found: &'a Diagnostic, quoted: &Quoted<'_>) -> Warning<'a> {
    Warning {
        rule_name: found.code,
        description: rules::find(found.code).map(|rule| rule.description),
        detail: &found.message,
        hint: found.hint.as_deref(),
        location: location(found.span, quoted),
    }
}

#[derive(Debug, Serialize)]
struct Outline<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache: Vec<Cache<'a>>,
    sources: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Argument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

#[derive(Debug, Serialize)]
struct Mount<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

#[derive(Debug, Serialize)]
struct Cache<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

pub(super) fn outline(outline: &lower::Outline, source: &Source, quoted: &Quoted<'_>) -> Result<String, CommandError> {
    text(&Outline {
        name: outline.name.as_deref(),
        description: outline.description.as_deref(),
        args: outline.arguments.iter().map(|one| argument(one, quoted)).collect(),
        secrets: outline.secrets.iter().map(|one| mount(one, quoted)).collect(),
        ssh: outline.ssh.iter().map(|one| mount(one, quoted)).collect(),
        cache: outline.caches.iter().map(|one| cache(one, quoted)).collect(),
        sources: vec![base64(&source.bytes)],
    })
}

fn argument<'a>(argument: &'a lower::OutlineArgument, quoted: &Quoted<'_>) -> Argument<'a> {
    let lower::OutlineArgument { name, description, value, span } = argument;
    let (description, value) = (description.as_deref(), value.as_deref());
    Argument { name, description, value, location: location(*span, quoted) }
}

fn mount<'a>(mount: &'a lower::OutlineMount, quoted: &Quoted<'_>) -> Mount<'a> {
    Mount { name: &mount.id, required: mount.required, location: location(mount.span, quoted) }
}

fn cache<'a>(cache: &'a lower::OutlineMount, quoted: &Quoted<'_>) -> Cache<'a> {
    Cache { id: &cache.id, location: location(cache.span, quoted) }
}

#[derive(Debug, Serialize)]
struct Targets<'a> {
    targets: Vec<Target<'a>>,
    sources: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Target<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

pub(super) fn targets(list: &[lower::Target], source: &Source, quoted: &Quoted<'_>) -> Result<String, CommandError> {
    text(&Targets {
        targets: list.iter().map(|one| target(one, quoted)).collect(),
        sources: vec![base64(&source.bytes)],
    })
}

fn target<'a>(target: &'a lower::Target, quoted: &Quoted<'_>) -> Target<'a> {
    Target {
        name: target.name.as_deref(),
        default: target.default,
        description: target.description.as_deref(),
        base: &target.base,
        platform: target.platform.as_deref(),
        location: location(target.span, quoted),
    }
}

/// A method of `--call`, described.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    name: &'static str,
    pub(super) version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    pub(super) description: &'static str,
    opts: &'static [Named],
    inputs: &'static [Named],
    metadata: &'static [Named],
    refs: &'static [Named],
}

impl Request {
    /// Its name behind `--call`.
    pub(super) fn call(&self) -> &'static str {
        self.name.strip_prefix("frontend.").unwrap_or(self.name)
    }
}

#[derive(Debug, Serialize)]
struct Named {
    name: &'static str,
    description: &'static str,
}

const RESULTS: &[Named] =
    &[Named { name: "result.json", description: "" }, Named { name: "result.txt", description: "" }];

/// All methods but building.
pub(super) const REQUESTS: [Request; 4] = [
    Request {
        opts: &[Named { name: "target", description: "The stage to describe" }],
        ..request("frontend.outline", "Shows what the target takes: arguments, secrets, agents, caches")
    },
    request("frontend.targets", "Lists the stages that can be built"),
    request("frontend.lint", "Checks the Dockerfile"),
    request("frontend.subrequests.describe", "Lists the methods of --call"),
];

const fn request(name: &'static str, description: &'static str) -> Request {
    Request { name, version: "1.0.0", kind: "rpc", description, opts: &[], inputs: &[], metadata: RESULTS, refs: &[] }
}

pub(super) fn describe() -> Result<String, CommandError> {
    text(&REQUESTS)
}

fn location(span: Span, quoted: &Quoted<'_>) -> Option<Location> {
    quoted.line(span)?;
    let position = |offset: u32| {
        let (line, column) = quoted.line_col(offset);
        Position { line, character: column - 1 }
    };
    Some(Location { ranges: vec![Range { start: position(span.start), end: position(span.end) }] })
}

fn text(value: &impl Serialize) -> Result<String, CommandError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The usual alphabet, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            let letter = if position > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) };
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_of_every_remainder() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
