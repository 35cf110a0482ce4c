//! `RUN --mount`, `--security` and `--network` as a user meets them.
//!
//! ```text
//! bind     contexts, stages, images; writes thrown away; nothing outside of the source
//! caches   content that outlives builds, sharing between processes, the death of a holder
//! leaks    secrets: twenty ways to lose one
//! agents   ssh: a real sshd, a real agent
//! ```

mod agents;
mod bind;
mod caches;
mod leaks;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::run;

/// A build context.
struct Context {
    directory: TempDir,
}

impl Context {
    /// A context with this Dockerfile.
    fn new(dockerfile: &str) -> Self {
        let context = Self { directory: TempDir::new().unwrap() };
        context.write("Dockerfile", dockerfile);
        context
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, store: &Store, args: &[&str]) -> Command {
        let mut command = store.bld();
        command.args(["build", "--progress", "plain", "--network", "host"]).args(args).arg(self.path());
        command
    }

    fn build(&self, store: &Store, args: &[&str]) -> Run {
        run(&mut self.command(store, args))
    }
}

/// A store for tests that do not look into it.
fn shared() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| Store::with(&[Base::Busybox]))
}

/// Builds the lines on top of busybox and expects success.
#[track_caller]
fn builds(lines: &str, args: &[&str]) -> Run {
    Context::new(&format!("FROM busybox:1\n{lines}\n")).build(shared(), args).succeeded()
}

/// The same for a build that must fail and say why.
#[track_caller]
fn fails(lines: &str, args: &[&str], why: &str) -> Run {
    let run = Context::new(&format!("FROM busybox:1\n{lines}\n")).build(shared(), args);
    assert_ne!(run.code, Some(0), "{}", run.failure());
    assert!(run.stderr.contains(why), "no `{why}` in:\n{}", run.failure());
    run
}

#[test]
fn tmpfs_is_empty_bounded_and_gone_afterwards() {
    builds(
        "RUN --mount=type=tmpfs,target=/t,size=1m [ -z \"$(ls /t)\" ] && [ \"$(stat -f -c %T /t)\" = tmpfs ] && \
         ! dd if=/dev/zero of=/t/big bs=1M count=2 2>/dev/null && rm /t/big && echo x > /t/x\n\
         RUN [ ! -e /t ]",
        &[],
    );
}

#[test]
fn mount_points_are_not_in_the_layer() {
    let context = Context::new(
        "FROM busybox:1\n\
         RUN mkdir -p /kept && echo 1 > /kept/file\n\
         RUN --mount=type=tmpfs,target=/new/deep --mount=type=cache,target=/kept/cache --mount=type=secret,id=s \
             --mount=target=/kept/file,source=Dockerfile true\n",
    );
    context.write("secret", "a secret that is long enough");
    let secret = format!("id=s,src={}", context.path().join("secret").display());
    let out = context.path().join("out");
    let output = format!("type=local,dest={}", out.display());
    context.build(shared(), &["--secret", &secret, "-o", &output]).succeeded();
    for gone in ["new", "run/secrets", "kept/cache"] {
        assert!(!out.join(gone).exists(), "{gone}");
    }
    assert_eq!(std::fs::read_to_string(out.join("kept/file")).unwrap(), "1\n");
}

#[test]
fn a_step_that_replaces_a_mount_point_harms_nobody() {
    let outside = TempDir::new().unwrap();
    std::fs::create_dir(outside.path().join("b")).unwrap();
    let lines = format!(
        "RUN --mount=type=tmpfs,target=/a/b rm -rf /a 2>/dev/null; mv /a /elsewhere 2>/dev/null; ln -s {} /a; true",
        outside.path().display()
    );
    builds(&lines, &[]);
    assert!(outside.path().join("b").is_dir());
}

#[test]
fn insecure_steps_need_permission_and_then_may_everything() {
    let lines = "RUN --security=insecure [ \"$(grep Seccomp: /proc/self/status | tr -dc 0-9)\" = 0 ] && \
                 mkdir /m && mount -t tmpfs none /m && [ -w /proc/sys/kernel/hostname ] && echo insecure-ran";
    let run = fails(lines, &[], "`RUN --security=insecure` is not allowed");
    assert!(run.stderr.contains("--allow security.insecure"), "{}", run.failure());
    fails(lines, &["--allow", "network.host"], "is not allowed");
    builds(lines, &["--allow", "security.insecure"]);
    // The devices that this machine has, with their numbers.
    let nodes = ["kmsg", "cuse", "fuse", "kvm", "net/tun", "loop-control", "loop0", "loop1"];
    let mut there = 0;
    let mut tests = String::new();
    for name in nodes {
        use std::os::unix::fs::FileTypeExt as _;
        use std::os::unix::fs::MetadataExt as _;
        let host = std::fs::metadata(format!("/dev/{name}")).ok();
        match host.filter(|host| host.file_type().is_char_device() || host.file_type().is_block_device()) {
            Some(host) => {
                let (major, minor) = (rustix::fs::major(host.rdev()), rustix::fs::minor(host.rdev()));
                let kind = if host.file_type().is_block_device() { 'b' } else { 'c' };
                tests += &format!(
                    " && [ -{kind} /dev/{name} ] && [ \"$(stat -c %t:%T:%a /dev/{name})\" = {major:x}:{minor:x}:{:o} ]",
                    host.mode() & 0o777
                );
                there += 1;
            }
            None => tests += &format!(" && [ ! -e /dev/{name} ]"),
        }
    }
    assert!(there > 0, "this machine has none of them");
    builds(&format!("RUN --security=insecure true{tests}"), &["--allow", "security.insecure"]);
    builds("RUN [ ! -e /dev/kmsg ] && [ ! -e /dev/fuse ] && [ ! -e /dev/loop0 ] && [ ! -e /dev/net ]", &[]);
    // What is allowed is not what every step gets.
    builds(
        "RUN [ \"$(grep Seccomp: /proc/self/status | tr -dc 0-9)\" = 2 ] && ! mount -t tmpfs none /tmp 2>/dev/null",
        &["--allow", "security.insecure"],
    );
    for mode in ["Insecure", "2", "insecre", "\" sandbox\""] {
        fails(&format!("RUN --security={mode} true"), &["--allow", "security.insecure"], "is not a security mode");
    }
    fails("RUN true", &["--allow", "security.insecur"], "did you mean `security.insecure`?");
    for device in ["device", "device=vendor.com/gpu=0"] {
        fails("RUN true", &["--allow", device], "RUN steps cannot be given devices");
    }
    fails("RUN --device=vendor.com/gpu true", &[], "`RUN --device` is not supported");
}

#[test]
fn the_network_of_the_host_needs_permission() {
    let context = Context::new("FROM busybox:1\nRUN --network=host true\n");
    let build = |args: &[&str]| {
        let mut command = shared().bld();
        run(command.args(["build", "--progress", "plain"]).args(args).arg(context.path()))
    };
    let refused = build(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--allow network.host"), "{}", refused.failure());
    build(&["--allow", "network.host"]).succeeded();
    build(&["--network", "host"]).succeeded();
    builds("RUN --network=none [ \"$(ls /sys/class/net)\" = lo ]", &[]);
}

#[test]
fn mounts_on_what_is_the_kernels_are_refused() {
    for target in ["/proc", "/proc/self/attr", "/sys", "/dev", "/dev/shm", "/", "/x/../proc"] {
        for kind in ["tmpfs", "bind", "cache", "secret,id=x"] {
            fails(&format!("RUN --mount=type={kind},target={target} true"), &[], "nothing can be mounted");
        }
    }
    // A link of the image does not lead there either: what bld mounts comes to lie over it.
    builds(
        "RUN ln -s /proc /p && ln -s /sys /s\n\
         RUN --mount=type=tmpfs,target=/p/self --mount=type=tmpfs,target=/s/fs [ -r /proc/self/status ] && [ -d /sys/class ]",
        &[],
    );
}
