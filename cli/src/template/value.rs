//! What templates work on: JSON whose objects are either open maps or structures with a known set of fields.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap as _;

/// A value of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// What a map does not have: `<no value>`.
    Missing,
    /// `null`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Any keys: labels, ports.
    Map(BTreeMap<String, Value>),
    /// Known fields, in their order. Any other field is a mistake of the template.
    Struct(Vec<Field>),
}

/// A field of a structure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: Value,
    /// When JSON shows it.
    pub(crate) shown: Shown,
}

/// When JSON shows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Always.
    Always,
    /// If it is not empty.
    IfSet,
    /// Never: it is another name for a field that is shown.
    Never,
}

impl Field {
    /// A field that is always shown.
    pub(crate) fn new(name: &str, value: impl Into<Value>) -> Field {
        Field { name: name.to_owned(), value: value.into(), shown: Shown::Always }
    }

    /// A field that JSON shows only if it is set.
    pub(crate) fn optional(name: &str, value: impl Into<Value>) -> Field {
        Field { shown: Shown::IfSet, ..Field::new(name, value) }
    }

    /// Another name for a field.
    pub(crate) fn alias(name: &str, value: impl Into<Value>) -> Field {
        Field { shown: Shown::Never, ..Field::new(name, value) }
    }

    fn is_shown(&self) -> bool {
        match self.shown {
            Shown::Always => true,
            Shown::IfSet => self.value.is_true(),
            Shown::Never => false,
        }
    }
}

impl Value {
    /// JSON with objects as open maps.
    pub(crate) fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| number.as_f64().map_or(Value::Nil, Value::Float), Value::Int)
            }
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(list) => Value::List(list.iter().map(Value::from_json).collect()),
            serde_json::Value::Object(map) => {
                Value::Map(map.iter().map(|(key, value)| (key.clone(), Value::from_json(value))).collect())
            }
        }
    }

    /// JSON with objects as structures.
    pub(crate) fn record_of_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Array(list) => Value::List(list.iter().map(Value::record_of_json).collect()),
            serde_json::Value::Object(map) => {
                Value::Struct(map.iter().map(|(key, value)| Field::new(key, Value::record_of_json(value))).collect())
            }
            plain => Value::from_json(plain),
        }
    }

    /// Whether a condition takes it for true: everything but nothing, zero and what is empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Struct(_) => true,
        }
    }

    /// What it is called in a message.
    pub(super) fn article(&self) -> &'static str {
        match self {
            Value::Missing | Value::Nil => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Struct(_) => "a structure",
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Missing | Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => serializer.collect_seq(list),
            Value::Map(map) => serializer.collect_map(map),
            Value::Struct(fields) => {
                let mut map = serializer.serialize_map(None)?;
                for field in fields.iter().filter(|field| field.is_shown()) {
                    map.serialize_entry(&field.name, &field.value)?;
                }
                map.end()
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Value {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}
