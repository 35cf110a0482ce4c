//! What leaves the store: archives of images, root file systems as a tar or a directory.

pub mod collector;
pub mod copy_out;
pub mod engine;
pub mod save;

mod layout;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_oci::Timestamp;
use bld_oci::archive::ArchiveBlob;
use bld_oci::archive::ArchiveError;
use bld_oci::archive::ArchiveImage;
use bld_oci::archive::DockerImage;
use bld_oci::archive::Opener;
use bld_oci::image::Descriptor;
use bld_oci::image::Image;
use bld_oci::layer::LayerWriter;
use bld_oci::layer::WriteError;
use bld_oci::reference::Reference;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::image::assemble::Assembled;
use crate::layers::LayerError;
use crate::layers::Note;
use crate::layers::export::ExportOptions;
use crate::layers::export::export_directory;
use crate::layers::export::export_tar;
use crate::view::merged::MergedTree;

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file; it appears complete or not at all.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// An output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the archive {}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// docker or podman did not take the image.
    #[error("{engine} did not load the image: {said}")]
    Engine {
        /// Which of them.
        engine: &'static str,
        /// What it said.
        said: String,
    },
    /// The root file system could not be written.
    #[error("cannot write the root file system to {}", path.display())]
    Rootfs {
        /// Where.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
}

/// Writes one tar that is an OCI layout and a docker archive; of several platforms, an OCI layout only: docker's archives know no index.
pub fn write_archive(
    store: &Store,
    made: &Assembled,
    names: &[Reference],
    destination: &Destination,
) -> Result<(), OutputError> {
    with_file(destination, |file, path| {
        let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
        write_to(&mut file, store, made, names, path)?;
        file.flush().map_err(|source| OutputError::Io { verb: "write", path: path.to_owned(), source })
    })
}

fn write_to(
    out: impl Write,
    store: &Store,
    made: &Assembled,
    names: &[Reference],
    path: &Path,
) -> Result<(), OutputError> {
    let blobs = made.blobs().map(|descriptor| blob(store, descriptor)).collect();
    let written = bld_oci::archive::write_archive(out, &archived(made, names), blobs);
    written.map(|_| ()).map_err(|error| {
        if matches!(&error, ArchiveError::Write { source: WriteError::Read { .. } }) {
            quarantine_damaged(store, made.blobs());
        }
        OutputError::Archive { path: path.to_owned(), source: Box::new(error) }
    })
}

/// Adds what was made to an OCI layout directory, which is created if it is missing.
pub fn write_layout(store: &Store, made: &Assembled, names: &[Reference], directory: &Path) -> Result<(), OutputError> {
    layout::write_layout(directory, &archived(made, names), made.blobs().map(|descriptor| blob(store, descriptor)))
}

/// A blob of the store.
fn blob<'a>(store: &Store, descriptor: &Descriptor) -> ArchiveBlob<'a> {
    let (store, digest) = (store.clone(), descriptor.digest);
    let open: Opener<'a> = Box::new(move || {
        let (blob, _) = store.blobs().open_raw(&digest).map_err(std::io::Error::other)?;
        Ok(Box::new(blob))
    });
    ArchiveBlob { descriptor: descriptor.clone(), open }
}

fn archived(made: &Assembled, names: &[Reference]) -> Vec<ArchiveImage> {
    let image = |manifest: &Descriptor| ArchiveImage {
        names: names.to_vec(),
        manifest: manifest.clone(),
        platform: None,
        annotations: made.annotations.clone(),
        docker: None,
    };
    if let Some(index) = &made.index {
        return vec![image(&index.descriptor)];
    }
    let docker = |only: &Image| DockerImage { config: only.config.clone(), layers: only.layers.clone() };
    let images = made.images.iter().map(|(only, platform)| ArchiveImage {
        platform: Some(platform.clone()),
        docker: Some(docker(only)),
        ..image(&only.manifest)
    });
    images.collect()
}

/// Reads all blobs of an image, which takes the damaged ones out of the store: the next build makes them again.
fn quarantine_damaged<'a>(store: &Store, blobs: impl Iterator<Item = &'a Descriptor>) {
    for descriptor in blobs {
        if let Ok(mut blob) = store.blobs().open(&descriptor.digest) {
            // What is wrong has been said already.
            drop(std::io::copy(&mut blob, &mut std::io::sink()));
        }
    }
}

/// Writes the whole root file system as one tar.
pub fn write_rootfs_tar(
    view: &MergedTree,
    destination: &Destination,
    clamp: Option<Timestamp>,
) -> Result<(), OutputError> {
    with_file(destination, |file, path| {
        let failed = |source| OutputError::Rootfs { path: path.to_owned(), source };
        let mut writer = LayerWriter::new(std::io::BufWriter::with_capacity(1 << 20, file));
        export_tar(view, &mut writer, clamp).map_err(failed)?;
        let io = |source| OutputError::Io { verb: "write", path: path.to_owned(), source };
        writer.finish().map_err(|error| io(std::io::Error::other(error)))?.flush().map_err(io)
    })
}

/// Writes the whole root file system into a directory.
pub fn write_rootfs_directory(
    view: &MergedTree,
    destination: &Path,
    options: ExportOptions,
) -> Result<Vec<Note>, OutputError> {
    export_directory(view, destination, options)
        .map_err(|source| OutputError::Rootfs { path: destination.to_owned(), source })
}

/// So many names are tried for a temporary file before its directory counts as unusable.
const MAX_ATTEMPTS: u32 = 100;

/// Hands `write` a file beside the destination and gives it the destination's name when all went well.
fn with_file(
    destination: &Destination,
    write: impl FnOnce(&mut dyn Write, &Path) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    let path = match destination {
        Destination::Stdout => {
            let mut stdout = std::io::stdout().lock();
            write(&mut stdout, Path::new("-"))?;
            let failed = |source| OutputError::Io { verb: "write to", path: "standard output".into(), source };
            return stdout.flush().map_err(failed);
        }
        Destination::File(path) => path,
    };
    let io = |verb| move |source| OutputError::Io { verb, path: path.clone(), source };
    // A pipe or a device is written as it is: there is nothing to rename over.
    if let Ok(status) = std::fs::metadata(path)
        && !status.is_file()
    {
        if status.is_dir() {
            return Err(io("write over the directory")(std::io::ErrorKind::IsADirectory.into()));
        }
        let mut file = File::options().write(true).open(path).map_err(io("open"))?;
        return write(&mut file, path);
    }
    // Without a name until it is complete: whatever kills bld, nothing is left beside the destination.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)) {
        Ok(nameless) => {
            let mut file = File::from(nameless);
            write(&mut file, path)?;
            give_name(&file, path).map_err(io("give a name to"))
        }
        // A file system that knows no files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let (temporary, mut file) =
                beside(path, |path| File::options().write(true).create_new(true).open(path)).map_err(io("create"))?;
            write(&mut file, path)?;
            std::fs::rename(&temporary.0, path).map_err(io("rename a file to"))?;
            std::mem::forget(temporary);
            Ok(())
        }
        Err(errno) => Err(io("create")(errno.into())),
    }
}

/// Links a nameless file to `path`, in place of what is there.
fn give_name(file: &File, path: &Path) -> std::io::Result<()> {
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |path: &Path| -> std::io::Result<()> {
        Ok(rustix::fs::linkat(CWD, &nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    };
    match link(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let (temporary, ()) = beside(path, link)?;
            std::fs::rename(&temporary.0, path)?;
            std::mem::forget(temporary);
            Ok(())
        }
        linked => linked,
    }
}

/// Makes something at a new name beside `path`. In a directory that others can write to, what lies at a name already may be a link of
/// theirs: it is neither written through nor removed.
fn beside<T>(path: &Path, make: impl Fn(&Path) -> std::io::Result<T>) -> std::io::Result<(Temporary, T)> {
    let mut attempt = 0;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{attempt}.tmp", rustix::process::getpid().as_raw_nonzero()));
        let temporary = path.with_file_name(name);
        match make(&temporary) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < MAX_ATTEMPTS => attempt += 1,
            outcome => return outcome.map(|made| (Temporary(temporary), made)),
        }
    }
}

/// A file that goes when it is not wanted any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody is left to hear about it.
        std::fs::remove_file(&self.0).ok();
    }
}
