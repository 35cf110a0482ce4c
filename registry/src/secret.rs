//! Texts that must not be shown, and removing what must not be shown from other texts.

use std::fmt;

/// A password or token: printing it shows `[redacted]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

const MAX_SHOWN: usize = 300;

/// A text of a stranger as it may be shown: one line, no control characters, of bounded length, no user information and no query in
/// URLs, nothing after `Bearer` and `Basic`.
pub(crate) fn presentable(text: &str) -> String {
    let mut out = String::new();
    let mut hide_next = false;
    for word in text.split_whitespace() {
        let word: String = word.chars().filter(|letter| !is_invisible(*letter)).collect();
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        if hide_next {
            out.push_str("[redacted]");
        } else {
            out.push_str(&redact_word(&word));
        }
        hide_next = ["bearer", "basic"].iter().any(|scheme| {
            word.trim_end_matches(':').to_ascii_lowercase().trim_start_matches(['"', '\'', '`', '(']).eq(*scheme)
        });
        if out.chars().count() > MAX_SHOWN {
            return out.chars().take(MAX_SHOWN).chain("...".chars()).collect();
        }
    }
    out
}

/// Control characters, and those that change the direction of what follows.
fn is_invisible(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn redact_word(word: &str) -> String {
    let Some(at) = word.find("://") else {
        // A path with a query, or `access_token=...` by itself.
        let secret = ["token=", "signature=", "password=", "secret=", "sig=", "credential="];
        let lower = word.to_ascii_lowercase();
        let first = secret.iter().filter_map(|name| lower.find(name).map(|at| at + name.len())).min();
        return first.map_or_else(|| word.to_owned(), |end| format!("{}[redacted]", &word[..end]));
    };
    let (scheme, rest) = word.split_at(at + 3);
    let end = rest.find(['/', '?', '#', '"', '\'', '`', ')']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rfind('@') {
        Some(at) => format!("[redacted]@{}", &authority[at + 1..]),
        None => authority.to_owned(),
    };
    let (path, query) = match path.find(['?', '#']) {
        Some(at) => (&path[..at], "?[redacted]"),
        None => (path, ""),
    };
    format!("{scheme}{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text(text in "\\PC{0,60}", pieces in proptest::collection::vec("://|@|\\?|token=|bearer| |\u{e9}|a", 0..12)) {
            for text in [text, pieces.concat()] {
                assert!(!presentable(&text).chars().any(char::is_control));
            }
        }

        #[test]
        fn no_query_and_no_user(user in "[a-z0-9]{8}", query in "[a-z0-9]{8}") {
            let shown = presentable(&format!("see <https://{user}:{user}@a.b/c?x={query}> or http://{user}@d.e?{query}"));
            assert!(!shown.contains(&user) && !shown.contains(&query), "{shown}");
        }
    }

    #[test]
    fn what_is_hidden() {
        for (text, expected) in [
            ("plain words", "plain words"),
            ("https://a.b/c?X-Amz-Signature=abc&x=1", "https://a.b/c?[redacted]"),
            ("see https://user:pass@a.b:5/c.", "see https://[redacted]@a.b:5/c."),
            ("\"https://u:p@a.b\" failed", "\"https://[redacted]@a.b\" failed"),
            ("sent Authorization: Bearer abc.def now", "sent Authorization: Bearer [redacted] now"),
            ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
            ("/x?access_token=123&y=2", "/x?access_token=[redacted]"),
            ("two\n lines\x1b[31m\u{202e}", "two lines[31m"),
            ("", ""),
        ] {
            assert_eq!(presentable(text), expected, "{text}");
        }
        assert!(presentable(&"x ".repeat(9000)).len() < 320);
        assert_eq!(format!("{:?}", Secret::new("pass".to_owned())), "[redacted]");
    }
}
