//! Which paths an ignore file takes away.

use std::fmt;

use bld_oci::ImagePath;
use bld_parser::ignorefile::Decision;

use super::IgnoreFile;

/// Why a path is missing from a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// The ignore file's name as the user knows it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The pattern as written.
    pub pattern: String,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "excluded by {}:{} `{}`", self.file, self.line, self.pattern)
    }
}

/// Can say why a path does not exist.
pub trait Exclusions: Send + Sync {
    /// The rule that takes `path` away, or a directory that it is in.
    fn excluded_by(&self, path: &ImagePath) -> Option<Exclusion>;
}

/// The rules of one context: none if it has no ignore file.
pub(crate) struct Rules(Option<IgnoreFile>);

impl Rules {
    pub(crate) fn new(ignore: Option<IgnoreFile>) -> Rules {
        Rules(ignore.filter(|ignore| !ignore.patterns.is_empty()))
    }

    /// Whether `path` itself is taken away. The root never is.
    pub(crate) fn excludes(&self, path: &ImagePath) -> bool {
        let Some(ignore) = &self.0 else { return false };
        !path.is_root() && ignore.patterns.matches(path.relative()).is_excluded()
    }

    /// Whether anything below the excluded directory `path` may be there nevertheless.
    pub(crate) fn may_include_below(&self, path: &ImagePath) -> bool {
        self.0.as_ref().is_none_or(|ignore| ignore.patterns.may_match_below(path.relative()))
    }

    pub(crate) fn excluded_by(&self, path: &ImagePath) -> Option<Exclusion> {
        let ignore = self.0.as_ref().filter(|_| !path.is_root())?;
        let Decision::Excluded(pattern) = ignore.patterns.matches(path.relative()) else { return None };
        let line = usize::try_from(pattern.line).unwrap_or(usize::MAX);
        Some(Exclusion { file: ignore.name.clone(), line, pattern: pattern.text.clone() })
    }
}
