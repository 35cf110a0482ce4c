//! Any text is expanded or refused: nothing panics, places lie on characters, and the three ways to expand agree.
//!
//! ```text
//! input = value of $a "\n" raw text
//! ```

#![no_main]

use bld_parser::expand;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let Some((value, raw)) = input.split_once('\n') else { return };
    let lookup = |name: &str| match name {
        "a" => Some(value.to_owned()),
        "b" => Some(String::new()),
        _ => None,
    };
    for escape in ['\\', '`'] {
        let whole = expand::expand(raw, escape, &lookup);
        let words = expand::expand_words(raw, escape, &lookup);
        match (whole, words) {
            (Ok(whole), Ok(words)) => {
                assert_eq!(whole.undefined, words.undefined);
                for undefined in &whole.undefined {
                    assert!(raw[undefined.offset..].starts_with('$'), "{undefined:?}");
                }
                assert_eq!(dense(&whole.value), dense(&words.words.concat()));
                assert!(words.words.iter().all(|word| !word.is_empty()));
            }
            (Err(whole), Err(words)) => {
                assert_eq!(whole, words);
                assert!(raw.is_char_boundary(whole.offset));
                assert!(!whole.to_string().is_empty());
            }
            (whole, words) => panic!("{whole:?} but {words:?}"),
        }
        if !raw.contains(['$', '\'', '"', escape]) {
            assert_eq!(expand::expand(raw, escape, &lookup).map(|expanded| expanded.value).as_deref(), Ok(raw));
        }
    }
    match expand::expand_heredoc(raw, &lookup) {
        Ok(expanded) if !raw.contains(['$', '\\']) => assert_eq!(expanded.value, raw),
        Ok(_) => {}
        Err(error) => assert!(raw.is_char_boundary(error.offset)),
    }
});

fn dense(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}
