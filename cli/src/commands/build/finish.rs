//! The end of a build that went well: the image, the outputs, the digest.

use bld_cache::record::Record;
use bld_executor::image::assemble::assemble;
use bld_executor::layers::export::ExportOptions;
use bld_executor::output;
use bld_executor::worker::LocalWorker;
use bld_oci::Timestamp;
use bld_oci::image::Image;
use bld_oci::reference::Reference;
use bld_solver::lower::Plan;

use super::request::BuildRequest;
use crate::commands::image_error;
use crate::commands::outputs::Output;
use crate::commands::outputs::OutputKind;
use crate::commands::print;
use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::Plain;

/// Makes the image if anything wants one, writes the outputs, prints the digest.
pub(super) async fn finish(
    worker: &LocalWorker<Plain>,
    request: &BuildRequest,
    plan: &Plan,
    target: &Record,
    reporter: &Plain,
) -> Result<(), CommandError> {
    let to_store = request.goes_to_store();
    let image = if request.wants_image() {
        let made = assemble(worker, plan, target, request.compression, environment::now()).await;
        Some(made.map_err(|error| image_error(&error))?)
    } else {
        None
    };
    if let (Some(image), true) = (&image, to_store) {
        store_image(worker, request, image, reporter)?;
    }
    for output in &request.outputs {
        write(worker, request, plan, target, image.as_ref(), output, reporter)?;
    }
    let (executed, cached) = reporter.counts();
    reporter.note(&summary(executed, cached));
    let Some(image) = image else { return Ok(()) };
    if let Some(path) = &request.iidfile {
        std::fs::write(path, image.config.digest.to_string())
            .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", path.display())))?;
    }
    if request.outputs.iter().any(Output::is_stdout) {
        // Standard output is taken.
        reporter.note(&image.manifest.digest.to_string());
        return Ok(());
    }
    print(&format!("{}\n", image.manifest.digest))
}

/// `3 steps ran, 1 was cached`.
fn summary(executed: usize, cached: usize) -> String {
    let steps = if executed == 1 { "step" } else { "steps" };
    let were = if cached == 1 { "was" } else { "were" };
    format!("{executed} {steps} ran, {cached} {were} cached")
}

/// Lists the image in the local store.
fn store_image(
    worker: &LocalWorker<Plain>,
    request: &BuildRequest,
    image: &Image,
    reporter: &Plain,
) -> Result<(), CommandError> {
    let extra = request.outputs.iter().filter(|output| output.kind == OutputKind::Store);
    let extra = extra.flat_map(|output| &output.names).map(|name| crate::reference::parse(name));
    let names: Vec<Reference> = request.tags.iter().cloned().map(Ok).chain(extra).collect::<Result<_, _>>()?;
    if names.is_empty() {
        worker.store().images().add_untagged(&image.manifest)?;
    }
    for name in names {
        worker.store().images().set(&name.to_string(), &image.manifest)?;
        reporter.note(&format!("named {}", name.familiar()));
    }
    Ok(())
}

fn write(
    worker: &LocalWorker<Plain>,
    request: &BuildRequest,
    plan: &Plan,
    target: &Record,
    image: Option<&Image>,
    output: &Output,
    reporter: &Plain,
) -> Result<(), CommandError> {
    let clamp = plan.source_date_epoch.map(Timestamp::from_seconds);
    match &output.kind {
        OutputKind::Store => {}
        OutputKind::Archive(destination) => {
            let Some(image) = image else { return Ok(()) };
            let extra = output.names.iter().map(|name| crate::reference::parse(name));
            let names: Vec<Reference> = request.tags.iter().cloned().map(Ok).chain(extra).collect::<Result<_, _>>()?;
            output::write_archive(worker.store(), image, &names, &plan.platform, destination)?;
        }
        OutputKind::RootfsTar(destination) => {
            output::write_rootfs_tar(&*worker.view(&target.state)?, destination, clamp)?;
        }
        OutputKind::RootfsDirectory(path) => {
            let options = ExportOptions { ownership: false, clamp };
            for note in output::write_rootfs_directory(&*worker.view(&target.state)?, path, options)? {
                reporter.note(&format!("note: {note}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_as_people_do() {
        assert_eq!(summary(1, 1), "1 step ran, 1 was cached");
        assert_eq!(summary(0, 2), "0 steps ran, 2 were cached");
    }
}
