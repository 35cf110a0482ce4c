//! What the user sees on stderr.

pub(crate) mod excerpt;
pub(crate) mod listing;
pub(crate) mod plain;
pub(crate) mod table;

/// Text of unknown origin made safe for a terminal: colours (SGR sequences) stay, every other control sequence and control
/// character but the tab goes, and what turns the direction of text around.
pub(crate) fn sanitize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\t' => out.push('\t'),
            '\u{1b}' => match characters.peek() {
                Some('[') => {
                    characters.next();
                    let mut parameters = String::new();
                    for next in characters.by_ref() {
                        if ('\u{40}'..='\u{7e}').contains(&next) {
                            if next == 'm' {
                                out.push_str("\u{1b}[");
                                out.push_str(&parameters);
                                out.push('m');
                            }
                            break;
                        }
                        if parameters.len() < 64 {
                            parameters.push(next);
                        }
                    }
                }
                // Operating system commands and other strings run up to BEL or ESC \.
                Some(']' | 'P' | '^' | '_' | 'X') => {
                    while let Some(next) = characters.next() {
                        if next == '\u{7}' {
                            break;
                        }
                        if next == '\u{1b}' {
                            characters.next_if_eq(&'\\');
                            break;
                        }
                    }
                }
                _ => {
                    characters.next();
                }
            },
            other if other.is_control() || turns(other) => {}
            other => out.push(other),
        }
    }
    out
}

/// Whether a character makes what follows run in another direction: it can show `a` before `b` where the bytes say the opposite.
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of unknown origin as part of one line: a name must not look like a line of bld's own.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// [`sanitize`] for text of several lines.
pub(crate) fn sanitize_lines(text: &str) -> String {
    text.split('\n').map(sanitize).collect::<Vec<_>>().join("\n")
}

/// Bytes as docker prints them: decimal units, up to three significant digits.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let text = if unit == 0 || value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// How long something took, given in microseconds.
pub(crate) fn human_time(us: u64) -> String {
    let tenths = us.saturating_add(50_000) / 100_000;
    let seconds = us.saturating_add(500_000) / 1_000_000;
    match seconds {
        _ if us < 99_500 => format!("{}ms", us.saturating_add(500) / 1000),
        _ if tenths < 600 => format!("{}.{}s", tenths / 10, tenths % 10),
        0..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long ago, as docker prints it.
pub(crate) fn human_age(seconds: i64) -> String {
    let plural = |count: i64, unit: &str| format!("{count} {unit}s ago");
    match seconds {
        i64::MIN..1 => "Less than a second ago".to_owned(),
        1 => "1 second ago".to_owned(),
        2..60 => plural(seconds, "second"),
        60..120 => "About a minute ago".to_owned(),
        120..3600 => plural(seconds / 60, "minute"),
        3600..7200 => "About an hour ago".to_owned(),
        7200..172_800 => plural(seconds / 3600, "hour"),
        172_800..1_209_600 => plural(seconds / 86_400, "day"),
        1_209_600..5_184_000 => plural(seconds / 604_800, "week"),
        5_184_000..63_072_000 => plural(seconds / 2_592_000, "month"),
        _ => plural(seconds / 31_536_000, "year"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_is_removed_and_colour_kept() {
        for (raw, safe) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("a\u{1b}[2Jb", "ab"),
            ("a\u{1b}]52;c;Zm9v\u{7}b", "ab"),
            ("a\u{1b}]0;title\u{1b}\\b", "ab"),
            ("over\rwrite", "overwrite"),
            ("\u{1b}", ""),
            ("\u{9b}2J", "2J"),
            ("a\u{202e}b\u{2066}c\u{2069}", "abc"),
        ] {
            assert_eq!(sanitize(raw), safe, "{raw:?}");
        }
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(one_line("x\nhint: y\r\u{1b}[2J\tz"), "x\\nhint: y\\r\\u{1b}[2J\tz");
        assert_eq!(sanitize_lines("a\u{7}\n\u{1b}]0;b\n\tc\r\n"), "a\n\n\tc\n");
    }

    #[test]
    fn sizes_and_ages() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_500_000, "1.5MB"),
            (10_040, "10kB"),
            (12_345, "12.3kB"),
            (123_456_789, "123MB"),
            (2_370_000, "2.37MB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
        for (us, text) in [
            (0, "0ms"),
            (12_600, "13ms"),
            (99_600, "0.1s"),
            (59_940_000, "59.9s"),
            (59_960_000, "1m00s"),
            (252_000_000, "4m12s"),
            (3_725_000_000, "1h02m"),
        ] {
            assert_eq!(human_time(us), text);
        }
        for (seconds, text) in
            [(0, "Less than a second ago"), (5, "5 seconds ago"), (90, "About a minute ago"), (7200, "2 hours ago")]
        {
            assert_eq!(human_age(seconds), text);
        }
    }
}
