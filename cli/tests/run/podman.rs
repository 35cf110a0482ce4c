//! The same image by bld and by podman: exit codes, output, and what signals do.

use std::io::Read as _;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::Site;
use crate::outputs::Podman;
use crate::support;
use crate::support::host;

/// podman as far as this machine lets it.
const FLAGS: [&str; 9] = [
    "run",
    "--rm",
    "--runtime=runc",
    "--network=none",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
    "--log-driver=none",
    "--pull=never",
    "-i",
];

struct Pair {
    site: Site,
    podman: Podman,
}

impl Pair {
    fn new() -> Pair {
        let site = Site::new();
        site.build(
            "both",
            "ENV A=image\nWORKDIR /work\nRUN echo me:x:1234:1234::/home/me:/bin/sh >> /etc/passwd\nSTOPSIGNAL SIGUSR1\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo command $A; pwd\"]\n",
        );
        let archive = site.directory.path().join("both.tar");
        let output = format!("type=docker,dest={}", archive.display());
        let context = site.directory.path().join("both.context");
        support::run(site.store.bld().args(["build", "-t", "both", "-o", &output]).arg(&context)).succeeded();
        let podman = Podman::new();
        podman.run(&["load", "-i", archive.to_str().unwrap()]);
        Pair { site, podman }
    }

    fn commands(&self, words: &[&str]) -> [(&'static str, Command); 2] {
        let mut podman = self.podman.command();
        podman.args(FLAGS).args(words);
        [("bld", self.site.command(&[&["--network=none", "-i"], words].concat())), ("podman", podman)]
    }
}

#[test]
fn codes_and_output() {
    let pair = Pair::new();
    for words in [
        &["both"][..],
        &["both", "exit 3"],
        &["both", "kill -9 $$; exit 4"],
        &["-e", "A=flag", "-w", "/tmp", "both"],
        &["-u", "me", "both", "id -un; echo $HOME"],
        &["-u", "77:88", "both", "id -u; id -g; pwd"],
        &["--entrypoint", "nosuch", "both"],
        &["--entrypoint", "/etc", "both"],
        &["--entrypoint", "/etc/passwd", "both"],
        &["--entrypoint", "echo", "both", "-n", "--", "x"],
        &["--hostname", "box", "both", "hostname; xargs < /etc/hostname"],
        &["--read-only", "both", "touch /x; echo $?"],
        &["--tmpfs", "/t:size=1m", "both", "touch /t/x && stat -c %a /t"],
        &["--cap-drop", "ALL", "--cap-add", "CHOWN", "both", "grep CapEff /proc/self/status"],
        &["both", "grep -E 'NoNewPrivs|^Seccomp:|CapBnd' /proc/self/status | grep -v CapBnd; echo $$"],
        &["--shm-size", "2m", "both", "df -k /dev/shm | tail -n 1 | xargs | cut -d ' ' -f 2"],
        &["both", "sleep 100 & exit 5"],
        &["nosuch-image"],
        &["--nosuch-flag", "both"],
    ] {
        let [ours, theirs] = pair.commands(words).map(|(_, mut command)| support::run(&mut command));
        let code = |code: Option<i32>| if words[0] == "--nosuch-flag" && code == Some(2) { Some(125) } else { code };
        assert_eq!(code(ours.code), theirs.code, "{words:?}\n{}\n{}", ours.failure(), theirs.failure());
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}\n{}\n{}", ours.failure(), theirs.failure());
    }
}

/// Who handles a signal gets it and ends as it likes.
#[test]
fn handled_signals() {
    let pair = Pair::new();
    for name in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"] {
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        for (program, mut command) in pair.commands(&["both", &script]) {
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let stdout = child.stdout.as_mut().unwrap();
            let (mut text, mut byte) = (String::new(), [0]);
            while !text.contains("ready\n") && stdout.read(&mut byte).unwrap() == 1 {
                text.push(char::from(byte[0]));
            }
            // podman listens for signals a little after the process has begun to write.
            std::thread::sleep(Duration::from_millis(300));
            host::signal(child.id(), name);
            let mut text = String::new();
            child.stdout.as_mut().unwrap().read_to_string(&mut text).unwrap();
            let code = child.wait().unwrap().code();
            assert_eq!((code, text.as_str()), (Some(7), format!("got {name}\n").as_str()), "{program}: {name}");
        }
    }
}
