//! Flags that `docker run` and `podman run` have and `bld run` has not.

use super::Missing;
use super::missing;

const ONE_SANDBOX: &str = "the sandbox of a run is always the same";
const CONTAINER: &str = "load the image into podman or docker for that: `bld save IMAGE | podman load`";
const NO_CONTAINERS: &str = "a run leaves nothing behind: there is no container to speak of later";
const ONE_NETWORK: &str = "a run has a network of its own, with nobody else in it";

/// The flags.
pub(super) const FLAGS: &[Missing] = &[
    missing(&["--detach", "-d"], "bld runs images in the foreground only", CONTAINER),
    missing(&["--detach-keys"], "bld runs images in the foreground only", "leave it out"),
    missing(&["--restart"], "bld runs an image once", CONTAINER),
    missing(
        &["--privileged"],
        "the process would be root on this machine",
        "`--cap-add NAME` gives it the one capability it needs; for all of them take `podman run --privileged`",
    ),
    missing(
        &["--init", "--init-path"],
        "the command itself is the first process",
        "leave it out: Ctrl-C ends a process that has no handler for it, and with the first process all others end",
    ),
    missing(&["--link", "--link-local-ip"], ONE_NETWORK, "`--add-host NAME:IP` adds a name"),
    missing(&["--network-alias", "--net-alias", "--ip", "--ip6", "--mac-address"], ONE_NETWORK, "leave it out"),
    missing(
        &["--dns", "--dns-option", "--dns-opt", "--dns-search", "--no-hosts"],
        "a run has the name service of this machine",
        "`--add-host NAME:IP` adds a name",
    ),
    missing(
        &["--mount"],
        "mounts have another form here",
        "write `-v PATH:PATH[:ro]` for what is on this machine, `--tmpfs PATH` for memory",
    ),
    missing(&["--volumes-from"], NO_CONTAINERS, "`-v PATH:PATH` shows a directory of this machine"),
    missing(&["--volume-driver", "--storage-opt"], "there are no named volumes", "write `-v PATH:PATH`"),
    missing(
        &["--cidfile", "--label", "-l", "--label-file", "--annotation", "--replace", "--pod", "--pod-id-file"],
        NO_CONTAINERS,
        "leave it out",
    ),
    missing(&["--expose"], "what an image exposes is said in its Dockerfile", "`-p PORT` publishes a port"),
    missing(
        &["--attach", "-a", "--sig-proxy"],
        "standard output, standard error and signals are always passed on",
        "leave it out; `-i` passes standard input on",
    ),
    missing(
        &[
            "--health-cmd",
            "--health-interval",
            "--health-retries",
            "--health-start-period",
            "--health-start-interval",
            "--health-timeout",
            "--health-on-failure",
            "--no-healthcheck",
        ],
        "HEALTHCHECK means nothing to a run in the foreground",
        "leave it out",
    ),
    missing(&["--log-driver", "--log-opt"], "output goes to where bld's own goes", "write `bld run ... > FILE 2>&1`"),
    missing(
        &[
            "--memory-swap",
            "--memory-swappiness",
            "--memory-reservation",
            "--kernel-memory",
            "--oom-kill-disable",
            "--oom-score-adj",
            "--cpu-shares",
            "-c",
            "--cpu-period",
            "--cpu-quota",
            "--cpu-rt-period",
            "--cpu-rt-runtime",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--cpu-count",
            "--cpu-percent",
            "--pids-limit",
            "--blkio-weight",
            "--blkio-weight-device",
            "--device-read-bps",
            "--device-read-iops",
            "--device-write-bps",
            "--device-write-iops",
            "--io-maxbandwidth",
            "--io-maxiops",
            "--cgroup-parent",
            "--cgroupns",
            "--cgroups",
            "--cgroup-conf",
            "--ulimit",
        ],
        "the limits of a run are `--memory` and `--cpus`",
        "leave it out, or run bld itself under a limit: `systemd-run --scope -p TasksMax=100 bld run ...`",
    ),
    missing(
        &["--device", "--device-cgroup-rule", "--gpus"],
        "a run has the usual devices only",
        "for a device take `podman run --device`",
    ),
    missing(
        &["--ipc", "--pid", "--uts", "--userns", "--isolation", "--runtime", "--sysctl", "--systemd", "--group-add"],
        ONE_SANDBOX,
        CONTAINER,
    ),
    missing(&["--domainname"], "the host name is all there is", "write `--hostname NAME.DOMAIN`"),
    missing(&["--stop-timeout"], "a process has 10 seconds to end", "another Ctrl-C ends it at once"),
    missing(&["--quiet", "-q"], "bld says nothing of its own when all is well", "leave it out"),
    missing(&["--secret"], "there are no secrets of runs", "`-v FILE:/run/secrets/NAME:ro` shows one"),
    missing(
        &["--disable-content-trust", "--tls-verify", "--authfile", "--creds"],
        "nothing is fetched but what is named",
        "leave it out",
    ),
    missing(&["--env-host", "--http-proxy"], "nothing of the caller's environment is passed on", "write `-e NAME`"),
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::FLAGS;
    use crate::args::Cli;

    #[test]
    fn nothing_that_is_there_counts_as_missing() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        for name in FLAGS.iter().flat_map(|missing| missing.names) {
            let taken = run.get_arguments().any(|argument| {
                name.strip_prefix("--").is_some_and(|long| argument.get_long() == Some(long))
                    || name.len() == 2 && argument.get_short().is_some_and(|short| name.ends_with(short))
            });
            assert!(!taken, "{name}");
        }
    }
}
