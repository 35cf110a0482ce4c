//! Ordinary users that exist for the commands run as them only.
//!
//! Such a command sees its own `/etc/passwd`, `/etc/group`, `/etc/subuid` and `/etc/subgid`, mounted in a mount namespace of its own:
//! nothing has to be cleaned up on the machine.

use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;

/// Far above what a machine gives to people.
const ID: u32 = 1_700_001;
/// The first of the ids lent to the user who has some.
pub(crate) const FIRST_SUBORDINATE: u32 = 1_800_000;

/// Mounts the files of `$1` over those of the machine and becomes user `$2`.
const ENTER: &str = r#"
etc=$1 id=$2 home=$3; shift 3
for file in passwd group subuid subgid; do mount --bind "$etc/$file" "/etc/$file"; done
cd "$home"
exec setpriv --reuid "$id" --regid "$id" --clear-groups -- env -i HOME="$home" PATH="$PATH" "$@"
"#;

/// Shows a device of its own at the usual place.
const TUNNEL: &str = r#"
[ -e "$1/tun" ] || mknod -m 666 "$1/tun" c 10 200
mount --bind "$1/tun" /dev/net/tun
"#;

/// A user with a home directory, the base images' archives, bld, and a store.
#[derive(Debug)]
pub(crate) struct User {
    directory: TempDir,
}

impl User {
    /// With 65536 subordinate ids, or with none.
    pub(crate) fn new(has_subordinate_ids: bool) -> User {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = TempDir::with_prefix_in("user-", "/tmp").unwrap();
        let user = User { directory };
        std::fs::set_permissions(user.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (etc, home) = (user.directory.path().join("etc"), user.home());
        std::fs::create_dir(&etc).unwrap();
        std::fs::create_dir(&home).unwrap();
        for (file, line) in
            [("passwd", format!("ordinary:x:{ID}:{ID}::/:/bin/sh\n")), ("group", format!("ordinary:x:{ID}:\n"))]
        {
            let text = std::fs::read_to_string(Path::new("/etc").join(file)).unwrap();
            std::fs::write(etc.join(file), format!("{text}{line}")).unwrap();
        }
        let lent = if has_subordinate_ids { format!("ordinary:{FIRST_SUBORDINATE}:65536\n") } else { String::new() };
        for file in ["subuid", "subgid"] {
            std::fs::write(etc.join(file), &lent).unwrap();
        }
        // The target directory may be in a place that only root can see.
        // By a process of its own: whoever forks meanwhile would hold it open for writing, and it could not be executed.
        support::run(Command::new("cp").arg(support::bld(&home).get_program()).arg(home.join("bld"))).succeeded();
        chown(&home, Some(ID), Some(ID)).unwrap();
        user
    }

    /// Gives the user's store the base image.
    pub(crate) fn import(&self, base: Base) {
        let tar = self.home().join(format!("{}.tar", base.name()));
        std::fs::copy(base.tar(), &tar).unwrap();
        self.bld(&["import", tar.to_str().unwrap(), base.image()]).succeeded();
        std::fs::remove_file(tar).unwrap();
    }

    /// The user's home directory, where commands run.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Makes a file of the user's.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.home().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        Self::own(&path);
    }

    /// Gives the user what root put below the home directory.
    pub(crate) fn own(path: &Path) {
        let owner = format!("{ID}:{ID}");
        support::run(Command::new("chown").args(["-R", &owner]).arg(path)).succeeded();
    }

    /// Runs bld as the user, with the store `store` in the home directory.
    pub(crate) fn bld(&self, arguments: &[&str]) -> Run {
        self.run(&[&["./bld", "--root", "store"], arguments].concat())
    }

    /// Runs a line of sh as the user, in which `bld` is bld with the user's store.
    pub(crate) fn shell(&self, script: &str) -> Run {
        self.run(&["sh", "-ec", &format!("bld() {{ ./bld --root store \"$@\"; }}\n{script}")])
    }

    /// Runs a program as the user.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.enter(ENTER, arguments)
    }

    /// [`Self::run`] where everybody may open `/dev/net/tun`, as on most machines: private networks need it.
    pub(crate) fn run_with_tunnel(&self, arguments: &[&str]) -> Run {
        self.enter(&format!("{TUNNEL}{ENTER}"), arguments)
    }

    fn enter(&self, script: &str, arguments: &[&str]) -> Run {
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-euc", script, "enter"]);
        command.arg(self.directory.path().join("etc")).arg(ID.to_string()).arg(self.home()).args(arguments);
        support::run(&mut command)
    }
}
