//! What flags and outputs ask of images, checked before anything is built.

use std::collections::BTreeMap;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use bld_executor::image::options::Annotated;
use bld_executor::image::options::Annotation;
use bld_executor::image::options::ImageOptions;
use bld_oci::image::Format;
use bld_oci::platform::Platform;

use super::given::Entitlement;
use super::values::compression;
use crate::args::BuildArgs;
use crate::commands::outputs::Output;
use crate::commands::outputs::OutputKind;
use crate::commands::outputs::annotation;
use crate::environment;
use crate::error::CommandError;

/// How images are written, but for what outputs say of themselves.
pub(super) fn image_options(args: &BuildArgs) -> Result<ImageOptions, CommandError> {
    let mut options = ImageOptions::new(compression(&args.compression)?);
    options.squash = args.squash;
    for text in &args.annotations {
        let read = annotation::flag(text);
        let read = read.map_err(|reason| CommandError::usage(format!("`--annotation {text}`: {reason}")))?;
        options.annotations.extend(read);
    }
    Ok(options)
}

/// Finds what outputs ask for that this build cannot give.
pub(super) fn check_outputs(
    outputs: &[Output],
    images: &ImageOptions,
    platforms: &[Platform],
    epoch: Option<i64>,
    build_args: &BTreeMap<String, String>,
) -> Result<(), CommandError> {
    let all = outputs.iter().map(|output| output.attributes.image(images).map_err(CommandError::usage));
    for options in all.chain([Ok(images.clone())]) {
        let options = options?;
        let of_index =
            |annotation: &&Annotation| matches!(annotation.of, Annotated::Index | Annotated::IndexDescriptor);
        if let (Some(found), true) = (options.annotations.iter().find(of_index), platforms.len() < 2) {
            return Err(CommandError::usage(format!("the annotation `{}` is of an index", found.key))
                .hint("an index is made if `--platform` names several platforms"));
        }
        let unknown = |annotation: &&Annotation| {
            annotation.platform.as_ref().is_some_and(|platform| !platforms.contains(platform))
        };
        if let Some(found) = options.annotations.iter().find(unknown) {
            let platform = found.platform.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(CommandError::usage(format!(
                "the annotation `{}` is of {platform}, which is not built for",
                found.key
            )));
        }
        if options.format == Format::Docker && !options.annotations.is_empty() {
            return Err(CommandError::usage("docker's media types have no annotations")
                .hint("leave out `oci-mediatypes=false` or the annotations"));
        }
    }
    let is_set = epoch.is_some() || build_args.contains_key("SOURCE_DATE_EPOCH");
    if outputs.iter().any(|output| output.attributes.lacks_epoch(is_set.then_some(0))) {
        return Err(CommandError::usage("`rewrite-timestamp=true` needs a time")
            .hint("set SOURCE_DATE_EPOCH, or write source-date-epoch=SECONDS beside it"));
    }
    let engine = |output: &&Output| matches!(output.kind, OutputKind::Engine { required: true, .. });
    if platforms.len() > 1 && outputs.iter().any(|output| engine(&output)) {
        return Err(CommandError::usage("docker and podman take images for one platform from bld")
            .hint("`-o type=oci,dest=FILE` writes all of them"));
    }
    let split = |output: &Output| output.attributes.split == Some(false);
    if platforms.len() > 1 && outputs.iter().any(split) {
        return Err(CommandError::usage("`platform-split=false` would write several platforms over each other"));
    }
    Ok(())
}

/// `mode=delete` removes files nobody may have thought of: without `--allow` only below the working directory, through no link.
pub(super) fn check_mirrors(outputs: &[Output], allowed: &[Entitlement]) -> Result<(), CommandError> {
    let here = environment::absolute(Path::new(""))?;
    for output in outputs.iter().filter(|output| output.attributes.mirror) {
        let OutputKind::RootfsDirectory(path) = &output.kind else { continue };
        let plain = path.components().all(|part| part != Component::ParentDir);
        let is_below = plain && path.components().as_path() != here.components().as_path() && path.starts_with(&here);
        // The context may have brought a link that leads anywhere; with a slash behind its name it would not look like one.
        let tidy: PathBuf = path.components().collect();
        let mut below = tidy.ancestors().take_while(|ancestor| ancestor.starts_with(&here) && *ancestor != here);
        let is_inside = is_below && !below.any(Path::is_symlink);
        if !is_inside && !allowed.contains(&Entitlement::DeleteLocal) {
            return Err(CommandError::usage(format!("`mode=delete` would remove files in {}", path.display()))
                .hint("name a directory below the working directory, or write `--allow buildx.local.delete`"));
        }
    }
    Ok(())
}
