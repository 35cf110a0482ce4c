//! The main build context: a directory of the user's, or one made of what comes from standard input, a URL or a git repository.

use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_executor::layers::LayerMode;
use bld_executor::secrets::Secrets;
use bld_executor::sources::Checkout;
use bld_executor::sources::ContextFile;
use bld_executor::sources::RemoteConfig;
use bld_executor::sources::Remotes;
use bld_executor::sources::SourceError;
use bld_executor::sources::Unpacked;
use bld_executor::sources::read_context;
use bld_executor::ssh::Agents;
use bld_executor::worker::layer_mode;
use bld_oci::Timestamp;
use bld_solver::remote::Remote;

use super::dockerfile;
use super::dockerfile::Source;
use super::given;
use super::request::BuildRequest;
use super::request::ContextSource;
use super::request::DockerfilePath;
use crate::commands::Session;
use crate::environment;
use crate::error::CommandError;
use crate::registries;

/// The context while the build needs it.
#[derive(Debug)]
pub(super) struct MainContext {
    /// Where its files are.
    pub(super) directory: PathBuf,
    /// It is the user's own directory: ignore files apply, and what was read of it is remembered.
    pub(super) is_local: bool,
    /// What `SOURCE_DATE_EPOCH=context` means.
    pub(super) time: Option<i64>,
    /// The context itself, if it is a Dockerfile.
    text: Option<(String, Vec<u8>)>,
    /// Its files go with it.
    keep: Keep,
}

impl MainContext {
    /// Whether it is a Dockerfile and nothing else.
    pub(super) fn is_only_a_dockerfile(&self) -> bool {
        !self.is_local && matches!(self.keep, Keep::Nothing)
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for what happens when they are dropped")]
enum Keep {
    Nothing,
    Checkout(Checkout),
    Unpacked(Unpacked),
}

/// What sources on the network need to know of the build.
pub(super) fn remotes(store: &Store, request: &BuildRequest, secrets: &Secrets, agents: &Agents) -> Remotes {
    let mut config = RemoteConfig::new(environment::variable("PATH").unwrap_or_default());
    config.proxies = registries::proxies(|name| request.lower.build_args.get(name).cloned());
    config.secrets = secrets.clone();
    config.ssh_agent = agents.socket("default").map(Path::to_owned);
    config.home = environment::variable("HOME").map(PathBuf::from);
    Remotes::new(store.clone(), config)
}

/// Gets the context.
pub(super) async fn open(
    store: &Store,
    request: &BuildRequest,
    remotes: &Remotes,
    mode: LayerMode,
) -> Result<MainContext, CommandError> {
    let fetched_to = |directory: PathBuf, keep: Keep, time: Option<Timestamp>| MainContext {
        directory,
        is_local: false,
        time: time.map(|time| time.seconds),
        text: None,
        keep,
    };
    match &request.context {
        ContextSource::Directory(path) => Ok(local(path.clone())),
        ContextSource::Stdin => {
            let (store_, what) = (store.clone(), "the build context on standard input");
            let file = from_stdin(move |stdin| read_context(&store_, what, stdin, mode)).await?;
            of_file(store, request, "the Dockerfile on standard input", file, None)
        }
        ContextSource::Remote(Remote::Git(git)) => {
            let checkout = remotes.checkout(git).await.map_err(|error| source_error(&error))?;
            let (root, time) = (checkout.root.clone(), checkout.time);
            Ok(fetched_to(root, Keep::Checkout(checkout), Some(time)))
        }
        ContextSource::Remote(Remote::Http(http)) => {
            let fetched = remotes.fetch(http).await.map_err(|error| source_error(&error))?;
            let (store_, name) = (store.clone(), http.url.to_string());
            let what = name.clone();
            let read = tokio::task::spawn_blocking(move || {
                let reader = store_.blobs().open(&fetched.digest)?;
                read_context(&store_, &what, reader, mode)
            });
            let file = read.await?.map_err(|error| source_error(&error))?;
            of_file(store, request, &name, file, fetched.modified)
        }
    }
}

fn of_file(
    store: &Store,
    request: &BuildRequest,
    name: &str,
    file: ContextFile,
    time: Option<Timestamp>,
) -> Result<MainContext, CommandError> {
    Ok(match file {
        ContextFile::Archive(unpacked) => MainContext {
            directory: unpacked.directory.clone(),
            is_local: false,
            time: time.or(unpacked.newest).map(|time| time.seconds),
            text: None,
            keep: Keep::Unpacked(unpacked),
        },
        ContextFile::Dockerfile(_) if !matches!(request.dockerfile, DockerfilePath::Default) => {
            return Err(CommandError::failed(format!(
                "{name} is no archive, so it cannot hold the Dockerfile that -f names"
            )));
        }
        ContextFile::Dockerfile(text) => MainContext {
            // There are no files.
            directory: store.scratch()?,
            is_local: false,
            time: time.map(|time| time.seconds),
            text: Some((name.to_owned(), text)),
            keep: Keep::Nothing,
        },
    })
}

/// Gets the context and the Dockerfile for somebody who will not build. What is local needs no store.
pub(super) fn look(session: &Session, request: &BuildRequest) -> Result<(MainContext, Source), CommandError> {
    let needs_store =
        !matches!((&request.context, &request.dockerfile), (ContextSource::Directory(_), file) if !file.is_remote());
    super::block_on(async {
        if let (ContextSource::Directory(path), false) = (&request.context, needs_store) {
            let mut main = local(path.clone());
            let source = dockerfile(request, &mut main, None).await?;
            return Ok((main, source));
        }
        let store = session.open_store()?;
        let secrets = given::read(&request.secrets)?;
        let agents = Agents::start(&request.agents, &store)?;
        let remotes = remotes(&store, request, &secrets, &agents);
        let mut main = open(&store, request, &remotes, layer_mode(session.identity)).await?;
        let source = dockerfile(request, &mut main, Some((&store, &remotes))).await?;
        Ok((main, source))
    })?
}

fn local(directory: PathBuf) -> MainContext {
    MainContext { directory, is_local: true, time: None, text: None, keep: Keep::Nothing }
}

/// The Dockerfile, wherever it is.
pub(super) async fn dockerfile(
    request: &BuildRequest,
    context: &mut MainContext,
    remote: Option<(&Store, &Remotes)>,
) -> Result<Source, CommandError> {
    if let Some((name, bytes)) = context.text.take() {
        return Ok(Source { name, path: None, bytes });
    }
    match &request.dockerfile {
        DockerfilePath::Default => dockerfile::read_default(&context.directory),
        DockerfilePath::Given(typed, path) if context.is_local => dockerfile::read_given(typed, path),
        DockerfilePath::Given(typed, _) => dockerfile::read_inside(&context.directory, typed),
        DockerfilePath::Stdin => {
            let read = |mut stdin: std::io::Stdin| {
                let mut bytes = Vec::new();
                let read = stdin.by_ref().take(dockerfile::MAX_BYTES).read_to_end(&mut bytes);
                let what = "the Dockerfile on standard input".to_owned();
                read.map_err(|source| SourceError::Read { what, source })?;
                Ok(bytes)
            };
            Ok(Source { name: "Dockerfile on standard input".to_owned(), path: None, bytes: from_stdin(read).await? })
        }
        DockerfilePath::Remote(http) => {
            let Some((store, remotes)) = remote else {
                return Err(CommandError::failed("the Dockerfile needs a store"));
            };
            let fetched = remotes.fetch(http).await.map_err(|error| source_error(&error))?;
            let bytes = store.blobs().read(&fetched.digest, dockerfile::MAX_BYTES)?;
            Ok(Source { name: http.url.to_string(), path: None, bytes })
        }
    }
}

/// Reads standard input on a thread that nobody waits for: a signal must end bld even if nothing ever comes.
async fn from_stdin<T: Send + 'static>(
    read: impl FnOnce(std::io::Stdin) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, CommandError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // If the build was stopped nobody listens any more.
    std::thread::spawn(move || sender.send(read(std::io::stdin())).ok());
    receiver.await?.map_err(|error| source_error(&error))
}

/// An error about a source, with what can be done about it.
fn source_error(error: &SourceError) -> CommandError {
    CommandError::from_error(error).maybe_hint(error.hint())
}
