//! What became of each step, read from the plain progress on standard error.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran.
    Done,
    /// Its result was known.
    Cached,
    /// It ran and failed.
    Failed,
    /// It was stopped, or the build ended before it did.
    Unfinished,
}

/// The steps of one build, named without their place: `COPY a /a` and not `[stage 1/2] COPY a /a`.
#[derive(Debug)]
pub(crate) struct Progress {
    steps: BTreeMap<String, Outcome>,
}

impl Progress {
    /// Reads standard error. A step that is reported twice is a mistake.
    #[track_caller]
    pub(crate) fn parse(stderr: &str) -> Self {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
        for line in stderr.lines() {
            let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else { continue };
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            if !names.contains_key(number) {
                names.insert(number, text.split_once("] ").map_or(text, |(_, instruction)| instruction));
                continue;
            }
            let outcome = match text.split(' ').next() {
                Some("DONE") => Outcome::Done,
                Some("CACHED") => Outcome::Cached,
                Some("ERROR:") => Outcome::Failed,
                _ => continue,
            };
            assert!(outcomes.insert(number, outcome).is_none(), "#{number} ended twice:\n{stderr}");
        }
        let mut steps = BTreeMap::new();
        for (number, name) in names {
            let outcome = outcomes.get(number).copied().unwrap_or(Outcome::Unfinished);
            assert!(steps.insert(name.to_owned(), outcome).is_none(), "two steps are called {name:?}:\n{stderr}");
        }
        Self { steps }
    }

    /// The names of all steps.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.steps.keys().map(String::as_str).collect()
    }

    /// The names of the steps that ended like this.
    pub(crate) fn which(&self, outcome: Outcome) -> BTreeSet<&str> {
        self.steps.iter().filter(|(_, found)| **found == outcome).map(|(name, _)| name.as_str()).collect()
    }

    /// The names of the steps that ran.
    pub(crate) fn executed(&self) -> BTreeSet<&str> {
        self.which(Outcome::Done)
    }
}
