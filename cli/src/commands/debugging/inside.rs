//! A shell or a command in the files of a step.

use bld_executor::run::Container;
use bld_executor::run::cgroup::Limits;
use bld_executor::run::request::RunNetwork;
use bld_executor::run::request::RunRequest;
use bld_executor::sandbox::Helper;
use bld_solver::record::exec::ExecFacts;
use bld_solver::record::exec::ExecNetwork;

use super::files;
use super::files::StepFiles;
use super::files::Wanted;
use crate::args::debugging::ExecArgs;
use crate::args::debugging::InStep;
use crate::args::debugging::ShellArgs;
use crate::commands::Session;
use crate::commands::run;
use crate::environment;
use crate::error::CommandError;
use crate::ui::one_line;
use crate::ui::plain::write_line;

/// Where every image has one that has any.
const SHELL: &str = "/bin/sh";

/// Host name inside if the step does not say.
const HOSTNAME: &str = "bld";

/// `bld shell`.
pub(in crate::commands) fn shell(session: &Session, args: &ShellArgs) -> Result<(), CommandError> {
    let is_terminal = run::stdin_is_terminal();
    let shell = |facts: Option<&ExecFacts>| {
        let given = args.shell.as_deref().or(facts.and_then(ExecFacts::shell));
        vec![given.unwrap_or(SHELL).to_owned()]
    };
    process(session, args.step.as_deref(), &args.inside, is_terminal, &shell).map_err(|error| {
        if args.shell.is_none() && error.has_code(run::NOT_FOUND) {
            return error.hint("`--shell PROGRAM` chooses a shell that is there; `bld cp STEP:/PATH .` needs none");
        }
        error
    })
}

/// `bld exec`.
pub(in crate::commands) fn exec(session: &Session, args: &ExecArgs) -> Result<(), CommandError> {
    if args.tty && !run::stdin_is_terminal() {
        return Err(CommandError::usage("`-t` needs a terminal, and standard input is none").hint("leave it out"));
    }
    process(session, Some(&args.step), &args.inside, args.tty, &|_| args.command.clone())
}

fn process(
    session: &Session,
    step: Option<&str>,
    args: &InStep,
    terminal: bool,
    command: &dyn Fn(Option<&ExecFacts>) -> Vec<String>,
) -> Result<(), CommandError> {
    let working_directory = args.workdir.as_deref().map(run::request::working_directory).transpose()?;
    let network = args.network.as_deref().map(run::request::network).transpose()?;
    let env = args.env.iter().map(|text| run::request::variable(text)).collect::<Result<Vec<_>, _>>()?;
    // Before any thread exists.
    let helper = Helper::start()?;
    let store = session.open_existing_store()?;
    let lease = store.lease()?;
    let found = files::find(&store, Wanted { build: args.build.as_deref(), step, before: args.before })?;
    let facts = found.facts.as_ref();
    let request = RunRequest {
        command: command(facts),
        entrypoint: None,
        env,
        user: args.user.clone(),
        working_directory,
        hostname: facts.map_or(HOSTNAME, |facts| facts.hostname.as_str()).to_owned(),
        hosts: facts.map(|facts| facts.hosts.clone()).unwrap_or_default(),
        network: network.unwrap_or_else(|| network_of(facts)),
        ports: Vec::new(),
        publish_all: false,
        mounts: Vec::new(),
        limits: Limits::default(),
        ulimits: Vec::new(),
        capabilities: None,
        no_new_privileges: false,
        read_only: false,
        shm_size: facts.and_then(|facts| facts.shm_size),
        terminal,
    };
    for note in notes(&found, &request) {
        write_line(&format!("note: {}", one_line(&note)));
    }
    let files = files::unpacked(session, &store, &found.layers)?;
    let container = Container::in_step(&store, session.identity, &files, &found.layers, facts, &request)
        .map_err(|error| run::run_error(&error))?;
    let ended = run::in_step(container, &helper, terminal);
    drop(lease);
    ended
}

fn network_of(facts: Option<&ExecFacts>) -> RunNetwork {
    match facts.map(|facts| facts.network) {
        Some(ExecNetwork::None) => RunNetwork::None,
        Some(ExecNetwork::Host) => RunNetwork::Host,
        Some(ExecNetwork::Default) | None => RunNetwork::PrivateOrHost,
    }
}

/// How this differs from what the step saw.
fn notes(found: &StepFiles, request: &RunRequest) -> Vec<String> {
    let mut notes = found.notes.clone();
    notes.extend(found.borrowed.clone());
    let Some(facts) = &found.facts else { return notes };
    notes.extend(facts.mounts.iter().map(|mount| format!("RUN --mount={mount} is not there")));
    if facts.insecure {
        notes.push("RUN --security=insecure: here the process has the usual rights only".to_owned());
    }
    let is_given = |name: &&String| request.env.iter().any(|variable| variable.name() == name.as_str());
    for name in facts.left_out.iter().filter(|name| !is_given(name)) {
        notes.push(format!("{name} is not set: `-e {name}` passes it on"));
    }
    let host = environment::host_platform();
    if facts.platform != host.to_string() {
        notes.push(format!("the step ran on {}, this machine is {host}", facts.platform));
    }
    notes
}
