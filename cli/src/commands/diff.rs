//! `bld diff`: two images side by side. Ends with 1 if they differ, as `diff` does.

use std::collections::BTreeMap;

use bld_cache::Store;
use bld_executor::image::compare::Change;
use bld_executor::image::compare::Difference;
use bld_executor::image::compare::compare;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_executor::view::merged::MergedTree;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use serde_json::Value;
use serde_json::json;

use super::Session;
use super::image_error;
use super::print;
use super::taken::store_for;
use super::taken::taken_image;
use crate::args::images::DiffArgs;
use crate::error::CommandError;
use crate::ui::sanitize;

pub(super) fn run(session: &Session, args: &DiffArgs) -> Result<(), CommandError> {
    let store = store_for(session, &[&args.left, &args.right])?;
    let _lease = store.lease()?;
    let left = taken_image(&store, &args.left, args.platform.as_deref())?;
    let right = taken_image(&store, &args.right, args.platform.as_deref())?;
    let config = config_changes(&left, &right, args.times)?;
    let history = history_changes(&left, &right);
    session.bring_layers(&store, &[left.descriptor.clone(), right.descriptor.clone()])?;
    let layers = Layers::new(store.clone(), layer_mode(session.identity));
    let files = if left.config.diff_ids == right.config.diff_ids {
        Vec::new()
    } else {
        let (left, right) = (view(&store, &layers, &left)?, view(&store, &layers, &right)?);
        compare(&left, &right, args.times)?
    };
    if args.format == "json" {
        let changes = |list: &[FieldChange]| -> Vec<Value> {
            list.iter().map(|(field, old, new)| json!({ "field": field, "left": old, "right": new })).collect()
        };
        let document = json!({
            "same": config.is_empty() && history.is_empty() && files.is_empty(),
            "config": changes(&config),
            "history": changes(&history),
            "files": files.iter().map(file_json).collect::<Vec<_>>(),
        });
        print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
    } else {
        let mut out = String::new();
        for (title, changes) in [("configuration", &config), ("history", &history)] {
            if !changes.is_empty() {
                out.push_str(&format!("{title}:\n"));
            }
            for (field, old, new) in changes {
                for (sign, value) in [('-', old), ('+', new)] {
                    if let Some(value) = value {
                        out.push_str(&format!("  {sign} {}: {}\n", sanitize(field), sanitize(&shown(value))));
                    }
                }
            }
        }
        if !files.is_empty() {
            out.push_str("files:\n");
        }
        for file in &files {
            out.push_str(&file_line(file));
        }
        print(&out)?;
    }
    if config.is_empty() && history.is_empty() && files.is_empty() { Ok(()) } else { Err(CommandError::told()) }
}

/// A field, and what it is in the first image and in the second.
type FieldChange = (String, Option<Value>, Option<Value>);

fn view(store: &Store, layers: &Layers, image: &LocalImage) -> Result<MergedTree, CommandError> {
    Ok(MergedTree::new(local::stack(store, layers, image).map_err(|error| image_error(&error))?))
}

/// What differs in the configurations, by path. Layers and history are compared by themselves.
fn config_changes(left: &LocalImage, right: &LocalImage, times: bool) -> Result<Vec<FieldChange>, CommandError> {
    let flat = |image: &LocalImage| -> Result<BTreeMap<String, Value>, CommandError> {
        let mut document: Value = serde_json::from_slice(&image.config.to_json())?;
        if let Some(fields) = document.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "history" | "rootfs") && (times || name != "created"));
        }
        let mut out = BTreeMap::new();
        flatten(String::new(), document, &mut out);
        for (key, value) in &image.manifest.annotations {
            out.insert(format!("annotation {key}"), json!(value));
        }
        Ok(out)
    };
    let (left, right) = (flat(left)?, flat(right)?);
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let changed = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
    Ok(changed.map(|name| (name.clone(), left.get(name).cloned(), right.get(name).cloned())).collect())
}

/// Objects become paths; variables of the environment are compared one by one.
fn flatten(path: String, value: Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(path, value, out);
            }
        }
        Value::Array(list) if path == "config.Env" => {
            for item in list {
                let text = item.as_str().unwrap_or_default();
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                out.insert(format!("{path} {name}"), json!(value));
            }
        }
        value => {
            out.insert(path, value);
        }
    }
}

/// Steps by their place. When they were made does not count.
fn history_changes(left: &LocalImage, right: &LocalImage) -> Vec<FieldChange> {
    let step = |image: &LocalImage, index: usize| {
        let entry = image.config.history.get(index)?;
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(if text("created_by").is_empty() { text("comment") } else { text("created_by") })
    };
    let count = left.config.history.len().max(right.config.history.len());
    let mut changes = Vec::new();
    for index in 0..count {
        let (old, new) = (step(left, index), step(right, index));
        if old != new {
            changes.push((format!("step {}", index + 1), old.map(Value::String), new.map(Value::String)));
        }
    }
    changes
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(['\n', '\t'], " "),
        other => other.to_string(),
    }
}

fn file_line(file: &Difference) -> String {
    let path = sanitize(&file.path.to_string());
    match &file.change {
        Change::Added(what) => format!("  A {path} ({})\n", sanitize(what)),
        Change::Removed(what) => format!("  D {path} ({})\n", sanitize(what)),
        Change::Changed(fields) => {
            let fields = fields.iter().map(|(name, old, new)| format!("{name} {} -> {}", sanitize(old), sanitize(new)));
            format!("  C {path} ({})\n", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

fn file_json(file: &Difference) -> Value {
    let path = file.path.to_string();
    match &file.change {
        Change::Added(what) => json!({ "path": path, "change": "added", "is": what }),
        Change::Removed(what) => json!({ "path": path, "change": "removed", "is": what }),
        Change::Changed(fields) => {
            let fields = fields.iter().map(|(name, old, new)| json!({ "field": name, "left": old, "right": new }));
            json!({ "path": path, "change": "changed", "fields": fields.collect::<Vec<_>>() })
        }
    }
}
