//! Reading the files that a user names or keeps: small regular ones.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

const MAX_SIZE: u64 = 4 << 20;

/// The content of a regular file.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, metadata) = open(path)?;
    Ok((content(file, &metadata)?, metadata))
}

/// The content of a regular file of text, or none of `/dev/null`, which stands for a file that says nothing.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let (file, metadata) = open(path)?;
    if is_null(&metadata) {
        return Ok(String::new());
    }
    String::from_utf8(content(file, &metadata)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // To open a pipe would wait for a writer, and no signal would end that.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn content(file: File, metadata: &Metadata) -> io::Result<Vec<u8>> {
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more, so that a file that is too long is not taken for a shorter one.
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", MAX_SIZE >> 20)));
    }
    Ok(bytes)
}

fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == rustix::fs::makedev(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        assert_eq!(read(&path("file")).unwrap().0, b"text");
        assert_eq!(read_text(&path("file")).unwrap(), "text");
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        File::create(path("large")).unwrap().set_len(MAX_SIZE + 1).unwrap();
        File::create(path("full")).unwrap().set_len(MAX_SIZE).unwrap();
        assert_eq!(read(&path("full")).unwrap().0.len() as u64, MAX_SIZE);
        for (name, wanted) in [
            (path("pipe"), "not a regular file"),
            (directory.path().to_owned(), "not a regular file"),
            ("/dev/zero".into(), "not a regular file"),
            (path("large"), "larger than 4 MiB"),
        ] {
            for error in [read(&name).unwrap_err(), read_text(&name).unwrap_err()] {
                assert!(error.to_string().contains(wanted), "{}: {error}", name.display());
            }
        }
        assert!(read(Path::new("/dev/null")).is_err());
        std::fs::write(path("bytes"), b"\xff").unwrap();
        assert!(read_text(&path("bytes")).unwrap_err().to_string().contains("not UTF-8"));
        assert_eq!(read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
