//! What people know from docker, buildah and kaniko and bld does not have: refused by name, with what to do instead.
//!
//! Also [`explain`], which turns what clap says of an unknown flag into words that do not mislead.

mod run_flags;

use clap::CommandFactory as _;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::error::CommandError;

/// Something bld does not have.
struct Missing {
    /// How it is written, one or several ways.
    names: &'static [&'static str],
    /// Why it is not there: `NAME is not supported: REASON`.
    reason: &'static str,
    /// What to do instead; empty if there is nothing.
    instead: &'static str,
}

const fn missing(names: &'static [&'static str], reason: &'static str, instead: &'static str) -> Missing {
    Missing { names, reason, instead }
}

const NO_ATTESTATION: &str = "bld writes no attestations";
const NO_LIMITS: &str = "bld sets no resource limits of its own for RUN steps";
const LIMIT: &str = "run bld itself under a limit, e.g. `systemd-run --scope -p MemoryMax=4G bld build ...`";
const LOCAL_CACHE: &str = "the cache is in the local store, and every build uses it";
const ONE_SANDBOX: &str = "the sandbox of RUN steps is always the same";
const REGISTRY_FILE: &str = "what a registry is like stands in one file, not in flags";
const REGISTRY_KEYS: &str = "/etc/bld/registries.toml or ~/.config/bld/registries.toml says it: \
                             `[registry.\"HOST:PORT\"]` with `http = true`, `ca = [FILE]` or `insecure-skip-verify = true`";
const CREDENTIALS: &str = "credentials are where docker and podman keep them";
const LOGIN: &str = "`bld login REGISTRY` stores them; REGISTRY_AUTH_FILE and DOCKER_CONFIG name other files";

/// Flags of `bld build` that others have.
const FLAGS: &[Missing] = &[
    missing(
        &["--squash-all", "--single-snapshot"],
        "layers of the base image stay what they are; `--squash` makes one layer of the others",
        "a last stage `FROM scratch` with `COPY --from=STAGE / /` has one layer",
    ),
    missing(
        &["--digest-file", "--image-name-with-digest-file", "--image-name-tag-with-digest-file"],
        "the digest is on standard output",
        "write `bld build ... > FILE`; `--metadata-file FILE` writes digests and names, `--iidfile FILE` the image's ID",
    ),
    missing(
        &["--cache-from", "--cache-to", "--cache-repo", "--cache-dir", "--cache-ttl", "--cache"],
        LOCAL_CACHE,
        "keep the directory of `--root DIR` from one build to the next; `--no-cache` goes without",
    ),
    missing(&["--attest", "--sign-by"], NO_ATTESTATION, ""),
    missing(
        &["--identity-label"],
        "bld adds nothing to an image that nobody asked for",
        "`--label NAME=VALUE` sets a label",
    ),
    missing(
        &["--manifest"],
        "a build makes an index by itself if it has several platforms",
        "`bld index create NAME IMAGE...` joins images built one by one",
    ),
    missing(
        &[
            "--memory",
            "-m",
            "--memory-swap",
            "--cpu-period",
            "--cpu-quota",
            "--cpu-shares",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--ulimit",
            "--cgroup-parent",
            "--cgroupns",
            "--resource",
        ],
        NO_LIMITS,
        LIMIT,
    ),
    missing(
        &[
            "--isolation",
            "--security-opt",
            "--cap-add",
            "--cap-drop",
            "--userns",
            "--userns-uid-map",
            "--userns-gid-map",
            "--ipc",
            "--pid",
            "--uts",
            "--runtime",
            "--runtime-flag",
            "--hooks-dir",
            "--privileged",
            "--group-add",
            "--force",
        ],
        ONE_SANDBOX,
        "`--allow security.insecure` permits `RUN --security=insecure`",
    ),
    missing(&["--device"], "RUN steps have the usual devices only", ""),
    missing(
        &["--volume", "-v"],
        "what a build reads is said in the Dockerfile",
        "use `RUN --mount=type=bind,from=NAME` with `--build-context NAME=DIR`",
    ),
    missing(&["--builder"], "there are no builders: bld builds by itself", "leave it out"),
    missing(&["--policy"], "bld evaluates no policies", ""),
    missing(
        &["--compress"],
        "nothing is sent to a daemon",
        "leave it out; `--compression` says how layers are compressed",
    ),
    missing(&["--stream"], "nothing is sent to a daemon", "leave it out"),
    missing(&["--dockerfile"], "the flag has another name here", "write `--file FILE`"),
    missing(
        &["--destination", "-d"],
        "the flag has another name here",
        "write `--tag NAME` for a name in the local store, `-o type=oci,dest=FILE` for a file",
    ),
    missing(&["--context", "-c"], "the build context has no flag", "write `bld build DIRECTORY`"),
    missing(&["--context-sub-path"], "the build context has no flag", "write `bld build DIRECTORY/SUBDIRECTORY`"),
    missing(
        &["--tar-path", "--tarPath", "--oci-layout-path"],
        "the flag has another name here",
        "write `-o type=oci,dest=FILE`",
    ),
    missing(
        &[
            "--no-push",
            "--cleanup",
            "--skip-unused-stages",
            "--reproducible",
            "--use-new-run",
            "--snapshot-mode",
            "--snapshotMode",
        ],
        "bld always works that way",
        "leave it out",
    ),
    missing(&["--custom-platform", "--customPlatform"], "the flag has another name here", "write `--platform OS/ARCH`"),
    missing(&["--arch", "--os", "--variant"], "the flag has another name here", "write `--platform OS/ARCH[/VARIANT]`"),
    missing(&["--all-platforms"], "platforms are named", "write `--platform OS/ARCH,OS/ARCH`"),
    missing(
        &[
            "--registry-mirror",
            "--registry-map",
            "--registry-certificate",
            "--registry-client-cert",
            "--insecure",
            "--insecure-pull",
            "--skip-tls-verify",
            "--skip-tls-verify-pull",
            "--tls-verify",
            "--cert-dir",
            "--insecure-registry",
        ],
        REGISTRY_FILE,
        REGISTRY_KEYS,
    ),
    missing(&["--creds", "--authfile"], CREDENTIALS, LOGIN),
    missing(&["--pull-always"], "the flag has another form here", "write `--pull=always`"),
    missing(&["--pull-never"], "the flag has another form here", "write `--pull=never`"),
    missing(&["--disable-content-trust"], "nothing is signed", "leave it out"),
    missing(&["--format"], "image archives are OCI layout and docker archive in one", "leave it out"),
    missing(
        &["--timestamp", "--source-date-epoch", "--rewrite-timestamp"],
        "the flag has another form here",
        "set the variable: `SOURCE_DATE_EPOCH=0 bld build ...`, or `-o type=oci,dest=FILE,source-date-epoch=0`",
    ),
    missing(
        &["--ignorefile"],
        "ignore files have fixed names",
        "name it `<Dockerfile>.dockerignore` or `.dockerignore`",
    ),
    missing(
        &["--env", "--unsetenv", "--unsetlabel"],
        "the environment of an image is said in the Dockerfile",
        "use ENV, or ARG with `--build-arg`",
    ),
    missing(
        &["--dns", "--dns-option", "--dns-search", "--no-hosts", "--no-hostname"],
        "RUN steps have the name service of this machine",
        "`--add-host NAME:IP` adds a name",
    ),
    missing(
        &["--from"],
        "the base image is said in the Dockerfile",
        "use `ARG BASE` and `FROM $BASE` with `--build-arg BASE=NAME`, or `--build-context NAME=docker-image://OTHER`",
    ),
    missing(&["--logfile"], "progress is on standard error", "write `bld build ... 2> FILE`"),
    missing(
        &["--verbosity", "--debug", "--log-level"],
        "there is one degree of detail",
        "`--progress plain` shows everything, `--quiet` nothing",
    ),
    missing(&["--git"], "contexts are named directly", "write `bld build https://HOST/REPOSITORY.git#REF`"),
    missing(&["--all-tags"], "a build has one target", "build each with `--target STAGE`"),
];

/// Flags of the other commands.
const LIST_FLAGS: &[Missing] = &[
    missing(
        &["--min-free-space", "--free-storage", "--keep-storage-min"],
        "the cache has one limit",
        "write `bld prune --max-size SIZE`; SIZE may be a part of the disk like 10%",
    ),
    missing(&["--tls-verify", "--cert-dir", "--insecure", "--skip-tls-verify"], REGISTRY_FILE, REGISTRY_KEYS),
    missing(&["--creds", "--authfile"], CREDENTIALS, LOGIN),
    missing(&["--disable-content-trust", "--sign-by"], "nothing is signed", "leave it out"),
    missing(&["--force", "-f"], "the command asks nothing", "leave it out"),
    missing(&["--tree"], "lists have one row for each name", "`bld layers IMAGE` shows what an image is made of"),
    missing(&["--size", "-s"], "`inspect` shows images only, and their size always", "leave it out"),
];

/// Flags of `docker logs` and of `bld logs`.
const LOG_FLAGS: &[Missing] = &[
    missing(
        &["--follow", "-f"],
        "a build shows its output while it runs",
        "leave it out: what was printed so far is printed",
    ),
    missing(&["--tail"], "the output is printed whole", "write `bld logs ... | tail -n N`"),
    missing(&["--timestamps", "-t", "--since", "--until", "--details"], "the output is kept as it was printed", ""),
];

/// Commands that others have.
const COMMANDS: &[Missing] = &[
    missing(&["search"], "only Docker Hub has a search", "look at https://hub.docker.com"),
    missing(
        &[
            "create",
            "start",
            "stop",
            "restart",
            "kill",
            "ps",
            "top",
            "stats",
            "wait",
            "rm",
            "attach",
            "commit",
            "container",
        ],
        "bld keeps no containers: `bld run` runs an image in the foreground",
        "for containers in the background: `bld save IMAGE | docker load`, or `| podman load`",
    ),
    missing(
        &["export"],
        "bld keeps no containers",
        "`bld build -o type=tar,dest=FILE ...` writes a root file system, `bld save IMAGE -o FILE` an image",
    ),
    missing(&["volume"], "bld keeps no volumes", "`bld run -v DIR:PATH` shows a directory of this machine"),
    missing(&["network"], "bld keeps no networks", "`bld run --network private|host|none` chooses one"),
    missing(
        &["compose", "pod", "kube", "stack", "swarm", "service"],
        "bld builds and runs one image at a time",
        "build with bld, then `bld save IMAGE | docker load`, or `| podman load`",
    ),
    missing(&["buildx du", "builder du"], "bld has no builders", "write `bld cache du`"),
    missing(&["buildx prune", "builder prune"], "bld has no builders", "write `bld prune`"),
    missing(&["buildx history"], "bld has no builders", "write `bld builds`"),
    missing(&["buildx", "builder"], "bld has neither plugins nor builders", "write `bld build ...`"),
    missing(&["bud"], "the command has another name here", "write `bld build ...`"),
    missing(&["bake"], "bld reads Dockerfiles only", "write one `bld build ...` for each target"),
    missing(
        &["system", "info", "df", "du"],
        "there is no daemon to ask",
        "`bld cache du` shows what takes up space, `bld images` lists the images, `bld prune` makes room",
    ),
    missing(
        &["from", "mount", "umount", "unmount", "config", "add", "copy", "containers"],
        "bld has no working containers",
        "write a Dockerfile and `bld build`",
    ),
    missing(&["manifest"], "the command has another name here", "write `bld index create` or `bld index inspect`"),
];

impl Missing {
    fn refuse(&self, shown: &str) -> CommandError {
        let error = CommandError::usage(format!("{shown} is not supported: {}", self.reason));
        if self.instead.is_empty() { error } else { error.hint(self.instead) }
    }
}

fn find(table: &'static [Missing], name: &str) -> Option<&'static Missing> {
    table.iter().find(|missing| missing.names.contains(&name))
}

/// An error of clap's about something unknown in bld's words; `None` for every other. `words` are those that were typed, the command first.
pub(crate) fn explain(error: &clap::Error, words: &[&str]) -> Option<CommandError> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let argument = text(ContextKind::InvalidArg)?;
            let flag = argument.split('=').next().unwrap_or(argument);
            flag.starts_with('-').then(|| unknown_flag(flag, words))
        }
        ErrorKind::InvalidValue => {
            let flag = text(ContextKind::InvalidArg)?.split_whitespace().next()?;
            let value = text(ContextKind::InvalidValue)?;
            match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(known)) if !known.is_empty() => Some(wrong_value(flag, value, known)),
                _ => None,
            }
        }
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand).map(|name| unknown_command(name, words)),
        _ => None,
    }
}

fn wrong_value(flag: &str, value: &str, known: &[String]) -> CommandError {
    let error = if value.is_empty() {
        CommandError::usage(format!("`{flag}` needs a value"))
    } else {
        CommandError::usage(format!("`{flag}` has no value `{value}`"))
    };
    error.hint(format!("the values are {}", known.join(", ")))
}

fn unknown_flag(flag: &str, words: &[&str]) -> CommandError {
    let command = words.first().copied();
    let table = match command {
        Some("build") => FLAGS,
        Some("run") => run_flags::FLAGS,
        Some("logs") => LOG_FLAGS,
        _ => LIST_FLAGS,
    };
    if let Some(missing) = find(table, flag).filter(|_| command.is_some()) {
        return missing.refuse(&format!("`{flag}`"));
    }
    let cli = Cli::command();
    let mut here = &cli;
    let mut shown = "bld".to_owned();
    for word in words {
        let Some(inner) = here.find_subcommand(word) else { break };
        shown = format!("{shown} {}", inner.get_name());
        here = inner;
    }
    let error = CommandError::usage(format!("`{shown}` has no flag `{flag}`"));
    let arguments = here.get_arguments().chain(cli.get_arguments());
    let known: Vec<String> = arguments
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    match nearest(flag, &known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("`{shown} --help` lists the flags")),
    }
}

fn unknown_command(name: &str, words: &[&str]) -> CommandError {
    let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    if let Some(missing) = find(COMMANDS, &two).filter(|_| words.first() == Some(&name)) {
        return missing.refuse(&format!("`bld {two}`"));
    }
    let cli = Cli::command();
    let inside = words.first().filter(|word| **word != name).and_then(|word| cli.find_subcommand(word));
    if let Some(missing) = find(COMMANDS, name).filter(|_| inside.is_none()) {
        return missing.refuse(&format!("`bld {name}`"));
    }
    let outer = inside.map_or_else(|| "bld".to_owned(), |outer| format!("bld {}", outer.get_name()));
    let error = CommandError::usage(match inside {
        Some(_) => format!("`{outer}` has no command `{name}`"),
        None => format!("there is no command `{name}`"),
    });
    let known: Vec<String> =
        inside.unwrap_or(&cli).get_subcommands().map(|command| command.get_name().to_owned()).collect();
    match nearest(name, &known) {
        Some(near) => error.hint(format!("did you mean `{outer} {near}`?")),
        None if inside.is_some() => error.hint(format!("`{outer} --help` lists the commands")),
        None if std::path::Path::new(name).is_dir() => error.hint(format!("did you mean `bld build {name}`?")),
        None => error.hint("`bld --help` lists the commands"),
    }
}

/// The nearest of the names: the dashes say nothing, and two letters are too few for a guess.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let bare = name.trim_start_matches('-');
    let names: Vec<&str> = known.iter().map(|known| known.trim_start_matches('-')).collect();
    let near = (bare.chars().count() > 2).then(|| bld_parser::suggest::nearest(bare, names.iter().copied()))??;
    known.iter().find(|known| known.trim_start_matches('-') == near).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(std::iter::once(&"bld").chain(arguments)).unwrap_err();
        let error = explain(&error, arguments).unwrap();
        assert!(error.is_usage());
        error.to_text()
    }

    #[test]
    fn what_others_have_is_refused_by_name() {
        for (arguments, wanted) in [
            (&["build", "--cache-from=type=gha", "."][..], "`--cache-from` is not supported"),
            (&["build", "-m", "1g", "."], "`-m` is not supported"),
            (&["build", "--dockerfile", "x"], "hint: write `--file FILE`"),
            (&["build", "--destination=x"], "--tag NAME"),
            (&["images", "--tree"], "`--tree` is not supported"),
            (&["search", "alpine"], "`bld search` is not supported"),
            (&["container", "ls"], "hint: for containers in the background: `bld save IMAGE | docker load`"),
            (&["compose", "up"], "`bld compose` is not supported: bld builds and runs one image at a time"),
            (&["pull", "--tls-verify=false", "x"], "`--tls-verify` is not supported: what a registry is like"),
            (&["build", "--insecure", "."], "insecure-skip-verify = true"),
            (&["rmi", "-x", "a"], "`bld rmi` has no flag `-x`"),
            (&["cache", "ls", "-n", "2"], "`bld cache ls` has no flag `-n`\nhint: `bld cache ls --help` lists"),
            (&["cache", "lst"], "`bld cache` has no command `lst`\nhint: did you mean `bld cache ls`?"),
            (
                &["builder", "prune", "-f"],
                "`bld builder prune` is not supported: bld has no builders\nhint: write `bld prune`",
            ),
            (&["buildx", "du"], "hint: write `bld cache du`"),
            (&["build", "--authfile=x", "."], "`--authfile` is not supported: credentials are where docker"),
            (&["buildx", "build", "."], "hint: write `bld build ...`"),
            (
                &["run", "--pull=newer", "x"],
                "error: `--pull` has no value `newer`\nhint: the values are missing, always, never",
            ),
            (
                &["build", "--progress=tty", "."],
                "error: `--progress` has no value `tty`\nhint: the values are auto, plain, quiet",
            ),
        ] {
            let said = said(arguments);
            assert!(said.contains(wanted), "{arguments:?}: {said}");
            assert!(!said.contains(" -- "), "{said}");
        }
    }

    #[test]
    fn slips_are_guessed_only_when_near() {
        for (arguments, wanted) in [
            (
                &["build", "--taget", "x", "."][..],
                "error: `bld build` has no flag `--taget`\nhint: did you mean `--target`?",
            ),
            (&["build", "--wibble", "."], "hint: `bld build --help` lists the flags"),
            (&["buidl", "."], "error: there is no command `buidl`\nhint: did you mean `bld build`?"),
            (&["frobnicate"], "hint: `bld --help` lists the commands"),
        ] {
            assert!(said(arguments).contains(wanted), "{arguments:?}: {}", said(arguments));
        }
    }

    #[test]
    fn nothing_that_is_there_counts_as_missing() {
        let cli = Cli::command();
        let build = cli.find_subcommand("build").unwrap();
        for missing in FLAGS {
            for name in missing.names {
                let long = name.trim_start_matches('-');
                let taken = build.get_arguments().any(|argument| {
                    argument.get_long() == Some(long)
                        || name.len() == 2 && argument.get_short().is_some_and(|short| name.ends_with(short))
                });
                assert!(!taken, "{name}");
            }
        }
        for missing in COMMANDS {
            for name in missing.names {
                assert!(cli.find_subcommand(name).is_none(), "{name}");
            }
        }
    }
}
