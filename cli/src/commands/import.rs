//! `bld import`: an image of a root file system.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bld_executor::image::STDIN;
use bld_executor::image::import::ImportOptions;
use bld_executor::image::import::import;
use bld_executor::image::policy::KnownImages;
use bld_executor::image::sources::ImageSources;
use bld_executor::sources::RemoteConfig;
use bld_executor::sources::Remotes;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use bld_oci::Timestamp;
use bld_oci::image::ImageConfig;
use bld_oci::platform::Platform;
use bld_solver::remote::HttpSource;
use bld_solver::remote::Remote;
use bld_solver::remote::redacted;

use super::Session;
use super::image_error;
use super::print;
use crate::args::images::ImportArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::write_line;

/// Instructions that `--change` takes: those that touch nothing but the configuration.
const CHANGES: [&str; 12] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

pub(super) fn run(session: &Session, args: &ImportArgs) -> Result<(), CommandError> {
    let name = args.name.as_deref().map(crate::reference::parse).transpose()?;
    let host = environment::host_platform();
    let platform = match &args.platform {
        None => host,
        Some(text) => Platform::parse(text, &host).map_err(|error| CommandError::usage(error.to_string()))?,
    };
    let store = session.open_store()?;
    let _lease = store.lease()?;
    let config = configuration(&store, args, &platform)?;
    let reader: Box<dyn Read + Send> = if let Some(url) = url(args)? {
        Box::new(fetched(&store, &url)?)
    } else if args.file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = File::open(&args.file)
            .map_err(|error| CommandError::failed(format!("cannot open {}: {error}", args.file.display())))?;
        Box::new(file)
    };
    // Of a URL neither user nor query is anybody's business.
    let file_name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    let options = ImportOptions {
        config,
        comment: args.message.clone().unwrap_or_else(|| format!("Imported from {file_name}")),
        now: environment::now(),
        path: if args.file == Path::new("-") { STDIN.into() } else { args.file.clone() },
        epoch: environment::source_date_epoch()?.map(Timestamp::from_seconds),
    };
    let layers = Layers::new(store.clone(), layer_mode(session.identity));
    let image = import(&store, reader, &layers, &options).map_err(|error| image_error(&error))?;
    match &name {
        Some(name) => store.images().set(&name.to_string(), &image.manifest)?,
        None => store.images().add_untagged(&image.manifest)?,
    }
    print(&format!("{}\n", image.manifest.digest))
}

/// The URL that the file is, unless a file has that very name.
fn url(args: &ImportArgs) -> Result<Option<HttpSource>, CommandError> {
    let text = args.file.to_string_lossy();
    if !text.contains("://") || args.file.exists() {
        return Ok(None);
    }
    match Remote::parse(&text) {
        Ok(Some(Remote::Http(source))) => Ok(Some(source)),
        Ok(_) => Err(CommandError::usage(format!("`{}` is not the URL of a tar", redacted(&text)))),
        Err(error) => Err(CommandError::usage(error.to_string())),
    }
}

/// What a URL stands for, once it is here.
fn fetched(store: &bld_cache::Store, source: &HttpSource) -> Result<impl Read + Send + use<>, CommandError> {
    let mut config = RemoteConfig::new(environment::variable("PATH").unwrap_or_default());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        let value = environment::variable(name).or_else(|| environment::variable(&name.to_ascii_uppercase()));
        config.proxies.extend(value.map(|value| (name.to_owned(), value)));
    }
    let remotes = Remotes::new(store.clone(), config);
    let fetched = super::build::block_on(remotes.fetch(source))?;
    let fetched = fetched.map_err(|error| CommandError::from_error(&error).maybe_hint(error.hint()))?;
    Ok(store.blobs().open(&fetched.digest)?)
}

/// The configuration that the `--change` instructions make: they are lowered like a Dockerfile on `scratch`.
fn configuration(
    store: &bld_cache::Store,
    args: &ImportArgs,
    platform: &Platform,
) -> Result<ImageConfig, CommandError> {
    let mut text = "FROM scratch\n".to_owned();
    for change in &args.changes {
        let word = change.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if !CHANGES.contains(&word.as_str()) || change.contains('\n') {
            return Err(CommandError::usage(format!("`--change {change}` is not possible"))
                .hint(format!("one line beginning with one of {}", CHANGES.join(", "))));
        }
        text.push_str(change);
        text.push('\n');
    }
    let quoted = Quoted::new("--change", text.as_bytes());
    let parsed = bld_parser::parse(text.as_bytes());
    let Some(dockerfile) = parsed.dockerfile else {
        for diagnostic in &parsed.diagnostics {
            write_line(quoted.diagnostic(diagnostic).trim_end());
        }
        return Err(CommandError::failed("the --change instructions have mistakes"));
    };
    let request = super::build::request::plain_request(platform);
    let sources = ImageSources::new(KnownImages::local(store.clone()), std::collections::BTreeMap::new());
    let plan =
        super::build::block_on(bld_solver::lower::lower(&dockerfile, &request, &sources))?.map_err(|errors| {
            for error in &errors {
                write_line(quoted.diagnostic(&error.diagnostic()).trim_end());
            }
            CommandError::failed("the --change instructions have mistakes")
        })?;
    let config = plan.images.into_iter().next().map(|image| image.config).unwrap_or_default();
    Ok(ImageConfig { os: platform.os.clone(), architecture: platform.architecture.clone(), ..config })
}
