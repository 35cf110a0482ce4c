//! `bld build`, from the first flag to the digest on standard output.

pub(super) mod request;

mod dockerfile;
mod failure;
mod finish;

use std::collections::BTreeMap;
use std::sync::Arc;

use bld_cache::Store;
use bld_executor::admission::MemoryAdmission;
use bld_executor::context::ContextTree;
use bld_executor::context::ignore_file;
use bld_executor::context::store_memo::StoreMemo;
use bld_executor::image::named::NamedContext;
use bld_executor::image::sources::ImageSources;
use bld_executor::sandbox::Helper;
use bld_executor::worker::LocalWorker;
use bld_executor::worker::WorkerConfig;
use bld_oci::Timestamp;
use bld_solver::lower::Plan;

use self::dockerfile::Source;
use self::request::BuildRequest;
use super::Session;
use super::outputs::Output;
use crate::args::BuildArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::Plain;
use crate::ui::plain::write_line;

pub(super) fn run(session: &Session, args: &BuildArgs) -> Result<(), CommandError> {
    let request = request::resolve(args)?;
    // Before any thread exists.
    let helper = Helper::start()?;
    let store = session.open_store()?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = build(session, &request, helper, &store) => result,
            signal = stopped() => Err(CommandError::signal(signal)),
        }
    });
    // Waits for the threads of steps that were stopped: they clean up after themselves.
    drop(runtime);
    result
}

/// Runs a future to its end outside of a build.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CommandError> {
    Ok(runtime()?.block_on(future))
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A step that runs holds a thread, and there may be hundreds.
        .max_blocking_threads(1024)
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))
}

/// Resolves to the number of the signal that asks bld to stop.
async fn stopped() -> u8 {
    use tokio::signal::unix::SignalKind;
    use tokio::signal::unix::signal;
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without handlers the signals end the process themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
    }
}

async fn build(session: &Session, request: &BuildRequest, helper: Helper, store: &Store) -> Result<(), CommandError> {
    let _lease = store.lease()?;
    let source = dockerfile::read(&request.context, &request.dockerfile)?;
    let quoted = Quoted::new(&source.name, &source.bytes);
    let (contexts, memos) = open_contexts(store, request, &source)?;
    let plan = plan(store, request, &source, &quoted).await?;

    let reporter = Arc::new(Plain::new(&plan.graph, request.quiet));
    let epoch = plan.source_date_epoch.map(Timestamp::from_seconds);
    let wants_image =
        request.outputs.is_empty() || !request.tags.is_empty() || request.outputs.iter().any(Output::is_image);
    let config = WorkerConfig {
        build_id: build_id()?,
        contexts,
        identity: session.identity,
        network: request.network,
        made_up_time: epoch.unwrap_or(Timestamp::FIXED),
        clamp: epoch,
        compression: wants_image.then_some(request.compression),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let worker = LocalWorker::new(store.clone(), helper, config, Arc::clone(&reporter), environment::now);
    let admission = MemoryAdmission::new(request.jobs);
    let solved = bld_solver::solve::solve(&plan.graph, &[plan.target], &worker, reporter.as_ref(), &admission).await;
    let outcome = match solved {
        Ok(records) => match records.first() {
            Some(target) => finish::finish(&worker, request, &plan, target, &reporter).await,
            None => Err(CommandError::failed("the build has no result")),
        },
        Err(error) => Err(failure::explain(&error, &plan, &quoted, &reporter)),
    };
    drop(worker);
    for memo in memos {
        memo.save()?;
    }
    outcome
}

/// Reads the Dockerfile's mistakes to the user, or makes a plan of it.
async fn plan(
    store: &Store,
    request: &BuildRequest,
    source: &Source,
    quoted: &Quoted<'_>,
) -> Result<Plan, CommandError> {
    let parsed = bld_parser::parse(&source.bytes);
    let mistakes = |count: usize| match count {
        1 => CommandError::failed(format!("{} has a mistake", source.name)),
        _ => CommandError::failed(format!("{} has {count} mistakes", source.name)),
    };
    let errors =
        parsed.diagnostics.iter().filter(|finding| finding.severity == bld_parser::diagnostic::Severity::Error);
    let count = errors.count();
    for diagnostic in &parsed.diagnostics {
        if count > 0 || !request.quiet {
            write_line(quoted.diagnostic(diagnostic).trim_end());
        }
    }
    let Some(dockerfile) = parsed.dockerfile else { return Err(mistakes(count.max(1))) };
    let sources = ImageSources::new(store.clone(), request.named.clone());
    let plan = bld_solver::lower::lower(&dockerfile, &request.lower, &sources).await.map_err(|errors| {
        for error in &errors {
            write_line(quoted.diagnostic(&failure::with_image_hint(error)).trim_end());
        }
        mistakes(errors.len())
    })?;
    if !request.quiet {
        for warning in &plan.warnings {
            write_line(quoted.diagnostic(warning).trim_end());
        }
        for name in &plan.unused_build_args {
            write_line(&format!("warning: no ARG declares the build argument `{name}`"));
        }
        if !plan.skipped_stages.is_empty() {
            write_line(&format!("note: skipped stages: {}", plan.skipped_stages.join(", ")));
        }
    }
    Ok(plan)
}

/// The build contexts by name, and their stat caches, to be saved in the end.
#[expect(clippy::type_complexity, reason = "used once")]
fn open_contexts(
    store: &Store,
    request: &BuildRequest,
    source: &Source,
) -> Result<(BTreeMap<String, Arc<ContextTree>>, Vec<StoreMemo>), CommandError> {
    let mut contexts = BTreeMap::new();
    let mut memos = Vec::new();
    let named = request.named.iter().filter_map(|(name, context)| match context {
        NamedContext::Directory(path) => Some((name.as_str(), path.as_path(), None)),
        _ => None,
    });
    let main = ("context", request.context.as_path(), source.path.as_deref());
    for (name, path, dockerfile) in std::iter::once(main).chain(named) {
        let ignore = ignore_file(path, dockerfile)?;
        let memo = StoreMemo::open(store, path)?;
        contexts.insert(name.to_owned(), Arc::new(ContextTree::open(path, ignore, Arc::new(memo.clone()))?));
        memos.push(memo);
    }
    Ok((contexts, memos))
}

/// Names a build: its time, to sort by, and something random.
fn build_id() -> Result<String, CommandError> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| CommandError::failed(format!("cannot draw a random number: {error}")))?;
    Ok(format!("{}-{}", environment::now().seconds, hex::encode(random)))
}
