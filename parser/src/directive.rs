//! Parser directives: `# key=value` lines at the very top.
//!
//! ```text
//! directives = { blanks "#" blanks key blanks "=" blanks value }     key: syntax | escape | check, in any case
//! ```
//! The first line that is none of these - a blank line, an instruction, any other comment - ends them.

use crate::ast::Directives;
use crate::ast::Text;
use crate::check::CheckOptions;
use crate::rules::RULES;
use crate::sink::Sink;
use crate::source::Span;
use crate::suggest::nearest;
use nom::IResult;
use nom::Parser;
use nom::bytes::complete::take_while;
use nom::character::complete::alphanumeric0;
use nom::character::complete::char;
use nom::character::complete::satisfy;
use nom::combinator::recognize;

/// What a `# check=` can look like.
pub(crate) const CHECK_HINT: &str = "write `skip=RULE,RULE` or `skip=all`, `error=true`, `experimental=all`, with `;` between them: see docs/rules/InvalidCheck.md";

/// Reads the directives that start at `start`; also says where the first other line begins.
pub(crate) fn read(text: &str, start: usize, sink: &mut Sink) -> (Directives, usize) {
    let mut directives = Directives { syntax: None, escape: '\\', check: None };
    let mut escape_seen = false;
    // Behind a `#!` line `escape` is an ordinary comment that ends nothing.
    let mut behind_shebang = false;
    let mut position = start;
    while position < text.len() {
        let end = text[position..].find('\n').map_or(text.len(), |length| position + length);
        let line = text[position..end].trim_end();
        let next = (end + 1).min(text.len());
        if position == start && line.starts_with("#!") {
            behind_shebang = true;
            position = next;
            continue;
        }
        let Some((key, value)) = comment_value(line) else { break };
        let key_span = within(position, line, key);
        let value = Text { value: value.to_owned(), span: within(position, line, value) };
        let repeated = match key.to_ascii_lowercase().as_str() {
            "syntax" => directives.syntax.replace(value).is_some(),
            "check" => {
                match CheckOptions::parse(&value.value) {
                    Ok(options) => report_unknown(&options, value.span, sink),
                    Err(error) => sink.error("InvalidCheck", value.span, error.to_string(), CHECK_HINT),
                }
                directives.check.replace(value).is_some()
            }
            "escape" if behind_shebang => false,
            "escape" => {
                match value.value.as_str() {
                    "\\" => directives.escape = '\\',
                    "`" => directives.escape = '`',
                    other => sink.error(
                        "InvalidEscape",
                        value.span,
                        format!("`{other}` cannot be the escape character"),
                        "use `\\` or a backquote",
                    ),
                }
                std::mem::replace(&mut escape_seen, true)
            }
            _ => break,
        };
        if repeated {
            sink.error(
                "DuplicateDirective",
                key_span,
                format!("only one {} parser directive can be used", key.to_ascii_lowercase()),
                "remove all but one",
            );
        }
        position = next;
    }
    (directives, position)
}

/// A rule that does not exist is not skipped, whatever the comment says.
pub(crate) fn report_unknown(options: &CheckOptions, span: Span, sink: &mut Sink) {
    for name in options.unknown_rules() {
        let hint = match nearest(name, RULES.iter().map(|rule| rule.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "docs/rules/README.md lists the checks there are".to_owned(),
        };
        sink.warning("InvalidCheck", span, format!("there is no check called `{name}`"), hint);
    }
}

/// Key and value of a comment of the form `# key=value`, the value not empty.
pub(crate) fn comment_value(line: &str) -> Option<(&str, &str)> {
    let (value, key) = key(line).ok()?;
    let value = value.trim();
    (!value.is_empty()).then_some((key, value))
}

fn key(line: &str) -> IResult<&str, &str> {
    let name = recognize((satisfy(|letter| letter.is_ascii_alphabetic()), alphanumeric0));
    let (rest, (_, _, _, key, _, _)) = (blanks, char('#'), blanks, name, blanks, char('=')).parse(line)?;
    Ok((rest, key))
}

fn blanks(text: &str) -> IResult<&str, &str> {
    take_while(char::is_whitespace).parse(text)
}

/// The span of `part`, a piece of `line`, which stands at `position`.
fn within(position: usize, line: &str, part: &str) -> Span {
    let offset = position + (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    Span::new(offset, offset + part.len())
}
