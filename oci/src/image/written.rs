//! A configuration as text: its members in the order, and its letters with the escapes, of docker's own builder.
//!
//! That builder is written in Go, where the fields of a structure have an order and `<`, `>` and `&` are escaped. What it does not
//! know comes last. Equal images have equal configurations then, whoever built them, but for times.

use serde_json::Value;

/// The order of an object's members, and the shape of each. A list has the shape of what is in it.
struct Shape(&'static [(&'static str, &'static Shape)]);

static ANY: Shape = Shape(&[]);

static IMAGE: Shape = Shape(&[
    ("architecture", &ANY),
    ("author", &ANY),
    ("config", &CONTAINER),
    ("created", &ANY),
    ("history", &HISTORY),
    ("os", &ANY),
    ("rootfs", &ROOT),
    ("variant", &ANY),
]);

static CONTAINER: Shape = Shape(&[
    ("User", &ANY),
    ("ExposedPorts", &ANY),
    ("Env", &ANY),
    ("Entrypoint", &ANY),
    ("Cmd", &ANY),
    ("Volumes", &ANY),
    ("WorkingDir", &ANY),
    ("Labels", &ANY),
    ("StopSignal", &ANY),
    ("ArgsEscaped", &ANY),
    ("Healthcheck", &HEALTHCHECK),
    ("OnBuild", &ANY),
    ("Shell", &ANY),
]);

static HEALTHCHECK: Shape = Shape(&[
    ("Test", &ANY),
    ("Interval", &ANY),
    ("Timeout", &ANY),
    ("StartPeriod", &ANY),
    ("StartInterval", &ANY),
    ("Retries", &ANY),
]);

static HISTORY: Shape =
    Shape(&[("created", &ANY), ("created_by", &ANY), ("author", &ANY), ("comment", &ANY), ("empty_layer", &ANY)]);

static ROOT: Shape = Shape(&[("type", &ANY), ("diff_ids", &ANY)]);

/// The text of a configuration.
pub(super) fn image(configuration: &Value) -> String {
    let mut text = String::new();
    write(&mut text, configuration, &IMAGE);
    text
}

fn write(text: &mut String, value: &Value, shape: &Shape) {
    match value {
        Value::Object(map) => {
            let known = shape.0.iter().filter_map(|(name, shape)| Some((*name, map.get(*name)?, *shape)));
            let is_known = |name: &str| shape.0.iter().any(|(known, _)| *known == name);
            let others =
                map.iter().filter(|(name, _)| !is_known(name)).map(|(name, value)| (name.as_str(), value, &ANY));
            text.push('{');
            for (index, (name, value, shape)) in known.chain(others).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                escape(text, &Value::from(name));
                text.push(':');
                write(text, value, shape);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item, shape);
            }
            text.push(']');
        }
        leaf => escape(text, leaf),
    }
}

/// A string, number or the like. Go escapes what would mean something in a web page, or end a line there.
fn escape(text: &mut String, leaf: &Value) {
    for letter in leaf.to_string().chars() {
        match letter {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::image;

    #[test]
    fn order_and_escapes() {
        let document = json!({
            "aaa": {"User": 1, "Env": 2}, "os": "linux", "config": {"Aaa": 1, "Env": ["<&>\u{2028}\u{2029}é\n\u{8}\u{1}"], "User": "u"},
            "history": [{"comment": "c", "weird": null, "empty_layer": true, "created_by": "b", "created": "a", "author": "d"}],
            "rootfs": {"diff_ids": [], "type": "layers"}, "architecture": "amd64"
        });
        let text = image(&document);
        let expected = concat!(
            r#"{"architecture":"amd64","config":{"User":"u","Env":["\u003c\u0026\u003e\u2028\u2029é\n\b\u0001"],"Aaa":1},"#,
            r#""history":[{"created":"a","created_by":"b","author":"d","comment":"c","empty_layer":true,"weird":null}],"#,
            r#""os":"linux","rootfs":{"type":"layers","diff_ids":[]},"aaa":{"Env":2,"User":1}}"#
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
    }
}
