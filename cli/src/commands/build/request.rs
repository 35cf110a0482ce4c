//! From flags to requests: everything that needs the environment or the file system is resolved here, once.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::path::PathBuf;

use bld_executor::context::ContextPermissions;
use bld_executor::image::named::NamedContext;
use bld_executor::image::options::ImageOptions;
use bld_executor::image::policy::PullPolicy;
use bld_executor::ssh::AgentSource;
use bld_executor::worker::NetworkPolicy;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_parser::check::CheckOptions;
use bld_solver::lower::LowerRequest;
use bld_solver::op::NetworkMode;
use bld_solver::remote::HttpSource;
use bld_solver::remote::Remote;

use super::call::Call;
use super::checked_outputs::check_mirrors;
use super::checked_outputs::check_outputs;
use super::checked_outputs::image_options;
use super::checks::ARGUMENT;
use super::collect::Collection;
use super::given::Entitlement;
use super::given::SecretSource;
use super::given::agents;
use super::given::entitlements;
use super::given::secrets;
use super::records::Records;
use super::values::build_args;
use super::values::bytes;
use super::values::extra_hosts;
use super::values::named_contexts;
use super::values::pairs;
use super::values::platforms;
use super::values::progress;
use super::values::pull_policy;
use crate::args::BuildArgs;
use crate::args::ContextPerms;
use crate::args::Network;
use crate::args::Progress;
use crate::commands::cache::limit::Limit;
use crate::commands::outputs;
use crate::commands::outputs::Output;
use crate::commands::outputs::OutputKind;
use crate::environment;
use crate::error::CommandError;

/// Host name of RUN steps, as BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";

/// A build, resolved.
#[derive(Debug)]
pub(super) struct BuildRequest {
    /// The main build context.
    pub(super) context: ContextSource,
    /// The Dockerfile.
    pub(super) dockerfile: DockerfilePath,
    /// Names for the local store.
    pub(super) tags: Vec<Reference>,
    /// Where else the result goes.
    pub(super) outputs: Vec<Output>,
    /// `--build-context`.
    pub(super) named: BTreeMap<String, NamedContext>,
    /// `--context-perms`.
    pub(super) permissions: ContextPermissions,
    /// The platforms to build for, each once.
    pub(super) platforms: Vec<Platform>,
    /// What lowering needs; its platform is the first of `platforms`.
    pub(super) lower: LowerRequest,
    /// `--pull`.
    pub(super) pull: PullPolicy,
    /// Registries that are spoken to over plain http, whatever the configuration says.
    pub(super) insecure: Vec<String>,
    /// `--secret`.
    pub(super) secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`.
    pub(super) agents: BTreeMap<String, AgentSource>,
    /// Network of RUN steps.
    pub(super) network: NetworkPolicy,
    /// `--fail-on-miss`: of all stages, or of one.
    #[expect(clippy::option_option, reason = "as on the command line")]
    pub(super) fail_on_miss: Option<Option<String>>,
    /// How many steps at once.
    pub(super) jobs: Option<NonZeroUsize>,
    /// How images are written, unless an output says otherwise.
    pub(super) images: ImageOptions,
    /// `--iidfile`.
    pub(super) iidfile: Option<PathBuf>,
    /// `--metadata-file`.
    pub(super) metadata_file: Option<PathBuf>,
    /// Where else the record of the build goes.
    pub(super) records: Records,
    /// How large the cache may be in the end.
    pub(super) cache_limit: Option<Limit>,
    /// Print nothing but the digest.
    pub(super) quiet: bool,
    /// `--call`.
    pub(super) call: Call,
    /// Silent traps are errors.
    pub(super) strict: bool,
    /// `--collect`.
    pub(super) collections: Vec<Collection>,
    /// What stands in for `# check=`.
    pub(super) checks: Option<CheckOptions>,
}

/// Where the main build context comes from.
#[derive(Debug, Clone)]
pub(super) enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// Standard input: an archive, or a Dockerfile.
    Stdin,
    /// A git repository, or the URL of an archive or a Dockerfile.
    Remote(Remote),
}

impl BuildRequest {
    /// Whether the image goes to the local store: with a name always, and if nothing else was asked for.
    pub(super) fn goes_to_store(&self) -> bool {
        self.outputs.is_empty() || !self.tags.is_empty() || self.outputs.iter().any(Output::is_stored)
    }

    /// How the image of an output is written.
    pub(super) fn options(&self, output: &Output) -> Result<ImageOptions, CommandError> {
        output.attributes.image(&self.images).map_err(CommandError::usage)
    }

    /// How the image is written that the build is known by: the one in the local store, else that of the first output.
    pub(super) fn main_options(&self) -> Result<ImageOptions, CommandError> {
        let stored = self.outputs.iter().find(|output| output.kind == OutputKind::Store);
        let first = self.outputs.iter().find(|output| output.is_image() && !self.goes_to_store());
        stored.or(first).map_or_else(|| Ok(self.images.clone()), |output| self.options(output))
    }

    /// Whether anything needs an image, and not only files: a file that says what its digests are does too.
    pub(super) fn wants_image(&self) -> bool {
        let is_described = self.iidfile.is_some() || self.metadata_file.is_some();
        is_described || self.goes_to_store() || self.outputs.iter().any(Output::is_image)
    }
}

/// Which Dockerfile.
#[derive(Debug, Clone)]
pub(super) enum DockerfilePath {
    /// `Dockerfile`, or else `dockerfile`, in the context.
    Default,
    /// `--file`: the path as typed, and resolved.
    Given(PathBuf, PathBuf),
    /// `--file -`: standard input.
    Stdin,
    /// `--file URL`.
    Remote(HttpSource),
}

impl DockerfilePath {
    /// Whether it has to be fetched.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, DockerfilePath::Remote(_))
    }
}

/// Resolves the flags.
pub(super) fn resolve(args: &BuildArgs) -> Result<BuildRequest, CommandError> {
    args.compatible.check()?;
    let mut context = context_source(&args.context)?;
    let dockerfile = match &args.file {
        None => DockerfilePath::Default,
        Some(path) if path == Path::new("-") => DockerfilePath::Stdin,
        Some(path) if remote(&path.to_string_lossy())?.is_some() => match remote(&path.to_string_lossy())? {
            Some(Remote::Http(http)) => DockerfilePath::Remote(http),
            _ => return Err(CommandError::usage("`-f` takes a file or the URL of one, not a git repository")),
        },
        Some(path) => DockerfilePath::Given(path.clone(), environment::absolute(path)?),
    };
    if matches!((&context, &dockerfile), (ContextSource::Stdin, DockerfilePath::Stdin)) {
        return Err(CommandError::usage("the build context and the Dockerfile cannot both come from standard input"));
    }
    let host = environment::host_platform();
    let platforms = platforms(&args.platforms, &host)?;
    let outputs = args.outputs.iter().map(|text| Output::parse(text)?.resolved(&environment::absolute));
    let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let iidfile = args.iidfile.as_deref().map(environment::absolute).transpose()?;
    let metadata_file = args.metadata_file.as_deref().map(environment::absolute).transpose()?;
    let records = Records::resolve(&args.records)?;
    let described = [&iidfile, &metadata_file, &records.report, &records.trace];
    let files: Vec<&Path> = described.into_iter().filter_map(|path| path.as_deref()).collect();
    outputs::check(&outputs, &files, std::io::stdout().is_terminal())?;
    if args.push {
        let kind = OutputKind::Registry { by_digest: false, insecure: false, stored: false };
        outputs.push(Output::plain(kind));
    }
    let insecure = insecure_registries(&outputs, &args.tags)?;
    if args.compatible.load {
        outputs.push(Output::plain(OutputKind::Store));
        outputs.push(Output::plain(OutputKind::Engine { context: None, required: false }));
    }
    let mut lower = plain_request(platforms.first().unwrap_or(&host));
    lower.target.clone_from(&args.target);
    lower.build_args = build_args(&args.build_args)?;
    if let (ContextSource::Remote(Remote::Git(git)), Some(keep)) =
        (&mut context, lower.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR"))
    {
        git.keep_git_dir |= matches!(keep.as_str(), "1" | "true" | "True" | "TRUE" | "t" | "T");
    }
    lower.source_date_epoch = match lower.build_args.get("SOURCE_DATE_EPOCH") {
        Some(_) => None,
        None => environment::source_date_epoch()?,
    };
    let checks = lower.build_args.get(ARGUMENT).map(|text| CheckOptions::parse(text)).transpose();
    let checks = checks.map_err(|error| CommandError::usage(format!("`--build-arg {ARGUMENT}=...`: {error}")))?;
    lower.labels = pairs("--label", &args.labels)?;
    let steps = args.no_cache.iter().flat_map(|value| value.split(','));
    for value in steps {
        match value {
            // docker's way to say it.
            "true" => lower.no_cache = true,
            "false" => lower.no_cache = false,
            "" => return Err(CommandError::usage("`--no-cache=` needs a stage, or STAGE:N for a step")),
            step => lower.no_cache_steps.push(step.to_owned()),
        }
    }
    lower.no_cache_filter.clone_from(&args.no_cache_filter);
    lower.network = if args.network == Network::None { NetworkMode::None } else { NetworkMode::Default };
    let allowed = entitlements(&args.allow)?;
    lower.allow_host_network = args.network == Network::Host || allowed.contains(&Entitlement::HostNetwork);
    lower.allow_insecure = allowed.contains(&Entitlement::Insecure);
    let images = image_options(args)?;
    check_outputs(&outputs, &images, &platforms, lower.source_date_epoch, &lower.build_args)?;
    check_mirrors(&outputs, &allowed)?;
    lower.extra_hosts = extra_hosts(&args.add_hosts)?;
    lower.shm_size = args.shm_size.as_deref().map(bytes).transpose()?;
    Ok(BuildRequest {
        context,
        dockerfile,
        tags: args.tags.iter().map(|tag| crate::reference::parse(tag)).collect::<Result<_, _>>()?,
        outputs,
        named: named_contexts(&args.build_contexts)?,
        permissions: match args.context_perms {
            ContextPerms::Keep => ContextPermissions::Keep,
            ContextPerms::Git => ContextPermissions::Git,
        },
        platforms,
        lower,
        pull: pull_policy(args.pull.as_deref())?,
        insecure,
        secrets: secrets(&args.secrets)?,
        agents: agents(&args.ssh)?,
        network: match args.network {
            Network::Default | Network::None => NetworkPolicy::PrivateOrHost,
            Network::Private => NetworkPolicy::Private,
            Network::Host => NetworkPolicy::Host,
        },
        fail_on_miss: args.fail_on_miss.clone(),
        jobs: args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize)),
        images,
        iidfile,
        metadata_file,
        cache_limit: Limit::of_environment()?,
        records,
        quiet: args.quiet || progress(args)? == Progress::Quiet,
        call: Call::parse(if args.check { "check" } else { args.call.as_deref().unwrap_or("build") })?,
        strict: args.strict,
        collections: args.collect.iter().map(|text| Collection::parse(text)).collect::<Result<_, _>>()?,
        checks,
    })
}

/// The registries of `registry.insecure`. An image that is pushed needs a name that says where.
fn insecure_registries(outputs: &[Output], tags: &[String]) -> Result<Vec<String>, CommandError> {
    let mut registries = Vec::new();
    for output in outputs {
        let OutputKind::Registry { insecure, .. } = output.kind else { continue };
        if output.names.is_empty() && tags.is_empty() {
            return Err(CommandError::usage("an image that is pushed needs a name that says where")
                .hint("`--tag REGISTRY/NAME:TAG`, or `-o type=registry,name=REGISTRY/NAME:TAG`"));
        }
        for name in output.names.iter().chain(tags).filter(|_| insecure) {
            registries.push(crate::reference::parse(name)?.domain().to_owned());
        }
    }
    Ok(registries)
}

/// A request without any wish.
pub(in crate::commands) fn plain_request(platform: &Platform) -> LowerRequest {
    LowerRequest {
        target: None,
        build_args: BTreeMap::new(),
        platform: platform.clone(),
        build_platform: environment::host_platform(),
        source_date_epoch: None,
        context_time: None,
        ignore: None,
        labels: Vec::new(),
        no_cache: false,
        no_cache_filter: Vec::new(),
        no_cache_steps: Vec::new(),
        network: NetworkMode::Default,
        allow_host_network: false,
        allow_insecure: false,
        hostname: HOSTNAME.to_owned(),
        extra_hosts: Vec::new(),
        shm_size: None,
    }
}

/// What a text names on the network.
fn remote(text: &str) -> Result<Option<Remote>, CommandError> {
    Remote::parse(text).map_err(|error| CommandError::usage(error.to_string()).maybe_hint(error.hint()))
}

fn context_source(path: &Path) -> Result<ContextSource, CommandError> {
    let shown = path.display();
    if path == Path::new("-") {
        return Ok(ContextSource::Stdin);
    }
    // A directory of that name wins over what the name means elsewhere.
    if !path.is_dir()
        && let Some(remote) = remote(&path.to_string_lossy())?
    {
        return Ok(ContextSource::Remote(remote));
    }
    let resolved = environment::absolute(path)?;
    match std::fs::metadata(&resolved) {
        Ok(status) if status.is_dir() => Ok(ContextSource::Directory(resolved)),
        Ok(_) => Err(CommandError::failed(format!("the build context `{shown}` is not a directory"))
            .hint(format!("to build the Dockerfile `{shown}`, write `bld build -f {shown} DIRECTORY`"))),
        Err(error) => Err(CommandError::failed(format!("cannot open the build context `{shown}`: {error}"))),
    }
}
