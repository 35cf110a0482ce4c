//! The functions of templates: Go's own, and those that docker adds.

use std::cmp::Ordering;

use super::TemplateError;
use super::format::go_printf;
use super::format::go_text;
use super::value::Value;

/// All of them, for messages.
pub(super) const NAMES: [&str; 24] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad", "print",
    "printf", "println", "slice", "split", "table", "title", "truncate", "upper",
];

/// Whether there is a function of this name. `table` is no function, but the beginning of a format.
pub(super) fn is_known(name: &str) -> bool {
    name != "table" && NAMES.contains(&name)
}

/// Whether it is one of docker's, and not Go's own.
pub(super) fn is_dockers(name: &str) -> bool {
    ["join", "json", "lower", "pad", "split", "title", "truncate", "upper"].contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let misuse = |expected: &'static str| TemplateError::Arguments { function: name.to_owned(), expected };
    Ok(match (name, arguments) {
        ("json", [value]) => Value::Text(
            serde_json::to_string(value).map_err(|error| TemplateError::Json { reason: error.to_string() })?,
        ),
        ("not", [value]) => Value::Bool(!value.is_true()),
        ("json" | "not", _) => return Err(misuse("one value")),
        ("len", [Value::Text(text)]) => Value::from(text.len() as u64),
        ("len", [Value::List(list)]) => Value::from(list.len() as u64),
        ("len", [Value::Map(map)]) => Value::from(map.len() as u64),
        ("len", _) => return Err(misuse("a text, a list or a map")),
        ("index", [value, keys @ ..]) => index(value, keys)?,
        ("slice", [value, bounds @ ..]) => {
            slice(value, bounds).ok_or_else(|| misuse("a text or a list, and places in it"))?
        }
        ("lower", [Value::Text(text)]) => Value::Text(text.to_lowercase()),
        ("upper", [Value::Text(text)]) => Value::Text(text.to_uppercase()),
        ("title", [Value::Text(text)]) => Value::Text(title(text)),
        ("lower" | "upper" | "title", _) => return Err(misuse("one text")),
        ("split", [Value::Text(text), Value::Text(separator)]) => {
            let parts: Vec<String> = if separator.is_empty() {
                text.chars().map(String::from).collect()
            } else {
                text.split(separator.as_str()).map(str::to_owned).collect()
            };
            Value::from(parts)
        }
        ("split", _) => return Err(misuse("a text and a separator")),
        ("join", [list @ (Value::List(_) | Value::Nil | Value::Missing), Value::Text(separator)]) => {
            let Value::List(list) = list else { return Ok(Value::from("")) };
            Value::Text(list.iter().map(go_text).collect::<Vec<_>>().join(separator))
        }
        ("join", _) => return Err(misuse("a list and a separator")),
        ("pad", [Value::Text(text), Value::Int(before), Value::Int(after)]) => {
            let blanks = |count: &i64| " ".repeat(usize::try_from(*count).unwrap_or(0).min(1000));
            Value::Text(if text.is_empty() {
                String::new()
            } else {
                format!("{}{text}{}", blanks(before), blanks(after))
            })
        }
        ("pad", _) => return Err(misuse("a text and two numbers of blanks")),
        ("truncate", [Value::Text(text), Value::Int(length)]) => {
            Value::Text(text.chars().take(usize::try_from(*length).unwrap_or(0)).collect())
        }
        ("truncate", _) => return Err(misuse("a text and a length")),
        ("print", values) => Value::Text(print(values)),
        ("println", values) => Value::Text(values.iter().map(go_text).collect::<Vec<_>>().join(" ") + "\n"),
        ("printf", [Value::Text(format), values @ ..]) => Value::Text(go_printf(format, values)?),
        ("printf", _) => return Err(misuse("a format and its values")),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            let mut same = false;
            for other in rest {
                same |= compare("eq", first, other)? == Ordering::Equal;
            }
            Value::Bool(same)
        }
        ("ne", [left, right]) => Value::Bool(compare(name, left, right)? != Ordering::Equal),
        ("lt", [left, right]) => Value::Bool(compare(name, left, right)?.is_lt()),
        ("le", [left, right]) => Value::Bool(compare(name, left, right)?.is_le()),
        ("gt", [left, right]) => Value::Bool(compare(name, left, right)?.is_gt()),
        ("ge", [left, right]) => Value::Bool(compare(name, left, right)?.is_ge()),
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge", _) => return Err(misuse("two values")),
        _ => return Err(TemplateError::UnknownFunction { name: name.to_owned() }),
    })
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, TemplateError> {
    let mut value = value.clone();
    for key in keys {
        value = match (value, key) {
            (Value::List(list), Value::Int(at)) => {
                let length = list.len();
                let found = usize::try_from(*at).ok().and_then(|at| list.into_iter().nth(at));
                found.ok_or(TemplateError::OutOfRange { index: *at, length })?
            }
            (Value::Text(text), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at).copied());
                Value::Int(found.ok_or(TemplateError::OutOfRange { index: *at, length: text.len() })?.into())
            }
            // Go answers the zero of the values' type: labels are texts.
            (Value::Map(mut map), Value::Text(key)) => map.remove(key).unwrap_or(Value::Text(String::new())),
            (Value::Struct(fields), Value::Text(key)) => {
                fields.into_iter().find(|field| field.name == *key).map_or(Value::Missing, |field| field.value)
            }
            (Value::Missing | Value::Nil, _) => Value::Missing,
            (other, key) => return Err(TemplateError::Index { what: other.article(), by: key.article() }),
        };
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Value]) -> Option<Value> {
    let place = |bound: &Value| match bound {
        Value::Int(at) => usize::try_from(*at).ok(),
        _ => None,
    };
    let (start, end) = match bounds {
        [] => (0, None),
        [start] => (place(start)?, None),
        [start, end] => (place(start)?, Some(place(end)?)),
        _ => return None,
    };
    match value {
        Value::Text(text) => text.get(start..end.unwrap_or(text.len())).map(Value::from),
        Value::List(list) => list.get(start..end.unwrap_or(list.len())).map(|part| Value::List(part.to_vec())),
        _ => None,
    }
}

/// Every word with a capital.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if inside {
            out.push(letter);
        } else {
            out.extend(letter.to_uppercase());
        }
        inside = letter.is_alphanumeric() || letter == '_' || letter == '\'';
    }
    out
}

/// Blanks stand between two values of which neither is a text.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            out.push(' ');
        }
        out.push_str(&go_text(value));
    }
    out
}

fn compare(function: &str, left: &Value, right: &Value) -> Result<Ordering, TemplateError> {
    #[expect(clippy::cast_precision_loss, reason = "a mixed comparison is one of floats")]
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) if matches!(function, "eq" | "ne") => Some(left.cmp(right)),
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) if matches!(function, "eq" | "ne") => {
            Some(Ordering::Equal)
        }
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) if matches!(function, "eq" | "ne") => {
            Some(Ordering::Less)
        }
        _ => None,
    };
    ordering.ok_or_else(|| TemplateError::Compare {
        function: function.to_owned(),
        left: left.article(),
        right: right.article(),
    })
}
