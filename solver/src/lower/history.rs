//! `created_by` of history entries, in the words of docker's own builder: tools compare and parse them.

use std::fmt::Write as _;

use bld_oci::image::HealthcheckConfig;

/// `RUN [|N NAME=value ...] ARGUMENTS # buildkit`.
pub(super) fn run(arguments: &[String], args: &[(String, String)]) -> String {
    let arguments = arguments.join(" ");
    if args.is_empty() {
        return format!("RUN {arguments} # buildkit");
    }
    format!("{} {arguments} # buildkit", pairs(&format!("RUN |{}", args.len()), args))
}

/// `ENV` and `LABEL`.
pub(super) fn pairs(instruction: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(instruction.to_owned(), |text, (name, value)| format!("{text} {name}={value}"))
}

/// `CMD` and `ENTRYPOINT`: `CMD ["a" "b"]`.
pub(super) fn command(instruction: &str, arguments: &[String]) -> String {
    format!("{instruction} {}", quoted_list(arguments))
}

/// `EXPOSE`, `VOLUME` and `SHELL`: `VOLUME [/a /b]`.
pub(super) fn list<T: AsRef<str>>(instruction: &str, items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<T> = items.into_iter().collect();
    format!("{instruction} [{}]", items.iter().map(T::as_ref).collect::<Vec<_>>().join(" "))
}

/// `HEALTHCHECK`, as Go prints docker's structure with the names of its fields.
pub(super) fn healthcheck(check: &HealthcheckConfig) -> String {
    let HealthcheckConfig { test, interval, timeout, start_period, start_interval, retries } = check;
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{retries}}}",
        test.join(" "),
        duration(*interval),
        duration(*timeout),
        duration(*start_period),
        duration(*start_interval),
    )
}

fn quoted_list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(" "))
}

/// A string as Go's `%q` prints it.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            // Writing to a string cannot fail.
            letter if letter < ' ' || letter == '\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(letter))),
            letter if is_printable(letter) => out.push(letter),
            letter if letter <= '\u{ffff}' => drop(write!(out, "\\u{:04x}", u32::from(letter))),
            letter => drop(write!(out, "\\U{:08x}", u32::from(letter))),
        }
    }
    out.push('"');
    out
}

/// Letters, marks, numbers, punctuation, symbols and the blank, as Go counts them.
fn is_printable(letter: char) -> bool {
    // At the beginning of a text marks would be escaped that belong to a letter before them.
    letter == '\'' || format!("x{letter}").escape_debug().count() == 2
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `500ms`, `0s`.
fn duration(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanoseconds, 1_000)),
        1_000_000..SECOND => format!("{}ms", decimal(nanoseconds, 1_000_000)),
        _ => {
            let minutes = nanoseconds / SECOND / 60;
            let seconds = decimal(nanoseconds % (60 * SECOND), SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::duration;
    use super::healthcheck;
    use super::quote;
    use bld_oci::image::HealthcheckConfig;

    #[test]
    fn durations_as_go_prints_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000, "1.5ms"),
        ] {
            assert_eq!(duration(nanoseconds), expected);
        }
    }

    #[test]
    fn strings_as_go_quotes_them() {
        assert_eq!(quote("a \"b\" \\ 'c'\n\u{1}é"), r#""a \"b\" \\ 'c'\n\x01é""#);
    }

    #[test]
    fn a_health_check_as_go_prints_it() {
        let check = HealthcheckConfig {
            test: vec!["CMD".to_owned(), "a b".to_owned()],
            interval: 90_000_000_000,
            retries: 3,
            ..HealthcheckConfig::default()
        };
        let expected =
            "HEALTHCHECK {Test:[CMD a b] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}";
        assert_eq!(healthcheck(&check), expected);
    }
}
