//! An image as text: equal for equal images, the same on every machine and every day.
//!
//! ```text
//! config
//!   FIELD VALUE                       JSON, in the order of the file; no times, digests or history here
//! history
//!   busybox:1                         stands for all entries of the base
//!   "CREATED BY" [empty] "COMMENT"
//! layers
//!   busybox:1
//!   layer
//!     TYPE MODE UID:GID /PATH ...     file: size, digest, short text; link: ` -> TARGET`; hardlink: ` => NAME`; device: numbers
//!       xattr NAME "VALUE"
//! ```
//!
//! Times appear only in a case that speaks of `SOURCE_DATE_EPOCH`: `@SECONDS` behind each entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use bld_oci::digest::Digest;
use serde_json::Value;

use super::image::read_layer;
use super::ordered::Ordered;
use crate::support::Base;
use crate::support::layout::Layout;

/// Smaller contents of a base are not worth a name: two files may be equal by chance.
const NAMED_SIZE: usize = 4096;

/// Longer texts are not shown.
const SHOWN_SIZE: usize = 160;

/// What of an image was not made by the case itself.
#[derive(Debug)]
pub(super) struct BaseImage {
    name: &'static str,
    diff_ids: Vec<Value>,
    history: usize,
    /// Digest to path, of the files that are other files on other machines.
    contents: BTreeMap<String, String>,
}

impl BaseImage {
    /// Reads the docker archive of `base`.
    pub(super) fn read(base: Base, archive: &Path) -> Self {
        let members = members(archive);
        let json = |name: &str| -> Value { serde_json::from_slice(&members[name]).unwrap() };
        let manifest = json("manifest.json");
        let config = json(manifest[0]["Config"].as_str().unwrap());
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap().clone();
        let history = config["history"].as_array().unwrap().len();
        let mut contents = BTreeMap::new();
        for layer in manifest[0]["Layers"].as_array().unwrap() {
            for (path, content) in files(&members[layer.as_str().unwrap()]) {
                if content.len() >= NAMED_SIZE {
                    let name = || format!("{}:/{path}", base.image());
                    contents.entry(Digest::of(&content).hex()).or_insert_with(name);
                }
            }
        }
        Self { name: base.image(), diff_ids, history, contents }
    }
}

fn members(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    files(&std::fs::read(archive).unwrap())
}

fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().to_string_lossy().trim_start_matches("./").to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, content);
        }
    }
    found
}

/// How a case wants its image shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// With all times.
    pub(super) times: bool,
    /// The paths of files whose content is another one each time.
    pub(super) unstable: &'a [String],
}

/// The image of `layout`, which may be made from one of `bases`.
pub(super) fn listing(layout: &Layout, bases: &[BaseImage], shown: Shown<'_>) -> String {
    let diff_ids = layout.document["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    let base = bases.iter().find(|base| diff_ids.starts_with(&base.diff_ids));
    let mut text = String::from("config\n");
    if let Ordered::Object(fields) = Ordered::parse(&layout.text) {
        for (name, value) in fields.iter().filter(|(name, _)| !["history", "rootfs"].contains(&name.as_str())) {
            if shown.times || name != "created" {
                config_field(&mut text, name, value);
            }
        }
    }
    text.push_str("history\n");
    let history = layout.document["history"].as_array().cloned().unwrap_or_default();
    if let Some(base) = base {
        writeln!(text, "  {}", base.name).unwrap();
    }
    for entry in &history[base.map_or(0, |base| base.history)..] {
        history_entry(&mut text, entry, shown.times);
    }
    text.push_str("layers\n");
    if let Some(base) = base {
        writeln!(text, "  {}", base.name).unwrap();
    }
    for layer in &layout.layers()[base.map_or(0, |base| base.diff_ids.len())..] {
        text.push_str("  layer\n");
        read_layer(layer, |content| list_layer(&mut text, content, bases, shown));
    }
    text
}

fn config_field(text: &mut String, name: &str, value: &Ordered) {
    match value {
        Ordered::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                let inner = if name == "config" { format!("config.{member}") } else { format!("{name}[{member:?}]") };
                config_field(text, &inner, value);
            }
        }
        Ordered::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                config_field(text, &format!("{name}[{index}]"), item);
            }
        }
        // The mark that buildah left in the base, and the machine that the test runs on.
        _ if name == "config.Labels[\"io.buildah.version\"]" => {}
        Ordered::Other(Value::String(value)) if name == "architecture" && value == machine() => {
            writeln!(text, "  architecture of this machine").unwrap();
        }
        other => writeln!(text, "  {name} {other}").unwrap(),
    }
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn history_entry(text: &mut String, entry: &Value, times: bool) {
    let mut line = format!("  {}", entry["created_by"]);
    for (name, value) in entry.as_object().unwrap() {
        match name.as_str() {
            "created_by" => {}
            "created" => {
                if times {
                    write!(line, " {value}").unwrap();
                }
            }
            "empty_layer" if *value == Value::Bool(true) => line.push_str(" empty"),
            "comment" => write!(line, " {value}").unwrap(),
            _ => write!(line, " {name}={value}").unwrap(),
        }
    }
    text.push_str(&line);
    text.push('\n');
}

fn list_layer(text: &mut String, content: &mut dyn Read, bases: &[BaseImage], shown: Shown<'_>) {
    for entry in tar::Archive::new(content).entries().unwrap() {
        list_entry(text, &mut entry.unwrap(), bases, shown);
    }
}

fn list_entry<R: Read>(text: &mut String, entry: &mut tar::Entry<'_, R>, bases: &[BaseImage], shown: Shown<'_>) {
    let (mut uid, mut gid) = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
    let mut time = entry.header().mtime().unwrap().to_string();
    let mut details = Vec::new();
    for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
        let extension = extension.unwrap();
        let (key, value) = (extension.key().unwrap(), extension.value_bytes());
        match key {
            "uid" => uid = extension.value().unwrap().parse().unwrap(),
            "gid" => gid = extension.value().unwrap().parse().unwrap(),
            "mtime" => extension.value().unwrap().clone_into(&mut time),
            "path" | "linkpath" | "size" => {}
            _ => match key.strip_prefix("SCHILY.xattr.") {
                Some(name) => details.push(format!("      xattr {name} \"{}\"\n", value.escape_ascii())),
                None => details.push(format!("      {key} \"{}\"\n", value.escape_ascii())),
            },
        }
    }
    let path = one_line(&entry.path_bytes());
    let link = entry.link_name_bytes().map(|name| one_line(&name)).unwrap_or_default();
    let kind = entry.header().entry_type();
    let whiteout = path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh."));
    let (name, more) = match kind {
        tar::EntryType::Directory => ("directory", String::new()),
        tar::EntryType::Symlink => ("symlink", format!(" -> {link}")),
        tar::EntryType::Link => ("hardlink", format!(" => /{}", link.trim_start_matches('/'))),
        tar::EntryType::Fifo => ("fifo", String::new()),
        tar::EntryType::Char => ("character", numbers(entry.header())),
        tar::EntryType::Block => ("block", numbers(entry.header())),
        tar::EntryType::Regular if whiteout => ("whiteout", String::new()),
        tar::EntryType::Regular if shown.unstable.contains(&path) => ("file", String::new()),
        tar::EntryType::Regular => ("file", file(entry, bases)),
        other => panic!("{path}: an entry of type {other:?} has no place in a layer"),
    };
    write!(text, "    {name:9} {:04o} {uid}:{gid} {path}{more}", entry.header().mode().unwrap()).unwrap();
    if shown.times {
        write!(text, " @{time}").unwrap();
    }
    text.push('\n');
    details.sort();
    text.extend(details);
}

fn numbers(header: &tar::Header) -> String {
    let number = |number: std::io::Result<Option<u32>>| number.unwrap().unwrap_or(0);
    format!(" {},{}", number(header.device_major()), number(header.device_minor()))
}

fn file<R: Read>(entry: &mut tar::Entry<'_, R>, bases: &[BaseImage]) -> String {
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let digest = Digest::of(&content).hex();
    match bases.iter().find_map(|base| base.contents.get(&digest)) {
        Some(original) => format!(" as {original}"),
        None => format!(" {} {}{}", content.len(), &digest[..16], short_text(&content)),
    }
}

/// A short text as it is: whoever reads the golden shall see whether it is right.
fn short_text(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if !text.is_empty() && text.len() <= SHOWN_SIZE => format!(" {text:?}"),
        _ => String::new(),
    }
}

/// The path from the root, on one line whatever is in it.
fn one_line(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect::<Vec<_>>() } else { vec![letter] })
        .collect()
}
