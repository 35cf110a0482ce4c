//! The list of deliberate differences.
//!
//! ```text
//! # comment
//! CASE | FIELD | REASON
//! ```
//!
//! An entry that no longer differs is a failure too: the list must stay true. `FIELD?` is one that comes and goes with no change of ours.

use crate::support;

/// One thing in which two images of a case differ.
#[derive(Debug)]
pub(super) struct Difference {
    /// What differs: `config.Env`, `history.empty`, `layers`, `/path mode`.
    pub(super) field: String,
    /// The two values, for the reader.
    pub(super) values: String,
}

/// `testdata/conformance/DIFFERENCES`.
#[derive(Debug)]
pub(super) struct Differences {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    case: String,
    field: String,
    /// It does not differ every time.
    comes_and_goes: bool,
}

impl Differences {
    pub(super) fn read() -> Self {
        let path = support::testdata("conformance").join("DIFFERENCES");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.splitn(3, " | ").map(str::trim).collect();
            let [case, field, reason] = parts[..] else {
                panic!("{}:{}: not of the form CASE | FIELD | REASON", path.display(), number + 1);
            };
            assert!(!reason.is_empty(), "{}:{}: no reason given", path.display(), number + 1);
            let (field, comes_and_goes) = field.strip_suffix('?').map_or((field, false), |field| (field, true));
            let twice = entries.iter().any(|entry| entry.case == case && entry.field == field);
            assert!(!twice, "{}:{}: listed twice", path.display(), number + 1);
            entries.push(Entry { case: case.to_owned(), field: field.to_owned(), comes_and_goes });
        }
        Self { entries }
    }

    /// What is wrong with `case`: differences nobody wanted, and wanted ones that are not there.
    pub(super) fn judge(&self, case: &str, found: &[Difference]) -> Vec<String> {
        let expected: Vec<&Entry> = self.entries.iter().filter(|entry| entry.case == case).collect();
        let unwanted = found
            .iter()
            .filter(|difference| !expected.iter().any(|entry| entry.field == difference.field))
            .map(|difference| format!("{case} | {} | {}", difference.field, difference.values));
        let vanished = expected
            .iter()
            .filter(|entry| !entry.comes_and_goes && !found.iter().any(|difference| difference.field == entry.field))
            .map(|entry| format!("{case} | {} | no longer differs: remove it from DIFFERENCES", entry.field));
        unwanted.chain(vanished).collect()
    }

    /// Entries about cases that are not in the corpus.
    pub(super) fn of_unknown_cases(&self) -> Vec<String> {
        let corpus = support::testdata("conformance");
        self.entries
            .iter()
            .filter(|entry| !corpus.join(&entry.case).is_dir())
            .map(|entry| format!("{} | {} | no such case: remove it from DIFFERENCES", entry.case, entry.field))
            .collect()
    }
}
