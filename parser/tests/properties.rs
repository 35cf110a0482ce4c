//! Properties that hold for any input.

use bld_parser::expand;
use bld_parser::glob::Glob;
use bld_parser::ignorefile::Patterns;
use bld_parser::mode::Chmod;
use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::proptest;

/// Text that looks a little like a Dockerfile.
const LIKELY: &str = "((FROM|RUN|COPY|ADD|ENV|LABEL|ARG|CMD|ONBUILD|HEALTHCHECK|SHELL|VOLUME|EXPOSE|USER|#|# escape=)\
    (|[ =\\[\\]\"',a\\\\<$-]|--link|--from=|<<E|<<-'E'|\\[\"a\"|CMD|AS b|\u{e9}){0,5}(\n|\\\\\n|\r\n|`\n|\n\n|\nE\n)){0,12}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        spans_are_in_range(&bytes)?;
    }

    #[test]
    fn likely_text_is_parsed(text in LIKELY) {
        spans_are_in_range(text.as_bytes())?;
        let trigger = bld_parser::parse_trigger(&text);
        prop_assert!(trigger.instruction.is_some() || !trigger.diagnostics.is_empty());
    }

    #[test]
    fn any_word_is_expanded(raw in "([$\\{\\}:?+%#/*\\\\'\"a-c -]|\u{e9}){0,40}", value in "[a-c*/]{0,6}") {
        let lookup = |name: &str| (name == "a").then(|| value.clone());
        for escape in ['\\', '`'] {
            if let Err(error) = expand::expand(&raw, escape, &lookup) {
                prop_assert!(raw.is_char_boundary(error.offset));
            }
        }
        drop(expand::expand_words(&raw, '\\', &lookup));
        drop(expand::expand_heredoc(&raw, &lookup));
    }

    #[test]
    fn plain_text_expands_to_itself(raw in "[a-z0-9/.,=@ -]{0,40}") {
        let expanded = expand::expand(&raw, '\\', &|_| None).unwrap();
        prop_assert!(expanded.value == raw && expanded.undefined.is_empty());
    }

    #[test]
    fn a_pruned_directory_holds_nothing(lines in "(!?[ab*?/]{1,6}\n){0,6}", directory in "[ab](/[ab]){0,2}", below in "[ab]{1,2}(/[ab]){0,2}") {
        if let Ok(patterns) = Patterns::parse(lines.as_bytes())
            && !patterns.may_match_below(directory.as_bytes())
        {
            let path = format!("{directory}/{below}");
            prop_assert!(patterns.matches(path.as_bytes()).is_excluded(), "{path}");
        }
    }

    #[test]
    fn any_pattern_is_read(pattern in proptest::collection::vec(any::<u8>(), 0..30), path in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Ok(glob) = Glob::new(&pattern) {
            glob.matches(&path);
        }
        drop(Patterns::parse(&pattern).map(|patterns| patterns.matches(&path).is_excluded()));
    }

    #[test]
    fn modes_stay_in_range(value in "[ugoa]{0,2}[-+=][rwxXstugo]{0,3}(,[ugoa]?[-+=][rwx]{0,2})?", before in 0_u32..0o10000) {
        if let Ok(mode) = Chmod::parse(&value) {
            prop_assert!(mode.apply(before, false) <= 0o7777);
        }
    }
}

fn spans_are_in_range(bytes: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
    let parsed = bld_parser::parse(bytes);
    let length = u32::try_from(bytes.len()).unwrap();
    for diagnostic in &parsed.diagnostics {
        prop_assert!(diagnostic.span.start <= diagnostic.span.end && diagnostic.span.end <= length, "{diagnostic:?}");
    }
    let failed =
        parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == bld_parser::diagnostic::Severity::Error);
    prop_assert!(parsed.dockerfile.is_none() == failed);
    for stage in parsed.dockerfile.iter().flat_map(|dockerfile| &dockerfile.stages) {
        prop_assert!(stage.from.span.end <= length);
        for located in &stage.instructions {
            prop_assert!(located.span.start < located.span.end && located.span.end <= length);
        }
    }
    Ok(())
}
