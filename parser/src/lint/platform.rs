//! `FROM --platform`: RedundantTargetPlatform, FromPlatformFlagConstDisallowed.

use crate::ast::From;
use crate::sink::Sink;

/// Checks the flag of a stage.
pub(super) fn check(from: &From, sink: &mut Sink) {
    let Some(platform) = &from.platform else { return };
    let text = platform.raw.trim_matches(['"', '\'']);
    if is_target(text) {
        let message = format!("`--platform={text}` is the default: every stage is built for the target platform");
        let hint = match &from.name {
            Some(name) => format!("write `FROM {} AS {}`", from.base.raw, name.value),
            None => format!("write `FROM {}`", from.base.raw),
        };
        sink.warning("RedundantTargetPlatform", platform.span, message, hint);
        return;
    }
    // A stage that says what it is for may well be for nothing else.
    let name = from.name.as_ref().map_or("", |name| name.value.as_str());
    if text.contains('$') || text.is_empty() || parts(text).any(|part| name.contains(&part)) {
        return;
    }
    let message = format!("`FROM --platform` should not be the constant `{text}`");
    let hint =
        "write `--platform=$BUILDPLATFORM` for a stage that runs on the building machine, or leave the flag out; \
                or name the stage after its platform"
            .to_owned();
    sink.warning("FromPlatformFlagConstDisallowed", platform.span, message, hint);
}

fn is_target(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).or_else(|| text.strip_prefix('$'));
    let name = inner.map(|inner| inner.split_once(":-").map_or(inner, |(name, _)| name));
    name == Some("TARGETPLATFORM")
}

/// Operating system and architecture, the latter under its other name too.
fn parts(platform: &str) -> impl Iterator<Item = String> {
    let lower = platform.to_lowercase();
    let parts: Vec<String> = lower.split('/').take(2).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let other = parts.iter().filter_map(|part| match part.as_str() {
        "x86_64" | "x86-64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "i386" => Some("386"),
        _ => None,
    });
    let other: Vec<String> = other.map(str::to_owned).collect();
    parts.into_iter().chain(other)
}
