//! Text of unknown origin in a page: nothing of it is markup, nothing of it is invisible.

use std::fmt;
use std::fmt::Write as _;

use crate::ui::sanitize_lines;

/// Text, escaped for elements and for attributes in quotation marks. Control characters and those that turn the direction of text around
/// show what they are.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\n' | '\t' => formatter.write_char(character)?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    write!(formatter, "{}", character.escape_unicode())?;
                }
                control if control.is_control() => write!(formatter, "{}", control.escape_default())?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// What a program printed, as a terminal would show it in the end: colours as `<span>`, of a line that was written over its last form.
pub(super) fn terminal(text: &str) -> String {
    let text: Vec<&str> = text.split('\n').map(last_form).collect();
    let text = sanitize_lines(&text.join("\n"));
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut style = Style::default();
    let mut pieces = text.split("\u{1b}[");
    let push = |out: &mut String, style: Style, text: &str| {
        let class = style.class();
        if text.is_empty() {
        } else if class.is_empty() {
            write!(out, "{}", Text(text)).ok();
        } else {
            write!(out, "<span class=\"{class}\">{}</span>", Text(text)).ok();
        }
    };
    push(&mut out, style, pieces.next().unwrap_or_default());
    for piece in pieces {
        // Only colours are left of the control sequences, and they end with the first m.
        let (parameters, rest) = piece.split_once('m').unwrap_or(("", piece));
        style.apply(parameters);
        push(&mut out, style, rest);
    }
    out
}

/// What is left of a line that was written over: progress bars do that.
fn last_form(line: &str) -> &str {
    line.trim_end_matches('\r').rsplit('\r').find(|form| !form.is_empty()).unwrap_or_default()
}

#[derive(Clone, Copy, Default)]
struct Style {
    bold: bool,
    dim: bool,
    underlined: bool,
    /// 0 to 7, or 8 to 15 for the bright ones.
    color: Option<u8>,
}

impl Style {
    fn apply(&mut self, parameters: &str) {
        let mut numbers = parameters.split([';', ':']).map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                4 => self.underlined = true,
                22 => (self.bold, self.dim) = (false, false),
                24 => self.underlined = false,
                30..=37 => self.color = u8::try_from(number - 30).ok(),
                90..=97 => self.color = u8::try_from(number - 82).ok(),
                38 | 48 => {
                    // One of 256 colours, or three parts of one; only the 16 that have names are shown.
                    let color = match numbers.next() {
                        Some(5) => numbers.next().filter(|color| *color < 16),
                        Some(2) => numbers.nth(2).and(None),
                        _ => None,
                    };
                    if number == 38 {
                        self.color = color.and_then(|color| u8::try_from(color).ok());
                    }
                }
                39 => self.color = None,
                _ => {}
            }
        }
    }

    fn class(self) -> String {
        let mut class = String::new();
        let mut add = |name: &str| {
            if !class.is_empty() {
                class.push(' ');
            }
            class.push_str(name);
        };
        if self.bold {
            add("b");
        }
        if self.dim {
            add("d");
        }
        if self.underlined {
            add("u");
        }
        if let Some(color) = self.color {
            add(&format!("c{}", color % 8));
        }
        class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        let hostile = "</script><img src=x onerror='a(\"&\")'>\u{202e}\u{1b}[31m\0";
        let safe = "&lt;/script&gt;&lt;img src=x onerror=&#39;a(&quot;&amp;&quot;)&#39;&gt;\\u{202e}\\u{1b}[31m\\u{0}";
        assert_eq!(Text(hostile).to_string(), safe);
    }

    #[test]
    fn what_programs_print() {
        for (raw, html) in [
            ("plain\n<b>\n", "plain\n&lt;b&gt;\n"),
            ("\u{1b}[1;31merror\u{1b}[0m: no", "<span class=\"b c1\">error</span>: no"),
            ("\u{1b}[92mok\u{1b}[m", "<span class=\"c2\">ok</span>"),
            ("\u{1b}[38;5;1mx\u{1b}[38;5;200my\u{1b}[38;2;1;2;3mz", "<span class=\"c1\">x</span>yz"),
            ("\u{1b}[48;5;1mx", "x"),
            ("10%\r50%\r100%\r\ndone", "100%\ndone"),
            ("\u{1b}[2J\u{1b}]0;<title>\u{7}x\u{1b}[31", "x"),
            ("\u{1b}[31<script>m", "cript&gt;m"),
        ] {
            assert_eq!(terminal(raw), html, "{raw:?}");
        }
    }
}
