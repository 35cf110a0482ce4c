//! `bld build`, from the first flag to the digest on standard output.

pub(super) mod request;
pub(super) mod values;

mod advice;
mod archive;
mod call;
mod checked_outputs;
mod checks;
mod collect;
mod context;
mod dockerfile;
mod failure;
mod finish;
mod given;
mod prediction;
mod recorder;
mod recording;
mod records;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bld_cache::Store;
use bld_cache::record::Record;
use bld_executor::admission::MemoryAdmission;
use bld_executor::context::ContextTree;
use bld_executor::context::NoMemo;
use bld_executor::context::ignore_file;
use bld_executor::context::store_memo::StoreMemo;
use bld_executor::image::ImagesError;
use bld_executor::image::named::NamedContext;
use bld_executor::image::policy::KnownImages;
use bld_executor::image::sources::ImageSources;
use bld_executor::sandbox::Helper;
use bld_executor::ssh::Agents;
use bld_executor::worker::LocalWorker;
use bld_executor::worker::WorkerConfig;
use bld_executor::worker::layer_mode;
use bld_oci::Timestamp;
use bld_parser::ast::Dockerfile;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_solver::explain::advice::advice;
use bld_solver::explain::facts::IgnoreFile;
use bld_solver::graph::VertexId;
use bld_solver::lower::IgnoreRules;
use bld_solver::lower::LowerError;
use bld_solver::lower::LowerRequest;
use bld_solver::lower::Plan;
use bld_solver::record::Phase;
use bld_solver::solve::Prediction;
use bld_solver::solve::predict as predict_all;
use bld_solver::solve::prepare;
use bld_solver::solve::solve;

use self::checks::Checks;
use self::collect::Built;
use self::context::MainContext;
use self::dockerfile::Source;
use self::recorder::Clock;
use self::recorder::Recorder;
use self::recording::Recording;
use self::recording::Subject;
use self::request::BuildRequest;
use super::Session;
use super::cache::limit;
use super::outputs::Output;
use crate::args::BuildArgs;
use crate::args::plan::PlanArgs;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::excerpt::Quoted;
use crate::ui::one_line;
use crate::ui::plain::Plain;
use crate::ui::plain::write_line;

/// Steps that ran in vain and took so long are worth advice after the build; `bld why` gives the rest.
const WORTH_A_NOTE: Duration = Duration::from_secs(5);

/// How long stopped steps may take to clean up. What is left then the next bld removes.
const CLEAN_UP: Duration = Duration::from_secs(10);

pub(super) fn run(session: &Session, args: &BuildArgs) -> Result<(), CommandError> {
    let request = request::resolve(args)?;
    if request.call.method != call::Method::Build {
        return call::run(session, &request);
    }
    run_for(session, &request, Purpose::Build)
}

/// `bld plan`.
pub(super) fn predict(session: &Session, args: &PlanArgs) -> Result<(), CommandError> {
    let request = request::resolve(&args.build)?;
    if request.call.method != call::Method::Build {
        return Err(CommandError::usage("`bld plan` takes neither --call nor --check"));
    }
    if request.records.is_asked_for() {
        return Err(CommandError::usage("`bld plan` takes neither --report nor --trace: nothing is built"));
    }
    run_for(session, &request, Purpose::Plan { json: args.json })
}

/// What is to be done once everything is known that can be known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To build.
    Build,
    /// To say what a build would do.
    Plan {
        /// As JSON.
        json: bool,
    },
}

fn run_for(session: &Session, request: &BuildRequest, purpose: Purpose) -> Result<(), CommandError> {
    // Before any thread exists.
    let helper = Helper::start()?;
    let store = session.open_store()?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stopped = stopped();
        let result = tokio::select! {
            result = build(session, request, purpose, helper, &store) => result,
            signal = stopped => Err(CommandError::signal(signal)),
        };
        request.records.end_stopped(result, request.quiet).await
    });
    // Waits for the threads of steps that were stopped: they clean up after themselves.
    runtime.shutdown_timeout(CLEAN_UP);
    result
}

/// Runs a future to its end, or until a signal asks bld to stop.
pub(super) fn interruptible(work: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stopped = stopped();
        tokio::select! {
            result = work => result,
            signal = stopped => Err(CommandError::signal(signal)),
        }
    });
    runtime.shutdown_timeout(CLEAN_UP);
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

/// Resolves to the number of the signal that asks bld to stop. From this call on none ends the process by itself.
fn stopped() -> impl Future<Output = u8> {
    use tokio::signal::unix::SignalKind;
    use tokio::signal::unix::signal;
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    async {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
            // Without handlers the signals end the process themselves.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        }
    }
}

async fn build(
    session: &Session,
    request: &BuildRequest,
    purpose: Purpose,
    helper: Helper,
    store: &Store,
) -> Result<(), CommandError> {
    let clock = Clock::start(environment::now());
    if session.offline && request.outputs.iter().any(Output::is_push) {
        session.online("pushing")?;
    }
    let _lease = store.lease()?;
    let secrets = given::read(&request.secrets)?;
    let agents = Agents::start(&request.agents, store)?;
    let remotes = context::remotes(store, request, &secrets, &agents);
    let mut main = context::open(store, request, &remotes, layer_mode(session.identity)).await?;
    let source = context::dockerfile(request, &mut main, Some((store, &remotes))).await?;
    let quoted = Quoted::new(&source.name, &source.bytes);
    let (contexts, memos) = open_contexts(store, request, &main, &source)?;
    let dockerfile = parse(store, request, &main, &source, &quoted).await?;
    let checks = Checks::new(&dockerfile.0, request);
    let puller =
        if session.offline { None } else { Some(registries::puller(store, request.quiet, &request.insecure)?) };
    let images = KnownImages::new(store.clone(), puller.clone(), request.pull);
    let sources = ImageSources::new(images, request.named.clone()).with_remotes(remotes.clone());
    let read = Phase { name: "read the Dockerfile and the context".to_owned(), start_us: 0, end_us: clock.us() };
    let (mut plan, mut warnings) = plan(&sources, request, &main, &source, &quoted, &dockerfile, &checks).await?;
    if let Some(wanted) = &request.fail_on_miss {
        prediction::require(&mut plan, wanted.as_deref())?;
    }
    let found = Phase { name: "find base images".to_owned(), start_us: read.end_us, end_us: clock.us() };
    let found_us = found.end_us;
    let progress = Plain::new(&plan.graph, request.quiet || purpose != Purpose::Build);
    let recorder = Arc::new(Recorder::new(progress, clock, vec![read, found]));
    let reporter = recorder.plain();
    let build_id = build_id()?;
    let epoch = plan.images.iter().find_map(|image| image.source_date_epoch).map(Timestamp::from_seconds);
    let options = request.main_options()?;
    // What is made of all layers at once cannot be made ahead.
    let ahead = (request.wants_image() && !options.squash).then_some(options.compression);
    let config = WorkerConfig {
        build_id: build_id.clone(),
        project: recording::project(request),
        contexts,
        remotes,
        puller: puller.clone(),
        identity: session.identity,
        network: request.network,
        secrets: secrets.clone(),
        agents,
        clamp: epoch,
        compression: ahead,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        strict: request.strict && checks.wants("EmptyWildcard"),
    };
    let worker = LocalWorker::new(store.clone(), helper, config, Arc::clone(&recorder), environment::now);
    let admission = MemoryAdmission::new(request.jobs);
    let collected = collect::find(&request.collections, &plan, &dockerfile.0)?;
    let mut targets: Vec<VertexId> = plan.images.iter().map(|image| image.target).collect();
    targets.extend(collected.iter().map(|one| one.end));
    let plan = Arc::new(plan);
    let subject = Subject::new(build_id.clone(), request, &source, &quoted, &dockerfile.0, &plan, &targets);
    let ignore_files = ignore_files(request, &main, &source)?;
    let mut history = Recording::new(store, request, &secrets, Arc::clone(&recorder), subject, Arc::clone(&plan));
    if purpose == Purpose::Build {
        store.kept().clear()?;
    } else {
        history.forget();
    }
    let looked_us = Cell::new(clock.us());
    let solved = async {
        let prepared = prepare(&plan.graph, &targets, &worker, recorder.as_ref()).await?;
        history.prepared(prepared.clone(), ignore_files);
        recorder.phase("look at the files to copy", found_us);
        looked_us.set(clock.us());
        if let Purpose::Plan { json } = purpose {
            let predictions = predict_all(&plan.graph, &prepared, &worker, recorder.as_ref()).await?;
            return Ok(Solved::Predicted(json, predictions));
        }
        Ok(Solved::Made(solve(&plan.graph, &prepared, &worker, recorder.as_ref(), &admission).await?))
    };
    let solved = solved.await;
    if !recorder.has_run() {
        recorder.phase("find what is cached", looked_us.get());
    }
    let made = match &solved {
        Ok(Solved::Made(records)) => records.get(plan.images.len()..),
        _ => None,
    };
    let prepared = history.keys();
    let built = Built { store, worker: &worker, plan: &plan, recorder: &recorder, build: &build_id, made, prepared };
    if purpose == Purpose::Build {
        collect::run(&built, &collected);
    }
    let outcome = match solved {
        Ok(Solved::Made(records)) => {
            let results: Vec<_> = plan.images.iter().zip(&records).collect();
            finish::finish(&worker, request, &results, puller.as_ref(), &recorder).await
        }
        Ok(Solved::Predicted(json, predictions)) => {
            let prediction = prediction::Shown::new(store, &history, &plan, &recorder, &predictions)?;
            // It has the contexts, and they their memos.
            drop(worker);
            for memo in memos {
                memo.save()?;
            }
            return prediction.print(json, request.fail_on_miss.as_ref());
        }
        Err(error) => {
            let failed = failure::explain(&error, &plan, &quoted, &recorder, main.is_only_a_dockerfile());
            Err(failure::with_shell(failed, store, &build_id, error.vertex()))
        }
    };
    if request.quiet {
        // An image for another machine is nothing to keep quiet about.
        warnings.retain(|warning| warning.code == "InvalidBaseImagePlatform");
        for warning in &warnings {
            write_line(&format!("warning: {} [{}]", one_line(&warning.message), warning.code));
        }
    } else {
        warnings.extend(reporter.warnings().into_iter().map(|(vertex, code, message)| {
            let span = plan.graph.vertex(vertex).span.unwrap_or(bld_parser::source::Span::new(0, 0));
            Diagnostic { severity: Severity::Warning, code, message, span, hint: None }
        }));
        checks::list(&checks.wanted(warnings), &quoted);
    }
    let ending = clock.us();
    drop(worker);
    for memo in memos {
        memo.save()?;
    }
    recorder.phase("remember what was read", ending);
    let record = history.end(&outcome);
    if let Some(limit) = &request.cache_limit
        && recorder.has_run()
    {
        limit::enforce(store, limit, request.quiet);
    }
    if !request.quiet {
        for advice in advice(&record).iter().filter(|advice| Duration::from_micros(advice.cost_us) >= WORTH_A_NOTE) {
            write_line(&format!("note: {}", one_line(&advice.text)));
        }
    }
    request.records.end(&record, outcome.map(drop), request.quiet).await
}

/// What became of the graph.
enum Solved {
    Made(Vec<Record>),
    Predicted(bool, BTreeMap<VertexId, Prediction>),
}

/// The ignore files of the contexts, to say later that it was they that changed.
fn ignore_files(
    request: &BuildRequest,
    main: &MainContext,
    source: &Source,
) -> Result<BTreeMap<String, IgnoreFile>, CommandError> {
    let mut files = BTreeMap::new();
    let named = request.named.iter().filter_map(|(name, context)| match context {
        NamedContext::Directory(path) => Some((name.as_str(), path.as_path(), None)),
        _ => None,
    });
    let local = main.is_local.then_some(("context", main.directory.as_path(), source.path.as_deref()));
    for (name, path, dockerfile) in local.into_iter().chain(named) {
        if let Some(file) = ignore_file(path, dockerfile).map_err(failure::ignore_mistake)? {
            let patterns = file.patterns.patterns().iter().map(|pattern| {
                let sign = if pattern.negated { "!" } else { "" };
                format!("{sign}{}", pattern.text)
            });
            files.insert(name.to_owned(), IgnoreFile { name: file.name, patterns: patterns.collect() });
        }
    }
    Ok(files)
}

/// The Dockerfile and what the parser warns of; its mistakes are read to the user.
async fn parse(
    store: &Store,
    request: &BuildRequest,
    main: &MainContext,
    source: &Source,
    quoted: &Quoted<'_>,
) -> Result<(Dockerfile, Vec<Diagnostic>), CommandError> {
    let parsed = bld_parser::parse(&source.bytes);
    let Some(dockerfile) = parsed.dockerfile else {
        let mut errors = parsed.diagnostics;
        errors.retain(|found| found.severity == Severity::Error);
        if let Some(sound) = &parsed.sound_part {
            // What else is wrong is said at once, not only when these mistakes are gone.
            let sources = ImageSources::new(KnownImages::local(store.clone()), request.named.clone());
            let lower = LowerRequest { context_time: main.time, ..request.lower.clone() };
            if let Err(further) = bld_solver::lower::lower(sound, &lower, &sources).await {
                errors.extend(further.iter().map(failure::with_image_hint));
                errors.sort_by_key(|error| error.span);
            }
        }
        for error in &errors {
            write_line(quoted.diagnostic(error).trim_end());
        }
        return Err(mistakes(&source.name, errors.len()));
    };
    Ok((dockerfile, parsed.diagnostics))
}

fn mistakes(name: &str, count: usize) -> CommandError {
    match count {
        // The one error was said already.
        0 | 1 => CommandError::told(),
        _ => CommandError::failed(format!("{name} has {count} mistakes")),
    }
}

/// Makes a plan, and the list of what the user should be warned of.
async fn plan(
    sources: &ImageSources,
    request: &BuildRequest,
    main: &MainContext,
    source: &Source,
    quoted: &Quoted<'_>,
    (dockerfile, found): &(Dockerfile, Vec<Diagnostic>),
    checks: &Checks<'_>,
) -> Result<(Plan, Vec<Diagnostic>), CommandError> {
    let ignore = if main.is_local {
        ignore_file(&main.directory, source.path.as_deref()).map_err(failure::ignore_mistake)?
    } else {
        None
    };
    let ignore = ignore.map(|ignore| IgnoreRules { file: ignore.name, patterns: ignore.patterns });
    let lower = LowerRequest { ignore, context_time: main.time, ..request.lower.clone() };
    let mut plans = Vec::with_capacity(request.platforms.len());
    for platform in &request.platforms {
        let lower = LowerRequest { platform: platform.clone(), ..lower.clone() };
        let plan = bld_solver::lower::lower(dockerfile, &lower, sources).await;
        plans.push(plan.map_err(|errors| unusable(&errors, source, quoted))?);
    }
    let plan = Plan::join(plans).ok_or_else(|| CommandError::failed("no platform to build for"))?;
    let warnings = checks.wanted(found.iter().chain(&plan.warnings).cloned().collect());
    checks.stop(&warnings, quoted)?;
    if !request.quiet && !plan.skipped_stages.is_empty() {
        write_line(&format!("note: skipped stages: {}", plan.skipped_stages.join(", ")));
    }
    Ok((plan, warnings))
}

/// Says why there can be no plan.
fn unusable(errors: &[LowerError<ImagesError>], source: &Source, quoted: &Quoted<'_>) -> CommandError {
    for error in errors {
        write_line(quoted.diagnostic(&failure::with_image_hint(error)).trim_end());
    }
    match errors.iter().filter(|error| matches!(error, LowerError::Source { .. })).count() {
        missing if missing > 1 && missing == errors.len() => {
            CommandError::failed(format!("{missing} base images are missing"))
        }
        _ => {
            // What a flag names is not there: the command line is wrong.
            let is_flag = |error: &LowerError<ImagesError>| error.diagnostic().code == "UnknownNoCacheFilter";
            let failed = mistakes(&source.name, errors.len());
            if errors.iter().all(is_flag) { failed.with_code(2) } else { failed }
        }
    }
}

/// The build contexts by name, and their stat caches, to be saved in the end.
#[expect(clippy::type_complexity, reason = "used once")]
fn open_contexts(
    store: &Store,
    request: &BuildRequest,
    main: &MainContext,
    source: &Source,
) -> Result<(BTreeMap<String, Arc<ContextTree>>, Vec<StoreMemo>), CommandError> {
    let mut contexts = BTreeMap::new();
    let mut memos = Vec::new();
    let named = request.named.iter().filter_map(|(name, context)| match context {
        NamedContext::Directory(path) => Some((name.as_str(), path.as_path(), None)),
        _ => None,
    });
    let local = ("context", main.directory.as_path(), source.path.as_deref());
    if !main.is_local {
        // Gone after the build: nothing about it is worth remembering. Ignore files belong to directories people work in.
        let tree = ContextTree::open(&main.directory, None, Arc::new(NoMemo))?;
        contexts.insert("context".to_owned(), Arc::new(tree.with_permissions(request.permissions)));
    }
    for (name, path, dockerfile) in std::iter::once(local).filter(|_| main.is_local).chain(named) {
        let ignore = ignore_file(path, dockerfile).map_err(failure::ignore_mistake)?;
        let memo = StoreMemo::open(store, path)?;
        let tree = ContextTree::open(path, ignore, Arc::new(memo.clone()))?;
        contexts.insert(name.to_owned(), Arc::new(tree.with_permissions(request.permissions)));
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
