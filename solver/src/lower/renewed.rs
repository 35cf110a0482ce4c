//! `--no-cache=STAGE[:STEP]`: whose results are not taken from the cache.
//!
//! ```text
//! build      a stage, by name, by number or as progress shows it (stage-1)
//! build:2    the step that progress shows as [build 2/4]
//! 2          the same where there is one stage
//! ```

use bld_parser::source::Span;

use super::report::Report;

/// A stage, or a step of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Renewed<'a> {
    /// `None` = the only one.
    pub(super) stage: Option<&'a str>,
    /// `None` = all of them.
    pub(super) step: Option<u32>,
}

impl<'a> Renewed<'a> {
    /// Reads a value; `None` if its step is no number.
    pub(super) fn parse(text: &'a str, stages: usize) -> Option<Renewed<'a>> {
        let number = |text: &str| text.parse().ok().filter(|step| *step > 0);
        match text.split_once(':') {
            Some((stage, step)) => Some(Renewed { stage: Some(stage), step: Some(number(step)?) }),
            None if stages == 1 && number(text).is_some() => Some(Renewed { stage: None, step: number(text) }),
            None => Some(Renewed { stage: Some(text), step: None }),
        }
    }

    /// Whether it means the stage of this number; `label` is its name, or the number.
    pub(super) fn is_in(&self, index: usize, label: &str) -> bool {
        self.stage.is_none_or(|stage| is_stage(stage, index, label))
    }
}

/// Whether a stage is called so.
pub(super) fn is_stage(wanted: &str, index: usize, label: &str) -> bool {
    let number = index.to_string();
    wanted.eq_ignore_ascii_case(label) || wanted == number || (label == number && wanted == format!("stage-{index}"))
}

/// The steps of a stage that are meant, each of which must be there and have a result. `from` tells whether the first is FROM.
pub(super) fn steps(
    wanted: &[String],
    stages: usize,
    (index, label): (usize, &str),
    (total, from): (usize, bool),
    report: &mut Report,
) -> Vec<u32> {
    let mut steps = Vec::new();
    for text in wanted {
        let Some(Renewed { step: Some(step), .. }) =
            Renewed::parse(text, stages).filter(|renewed| renewed.is_in(index, label))
        else {
            continue;
        };
        let stage = if stages == 1 { "the Dockerfile".to_owned() } else { format!("stage `{label}`") };
        let first = if from { 2 } else { 1 };
        let (problem, hint) = if step as usize > total {
            let hint = match total {
                0 => format!("{stage} has no steps"),
                total if total == first - 1 => format!("{stage} has only its FROM"),
                total if total == first => format!("{stage} has one step, {first}"),
                total => format!("{stage} has the steps {first} to {total}"),
            };
            ("there is no such step", hint)
        } else if (step as usize) < first {
            ("that step is FROM", "`--pull` asks the registry whether the base image has changed".to_owned())
        } else {
            steps.push(step);
            continue;
        };
        report.error("UnknownNoCacheFilter", Span::new(0, 0), format!("`--no-cache={text}`: {problem}"), Some(hint));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, stages, expected) in [
            ("build", 2, Some((Some("build"), None))),
            ("build:2", 2, Some((Some("build"), Some(2)))),
            ("0:12", 1, Some((Some("0"), Some(12)))),
            ("2", 1, Some((None, Some(2)))),
            ("0", 1, Some((Some("0"), None))),
            ("2", 3, Some((Some("2"), None))),
            ("build:0", 2, None),
            ("build:x", 2, None),
            ("build:", 2, None),
        ] {
            let found = Renewed::parse(text, stages).map(|renewed| (renewed.stage, renewed.step));
            assert_eq!(found, expected, "{text} of {stages}");
        }
    }

    #[test]
    fn stages_by_all_their_names() {
        for (wanted, index, label, expected) in [
            ("Build", 1, "build", true),
            ("1", 1, "build", true),
            ("stage-1", 1, "1", true),
            ("stage-1", 1, "build", false),
            ("2", 1, "1", false),
        ] {
            assert_eq!(is_stage(wanted, index, label), expected, "{wanted}");
        }
    }

    #[test]
    fn steps_must_be_there() {
        let said = |text: &str, total: usize, from: bool| {
            let mut report = Report::default();
            let steps = steps(&[text.to_owned()], 2, (0, "build"), (total, from), &mut report);
            let found = report.into_sorted();
            let shown =
                found.first().map(|found| format!("{}; {}", found.message, found.hint.as_deref().unwrap_or_default()));
            (steps, shown)
        };
        assert_eq!(said("build:2", 4, true), (vec![2], None));
        assert_eq!(said("build", 4, true), (Vec::new(), None));
        assert_eq!(said("other:9", 4, true), (Vec::new(), None));
        for (text, total, from, expected) in [
            ("build:5", 4, true, "`--no-cache=build:5`: there is no such step; stage `build` has the steps 2 to 4"),
            (
                "build:1",
                4,
                true,
                "`--no-cache=build:1`: that step is FROM; `--pull` asks the registry whether the base image has changed",
            ),
            ("build:3", 2, true, "`--no-cache=build:3`: there is no such step; stage `build` has one step, 2"),
            ("build:2", 1, true, "`--no-cache=build:2`: there is no such step; stage `build` has only its FROM"),
            ("build:2", 1, false, "`--no-cache=build:2`: there is no such step; stage `build` has one step, 1"),
            ("build:1", 0, false, "`--no-cache=build:1`: there is no such step; stage `build` has no steps"),
        ] {
            assert_eq!(said(text, total, from), (Vec::new(), Some(expected.to_owned())));
        }
    }
}
