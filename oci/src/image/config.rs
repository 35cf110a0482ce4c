//! The image configuration as JSON.
//!
//! Read field by field from a [`Value`], because docker writes `null` wherever Go has an empty slice or map, and because what
//! is not understood must come out again. Absent, `null` and empty are the same and are not written.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::ContainerConfig;
use super::HealthcheckConfig;
use super::ImageConfig;
use super::ImageError;
use crate::digest::DiffId;
use crate::digest::Digest;
use crate::platform::Platform;

const DOCUMENT: &str = "image configuration";

impl ImageConfig {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, ImageError> {
        let mut fields = Fields { map: super::parse_object(DOCUMENT, bytes)?, prefix: "" };
        let (diff_ids, history) = (fields.diff_ids()?, fields.history()?);
        let container = match fields.object("config")? {
            None => ContainerConfig::default(),
            Some(map) => ContainerConfig::from_fields(Fields { map, prefix: "config." })?,
        };
        Ok(ImageConfig {
            architecture: fields.string("architecture")?.unwrap_or_default(),
            os: fields.string("os")?.unwrap_or_default(),
            variant: fields.string("variant")?,
            author: fields.string("author")?,
            created: fields.string("created")?,
            container,
            diff_ids,
            history,
            extra: fields.rest(),
        })
    }

    /// Canonical JSON: a fixed order of keys, no blanks.
    pub fn to_json(&self) -> Vec<u8> {
        let mut map: Map<String, Value> = self.extra.clone().into_iter().collect();
        map.insert("architecture".to_owned(), json!(self.architecture));
        map.insert("os".to_owned(), json!(self.os));
        put_text(&mut map, "variant", self.variant.as_deref());
        put_text(&mut map, "author", self.author.as_deref());
        put_text(&mut map, "created", self.created.as_deref());
        map.insert("config".to_owned(), Value::Object(self.container.to_map()));
        let diff_ids: Vec<Digest> = self.diff_ids.iter().map(|diff_id| diff_id.0).collect();
        map.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
        if !self.history.is_empty() {
            map.insert("history".to_owned(), json!(self.history));
        }
        super::written::image(&Value::Object(map)).into_bytes()
    }

    /// What it runs on. docker takes an absent `os` for linux, and so does this.
    pub fn platform(&self) -> Platform {
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        Platform::new(os, &self.architecture, self.variant.as_deref())
    }
}

impl ContainerConfig {
    fn from_fields(mut fields: Fields) -> Result<ContainerConfig, ImageError> {
        Ok(ContainerConfig {
            user: fields.string("User")?.unwrap_or_default(),
            exposed_ports: fields.set("ExposedPorts")?,
            env: fields.strings("Env")?.unwrap_or_default(),
            entrypoint: fields.strings("Entrypoint")?,
            cmd: fields.strings("Cmd")?,
            volumes: fields.set("Volumes")?,
            working_dir: fields.string("WorkingDir")?.unwrap_or_default(),
            labels: fields.string_map("Labels")?,
            stop_signal: fields.string("StopSignal")?,
            healthcheck: fields.healthcheck()?,
            on_build: fields.strings("OnBuild")?.unwrap_or_default(),
            shell: fields.strings("Shell")?,
            args_escaped: fields.boolean("ArgsEscaped")?,
            extra: fields.rest(),
        })
    }

    /// The `config` object, also the form in which `docker inspect` and Go templates show it.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map: Map<String, Value> = self.extra.clone().into_iter().collect();
        put_text(&mut map, "User", Some(&self.user));
        put_set(&mut map, "ExposedPorts", &self.exposed_ports);
        put_list(&mut map, "Env", Some(&self.env));
        put_list(&mut map, "Entrypoint", self.entrypoint.as_deref());
        put_list(&mut map, "Cmd", self.cmd.as_deref());
        put_set(&mut map, "Volumes", &self.volumes);
        put_text(&mut map, "WorkingDir", Some(&self.working_dir));
        if !self.labels.is_empty() {
            map.insert("Labels".to_owned(), json!(self.labels));
        }
        put_text(&mut map, "StopSignal", self.stop_signal.as_deref());
        if let Some(healthcheck) = &self.healthcheck {
            map.insert("Healthcheck".to_owned(), Value::Object(healthcheck.to_map()));
        }
        put_list(&mut map, "OnBuild", Some(&self.on_build));
        put_list(&mut map, "Shell", self.shell.as_deref());
        if self.args_escaped {
            map.insert("ArgsEscaped".to_owned(), Value::Bool(true));
        }
        map
    }
}

impl HealthcheckConfig {
    /// docker's object: zero means inherit and is not written.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put_list(&mut map, "Test", Some(&self.test));
        for (name, value) in [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
            ("Retries", u64::from(self.retries)),
        ] {
            if value != 0 {
                map.insert(name.to_owned(), json!(value));
            }
        }
        map
    }
}

fn put_text(map: &mut Map<String, Value>, name: &str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        map.insert(name.to_owned(), json!(text));
    }
}

fn put_list(map: &mut Map<String, Value>, name: &str, list: Option<&[String]>) {
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        map.insert(name.to_owned(), json!(list));
    }
}

fn put_set(map: &mut Map<String, Value>, name: &str, set: &BTreeSet<String>) {
    if !set.is_empty() {
        let members: Map<String, Value> = set.iter().map(|member| (member.clone(), json!({}))).collect();
        map.insert(name.to_owned(), Value::Object(members));
    }
}

/// An object whose known fields are taken out one by one.
struct Fields {
    map: Map<String, Value>,
    prefix: &'static str,
}

impl Fields {
    fn error(&self, name: &str, expected: &'static str) -> ImageError {
        ImageError::Field { document: DOCUMENT, field: format!("{}{name}", self.prefix), expected }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, ImageError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.error(name, "an object")),
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, ImageError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(self.error(name, "a string")),
        }
    }

    fn boolean(&mut self, name: &str) -> Result<bool, ImageError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(self.error(name, "true or false")),
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, ImageError> {
        match self.take(name) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| self.error(name, "a number that is not negative")),
        }
    }

    fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, ImageError> {
        let list = match self.take(name) {
            None => return Ok(None),
            // docker once wrote a lone word without the brackets, and still reads it.
            Some(Value::String(text)) => return Ok(Some(vec![text])),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.error(name, "a list of strings")),
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(self.error(name, "a list of strings")),
        };
        let list = list.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(list).filter(|list| !list.is_empty()))
    }

    fn set(&mut self, name: &str) -> Result<BTreeSet<String>, ImageError> {
        Ok(self.object(name)?.unwrap_or_default().into_iter().map(|(member, _)| member).collect())
    }

    fn string_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, ImageError> {
        let map = self.object(name)?.unwrap_or_default();
        let entry = |(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Null => Ok((key, String::new())),
            _ => Err(self.error(name, "an object of strings")),
        };
        map.into_iter().map(entry).collect()
    }

    fn healthcheck(&mut self) -> Result<Option<HealthcheckConfig>, ImageError> {
        let Some(map) = self.object("Healthcheck")? else { return Ok(None) };
        let mut fields = Fields { map, prefix: "config.Healthcheck." };
        let retries = fields.number("Retries")?;
        Ok(Some(HealthcheckConfig {
            test: fields.strings("Test")?.unwrap_or_default(),
            interval: fields.number("Interval")?,
            timeout: fields.number("Timeout")?,
            start_period: fields.number("StartPeriod")?,
            start_interval: fields.number("StartInterval")?,
            retries: u32::try_from(retries).map_err(|_| fields.error("Retries", "a smaller number"))?,
        }))
    }

    fn diff_ids(&mut self) -> Result<Vec<DiffId>, ImageError> {
        let Some(map) = self.object("rootfs")? else { return Ok(Vec::new()) };
        let mut fields = Fields { map, prefix: "rootfs." };
        if fields.string("type")?.is_some_and(|kind| kind != "layers") {
            return Err(fields.error("type", "`layers`"));
        }
        let digests = fields.strings("diff_ids")?.unwrap_or_default();
        if digests.len() > super::MAX_LAYERS {
            return Err(ImageError::TooMany { document: DOCUMENT, limit: super::MAX_LAYERS });
        }
        let parse = |text: &String| match text.parse::<Digest>() {
            Ok(digest) => Ok(DiffId(digest)),
            Err(source) => Err(ImageError::Digest { document: DOCUMENT, source }),
        };
        digests.iter().map(parse).collect()
    }

    fn history(&mut self) -> Result<Vec<Map<String, Value>>, ImageError> {
        let entries = match self.take("history") {
            None => return Ok(Vec::new()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(self.error("history", "a list of objects")),
        };
        let object = |value| match value {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(Map::new()),
            _ => Err(self.error("history", "a list of objects")),
        };
        entries.into_iter().map(object).collect()
    }

    fn rest(self) -> BTreeMap<String, Value> {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}
