//! `bld report`: a page about a build.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::io::Write as _;
use std::path::Path;

use bld_executor::image::local;
use bld_executor::image::waste::Waste;
use bld_executor::pull::absent_layers;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use bld_oci::Digest;
use bld_solver::record::BuildRecord;

use super::Session;
use super::print;
use super::recorded;
use super::recorded::Recorded;
use super::written;
use crate::args::report::ReportArgs;
use crate::environment;
use crate::error::CommandError;
use crate::report::HiddenFile;
use crate::report::ImageLayers;
use crate::report::Layer;
use crate::report::Log;
use crate::report::Report;
use crate::report::hide_arguments;
use crate::report::page;
use crate::ui::plain::write_line;
use crate::ui::sanitize;

/// A log up to this size is in the page as it is; of a longer one so much of its beginning and its end.
const WHOLE: u64 = 1 << 20;
const HEAD: u64 = 128 << 10;
const TAIL: u64 = 384 << 10;
/// If all logs together are larger than this, each may have only a part of it.
const ALL: u64 = 48 << 20;
/// So many hidden files are named.
const HIDDEN: usize = 10;

pub(super) fn run(session: &Session, args: &ReportArgs) -> Result<(), CommandError> {
    let found = Recorded::find(session, args.build.as_deref())?;
    let record = &found.record;
    let report = Report { record, logs: logs(&found)?, layers: layers(session, &found)? };
    let text = page(&report);
    if args.output == Path::new("-") {
        return print(&text);
    }
    let written = File::create(&args.output).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CommandError::failed(format!("cannot write {}: {error}", args.output.display())))?;
    write_line(&format!("wrote {}", args.output.display()));
    if let Some(note) = written::note(record, &args.output) {
        write_line(&sanitize(&format!("note: {note}")));
    }
    Ok(())
}

/// What the steps printed.
fn logs(found: &Recorded) -> Result<BTreeMap<u32, Log>, CommandError> {
    let mut open = Vec::new();
    for step in &found.record.steps {
        if let recorded::Log::Here(reader, size) = found.log(step)? {
            open.push((step.vertex, reader, size));
        }
    }
    // So that a page of a thousand chatty steps can still be opened.
    let all: u64 = open.iter().map(|(_, _, size)| (*size).min(WHOLE)).sum();
    let part = |most: u64| if all > ALL { most * ALL / all } else { most };
    let mut logs = BTreeMap::new();
    for (vertex, mut reader, size) in open {
        let failed = |error| CommandError::failed(format!("cannot read the log of vertex {vertex}: {error}"));
        let log = read(&mut reader, size, part(WHOLE), (part(HEAD), part(TAIL))).map_err(failed)?;
        logs.insert(vertex, log);
    }
    Ok(logs)
}

/// Reads a log of some size; of one that is too long its beginning and its end, in whole lines.
fn read(mut reader: impl Read, size: u64, whole: u64, (head, tail): (u64, u64)) -> std::io::Result<Log> {
    let mut bytes = Vec::new();
    if size <= whole {
        reader.take(size).read_to_end(&mut bytes)?;
        return Ok(Log::whole(String::from_utf8_lossy(&bytes)));
    }
    reader.by_ref().take(head).read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let over = bytes.len() - end;
    bytes.truncate(end);
    std::io::copy(&mut reader.by_ref().take(size - head - tail), &mut std::io::sink())?;
    let mut rest = Vec::new();
    reader.take(tail).read_to_end(&mut rest)?;
    let start = rest.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let left_out = size - head - tail + (over + start) as u64;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Log { head: text(&bytes), tail: Some((left_out, text(&rest[start..]))) })
}

/// What is in the image that was made, if it and all its layers are still here: nothing is fetched for a report.
fn layers(session: &Session, found: &Recorded) -> Result<Option<ImageLayers>, CommandError> {
    let Some((store, _)) = found.stored() else { return Ok(None) };
    let _lease = store.lease()?;
    let Some(digest) = main_image(&found.record) else { return Ok(None) };
    let Ok((root, _)) = local::locate(store, &digest.to_string()) else { return Ok(None) };
    if absent_layers(store, &root).map_or(true, |absent| !absent.is_empty()) {
        return Ok(None);
    }
    let Ok(image) = local::open_any(store, &root, &environment::host_platform()) else { return Ok(None) };
    let layers = Layers::new(store.clone(), layer_mode(session.identity));
    let Ok(stack) = local::stack(store, &layers, &image) else { return Ok(None) };
    let trees: Vec<_> = stack.into_iter().map(|(tree, _)| tree).collect();
    let waste = Waste::of(&trees);
    let mut found: Vec<Layer> = super::layers::rows(&image)?
        .into_iter()
        .zip(&waste.layers)
        .map(|((command, _), layer)| Layer { command: hide_arguments(&command), size: layer.size, wasted: 0 })
        .collect();
    for hidden in &waste.hidden {
        if let Some(layer) = found.get_mut(hidden.stored_by) {
            layer.wasted += hidden.bytes;
        }
    }
    let named = waste.hidden.iter().filter(|hidden| hidden.bytes > 0).take(HIDDEN);
    let hidden = named.map(|hidden| HiddenFile {
        path: hidden.path.to_string(),
        bytes: hidden.bytes,
        layers: (hidden.stored_by + 1, hidden.hidden_by + 1),
        how: match (hidden.deleted, hidden.same_bytes) {
            (true, _) => "deleted",
            (false, true) => "stored again",
            (false, false) => "replaced",
        },
    });
    Ok(Some(ImageLayers { wasted: waste.wasted(), hidden: hidden.collect(), layers: found }))
}

/// The image that the build is known by; of several platforms the first.
fn main_image(record: &BuildRecord) -> Option<Digest> {
    let image = record.images.iter().find(|image| image.platform.is_some()).or(record.images.first())?;
    image.digest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_have_a_beginning_and_an_end() {
        let text = (100..200).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n") + "\n";
        let size = text.len() as u64;
        let log = |whole, parts| read(text.as_bytes(), size, whole, parts).unwrap();
        assert_eq!(log(size, (1, 1)), Log::whole(text.clone()));
        let cut = log(100, (25, 35));
        let (left_out, tail) = cut.tail.unwrap();
        assert_eq!((cut.head.as_str(), tail.as_str()), ("line 100\nline 101\n", "line 197\nline 198\nline 199\n"));
        assert_eq!(left_out, size - 18 - 27);
        // A line without an end is cut anywhere.
        let endless = read("x".repeat(50).as_bytes(), 50, 10, (4, 4)).unwrap();
        assert_eq!((endless.head.len(), endless.tail), (4, Some((42, "xxxx".to_owned()))));
    }
}
