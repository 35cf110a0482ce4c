//! Values as Go prints them: `%v` and the verbs of `printf`.

use super::TemplateError;
use super::value::Shown;
use super::value::Value;

/// The most that a width may ask for.
const MAX_WIDTH: usize = 1000;

/// `%v`.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Missing => "<no value>".to_owned(),
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Struct(fields) => {
            let fields = fields.iter().filter(|field| field.shown != Shown::Never);
            format!("{{{}}}", fields.map(|field| go_text(&field.value)).collect::<Vec<_>>().join(" "))
        }
    }
}

/// `%q`.
pub(super) fn go_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other if other.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(other))),
            other if other.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// `printf`.
pub(super) fn go_printf(format: &str, arguments: &[Value]) -> Result<String, TemplateError> {
    let refuse = |reason: String| Err(TemplateError::Printf { format: format.to_owned(), reason });
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = letters.next_if(|next| "-0+ #".contains(*next)) {
            flags.push(flag);
        }
        let mut number = || {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let width = number();
        let precision = if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            Some(digits.parse().unwrap_or(0_usize).min(MAX_WIDTH))
        } else {
            None
        };
        let Some(verb) = letters.next() else { return refuse("it ends in the middle of a verb".to_owned()) };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else { return refuse(format!("`%{verb}` has no argument")) };
        let text = match (verb, argument) {
            ('v' | 's', value) => cut(go_text(value), precision),
            ('q', value) => go_quoted(&cut(go_text(value), precision)),
            ('d', Value::Int(number)) if flags.contains('+') => format!("{number:+}"),
            ('d', Value::Int(number)) => number.to_string(),
            ('x', Value::Int(number)) => format!("{number:x}"),
            ('x', Value::Text(text)) => hex::encode(text),
            ('t', Value::Bool(value)) => value.to_string(),
            ('f', Value::Float(number)) => format!("{number:.*}", precision.unwrap_or(6)),
            ('d' | 'x' | 't' | 'f', other) => return refuse(format!("`%{verb}` does not print {}", other.article())),
            _ => {
                return refuse(format!(
                    "the verb `%{verb}` is not supported: there are %s, %d, %v, %q, %x, %t, %f and %%"
                ));
            }
        };
        let width = width.parse().unwrap_or(0_usize).min(MAX_WIDTH);
        let missing = width.saturating_sub(text.chars().count());
        if flags.contains('-') {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if flags.contains('0') && matches!(verb, 'd' | 'x' | 'f') {
            let (sign, digits) = if text.starts_with(['-', '+']) { text.split_at(1) } else { ("", text.as_str()) };
            out.push_str(sign);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(digits);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(&text);
        }
    }
    match arguments.next() {
        Some(_) => refuse("it has fewer verbs than arguments".to_owned()),
        None => Ok(out),
    }
}

fn cut(text: String, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}
