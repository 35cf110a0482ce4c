//! Dockerfiles and the plans they lower to, or what is wrong with them. Lines `#% key=value` of a Dockerfile are the request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bld_oci::image::ContainerConfig;
use bld_oci::image::ImageConfig;
use bld_oci::platform::Platform;
use bld_parser::diagnostic::Diagnostic;
use bld_solver::graph::Vertex;
use bld_solver::lower::LowerError;
use bld_solver::lower::LowerRequest;
use bld_solver::lower::Plan;
use bld_solver::lower::lower;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::Exec;
use bld_solver::op::FileAction;
use bld_solver::op::ModeChange;
use bld_solver::op::NetworkMode;
use bld_solver::op::Op;
use bld_solver::op::Owner;
use bld_solver::op::SecurityMode;
use bld_solver::op::Source;
use bld_solver::solve::Jobs;
use bld_solver::solve::prepare;
use bld_solver::solve::solve;
use serde_json::json;

use crate::fake::FakeError;
use crate::fake::FakeReporter;
use crate::fake::FakeResolver;
use crate::fake::FakeWorker;
use crate::golden;

#[test]
fn plans() {
    check("lower", "plan", 40, |text, outcome, resolver| {
        let plan = outcome.map_err(|errors| show_errors(text, &errors))?;
        check_layers(&plan);
        Ok(show_plan(text, &plan, resolver))
    });
}

#[test]
fn mistakes() {
    check("lower/err", "txt", 25, |text, outcome, _| match outcome {
        Ok(_) => Err("it should have failed".to_owned()),
        Err(errors) => Ok(show_errors(text, &errors)),
    });
}

/// Steps and layers agree whatever the Dockerfile, and a second build does nothing.
fn check_layers(plan: &Plan) {
    let mut worker = FakeWorker::default();
    worker.has_everything = true;
    let (reporter, jobs) = (FakeReporter::default(), Jobs::new(None));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let image = &plan.images[0];
    let solve = || {
        let solved = async {
            let prepared = prepare(&plan.graph, &[image.target], &worker, &reporter).await?;
            solve(&plan.graph, &prepared, &worker, &reporter, &jobs).await
        };
        runtime.block_on(solved).unwrap()
    };
    let made = image.steps.iter().filter(|step| step.vertex.is_some()).count();
    let cold = solve();
    assert_eq!(cold[0].state.layers.len(), image.base_layers.len() + made);
    worker.executed();
    if !plan.graph.iter().any(|(_, vertex)| vertex.no_cache) {
        assert_eq!(solve(), cold);
        assert!(worker.executed().is_empty());
    }
}

pub(crate) type Outcome = Result<Plan, Vec<LowerError<FakeError>>>;

fn check(
    directory: &str,
    extension: &str,
    at_least: usize,
    show: impl Fn(&str, Outcome, &FakeResolver) -> Result<String, String>,
) {
    let directory = golden::testdata(directory);
    let mut failures = Vec::new();
    let mut count = 0;
    let mut entries: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries.iter().filter(|path| path.extension().is_some_and(|found| found == "Dockerfile")) {
        count += 1;
        let text = fs::read_to_string(path).unwrap();
        let resolver = resolver();
        match show(&text, lowered(path, &text, &resolver), &resolver) {
            Ok(shown) => failures.extend(golden::compare(&path.with_extension(extension), &shown).err()),
            Err(message) => failures.push(format!("{}: {message}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= at_least, "only {count} Dockerfiles in {}", directory.display());
}

pub(crate) fn lowered(path: &Path, text: &str, resolver: &FakeResolver) -> Outcome {
    let parsed = bld_parser::parse(text.as_bytes());
    let Some(dockerfile) = parsed.dockerfile else {
        panic!("{}: {:?}", path.display(), parsed.diagnostics);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(movable(lower(&dockerfile, &request(text), resolver)))
}

fn request(text: &str) -> LowerRequest {
    let mut request = LowerRequest {
        target: None,
        build_args: BTreeMap::new(),
        platform: "linux/amd64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
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
        hostname: "buildkitsandbox".to_owned(),
        extra_hosts: Vec::new(),
        shm_size: None,
    };
    for option in text.lines().filter_map(|line| line.strip_prefix("#% ")) {
        let (key, value) = option.split_once('=').unwrap();
        let pair = || value.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        match key {
            "target" => request.target = Some(value.to_owned()),
            "arg" => request.build_args.extend([pair()]),
            "platform" => request.platform = value.parse().unwrap(),
            "epoch" => request.source_date_epoch = Some(value.parse().unwrap()),
            "label" => request.labels.push(pair()),
            "no-cache" => request.no_cache = value == "true",
            "no-cache-filter" => request.no_cache_filter.push(value.to_owned()),
            "no-cache-step" => request.no_cache_steps.push(value.to_owned()),
            "allow-insecure" => request.allow_insecure = value == "true",
            "allow-host-network" => request.allow_host_network = value == "true",
            "network" => request.network = if value == "none" { NetworkMode::None } else { NetworkMode::Host },
            "host" => request.extra_hosts.push(pair()),
            "shm-size" => request.shm_size = Some(value.parse().unwrap()),
            _ => panic!("unknown option {key}"),
        }
    }
    request
}

pub(crate) fn resolver() -> FakeResolver {
    let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let history = |items: serde_json::Value| {
        items.as_array().unwrap().iter().map(|item| item.as_object().unwrap().clone()).collect::<Vec<_>>()
    };
    let alpine = ImageConfig {
        container: ContainerConfig {
            env: strings(&["PATH=/usr/bin:/bin"]),
            cmd: Some(strings(&["/bin/sh"])),
            working_dir: "/".to_owned(),
            ..ContainerConfig::default()
        },
        history: history(
            json!([{"created_by": "ADD rootfs"}, {"created_by": "CMD [\"/bin/sh\"]", "empty_layer": true}]),
        ),
        ..ImageConfig::default()
    };
    let full = ImageConfig {
        author: Some("somebody".to_owned()),
        created: Some("2020-01-01T00:00:00Z".to_owned()),
        container: ContainerConfig {
            user: "app:staff".to_owned(),
            exposed_ports: strings(&["80/tcp"]).into_iter().collect(),
            env: strings(&["LANG=C", "PATH=/opt/bin"]),
            entrypoint: Some(strings(&["/entry"])),
            cmd: Some(strings(&["serve"])),
            volumes: strings(&["/data"]).into_iter().collect(),
            working_dir: "/srv".to_owned(),
            labels: BTreeMap::from([("a".to_owned(), "base".to_owned()), ("b".to_owned(), "base".to_owned())]),
            stop_signal: Some("SIGQUIT".to_owned()),
            shell: Some(strings(&["/bin/bash", "-c"])),
            extra: BTreeMap::from([("Hostname".to_owned(), json!("x"))]),
            ..ContainerConfig::default()
        },
        extra: BTreeMap::from([("os.version".to_owned(), json!("1")), ("docker_version".to_owned(), json!("2"))]),
        ..ImageConfig::default()
    };
    let on_build = |triggers: &[&str]| ImageConfig {
        container: ContainerConfig { on_build: strings(triggers), ..ContainerConfig::default() },
        ..ImageConfig::default()
    };
    let foreign = ImageConfig { os: "linux".to_owned(), architecture: "s390x".to_owned(), ..ImageConfig::default() };
    let images = [
        ("alpine", alpine.clone()),
        ("tools", alpine.clone()),
        ("pinned", alpine),
        ("full", full),
        ("bare", ImageConfig::default()),
        ("foreign", foreign),
        ("onbuild", on_build(&["COPY . /app", "RUN make $X", "ENV BUILT=yes"])),
        ("onbuild-from", on_build(&["COPY --from=assets /a /a", "COPY --from=tools /t /t"])),
        ("onbuild-bad", on_build(&["FOO bar", "RUN --mount=target=/x true"])),
    ];
    FakeResolver {
        images: images.into_iter().map(|(name, config)| (name.to_owned(), config)).collect(),
        contexts: strings(&["files", "remote-git", "remote-tgz"]).into_iter().collect(),
        pinned: strings(&["pinned"]).into_iter().collect(),
        ..FakeResolver::default()
    }
}

fn show_errors(text: &str, errors: &[LowerError<FakeError>]) -> String {
    errors.iter().map(|error| show_diagnostic(text, &error.diagnostic())).collect()
}

fn show_diagnostic(text: &str, diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, message, span, hint, .. } = diagnostic;
    let line = text[..span.start as usize].matches('\n').count() + 1;
    let part = &text[span.start as usize..span.end as usize];
    let hint = hint.as_ref().map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
    format!("{code} at {line}: {part:?}\n    {message}{hint}\n")
}

fn show_plan(text: &str, plan: &Plan, resolver: &FakeResolver) -> String {
    let mut out = String::new();
    for (id, vertex) in plan.graph.iter() {
        let inputs: Vec<String> = plan.graph.inputs(id).iter().map(|input| input.index().to_string()).collect();
        let inputs = if inputs.is_empty() { String::new() } else { format!(" <- {}", inputs.join(" ")) };
        let Vertex { op, name, stage, no_cache, exported, .. } = vertex;
        writeln!(out, "{}{inputs}: {name}", id.index()).unwrap();
        let flag = |set: &bool, name| if *set { name } else { "" };
        let flags = format!("{}{}", flag(no_cache, " no-cache"), flag(exported, " exported"));
        writeln!(out, "    stage {stage:?}{flags}").unwrap();
        show_op(&mut out, op);
    }
    let image = &plan.images[0];
    writeln!(out, "target {}, {}", image.target.index(), image.platform).unwrap();
    for entry in &image.base_history {
        writeln!(out, "base history {}", serde_json::to_string(entry).unwrap()).unwrap();
    }
    writeln!(out, "base layers {}", image.base_layers.len()).unwrap();
    for step in &image.steps {
        assert_eq!(step.comment, "buildkit.dockerfile.v0");
        let vertex = step.vertex.map_or_else(|| "-".to_owned(), |vertex| vertex.index().to_string());
        writeln!(out, "step {vertex}: {}", step.created_by.replace('\n', "\\n")).unwrap();
    }
    show_config(&mut out, &image.config);
    if let Some(epoch) = image.source_date_epoch {
        writeln!(out, "epoch {epoch}").unwrap();
    }
    for warning in &plan.warnings {
        write!(out, "warning {}", show_diagnostic(text, warning)).unwrap();
    }
    for (name, list) in [("unused", &plan.unused_build_args), ("skipped", &plan.skipped_stages)] {
        if !list.is_empty() {
            writeln!(out, "{name} {list:?}").unwrap();
        }
    }
    writeln!(out, "resolved {:?}", resolver.asked.lock().unwrap()).unwrap();
    out
}

fn show_op(out: &mut String, op: &Op) {
    match op {
        Op::Source(Source::Image { layers }) => writeln!(out, "    image of {} layers", layers.len()).unwrap(),
        Op::Source(Source::Local { context }) => writeln!(out, "    local {context}").unwrap(),
        Op::Source(Source::Http(http)) => {
            let checksum = http.checksum.map(|digest| format!(", {digest}")).unwrap_or_default();
            writeln!(out, "    http {} as {:?}{checksum}", http.url, http.name).unwrap();
        }
        Op::Source(Source::Git(git)) => {
            let flags =
                [(git.submodules, ", submodules"), (git.keep_git_dir, ", .git"), (git.commit_time, ", commit time")];
            let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            let (reference, checksum) =
                (git.reference.as_deref().unwrap_or("-"), git.checksum.as_deref().unwrap_or("-"));
            writeln!(out, "    git {} {reference} {checksum} {:?}{flags}", git.remote, git.subdirectory).unwrap();
        }
        Op::Merge => writeln!(out, "    merge").unwrap(),
        Op::Exec(exec) => show_exec(out, exec),
        Op::File(file) => {
            for action in &file.actions {
                show_action(out, action);
            }
        }
    }
}

fn show_exec(out: &mut String, exec: &Exec) {
    let Exec {
        args,
        env,
        unkeyed_env,
        cwd,
        user,
        network,
        security,
        mounts,
        hostname,
        extra_hosts,
        script,
        shm_size,
        platform,
    } = exec;
    writeln!(out, "    exec {args:?}").unwrap();
    writeln!(out, "    env {:?}", env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
        .unwrap();
    let mut rest = format!("cwd {cwd}, user {user:?}, network {network:?}, host {hostname}, {platform}");
    if !unkeyed_env.is_empty() {
        write!(rest, ", unkeyed {unkeyed_env:?}").unwrap();
    }
    if !extra_hosts.is_empty() {
        write!(rest, ", hosts {extra_hosts:?}").unwrap();
    }
    if let Some(size) = shm_size {
        write!(rest, ", shm {size}").unwrap();
    }
    if let Some(script) = script {
        write!(rest, ", script {} {:?}", script.path, script.body).unwrap();
    }
    if *security == SecurityMode::Insecure {
        rest.push_str(", insecure");
    }
    writeln!(out, "    {rest}").unwrap();
    for mount in mounts {
        // The order of fields is that of the source.
        writeln!(out, "    {mount:?}").unwrap();
    }
}

fn show_action(out: &mut String, action: &FileAction) {
    let place = |to: &Destination| format!("{}{}", to.path, if to.is_directory { " (directory)" } else { "" });
    let by = |owner: &Option<Owner>| match owner {
        None => String::new(),
        Some(Owner { user, group }) => format!(", owner {user}:{}", group.as_deref().unwrap_or("-")),
    };
    let bits = |mode: &ModeChange| match mode {
        ModeChange::Absolute(bits) => format!(", mode {bits:04o}"),
        ModeChange::Symbolic(text) => format!(", mode {text}"),
    };
    match action {
        FileAction::Copy(copy) => {
            let from = match &copy.from {
                CopyFrom::Context(name) => name.clone(),
                CopyFrom::Input(index) => format!("input {}", index.0),
            };
            let mut line = format!("copy {from}: {:?} to {}", copy.selector.sources, place(&copy.destination));
            line += &by(&copy.owner);
            line += &copy.mode.as_ref().map(bits).unwrap_or_default();
            if copy.selector.parents {
                line += ", parents";
            }
            if !copy.selector.exclude.is_empty() {
                write!(line, ", exclude {:?}", copy.selector.exclude).unwrap();
            }
            match copy.unpack {
                None => line += ", unpack archives",
                Some(true) => line += ", unpack",
                Some(false) => {}
            }
            writeln!(out, "    {line}").unwrap();
        }
        FileAction::Mkfile(file) => writeln!(
            out,
            "    mkfile {} to {}{}{}: {:?}",
            file.name,
            place(&file.destination),
            file.mode.as_ref().map(bits).unwrap_or_default(),
            by(&file.owner),
            String::from_utf8_lossy(&file.body)
        )
        .unwrap(),
        FileAction::Mkdir(directory) => {
            writeln!(out, "    mkdir {}{}", directory.path, by(&directory.owner)).unwrap();
        }
    }
}

fn show_config(out: &mut String, config: &ImageConfig) {
    assert!(config.created.is_none() && config.history.is_empty() && config.diff_ids.is_empty());
    let platform =
        Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: config.variant.clone() };
    writeln!(out, "config {platform}").unwrap();
    let mut line = |name: &str, value: String| writeln!(out, "    {name} {value}").unwrap();
    let ContainerConfig { user, exposed_ports, env, entrypoint, cmd, volumes, working_dir, labels, .. } =
        &config.container;
    let ContainerConfig { stop_signal, healthcheck, on_build, shell, args_escaped, extra, .. } = &config.container;
    line("env", format!("{env:?}"));
    line("workdir", format!("{working_dir:?}"));
    for (name, value, is_set) in [
        ("author", format!("{:?}", config.author), config.author.is_some()),
        ("extra", format!("{:?}", config.extra), !config.extra.is_empty()),
        ("user", format!("{user:?}"), !user.is_empty()),
        ("ports", format!("{exposed_ports:?}"), !exposed_ports.is_empty()),
        ("entrypoint", format!("{entrypoint:?}"), entrypoint.is_some()),
        ("cmd", format!("{cmd:?}"), cmd.is_some()),
        ("args escaped", String::new(), *args_escaped),
        ("volumes", format!("{volumes:?}"), !volumes.is_empty()),
        ("labels", format!("{labels:?}"), !labels.is_empty()),
        ("stop signal", format!("{stop_signal:?}"), stop_signal.is_some()),
        ("healthcheck", format!("{healthcheck:?}"), healthcheck.is_some()),
        ("onbuild", format!("{on_build:?}"), !on_build.is_empty()),
        ("shell", format!("{shell:?}"), shell.is_some()),
        ("container extra", format!("{extra:?}"), !extra.is_empty()),
    ] {
        if is_set {
            line(name, value);
        }
    }
}

/// A lowering can move between threads.
fn movable<F: Future + Send>(future: F) -> F {
    future
}
