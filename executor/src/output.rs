//! What leaves the store: archives of images, root file systems as a tar or a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_oci::Timestamp;
use bld_oci::archive::ArchiveBlob;
use bld_oci::archive::ArchiveImage;
use bld_oci::archive::DockerImage;
use bld_oci::archive::Opener;
use bld_oci::image::Descriptor;
use bld_oci::image::Image;
use bld_oci::layer::LayerWriter;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

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
    /// The root file system could not be written.
    #[error("cannot write the root file system to {}", path.display())]
    Rootfs {
        /// Where.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
}

/// Writes one tar that is an OCI layout and a docker archive.
pub fn write_archive(
    store: &Store,
    image: &Image,
    names: &[Reference],
    platform: &Platform,
    destination: &Destination,
) -> Result<(), OutputError> {
    with_file(destination, |file, path| {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| OutputError::Archive { path: path.to_owned(), source };
        let docker = DockerImage { config: image.config.clone(), layers: image.layers.clone() };
        let archived = ArchiveImage {
            names: names.to_vec(),
            manifest: image.manifest.clone(),
            platform: Some(platform.clone()),
            annotations: BTreeMap::new(),
            docker: Some(docker),
        };
        let open = |descriptor: &Descriptor| {
            let (store, digest) = (store.clone(), descriptor.digest);
            let open: Opener<'_> = Box::new(move || {
                let (blob, _) = store.blobs().open_raw(&digest).map_err(std::io::Error::other)?;
                Ok(Box::new(blob))
            });
            ArchiveBlob { descriptor: descriptor.clone(), open }
        };
        let blobs = image.layers.iter().chain([&image.config, &image.manifest]).map(open).collect();
        let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
        bld_oci::archive::write_archive(&mut file, &[archived], blobs).map_err(|error| failed(Box::new(error)))?;
        file.flush().map_err(|source| OutputError::Io { verb: "write", path: path.to_owned(), source })
    })
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
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", rustix::process::getpid().as_raw_nonzero()));
    let temporary = Temporary(path.with_file_name(name));
    let mut file = File::create(&temporary.0).map_err(io("create"))?;
    write(&mut file, path)?;
    std::fs::rename(&temporary.0, path).map_err(io("rename a file to"))?;
    std::mem::forget(temporary);
    Ok(())
}

/// A file that goes when it is not wanted any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody is left to hear about it.
        let _gone = std::fs::remove_file(&self.0);
    }
}
