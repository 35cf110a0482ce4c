//! One change, and what `bld plan` and `bld build` say of it: the first cause that is printed is the change, and nothing else.
//!
//! ```text
//! testdata/faults/NAME        a case, see `case`
//! ```
//!
//! For each case the prediction is held against what the build then does: a hit is cached, a miss runs, and the causes are the same.
//! `BLD_CASE=name,name` runs some cases alone, `UPDATE=1` rewrites what they are expected to print.

mod case;
pub(crate) mod prediction;
mod quiet;
mod shown;

use std::path::PathBuf;

use self::case::Case;
use crate::support;

fn directory() -> PathBuf {
    support::testdata("faults")
}

#[test]
fn the_first_cause_is_the_change() {
    let names = case::names();
    assert!(names.len() >= 50 || std::env::var_os("BLD_CASE").is_some(), "only {} cases", names.len());
    let problems = support::for_each(&names, |name| Case::read(name).check());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
