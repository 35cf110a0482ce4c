//! `${v#p}`, `${v%p}`, `${v/p/r}` against a matcher that tries everything.
//!
//! ```text
//! input = value "\n" pattern
//! ```

#![no_main]

use bld_parser::expand;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let Some((value, pattern)) = input.split_once('\n') else { return };
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '*' | '?' | '.' | '-');
    if value.len() > 16 || pattern.is_empty() || pattern.len() > 10 || !pattern.chars().all(plain) {
        return;
    }
    let text: Vec<char> = value.chars().collect();
    let tokens: Vec<char> = pattern.chars().collect();
    let fitting = |from: usize, to: usize| fits(&tokens, &text[from..to]);
    let end = text.len();

    let shortest = (0..=end).find(|to| fitting(0, *to)).unwrap_or(0);
    let longest = (0..=end).rev().find(|to| fitting(0, *to)).unwrap_or(0);
    check(value, &format!("${{v#{pattern}}}"), &text[shortest..]);
    check(value, &format!("${{v##{pattern}}}"), &text[longest..]);
    let shortest = (0..=end).rev().find(|from| fitting(*from, end)).unwrap_or(end);
    let longest = (0..=end).find(|from| fitting(*from, end)).unwrap_or(end);
    check(value, &format!("${{v%{pattern}}}"), &text[..shortest]);
    check(value, &format!("${{v%%{pattern}}}"), &text[..longest]);

    let match_at = |from: usize| (from..=end).rev().find(|to| fitting(from, *to));
    let mut first = text.clone();
    if let Some((from, to)) = (0..=end).find_map(|from| match_at(from).map(|to| (from, to))) {
        first.splice(from..to, ['<', '>']);
    }
    check(value, &format!("${{v/{pattern}/<>}}"), &first);
    let (mut every, mut position, mut last_end) = (Vec::new(), 0, None);
    while position <= end {
        match match_at(position) {
            Some(to) if to > position => {
                every.extend(['<', '>']);
                (position, last_end) = (to, Some(to));
                continue;
            }
            Some(_) if last_end != Some(position) => every.extend(['<', '>']),
            _ => {}
        }
        every.extend(text.get(position));
        position += 1;
    }
    check(value, &format!("${{v//{pattern}/<>}}"), &every);
});

fn check(value: &str, raw: &str, expected: &[char]) {
    let expanded = expand::expand(raw, '\\', &|_| Some(value.to_owned())).expect(raw).value;
    assert_eq!(expanded, expected.iter().collect::<String>(), "{raw} of {value:?}");
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', pattern @ ..], _) => (0..=text.len()).any(|from| fits(pattern, &text[from..])),
        (['?', pattern @ ..], [_, text @ ..]) => fits(pattern, text),
        ([wanted, pattern @ ..], [letter, text @ ..]) => wanted == letter && fits(pattern, text),
        _ => false,
    }
}
