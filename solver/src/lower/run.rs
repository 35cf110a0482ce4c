//! RUN.

use bld_oci::ImagePath;
use bld_parser::ast::CommandLine;
use bld_parser::ast::Located;
use bld_parser::ast::Run;
use bld_parser::ast::RunScript;
use bld_parser::ast::Word;
use bld_parser::suggest::did_you_mean;

use super::globals::PROXIES;
use super::history;
use super::stage::Lowering;
use super::stage::StageState;
use crate::op::Exec;
use crate::op::NetworkMode;
use crate::op::Op;
use crate::op::Script;
use crate::op::SecurityMode;

/// Where a script that a RUN brings along appears.
const SCRIPTS: &str = "/dev/pipes";

impl Lowering<'_> {
    pub(super) fn run(&mut self, state: &mut StageState, run: &Run, located: &Located) {
        for device in &run.devices {
            let hint = "take the flag away; `RUN --security=insecure` has /dev/fuse, /dev/kvm and /dev/net/tun of this machine";
            let message = "`RUN --device` is not supported".to_owned();
            self.report.error("Unsupported", device.span, message, Some(hint.to_owned()));
        }
        let network = self.network(run.network.as_ref());
        let security = self.security(run.security.as_ref());
        let (mounts, mounted) = self.mounts(state, &run.mounts);
        if let CommandLine::Shell(text) = &run.command {
            state.scope.note_exports(text);
        }
        let (args, script) = command(state, run);
        let env = state.scope.run_env();
        let is_set = |name: &str| env.iter().any(|(known, _)| known == name) || state.scope.args.contains(name);
        // Whichever way a proxy is written, programs find it in both: some look for one only.
        let unkeyed_env = PROXIES
            .iter()
            .filter_map(|(upper, lower)| {
                let value = self.globals.build_arg(lower).or_else(|| self.globals.build_arg(upper))?;
                Some([upper, lower].map(|name| ((*name).to_owned(), value.to_owned())))
            })
            .flatten()
            .filter(|(name, value)| !value.is_empty() && !is_set(name))
            .collect();
        let created_by = history::run(&args, &state.scope.seen_args());
        let hostname = self.globals.build_arg("BUILDKIT_SANDBOX_HOSTNAME").unwrap_or(&self.request.hostname);
        let op = Op::Exec(Exec {
            args,
            env,
            unkeyed_env,
            cwd: state.directory(),
            user: state.config.container.user.clone(),
            network,
            security,
            mounts,
            hostname: hostname.to_owned(),
            extra_hosts: self.request.extra_hosts.clone(),
            script,
            shm_size: self.request.shm_size,
            platform: state.platform.clone(),
        });
        let vertex = state.describe(op, &shown(run, located), located.span);
        let vertex = self.graph.add(vertex, std::iter::once(state.vertex).chain(mounted));
        state.advance(vertex, created_by, located.span);
    }

    fn network(&mut self, word: Option<&Word>) -> NetworkMode {
        let Some(word) = word else { return self.request.network };
        match word.raw.as_str() {
            "default" => self.request.network,
            "none" => NetworkMode::None,
            "host" => {
                if !self.request.allow_host_network {
                    let message = "`RUN --network=host` is not allowed".to_owned();
                    let hint = "allow it for this build with `--allow network.host`".to_owned();
                    self.report.error("NetworkHostNotAllowed", word.span, message, Some(hint));
                }
                NetworkMode::Host
            }
            other => {
                let message = format!("`{other}` is not a network mode");
                let hint = did_you_mean(other, ["default", "none", "host"]);
                let hint = hint.or_else(|| Some("write `default`, `none` or `host`".to_owned()));
                self.report.error("InvalidNetwork", word.span, message, hint);
                NetworkMode::Default
            }
        }
    }

    fn security(&mut self, word: Option<&Word>) -> SecurityMode {
        let Some(word) = word else { return SecurityMode::Sandbox };
        match word.raw.as_str() {
            "sandbox" => SecurityMode::Sandbox,
            "insecure" => {
                if !self.request.allow_insecure {
                    let message = "`RUN --security=insecure` is not allowed".to_owned();
                    let hint = "allow it for this build with `--allow security.insecure`".to_owned();
                    self.report.error("InsecureNotAllowed", word.span, message, Some(hint));
                }
                SecurityMode::Insecure
            }
            other => {
                let message = format!("`{other}` is not a security mode");
                let hint = did_you_mean(other, ["sandbox", "insecure"]);
                let hint = hint.or_else(|| Some("write `sandbox` or `insecure`".to_owned()));
                self.report.error("InvalidSecurity", word.span, message, hint);
                SecurityMode::Sandbox
            }
        }
    }
}

/// The argument vector, and the script it starts if the RUN brings one along.
fn command(state: &StageState, run: &Run) -> (Vec<String>, Option<Script>) {
    if let (RunScript::Shebang, Some(heredoc)) = (run.script, run.heredocs.first()) {
        let path = ImagePath::new(SCRIPTS).join(&heredoc.name);
        let args = with_shell(state, &CommandLine::Shell(path.to_string()));
        return (args, Some(Script { path, body: heredoc.body.clone() }));
    }
    (with_shell(state, &run.command), None)
}

/// The argument vector of a command: a shell-form one is handed to the SHELL in force.
pub(super) fn with_shell(state: &StageState, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(arguments) => arguments.clone(),
        CommandLine::Shell(text) => {
            let shell = state.config.container.shell.clone();
            let mut arguments = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            arguments.push(text.clone());
            arguments
        }
    }
}

/// A script's first line says more than `<<EOF`.
fn shown(run: &Run, located: &Located) -> String {
    let heredoc = match run.script {
        RunScript::Body | RunScript::Shebang => run.heredocs.first(),
        RunScript::None | RunScript::Shell => None,
    };
    let Some(heredoc) = heredoc else { return located.text.clone() };
    let mut lines = heredoc.body.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (None, _) => located.text.clone(),
        (Some(line), None) => format!("{} ({line})", located.text),
        (Some(line), Some(_)) => format!("{} ({line}...)", located.text),
    }
}
