//! Wildcards against a matcher that tries everything.
//!
//! ```text
//! input = path "\n" pattern
//! ```

#![no_main]

use bld_parser::glob;
use bld_parser::glob::Glob;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(line_end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (path, pattern) = (&input[..line_end], &input[line_end + 1..]);
    let Ok(plain) = Glob::new(pattern) else {
        assert!(Glob::with_double_star(pattern).is_err());
        return;
    };
    let double = Glob::with_double_star(pattern).expect("both read the same patterns");
    let (plain, double_matches) = (plain.matches(path), double.matches(path));
    let or_parent = double.matches_or_parent(path);
    let ends = (0..path.len()).filter(|at| path[*at] == b'/');
    assert_eq!(or_parent, ends.clone().chain([path.len()]).any(|end| double.matches(&path[..end])));
    for end in ends.filter(|end| *end > 0) {
        assert!(double.may_match_below(&path[..end]) || !double_matches, "pruned");
    }
    assert!(double.may_match_below(b"") || !double_matches || path.is_empty());
    if let Some(name) = glob::literal(pattern) {
        assert_eq!(plain, name == path);
    }
    if pattern.len() > 24 || path.len() > 24 || pattern.iter().filter(|byte| **byte == b'*').count() > 6 {
        return;
    }
    assert_eq!(plain, fits(pattern, path));
    if !pattern.windows(2).any(|pair| pair == b"\\/") && !slash_in_class(pattern) {
        let patterns: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        assert_eq!(double_matches, components_fit(&patterns, &names));
    }
});

fn components_fit(patterns: &[&[u8]], names: &[&[u8]]) -> bool {
    match patterns {
        [] => names.is_empty(),
        [b"**"] => !names.is_empty(),
        [b"**", rest @ ..] => (0..=names.len()).any(|from| components_fit(rest, &names[from..])),
        [pattern, rest @ ..] => {
            names.split_first().is_some_and(|(name, names)| fits(pattern, name) && components_fit(rest, names))
        }
    }
}

/// The pattern is well formed.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => {
            let length = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=length).any(|from| fits(rest, &text[from..]))
        }
        [b'?', rest @ ..] => letter(text).is_some_and(|(found, text)| found != '/' && fits(rest, text)),
        [b'[', rest @ ..] => {
            let Some((found, text)) = letter(text).filter(|(found, _)| *found != '/') else { return false };
            let (holds, rest) = class(rest, found);
            holds && fits(rest, text)
        }
        [b'\\', wanted, rest @ ..] | [wanted, rest @ ..] => {
            text.split_first().is_some_and(|(byte, text)| byte == wanted && fits(rest, text))
        }
    }
}

/// Whether a letter is in a class, and what follows the class.
fn class(pattern: &[u8], found: char) -> (bool, &[u8]) {
    let (negated, mut rest) = pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest));
    let (mut holds, mut count) = (false, 0);
    while !(rest.starts_with(b"]") && count > 0) {
        let (low, behind) = class_letter(rest);
        let (high, behind) = behind.strip_prefix(b"-").map_or((low, behind), class_letter);
        holds |= low <= found && found <= high;
        count += 1;
        rest = behind;
    }
    (holds != negated, &rest[1..])
}

fn class_letter(pattern: &[u8]) -> (char, &[u8]) {
    letter(pattern.strip_prefix(b"\\").unwrap_or(pattern)).expect("a well-formed class")
}

fn slash_in_class(pattern: &[u8]) -> bool {
    pattern.contains(&b'[') && pattern.contains(&b'/')
}

fn letter(text: &[u8]) -> Option<(char, &[u8])> {
    if text.is_empty() {
        return None;
    }
    for length in 1..=text.len().min(4) {
        if let Ok(letter) = std::str::from_utf8(&text[..length]) {
            return letter.chars().next().map(|letter| (letter, &text[length..]));
        }
    }
    Some((char::REPLACEMENT_CHARACTER, &text[1..]))
}
