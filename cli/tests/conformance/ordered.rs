//! JSON with the members of an object in the order of the text.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Value;

/// A JSON value.
#[derive(Debug, PartialEq)]
pub(super) enum Ordered {
    /// Its members as they come.
    Object(Vec<(String, Ordered)>),
    /// Its items.
    Array(Vec<Ordered>),
    /// Anything that has no inner order.
    Other(Value),
}

impl Ordered {
    /// Reads `text`, which must be valid.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }
}

impl fmt::Display for Ordered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(value) => write!(formatter, "{value}"),
            Self::Array(items) if items.is_empty() => formatter.write_str("[]"),
            Self::Object(members) if members.is_empty() => formatter.write_str("{}"),
            Self::Array(_) | Self::Object(_) => write!(formatter, "{self:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Ordered;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Ordered::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Ordered, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Ordered::Array(items))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ordered, E> {
        Ok(other(text))
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Ordered, E> {
        Ok(other(truth))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Ordered, E> {
        Ok(other(number))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Ordered, E> {
        Ok(other(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Ordered, E> {
        Ok(other(number))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Ordered, E> {
        Ok(Ordered::Other(Value::Null))
    }
}

fn other(value: impl Into<Value>) -> Ordered {
    Ordered::Other(value.into())
}
