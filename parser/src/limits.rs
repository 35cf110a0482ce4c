//! What the parser refuses to swallow, so that no file can take memory or time without bound.

/// The largest Dockerfile or trigger.
pub(crate) const MAX_FILE_BYTES: usize = 32 << 20;
/// The longest physical line, without its line end.
pub(crate) const MAX_LINE_BYTES: usize = 65_535;
/// How deep JSON in an exec form may nest before it counts as no JSON at all.
pub(crate) const MAX_JSON_DEPTH: usize = 64;
/// The longest expansion of one word.
pub(crate) const MAX_EXPANDED_BYTES: usize = 1 << 20;
/// How deep `${a:-${b:-...}}` may nest.
pub(crate) const MAX_EXPANSION_DEPTH: usize = 100;
/// Character comparisons one word's patterns may take: far above anything sensible, far below a second.
pub(crate) const MAX_PATTERN_STEPS: usize = 1 << 28;
/// How many errors, and how many warnings, are kept.
pub(crate) const MAX_DIAGNOSTICS: usize = 1000;
