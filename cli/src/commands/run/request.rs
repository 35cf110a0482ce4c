//! From flags to a request: everything that needs the environment or the file system is resolved here, once.

use bld_executor::run::cgroup::Limits;
use bld_executor::run::request::RunNetwork;
use bld_executor::run::request::RunRequest;
use bld_executor::run::request::Variable;
use bld_executor::sandbox::Capabilities;

use super::arguments::RunArgs;
use super::mounts;
use super::ports;
use crate::commands::build::values::bytes;
use crate::commands::build::values::extra_hosts;
use crate::environment;
use crate::error::CommandError;

/// docker's least.
const LEAST_MEMORY: u64 = 6 << 20;
/// What the kernel takes.
const LONGEST_HOST_NAME: usize = 64;

/// Reads the flags, but for the image.
pub(super) fn resolve(args: &RunArgs) -> Result<RunRequest, CommandError> {
    if let Some(value) = args.rm.as_deref().filter(|value| !matches!(*value, "true" | "1")) {
        return Err(CommandError::usage(format!("`--rm={value}` is not supported: nothing of a run is kept"))
            .hint("write what is to be kept to a directory that `-v DIRECTORY:PATH` shows inside"));
    }
    let network = network(&args.network)?;
    let mut published = Vec::new();
    for text in &args.publish {
        published.extend(ports::parse(text)?);
    }
    if network == RunNetwork::None && (!published.is_empty() || args.publish_all) {
        return Err(CommandError::usage("ports cannot be published with `--network none`"));
    }
    Ok(RunRequest {
        command: args.words.get(1..).unwrap_or_default().to_vec(),
        entrypoint: args.entrypoint.as_deref().map(entrypoint).transpose()?,
        env: variables(args)?,
        user: args.user.clone(),
        working_directory: args.workdir.as_deref().map(working_directory).transpose()?,
        hostname: host_name(args, network)?,
        hosts: extra_hosts(&args.add_hosts)?,
        network,
        ports: published,
        publish_all: args.publish_all,
        mounts: mounts::resolve(&args.volumes, &args.tmpfs)?,
        limits: Limits {
            memory: args.memory.as_deref().map(memory).transpose()?,
            milli_cpus: args.cpus.as_deref().map(cpus).transpose()?,
        },
        ulimits: Vec::new(),
        capabilities: capabilities(&args.cap_add, &args.cap_drop)?,
        no_new_privileges: no_new_privileges(&args.security_opt)?,
        read_only: args.read_only,
        shm_size: args.shm_size.as_deref().map(bytes).transpose()?,
        terminal: args.tty,
    })
}

/// `--network`.
pub(in crate::commands) fn network(text: &str) -> Result<RunNetwork, CommandError> {
    Ok(match text {
        "default" => RunNetwork::PrivateOrHost,
        "private" => RunNetwork::Private,
        "host" => RunNetwork::Host,
        "none" => RunNetwork::None,
        "bridge" | "slirp4netns" | "pasta" => {
            return Err(CommandError::usage(format!("`--network {text}` is not known"))
                .hint("leave it out: every run has a private network with a way out"));
        }
        other => {
            return Err(CommandError::usage(format!(
                "`--network {other}` is not supported: there are no networks of several containers"
            ))
            .hint("write `default`, `private`, `host` or `none`"));
        }
    })
}

/// A program, or a JSON array; an empty text clears the image's.
fn entrypoint(text: &str) -> Result<Vec<String>, CommandError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| {
            CommandError::usage(format!("`--entrypoint {text}` is not a JSON array of strings: {error}"))
        });
    }
    Ok(vec![text.to_owned()])
}

/// `--workdir`.
pub(in crate::commands) fn working_directory(text: &str) -> Result<String, CommandError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err(CommandError::usage(format!("`--workdir {text}` is not an absolute path")))
}

/// The files' variables first, so that the flags win.
fn variables(args: &RunArgs) -> Result<Vec<Variable>, CommandError> {
    let mut out = Vec::new();
    for file in &args.env_files {
        let bytes = std::fs::read(environment::absolute(file.as_ref())?)
            .map_err(|error| CommandError::failed(format!("cannot read `--env-file {file}`: {error}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| CommandError::failed(format!("cannot read `--env-file {file}`: it is not UTF-8")))?;
        out.extend(env_file(file, &text, &environment::variable)?);
    }
    for text in &args.env {
        out.push(variable(text)?);
    }
    Ok(out)
}

/// `--env`.
pub(in crate::commands) fn variable(text: &str) -> Result<Variable, CommandError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, environment::variable(text)),
    };
    if name.is_empty() {
        return Err(CommandError::usage(format!("`--env {text}` has no name")));
    }
    Ok(match value {
        Some(value) => Variable::Set(name.to_owned(), value),
        None => Variable::Remove(name.to_owned()),
    })
}

/// `NAME=VALUE`, `NAME` for the caller's value, or a comment, on each line.
fn env_file(file: &str, text: &str, outside: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Variable>, CommandError> {
    let mut out = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line.trim_end(), None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.contains(char::is_whitespace) {
            let place = number + 1;
            return Err(CommandError::failed(format!("{file}:{place}: `{name}` is not the name of a variable"))
                .hint("write NAME=VALUE: without quotes around the value, and without spaces around `=`"));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| outside(name)) {
            out.push(Variable::Set(name.to_owned(), value));
        }
    }
    Ok(out)
}

/// The host name inside: given, or the container's name, or with the host's network that of the host, or a random one.
fn host_name(args: &RunArgs, network: RunNetwork) -> Result<String, CommandError> {
    if let Some(name) = &args.name {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            return Err(CommandError::usage(format!("`--name {name}`: a name is letters, digits, `_`, `.` and `-`")));
        }
    }
    let Some(given) = args.hostname.as_ref().or(args.name.as_ref()) else {
        return if network == RunNetwork::Host {
            Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
        } else {
            random_name()
        };
    };
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if given.is_empty() || given.len() > LONGEST_HOST_NAME || !given.chars().all(is_plain) {
        return Err(CommandError::usage(format!(
            "`{given}` is not a host name: at most 64 letters, digits, `.` and `-`"
        )));
    }
    Ok(given.clone())
}

fn random_name() -> Result<String, CommandError> {
    let mut bytes = [0_u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| CommandError::failed(format!("cannot get random bytes: {errno}")))?;
    Ok(hex::encode(bytes))
}

fn memory(text: &str) -> Result<u64, CommandError> {
    let size = bytes(text)?;
    if size < LEAST_MEMORY {
        return Err(CommandError::usage(format!("`--memory {text}` is too little: nothing runs in less than 6m")));
    }
    Ok(size)
}

/// Thousandths of a processor.
fn cpus(text: &str) -> Result<u64, CommandError> {
    let refuse = || CommandError::usage(format!("`--cpus {text}` is not a number of processors from 0.01, like 1.5"));
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.is_empty() || (whole.is_empty() && part == "0") {
        return Err(refuse());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| refuse())? };
    let thousandths: u64 = format!("{part:0<3}").get(..3).unwrap_or_default().parse().map_err(|_| refuse())?;
    let share = whole.checked_mul(1000).and_then(|whole| whole.checked_add(thousandths)).ok_or_else(refuse)?;
    if share < 10 { Err(refuse()) } else { Ok(share) }
}

/// The usual ones with what is added and taken away. What is taken away one by one stays away only if it is not added, as docker has it.
fn capabilities(add: &[String], drop: &[String]) -> Result<Option<Capabilities>, CommandError> {
    if add.is_empty() && drop.is_empty() {
        return Ok(None);
    }
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let named = |flag: &str, names: &[String]| -> Result<Capabilities, CommandError> {
        names.iter().filter(|name| !is_all(name)).try_fold(Capabilities::none(), |sum, name| {
            let one = Capabilities::named(name).ok_or_else(|| {
                CommandError::usage(format!("`{flag} {name}` is not a capability"))
                    .hint("capabilities(7) lists them: CHOWN, NET_ADMIN, SYS_PTRACE ...")
            })?;
            Ok(sum.with(one))
        })
    };
    let (added, dropped) = (named("--cap-add", add)?, named("--cap-drop", drop)?);
    Ok(Some(if add.iter().any(is_all) {
        Capabilities::all().without(dropped)
    } else if drop.iter().any(is_all) {
        added
    } else {
        Capabilities::standard().without(dropped).with(added)
    }))
}

fn no_new_privileges(options: &[String]) -> Result<bool, CommandError> {
    let mut on = false;
    for option in options {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => on = true,
            "no-new-privileges:false" | "no-new-privileges=false" => on = false,
            other => {
                return Err(CommandError::usage(format!(
                    "`--security-opt {other}` is not supported: the sandbox is always the same"
                ))
                .hint("`--security-opt no-new-privileges` makes it tighter"));
            }
        }
    }
    Ok(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        for (text, share) in [("1", 1000), ("1.5", 1500), ("0.25", 250), (".5", 500), ("2.0", 2000), ("0.0109", 10)] {
            assert_eq!(cpus(text).unwrap(), share, "{text}");
        }
        for text in ["", "0", "0.001", "-1", "1.", "x", "1e3", "99999999999999999999"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_variables() {
        let outside = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let set = |name: &str, value: &str| Variable::Set(name.to_owned(), value.to_owned());
        let text = "\u{feff}A=1\n# comment\n\n  B= two \nHOME\nGONE\nC='x'=y\r\n";
        let expected = vec![set("A", "1"), set("B", " two "), set("HOME", "/h"), set("C", "'x'=y")];
        assert_eq!(env_file("f", text, &outside).unwrap(), expected);
        let error = env_file("f", "A=1\nB C=1\n", &outside).unwrap_err().to_text();
        assert!(error.starts_with("error: f:2: `B C` is not the name of a variable"), "{error}");
    }

    #[test]
    fn capabilities_add_up() {
        let of = |add: &[&str], drop: &[&str]| {
            let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            capabilities(&strings(add), &strings(drop)).unwrap().unwrap()
        };
        let chown = Capabilities::named("cap_chown").unwrap();
        assert_eq!(of(&["CHOWN"], &["ALL"]), chown);
        assert_eq!(of(&[], &["chown"]), Capabilities::standard().without(chown));
        assert_eq!(of(&["ALL"], &["CHOWN"]), Capabilities::all().without(chown));
        assert!(capabilities(&["NOPE".to_owned()], &[]).is_err());
    }
}
