//! Instructions that change the configuration; WORKDIR also makes its directory.

use std::collections::HashSet;

use bld_oci::image::HealthcheckConfig;
use bld_parser::ast::ArgInstruction;
use bld_parser::ast::CommandLine;
use bld_parser::ast::Healthcheck;
use bld_parser::ast::Instruction;
use bld_parser::ast::KeyValues;
use bld_parser::ast::Located;
use bld_parser::ast::Word;
use bld_parser::source::Span;

use super::history;
use super::run::with_shell;
use super::scope::Scope;
use super::stage::Lowering;
use super::stage::StageState;
use super::values;
use super::words;
use super::words::Variables;
use crate::op::FileAction;
use crate::op::FileOp;
use crate::op::Mkdir;
use crate::op::Op;

impl Lowering<'_> {
    /// Everything that makes no vertex.
    pub(super) fn setting(&mut self, state: &mut StageState, instruction: &Instruction, span: Span) {
        match instruction {
            Instruction::Arg(arg) => self.arg(state, arg, span),
            Instruction::Env(pairs) => {
                if let Some(pairs) = self.pairs(state, pairs, true) {
                    state.step(history::pairs("ENV", &pairs), None, span);
                    for (name, value) in pairs {
                        state.scope.set_env(name, value);
                    }
                }
            }
            Instruction::Label(pairs) => {
                if let Some(pairs) = self.pairs(state, pairs, false) {
                    state.step(history::pairs("LABEL", &pairs), None, span);
                    state.config.container.labels.extend(pairs);
                }
            }
            Instruction::Cmd(command) => {
                let arguments = with_shell(state, command);
                state.step(history::command("CMD", &arguments), None, span);
                state.config.container.cmd = Some(arguments);
                state.config.container.args_escaped = true;
                state.command_set = true;
            }
            Instruction::Entrypoint(command) => {
                let arguments = with_shell(state, command);
                state.step(history::command("ENTRYPOINT", &arguments), None, span);
                state.config.container.entrypoint = Some(arguments);
                // The base's CMD was meant for the base's ENTRYPOINT.
                if !state.command_set {
                    state.config.container.cmd = None;
                }
            }
            Instruction::Expose(ports) => self.expose(state, ports, span),
            Instruction::Healthcheck(check) => {
                let check = healthcheck(check);
                state.step(history::healthcheck(&check), None, span);
                state.config.container.healthcheck = Some(check);
            }
            Instruction::Maintainer(text) => {
                state.step(format!("MAINTAINER {}", text.value), None, span);
                state.config.author = Some(text.value.clone());
            }
            Instruction::Onbuild(onbuild) => state.config.container.on_build.push(onbuild.text.value.clone()),
            Instruction::Shell(shell) => {
                state.step(history::list("SHELL", shell), None, span);
                state.config.container.shell = Some(shell.clone());
            }
            Instruction::StopSignal(word) => self.stop_signal(state, word, span),
            Instruction::User(word) => {
                if let Some(user) = self.expand(state, word) {
                    state.step(format!("USER {user}"), None, span);
                    state.config.container.user = user;
                }
            }
            Instruction::Volume(volumes) => self.volume(state, volumes, span),
            // They make vertices: see `run`, `copy` and `workdir`.
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_) => {}
        }
    }

    pub(super) fn workdir(&mut self, state: &mut StageState, word: &Word, located: &Located) {
        let Some(text) = self.expand(state, word) else { return };
        let path = state.directory().join(&text);
        // An absolute path stays as it was written, a relative one is joined to what was in force: so others have it.
        let shown = if text.starts_with('/') { text } else { path.to_string() };
        let created_by = format!("WORKDIR {shown}");
        state.config.container.working_dir.clone_from(&shown);
        // Only what is spelled `/` is known to be there; any other way to write it has a layer, if an empty one.
        if shown == "/" {
            state.step(created_by, None, located.span);
            return;
        }
        let owner = match values::owner(&state.config.container.user) {
            Ok(owner) => owner,
            Err(message) => {
                self.report.error("InvalidOwner", word.span, message, Some("correct the USER before it".to_owned()));
                None
            }
        };
        let op = Op::File(FileOp { actions: vec![FileAction::Mkdir(Mkdir { path, owner })] });
        let vertex = state.describe(op, &located.text, located.span);
        let vertex = self.graph.add(vertex, [state.vertex]);
        state.advance(vertex, created_by, located.span);
    }

    fn arg(&mut self, state: &mut StageState, arg: &ArgInstruction, span: Span) {
        let mut shown = "ARG".to_owned();
        // Unlike those of ENV, the words of one ARG see each other, and a default that is not used is not looked at.
        for declaration in &arg.declarations {
            let name = &declaration.name.value;
            let value = match (self.globals.build_arg(name), &declaration.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(default)) => self.expand(state, default),
                (None, None) => self.globals.get(name).map(str::to_owned),
            };
            shown = match &value {
                Some(value) => format!("{shown} {name}={value}"),
                None => format!("{shown} {name}"),
            };
            self.globals.declare(name);
            state.scope.set_arg(name.clone(), value);
        }
        state.step(shown, None, span);
    }

    /// Expanded with what is in force before the instruction; `None` if anything is wrong.
    fn pairs(&mut self, state: &StageState, pairs: &KeyValues, of_variables: bool) -> Option<Vec<(String, String)>> {
        let mut expanded = Vec::with_capacity(pairs.pairs.len());
        let names = pairs.pairs.iter().filter(|_| of_variables).map(|(key, _)| key.raw.as_str()).collect();
        let variables = Siblings { scope: &state.scope, names };
        for (key, value) in &pairs.pairs {
            let name = self.expand(state, key);
            let value = words::expand(&mut self.report, value, state.escape, &variables);
            if name.as_ref().is_some_and(String::is_empty) {
                let hint = "give its variables a value first".to_owned();
                self.report.error("BlankName", key.span, format!("the name `{}` is empty", key.raw), Some(hint));
                continue;
            }
            expanded.extend(name.zip(value));
        }
        (expanded.len() == pairs.pairs.len()).then_some(expanded)
    }

    fn expose(&mut self, state: &mut StageState, words: &[Word], span: Span) {
        let mut exposed = Vec::new();
        // Their order shows in the history, and there it is BuildKit's: that of the words as they are written.
        let mut words: Vec<&Word> = words.iter().collect();
        words.sort_by(|a, b| a.raw.cmp(&b.raw));
        for word in words {
            let items = words::expand_words(&mut self.report, word, state.escape, &state.scope);
            for item in items.unwrap_or_default() {
                match values::ports(&item) {
                    Ok(found) => {
                        if let Some(protocol) = found.shouted {
                            let message = format!("the protocol `{protocol}` in EXPOSE should be in lower case");
                            let hint =
                                format!("write `EXPOSE {}`", item.replace(&protocol, &protocol.to_ascii_lowercase()));
                            self.report.warning("ExposeProtoCasing", word.span, message, Some(hint));
                        }
                        if found.host_part {
                            let message = format!("EXPOSE should not name an address or a port of the host: `{item}`");
                            let port = item.rsplit(':').next().unwrap_or(&item).to_ascii_lowercase();
                            let hint = format!("write `EXPOSE {port}` and publish the port when the container runs");
                            self.report.warning("ExposeInvalidFormat", word.span, message, Some(hint));
                        }
                        exposed.extend(found.exposed);
                    }
                    Err(message) => {
                        let hint = item.starts_with('#').then(|| "a comment needs a line of its own".to_owned());
                        self.report.error("InvalidPort", word.span, message, hint);
                    }
                }
            }
        }
        state.step(history::list("EXPOSE", &exposed), None, span);
        state.config.container.exposed_ports.extend(exposed);
    }

    fn stop_signal(&mut self, state: &mut StageState, word: &Word, span: Span) {
        let Some(signal) = self.expand(state, word) else { return };
        if !values::is_signal(&signal) {
            let hint = "write a name like `SIGTERM` or a number from 1 to 64".to_owned();
            self.report.error("InvalidSignal", word.span, format!("`{signal}` is not a signal"), Some(hint));
        }
        state.step(format!("STOPSIGNAL {signal}"), None, span);
        state.config.container.stop_signal = Some(signal);
    }

    fn volume(&mut self, state: &mut StageState, words: &[Word], span: Span) {
        let mut volumes = Vec::with_capacity(words.len());
        for word in words {
            let Some(path) = self.expand(state, word) else { continue };
            if path.trim().is_empty() {
                let message = format!("the path of the volume `{}` is empty", word.raw);
                let hint = "write a path, or give its variables a value first".to_owned();
                self.report.error("EmptyVolume", word.span, message, Some(hint));
            }
            volumes.push(path);
        }
        state.step(history::list("VOLUME", &volumes), None, span);
        state.config.container.volumes.extend(volumes);
    }
}

/// Variables in force, for the values of one ENV or LABEL that sets these names.
struct Siblings<'a> {
    scope: &'a Scope,
    names: HashSet<&'a str>,
}

impl Variables for Siblings<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.scope.get(name)
    }

    fn is_declared(&self, name: &str) -> bool {
        self.scope.is_declared(name)
    }

    fn names(&self) -> Vec<&str> {
        self.scope.names()
    }

    fn hint(&self, name: &str) -> Option<String> {
        if self.names.contains(name) {
            return Some(format!("what an instruction sets counts from the next one on: set `{name}` in one before"));
        }
        self.scope.hint(name)
    }

    fn is_known(&self, raw: &str, undefined: bool) -> bool {
        self.scope.is_known(raw, undefined)
    }
}

fn healthcheck(check: &Healthcheck) -> HealthcheckConfig {
    match check {
        Healthcheck::None => HealthcheckConfig { test: vec!["NONE".to_owned()], ..HealthcheckConfig::default() },
        Healthcheck::Command { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                CommandLine::Exec(arguments) => {
                    std::iter::once("CMD".to_owned()).chain(arguments.iter().cloned()).collect()
                }
            };
            HealthcheckConfig {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    }
}
