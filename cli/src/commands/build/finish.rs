//! The end of a build that went well: the image, the outputs, the digest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bld_cache::record::Record;
use bld_executor::image::assemble::Assembled;
use bld_executor::image::assemble::assemble;
use bld_executor::image::options::ImageOptions;
use bld_executor::layers::export::ExportOptions;
use bld_executor::layers::mirror::remove_others;
use bld_executor::output;
use bld_executor::output::engine::Engine;
use bld_executor::pull::Puller;
use bld_executor::worker::LocalWorker;
use bld_oci::Timestamp;
use bld_oci::image::Descriptor;
use bld_oci::reference::Reference;
use bld_solver::lower::ImagePlan;
use bld_solver::record::ImageRecord;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde_json::json;

use super::recorder::Recorder;
use super::request::BuildRequest;
use crate::commands::image_error;
use crate::commands::outputs::Output;
use crate::commands::outputs::OutputKind;
use crate::commands::print;
use crate::commands::pull::pull_error;
use crate::commands::push::to_registry;
use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::Plain;

/// Makes the images if anything wants them, writes the outputs, prints the digest.
pub(super) async fn finish(
    worker: &LocalWorker<Recorder>,
    request: &BuildRequest,
    results: &[(&ImagePlan, &Record)],
    puller: Option<&Puller>,
    recorder: &Recorder,
) -> Result<Vec<ImageRecord>, CommandError> {
    let (reporter, clock) = (recorder.plain(), recorder.clock());
    let mut images = Images { worker, results, made: Vec::new(), puller };
    let begun = clock.us();
    if request.wants_image() {
        images.written_as(&request.main_options()?).await?;
        recorder.phase("make the image", begun);
    }
    if request.goes_to_store() {
        let begun = clock.us();
        store_images(&mut images, request, reporter).await?;
        recorder.phase("store the image", begun);
    }
    for output in &request.outputs {
        let begun = clock.us();
        write(&mut images, request, output, reporter).await?;
        recorder.phase(&format!("write the {}", output.kind.name()), begun);
    }
    let (executed, cached) = reporter.counts();
    reporter.note(&summary(executed, cached));
    let Some((made, descriptor)) = images.made.first().and_then(|(_, made)| Some((made, made.descriptor()?))) else {
        return Ok(Vec::new());
    };
    let described = made_images(request, made);
    if let Some(path) = &request.iidfile {
        // An index has no configuration: it is its own ID.
        let only = made.images.first().filter(|_| made.index.is_none()).map(|(image, _)| image.config.digest);
        describe(path, &only.unwrap_or(descriptor.digest).to_string())?;
    }
    if let Some(path) = &request.metadata_file {
        describe(path, &metadata(request, made, descriptor)?)?;
    }
    if request.outputs.iter().any(Output::is_stdout) {
        // Standard output is taken.
        reporter.note(&descriptor.digest.to_string());
        return Ok(described);
    }
    print(&format!("{}\n", descriptor.digest))?;
    Ok(described)
}

/// The images as the record of the build has them.
fn made_images(request: &BuildRequest, made: &Assembled) -> Vec<ImageRecord> {
    let names: Vec<String> = request.tags.iter().map(ToString::to_string).collect();
    let index = made.index.as_ref().map(|index| ImageRecord {
        digest: index.descriptor.digest.to_string(),
        platform: None,
        names: names.clone(),
        size: index.descriptor.size,
    });
    let is_single = index.is_none();
    let images = made.images.iter().map(|(image, platform)| {
        let blobs = [&image.manifest, &image.config].into_iter().chain(&image.layers);
        ImageRecord {
            digest: image.manifest.digest.to_string(),
            platform: Some(platform.to_string()),
            names: if is_single { names.clone() } else { Vec::new() },
            size: blobs.map(|blob| blob.size).sum(),
        }
    });
    index.into_iter().chain(images).collect()
}

/// Writes a file that says what was built.
pub(super) fn describe(path: &Path, text: &str) -> Result<(), CommandError> {
    // To open a pipe that nobody reads any more would wait for a reader, and no signal would end that.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().write(true).create(true).truncate(true).custom_flags(flags).open(path);
    let written = file.and_then(|mut file| {
        rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
        file.write_all(text.as_bytes())
    });
    written.map_err(|error| {
        let is_unread = error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
        let reason = if is_unread { "nobody reads it".to_owned() } else { error.to_string() };
        CommandError::failed(format!("cannot write {}: {reason}", path.display()))
    })
}

/// The images of a build, written in as many ways as the outputs ask for.
struct Images<'a> {
    worker: &'a LocalWorker<Recorder>,
    results: &'a [(&'a ImagePlan, &'a Record)],
    made: Vec<(ImageOptions, Assembled)>,
    puller: Option<&'a Puller>,
}

impl Images<'_> {
    /// The images written so, made now if they are not yet.
    async fn written_as(&mut self, options: &ImageOptions) -> Result<Assembled, CommandError> {
        if let Some((_, made)) = self.made.iter().find(|(known, _)| known == options) {
            return Ok(made.clone());
        }
        let mut images = Vec::with_capacity(self.results.len());
        for (plan, target) in self.results {
            if options.squash || options.force_compression {
                self.ensure(plan.base_layers.iter().map(|layer| &layer.blob)).await?;
            }
            let made = assemble(self.worker, plan, target, options, environment::now()).await;
            images.push((made.map_err(|error| image_error(&error))?, plan.platform.clone()));
        }
        let made = Assembled::new(self.worker.store(), images, options).map_err(|error| image_error(&error))?;
        self.made.push((options.clone(), made.clone()));
        Ok(made)
    }

    /// The same with all blobs here, those of base images too.
    async fn complete(&mut self, options: &ImageOptions) -> Result<Assembled, CommandError> {
        let made = self.written_as(options).await?;
        self.ensure(made.blobs()).await?;
        Ok(made)
    }

    async fn ensure(&self, blobs: impl Iterator<Item = &Descriptor>) -> Result<(), CommandError> {
        match self.puller {
            Some(puller) => puller.ensure(blobs).await.map_err(|error| pull_error(&error)),
            // What is missing is missed by whoever reads it.
            None => Ok(()),
        }
    }
}

/// What `--metadata-file` gets, in buildx's words.
fn metadata(request: &BuildRequest, made: &Assembled, descriptor: &Descriptor) -> Result<String, CommandError> {
    let mut of_descriptor = json!(descriptor);
    let mut out = serde_json::Map::new();
    if let ([(image, platform)], None) = (made.images.as_slice(), &made.index) {
        let config = image.config.digest.to_string();
        of_descriptor["annotations"] = json!({ "config.digest": config });
        of_descriptor["platform"] = json!({ "architecture": platform.architecture, "os": platform.os });
        if let Some(variant) = &platform.variant {
            of_descriptor["platform"]["variant"] = json!(variant);
        }
        out.insert("containerimage.config.digest".to_owned(), json!(config));
    }
    out.insert("containerimage.descriptor".to_owned(), of_descriptor);
    out.insert("containerimage.digest".to_owned(), json!(descriptor.digest));
    let of_outputs = request.outputs.iter().flat_map(|output| &output.names);
    let of_outputs = of_outputs.map(|name| crate::reference::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<String> = request.tags.iter().chain(&of_outputs).map(ToString::to_string).collect();
    if !names.is_empty() {
        out.insert("image.name".to_owned(), json!(names.into_iter().collect::<Vec<_>>().join(",")));
    }
    Ok(serde_json::to_string_pretty(&out)? + "\n")
}

/// `3 steps ran, 1 was cached`.
fn summary(executed: usize, cached: usize) -> String {
    let steps = if executed == 1 { "step" } else { "steps" };
    let were = if cached == 1 { "was" } else { "were" };
    format!("{executed} {steps} ran, {cached} {were} cached")
}

/// Lists the images in the local store.
async fn store_images(images: &mut Images<'_>, request: &BuildRequest, reporter: &Plain) -> Result<(), CommandError> {
    let store = images.worker.store();
    let outputs: Vec<&Output> = request.outputs.iter().filter(|output| output.is_stored()).collect();
    let main = images.written_as(&request.main_options()?).await?;
    let mut named: Vec<(Reference, Assembled)> = request.tags.iter().map(|name| (name.clone(), main.clone())).collect();
    for output in outputs {
        let made = images.written_as(&request.options(output)?).await?;
        for name in &output.names {
            named.push((crate::reference::parse(name)?, made.clone()));
        }
        if output.attributes.canonical {
            let digest = made.descriptor().map(|descriptor| descriptor.digest);
            let plain = named.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            named.extend(plain.iter().filter_map(|name| Some((name.with_digest(digest?), made.clone()))));
        }
    }
    if let (true, Some(descriptor)) = (named.is_empty(), main.descriptor()) {
        store.images().add_untagged(descriptor)?;
    }
    for (name, made) in named {
        let Some(descriptor) = made.descriptor() else { continue };
        store.images().set(&name.to_string(), descriptor)?;
        reporter.note(&format!("named {}", name.familiar()));
    }
    Ok(())
}

async fn write(
    images: &mut Images<'_>,
    request: &BuildRequest,
    output: &Output,
    reporter: &Plain,
) -> Result<(), CommandError> {
    let (worker, results) = (images.worker, images.results);
    let extra = output.names.iter().map(|name| crate::reference::parse(name));
    let names: Vec<Reference> = request.tags.iter().cloned().map(Ok).chain(extra).collect::<Result<_, _>>()?;
    let clamp = |plan: &ImagePlan| output.attributes.epoch().or(clamp(plan));
    match &output.kind {
        OutputKind::Store => {}
        OutputKind::Registry { by_digest, .. } => {
            let made = images.written_as(&request.options(output)?).await?;
            let (Some(puller), Some(root)) = (images.puller, made.descriptor()) else { return Ok(()) };
            for name in &names {
                let target = if *by_digest { name.with_digest(root.digest) } else { name.clone() };
                to_registry(puller, root, &target, request.quiet).await?;
            }
        }
        OutputKind::Archive(destination) => {
            let made = images.complete(&request.options(output)?).await?;
            output::write_archive(worker.store(), &made, &names, destination)?;
        }
        OutputKind::Layout(directory) => {
            let made = images.complete(&request.options(output)?).await?;
            output::write_layout(worker.store(), &made, &names, directory)?;
        }
        OutputKind::Engine { context, required } => {
            let Some(engine) = engine(context.as_deref(), *required)? else {
                reporter.note("note: neither docker nor podman is there to load the image: it is in bld's store only");
                return Ok(());
            };
            if results.len() > 1 {
                reporter.note(&format!("note: {} takes images for one platform: not loaded there", engine.name()));
                return Ok(());
            }
            let made = images.complete(&request.options(output)?).await?;
            engine.load(worker.store(), &made, &names)?;
            reporter.note(&format!("loaded into {}", engine.name()));
        }
        OutputKind::RootfsTar(destination) => {
            let [(plan, target)] = results else {
                return Err(CommandError::usage("`--output type=tar` takes one platform")
                    .hint("type=local writes one directory for each platform"));
            };
            if output.attributes.split == Some(true) {
                return Err(CommandError::usage("`--output type=tar` takes no platform-split=true")
                    .hint("type=local writes one directory for each platform"));
            }
            output::write_rootfs_tar(&*worker.view(&target.state)?, destination, clamp(plan))?;
        }
        OutputKind::RootfsDirectory(path) => {
            for (plan, target) in results {
                let path = if output.attributes.split.unwrap_or(results.len() > 1) {
                    path.join(plan.platform.to_string().replace('/', "_"))
                } else {
                    path.clone()
                };
                let options = ExportOptions { ownership: false, clamp: clamp(plan) };
                let view = worker.view(&target.state)?;
                for note in output::write_rootfs_directory(&view, &path, options)? {
                    reporter.note(&format!("note: {note}"));
                }
                if output.attributes.mirror {
                    let removed = remove_others(&view, &path)?;
                    reporter.note(&format!("removed {removed} others from {}", path.display()));
                }
            }
        }
    }
    Ok(())
}

/// docker, if its daemon answers, or else podman; an error if one was demanded and none is there.
fn engine(context: Option<&str>, required: bool) -> Result<Option<Engine>, CommandError> {
    // As another user's root podman has another storage than the user's own.
    let podman =
        || Engine::podman().filter(|_| rustix::process::geteuid().is_root() && !environment::in_user_namespace());
    let found = match environment::load_engine().as_deref() {
        None => Engine::docker(context).or_else(|| podman().filter(|_| context.is_none())),
        Some("docker") => Engine::docker(context),
        Some("podman") => podman(),
        Some("none") => None,
        Some(other) => {
            return Err(CommandError::usage(format!("BLD_LOAD is `{other}`, not docker, podman or none")));
        }
    };
    if found.is_none() && required {
        return Err(CommandError::failed("neither a docker daemon answers, nor is podman there")
            .hint("`-o type=docker,dest=FILE` writes what `docker load -i FILE` reads"));
    }
    Ok(found)
}

fn clamp(plan: &ImagePlan) -> Option<Timestamp> {
    plan.source_date_epoch.map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let error = format!("{:?}", describe(&path("pipe"), "text").unwrap_err());
        assert!(error.contains("pipe: nobody reads it"), "{error}");
        let mut reader = File::options().read(true).write(true).open(path("pipe")).unwrap();
        describe(&path("pipe"), "text").unwrap();
        let mut read = [0; 4];
        std::io::Read::read_exact(&mut reader, &mut read).unwrap();
        assert_eq!(&read, b"text");
        for text in ["a longer text", "text"] {
            describe(&path("file"), text).unwrap();
            assert_eq!(std::fs::read_to_string(path("file")).unwrap(), text);
        }
    }

    #[test]
    fn the_summary_counts_as_people_do() {
        assert_eq!(summary(1, 1), "1 step ran, 1 was cached");
        assert_eq!(summary(0, 2), "0 steps ran, 2 were cached");
    }
}
