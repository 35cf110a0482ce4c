//! Ignore files against a matcher that tries everything, and what the walker may leave out.
//!
//! ```text
//! input = path "\n" ignore file
//! ```

#![no_main]

use bld_parser::ignorefile::Patterns;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(line_end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (path, text) = (&input[..line_end], &input[line_end + 1..]);
    let Ok(patterns) = Patterns::parse(text) else { return };
    let decision = patterns.matches(path);
    if path.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
        return;
    }
    let excluded = decision.is_excluded();
    for above in ancestors(path) {
        assert!(patterns.may_match_below(above) || excluded, "pruned above");
        assert!(patterns.hidden_by(above).is_none() || excluded, "hidden above");
    }
    assert!(patterns.hidden_by(b"").is_none() || excluded);
    assert!(patterns.hidden_by(path).is_none() || excluded);

    let small = path.len() <= 12 && text.len() <= 40 && path.is_ascii() && text.is_ascii() && !text.contains(&b'[');
    if small && text.iter().filter(|byte| **byte == b'*').count() <= 8 {
        assert_eq!(excluded, naive(text, path));
    }
});

fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

/// The last line that matches the path or anything above it decides.
fn naive(text: &[u8], path: &[u8]) -> bool {
    let mut excluded = false;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
        let line = line.trim_ascii();
        let (negated, pattern) = match line.strip_prefix(b"!") {
            Some(pattern) => (true, pattern.trim_ascii()),
            None => (false, line),
        };
        if pattern.is_empty() {
            continue;
        }
        let pattern = clean(pattern);
        if ancestors(path).chain([path]).any(|path| line_fits(&pattern, path)) {
            excluded = !negated;
        }
    }
    excluded
}

/// Rewrites until nothing is left to rewrite.
fn clean(pattern: &[u8]) -> Vec<u8> {
    let mut names: Vec<Vec<u8>> = pattern.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    names.retain(|name| !name.is_empty() && name != b".");
    while let Some(at) = (1..names.len()).find(|at| names[*at] == b".." && names[*at - 1] != b"..") {
        names.drain(at - 1..=at);
    }
    if pattern.starts_with(b"/") {
        while names.first().is_some_and(|name| name == b"..") {
            names.remove(0);
        }
    }
    if names.is_empty() { b".".to_vec() } else { names.join(&b'/') }
}

fn line_fits(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        // Two stars in front of plain text mean "ends with".
        [b'*', b'*', rest @ ..]
            if !rest.is_empty()
                && !rest.starts_with(b"/")
                && !rest.iter().any(|byte| matches!(byte, b'*' | b'?' | b'\\')) =>
        {
            path.ends_with(rest)
        }
        _ => fits(pattern, path),
    }
}

fn fits(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*'] => true,
        [b'*', b'*', rest @ ..] => {
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            if rest.is_empty() {
                return true;
            }
            let behind_slashes = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1);
            behind_slashes.chain([0]).any(|from| fits(rest, &path[from..]))
        }
        [b'*', rest @ ..] => {
            let length = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=length).any(|from| fits(rest, &path[from..]))
        }
        [b'?', rest @ ..] => path.split_first().is_some_and(|(byte, path)| *byte != b'/' && fits(rest, path)),
        [b'\\', wanted, rest @ ..] | [wanted, rest @ ..] => {
            path.split_first().is_some_and(|(byte, path)| byte == wanted && fits(rest, path))
        }
    }
}
