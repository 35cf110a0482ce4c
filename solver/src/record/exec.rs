//! What a RUN step ran with, as far as a shell needs it that is to see what the step saw.
//!
//! No secret and no agent is in it, and no value of a proxy variable: those may hold passwords. Environment and arguments are what an image says
//! of itself, but for build arguments, which its history has.

use serde::Deserialize;
use serde::Serialize;

use crate::op::Exec;
use crate::op::ExecMount;
use crate::op::MountContent;
use crate::op::NetworkMode;
use crate::op::SecurityMode;

/// What a RUN step ran with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFacts {
    /// The argument vector.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Variables whose values are not kept: proxies.
    pub left_out: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// `USER` as in the image configuration; empty = root.
    pub user: String,
    /// Network mode.
    pub network: ExecNetwork,
    /// The platform it ran on.
    pub platform: String,
    /// Host name inside.
    pub hostname: String,
    /// Lines of /etc/hosts: name, address.
    pub hosts: Vec<(String, String)>,
    /// Size of /dev/shm in bytes, if one was asked for.
    pub shm_size: Option<u64>,
    /// It ran with `--security=insecure`.
    pub insecure: bool,
    /// What was mounted, one each: `type=cache,target=/root/.cache`.
    pub mounts: Vec<String>,
}

/// The network of a RUN step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecNetwork {
    /// The build's.
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

impl ExecFacts {
    /// What is to be remembered of a step.
    pub fn of(exec: &Exec) -> ExecFacts {
        ExecFacts {
            args: exec.args.clone(),
            env: exec.env.clone(),
            left_out: exec.unkeyed_env.iter().map(|(name, _)| name.clone()).collect(),
            cwd: exec.cwd.to_string(),
            user: exec.user.clone(),
            network: match exec.network {
                NetworkMode::Default => ExecNetwork::Default,
                NetworkMode::None => ExecNetwork::None,
                NetworkMode::Host => ExecNetwork::Host,
            },
            platform: exec.platform.to_string(),
            hostname: exec.hostname.clone(),
            hosts: exec.extra_hosts.clone(),
            shm_size: exec.shm_size,
            insecure: exec.security == SecurityMode::Insecure,
            mounts: exec.mounts.iter().map(mount).collect(),
        }
    }

    /// The same with every text as `mask` has it: a secret may have been given as a build argument too.
    #[must_use]
    pub fn masked(mut self, mask: &dyn Fn(&str) -> String) -> ExecFacts {
        let values = self.env.iter_mut().map(|(_, value)| value);
        for text in self.args.iter_mut().chain(values).chain([&mut self.cwd, &mut self.user]) {
            *text = mask(text);
        }
        self
    }

    /// The shell that the command was given to: the program of `sh -c COMMAND`, whatever flags stand between.
    pub fn shell(&self) -> Option<&str> {
        let [program, .., flag, _command] = self.args.as_slice() else { return None };
        let name = program.rsplit('/').next().unwrap_or_default();
        let is_shell = ["sh", "bash", "ash", "dash", "zsh", "ksh", "mksh", "fish"].contains(&name);
        (is_shell && flag.starts_with('-') && flag.ends_with('c')).then_some(program)
    }
}

/// As one would write it behind `--mount=`, the essential.
fn mount(mount: &ExecMount) -> String {
    match mount {
        ExecMount::Bind(bind) => {
            let MountContent { source, .. } = &bind.from;
            format!("type=bind,source={source},target={}", bind.target)
        }
        ExecMount::Cache(cache) => format!("type=cache,target={}", cache.target),
        ExecMount::Tmpfs(tmpfs) => format!("type=tmpfs,target={}", tmpfs.target),
        ExecMount::Secret(secret) => {
            let mut text = format!("type=secret,id={}", secret.id);
            if let Some(target) = &secret.target {
                text = format!("{text},target={target}");
            }
            if let Some(name) = &secret.env {
                text = format!("{text},env={name}");
            }
            text
        }
        ExecMount::Ssh(ssh) => format!("type=ssh,id={}", ssh.id),
    }
}

#[cfg(test)]
mod tests {
    use bld_oci::ImagePath;
    use bld_oci::platform::Platform;

    use super::*;
    use crate::op::SecretMount;

    fn exec(args: &[&str]) -> Exec {
        Exec {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            unkeyed_env: vec![("HTTP_PROXY".to_owned(), "http://user:hidden@proxy".to_owned())],
            cwd: ImagePath::new("/src"),
            user: "app".to_owned(),
            network: NetworkMode::None,
            security: SecurityMode::Sandbox,
            mounts: vec![ExecMount::Secret(SecretMount {
                id: "token".to_owned(),
                target: None,
                env: Some("TOKEN".to_owned()),
                required: true,
                mode: 0o400,
                uid: 0,
                gid: 0,
            })],
            hostname: "box".to_owned(),
            extra_hosts: Vec::new(),
            script: None,
            shm_size: None,
            platform: "linux/amd64".parse::<Platform>().unwrap(),
        }
    }

    #[test]
    fn no_value_that_may_be_a_password_is_remembered() {
        let facts = ExecFacts::of(&exec(&["/bin/sh", "-c", "make"]));
        let text = serde_json::to_string(&facts).unwrap();
        assert!(!text.contains("hidden"), "{text}");
        assert_eq!(facts.left_out, ["HTTP_PROXY"]);
        assert_eq!(facts.mounts, ["type=secret,id=token,env=TOKEN"]);
        assert_eq!(serde_json::from_str::<ExecFacts>(&text).unwrap(), facts);
    }

    #[test]
    fn the_shell_of_a_step() {
        for (args, shell) in [
            (&["/bin/sh", "-c", "make"][..], Some("/bin/sh")),
            (&["/bin/bash", "-eo", "pipefail", "-c", "make"], Some("/bin/bash")),
            (&["bash", "-euxc", "make"], Some("bash")),
            (&["/usr/bin/make", "-c", "x"], None),
            (&["/bin/sh", "script"], None),
            (&["true"], None),
        ] {
            assert_eq!(ExecFacts::of(&exec(args)).shell(), shell, "{args:?}");
        }
    }
}
