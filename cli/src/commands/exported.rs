//! A build as a file: what `bld builds export` writes, and every command that takes a BUILD reads.
//!
//! ```text
//! FILE.json = the record                                  as `bld build --report` writes it
//! FILE.tar  = build.json                                  the record
//!             logs/<build>/<vertex>                       what a step printed: its `log` in the record says which
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerReader;
use bld_oci::layer::LayerWriter;
use bld_oci::layer::Metadata;
use bld_solver::record::BuildRecord;
use bld_solver::record::LogReference;

use super::recorded::OpenLog;
use super::steps::parse_record;
use crate::error::CommandError;

const RECORD: &str = "build.json";
const LOGS: &str = "logs/";

/// A record larger than this is none.
const MAX_RECORD: u64 = 256 << 20;

/// An exported build.
#[derive(Debug)]
pub(super) struct Exported {
    /// Its record.
    pub(super) record: BuildRecord,
    /// The record as it is in the file.
    pub(super) bytes: Vec<u8>,
    path: PathBuf,
    /// Where in the file each log begins, and its length.
    logs: BTreeMap<String, (u64, u64)>,
}

/// The file that is meant, if it is no id: those have neither dots nor slashes.
pub(super) fn path(text: &str) -> Option<&Path> {
    text.contains(['.', '/']).then(|| Path::new(text))
}

impl Exported {
    /// Reads the record, and finds the logs.
    pub(super) fn open(path: &Path) -> Result<Exported, CommandError> {
        let failed =
            |reason: &dyn std::fmt::Display| CommandError::failed(format!("cannot read {}: {reason}", path.display()));
        // To open a pipe would wait for somebody to write.
        if !std::fs::metadata(path).map_err(|error| failed(&error))?.is_file() {
            return Err(failed(&"it is not a regular file"));
        }
        let file = File::open(path).map_err(|error| failed(&error))?;
        let mut first = [0];
        let read = (&file).read(&mut first).and_then(|_| (&file).rewind());
        read.map_err(|error| failed(&error))?;
        let (bytes, logs) = if first == *b"{" {
            (bounded(&file).map_err(|error| failed(&error))?, BTreeMap::new())
        } else {
            let not_one = "it is no build that `bld builds export` wrote";
            let (bytes, logs) = members(&file)
                .map_err(|error| error.because_of(format!("cannot read {}: {not_one}", path.display())))?;
            (bytes.ok_or_else(|| failed(&format!("{not_one}: it holds no {RECORD}")))?, logs)
        };
        let record = parse_record(&bytes)
            .map_err(|error| error.because_of(format!("{} is no record of a build", path.display())))?;
        Ok(Exported { record, bytes, path: path.to_owned(), logs })
    }

    /// What a step printed, and how much that is; `None` if it is not in the file.
    pub(super) fn log(&self, log: &LogReference) -> Result<Option<(io::Take<File>, u64)>, CommandError> {
        let Some((start, size)) = self.logs.get(&name(log)) else { return Ok(None) };
        let open = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(*start))?;
            Ok(file.take(*size))
        });
        let opened =
            open.map_err(|error| CommandError::failed(format!("cannot read {}: {error}", self.path.display())))?;
        Ok(Some((opened, *size)))
    }
}

fn bounded(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_RECORD + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_RECORD {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a record"));
    }
    Ok(bytes)
}

/// The record of an archive, and where its logs are.
#[expect(clippy::type_complexity, reason = "used once")]
fn members(file: &File) -> Result<(Option<Vec<u8>>, BTreeMap<String, (u64, u64)>), CommandError> {
    let mut reader = LayerReader::archive(file);
    let (mut record, mut logs) = (None, BTreeMap::new());
    while let Some((entry, mut content)) = reader.next_entry()? {
        let EntryKind::File { size } = entry.kind else { continue };
        let name = entry.path.to_string();
        let name = name.trim_start_matches('/');
        if name == RECORD {
            let mut bytes = Vec::new();
            content.by_ref().take(MAX_RECORD).read_to_end(&mut bytes)?;
            record = Some(bytes);
        } else if name.starts_with(LOGS) {
            // Headers are read as they come and nothing ahead: the content begins where the file stands.
            let mut position = file;
            logs.insert(name.to_owned(), (position.stream_position()?, size));
        }
    }
    Ok((record, logs))
}

fn name(log: &LogReference) -> String {
    format!("{LOGS}{}/{}", log.build, log.vertex)
}

/// Writes the archive: the record, and of the logs those that can be opened.
pub(super) fn write<W: Write>(
    output: W,
    record: &BuildRecord,
    bytes: &[u8],
    open: impl Fn(&LogReference) -> Result<Option<OpenLog>, CommandError>,
) -> Result<W, CommandError> {
    let mtime = Timestamp { seconds: record.started_us.div_euclid(1_000_000), nanoseconds: 0 };
    let entry = |name: &str, size: u64| LayerEntry {
        path: ImagePath::new(name),
        kind: EntryKind::File { size },
        metadata: Metadata { mode: 0o644, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() },
    };
    let mut writer = LayerWriter::new(output);
    let mut content = bytes;
    writer.append(&entry(RECORD, bytes.len() as u64), Some(&mut content))?;
    let logs = record.steps.iter().filter_map(|step| step.log.as_ref());
    let logs: BTreeMap<ImagePath, &LogReference> = logs.map(|log| (ImagePath::new(name(log)), log)).collect();
    for log in logs.values() {
        let Some((mut reader, size)) = open(log)? else { continue };
        writer.append(&entry(&name(log), size), Some(&mut reader))?;
    }
    Ok(writer.finish()?)
}
