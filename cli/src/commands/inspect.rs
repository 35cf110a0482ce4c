//! `bld inspect`: images in the form of `docker image inspect`.

use bld_oci::image::ContainerConfig;
use serde_json::json;

use super::Session;
use super::print;
use super::shown::Shown;
use super::shown::shown;
use crate::args::images::InspectArgs;
use crate::error::CommandError;
use crate::reference;
use crate::template::Field;
use crate::template::Template;
use crate::template::Value;

pub(super) fn run(session: &Session, args: &InspectArgs) -> Result<(), CommandError> {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => {
            let parsed = Template::parse(text);
            Some(parsed.map_err(|error| CommandError::usage(format!("`--format {text}`: {error}")))?)
        }
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for text in &args.images {
        match shown(session, text, args.platform.as_deref()) {
            Ok(images) => found.extend(images.iter().map(document)),
            Err(error) => failures.push(error),
        }
    }
    match &template {
        Some(template) => {
            for image in &found {
                let line =
                    template.render(image).map_err(|error| CommandError::usage(format!("`--format`: {error}")))?;
                print(&format!("{line}\n"))?;
            }
        }
        None if args.format.as_deref() == Some("json") => print(&format!("{}\n", serde_json::to_string(&found)?))?,
        // What is missing is no reason to hide the others.
        None if failures.is_empty() || !found.is_empty() => {
            print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
        }
        None => {}
    }
    CommandError::together(failures, "images were not found")
}

/// docker's document of an image.
fn document(shown: &Shown) -> Value {
    let (image, config) = (&shown.image, &shown.image.config);
    let digests = shown.names.iter().map(|name| {
        let (repository, _) = reference::split(name);
        format!("{repository}@{}", image.descriptor.digest)
    });
    let mut digests: Vec<String> = digests.collect();
    digests.dedup();
    let comment = config.history.last().and_then(|entry| entry.get("comment")).and_then(|comment| comment.as_str());
    let layers: Vec<String> = config.diff_ids.iter().map(ToString::to_string).collect();
    let descriptor = json!({
        "mediaType": image.descriptor.media_type,
        "digest": image.descriptor.digest,
        "size": image.descriptor.size,
    });
    Value::Struct(vec![
        Field::new("Id", image.manifest.config.digest.to_string()),
        // What docker's own type calls it.
        Field::alias("ID", image.manifest.config.digest.to_string()),
        Field::new("RepoTags", shown.familiar_names()),
        Field::new("RepoDigests", digests),
        Field::new("Parent", ""),
        Field::new("Comment", comment.unwrap_or_default()),
        Field::new("Created", config.created.clone().unwrap_or_default()),
        Field::new("Author", config.author.clone().unwrap_or_default()),
        Field::new("Config", container(&config.container)),
        Field::new("Architecture", config.architecture.clone()),
        Field::optional("Variant", config.variant.clone().unwrap_or_default()),
        Field::new("Os", config.os.clone()),
        Field::new("Size", shown.size),
        Field::new("RootFS", Value::Struct(vec![Field::new("Type", "layers"), Field::new("Layers", layers)])),
        // Nobody notes when an image was named: docker's own word for that.
        Field::new("Metadata", Value::Struct(vec![Field::new("LastTagTime", "0001-01-01T00:00:00Z")])),
        Field::new("Descriptor", Value::record_of_json(&descriptor)),
        Field::optional("Annotations", Value::from_json(&json!(image.manifest.annotations))),
    ])
}

/// docker's `Config`: JSON shows what is set, a template may ask for all of it.
pub(super) fn container(config: &ContainerConfig) -> Value {
    let set = config.to_map();
    let field = |name: &str, empty: Value| match set.get(name) {
        // Sets: each member has a structure without fields.
        Some(serde_json::Value::Object(members)) if matches!(name, "ExposedPorts" | "Volumes") => {
            let members = members.keys().map(|member| (member.clone(), Value::Struct(Vec::new())));
            Field::optional(name, Value::Map(members.collect()))
        }
        Some(value) => Field::optional(name, Value::from_json(value)),
        None => Field::optional(name, empty),
    };
    let (text, list, map) =
        (|| Value::from(""), || Value::List(Vec::new()), || Value::Map(std::collections::BTreeMap::new()));
    let mut fields = vec![
        field("User", text()),
        field("ExposedPorts", map()),
        field("Env", list()),
        field("Entrypoint", list()),
        field("Cmd", list()),
        field("Volumes", map()),
        field("WorkingDir", text()),
        field("Labels", map()),
        field("StopSignal", text()),
        field("ArgsEscaped", Value::Bool(false)),
        healthcheck(config),
        field("OnBuild", list()),
        field("Shell", list()),
    ];
    let known: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    let extra = set.iter().filter(|(name, _)| !known.contains(name));
    fields.extend(extra.map(|(name, value)| Field::optional(name, Value::from_json(value))));
    Value::Struct(fields)
}

fn healthcheck(config: &ContainerConfig) -> Field {
    let Some(check) = &config.healthcheck else { return Field::optional("Healthcheck", Value::Nil) };
    let fields = vec![
        Field::optional("Test", check.test.clone()),
        Field::optional("Interval", check.interval),
        Field::optional("Timeout", check.timeout),
        Field::optional("StartPeriod", check.start_period),
        Field::optional("StartInterval", check.start_interval),
        Field::optional("Retries", u64::from(check.retries)),
    ];
    Field::optional("Healthcheck", Value::Struct(fields))
}
