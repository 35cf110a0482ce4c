//! The other builder: buildah with a storage of its own, and what it built kept for the next run.
//!
//! ```text
//! $CARGO_TARGET_TMPDIR/conformance/base-NAME.tar      docker archive of the base image, used by both builders
//!                                 /CASE-KEY/          OCI layout; the key is over all that buildah was given
//! ```

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use tempfile::TempDir;

use super::case;
use super::case::Case;
use super::image::Image;
use crate::support;
use crate::support::Base;

/// buildah, ready to build.
#[derive(Debug)]
pub(super) struct Buildah {
    /// The storage and its configuration, gone after the run.
    storage: TempDir,
    cache: PathBuf,
    version: String,
    /// Held while a base archive is made.
    making: Mutex<()>,
    /// The bases that are in the storage. Only what a case really needs gets there: most runs find all in the cache.
    pulled: Mutex<Vec<Base>>,
    driver: OnceLock<&'static str>,
}

impl Buildah {
    /// Ends the test if buildah is missing.
    pub(super) fn open() -> Self {
        let version = support::run(Command::new("buildah").arg("--version")).succeeded().stdout;
        let cache = support::cache_directory("conformance");
        let storage = TempDir::with_prefix_in("storage-", &cache).unwrap();
        // Names as Docker means them, and no look at this machine's own settings.
        std::fs::write(storage.path().join("registries.conf"), "unqualified-search-registries = [\"docker.io\"]\n")
            .unwrap();
        Self {
            storage,
            cache,
            version,
            pulled: Mutex::new(Vec::new()),
            making: Mutex::new(()),
            driver: OnceLock::new(),
        }
    }

    /// The docker archive of `base`, made from its root file system if it is not there.
    pub(super) fn base(&self, base: Base) -> PathBuf {
        // Cases run side by side: one makes the archive, the others wait for it.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = self.cache.join(format!("base-{}.tar", base.name()));
        let rootfs = base.tar();
        if archive.exists() && modified(&archive) >= modified(&rootfs) {
            return archive;
        }
        let directory = TempDir::new().unwrap();
        std::fs::write(
            directory.path().join("Dockerfile"),
            "FROM scratch\nADD rootfs.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
             CMD [\"sh\"]\n",
        )
        .unwrap();
        std::fs::copy(&rootfs, directory.path().join("rootfs.tar")).unwrap();
        let name = format!("docker.io/library/{}", base.image());
        support::run(self.bud().args(["-t", &name]).arg(directory.path())).succeeded();
        let partial = self.storage.path().join("base.tar");
        let target = format!("docker-archive:{}:{name}", partial.display());
        support::run(self.command().args(["push", "-q", &name, &target])).succeeded();
        std::fs::rename(&partial, &archive).unwrap();
        self.pulled.lock().unwrap().push(base);
        archive
    }

    /// What buildah makes of `case`, now or in an earlier run.
    pub(super) fn build(&self, case: &Case) -> Image {
        let layout = self.cache.join(format!("{}-{:016x}", case.name, self.key(case)));
        if !layout.join("index.json").exists() {
            self.forget(case);
            self.pull(&case::bases(&case.name));
            let partial = self.storage.path().join(format!("layout-{}", case.name));
            let tag = format!("localhost/{}:latest", case.name);
            let mut command = self.bud();
            command.current_dir(case.work.path()).envs(case.environment.iter().cloned());
            command.args(["-t", &tag]).arg("-f").arg(case.buildah_dockerfile().0);
            support::run(command.args(case.buildah_arguments()).arg(case.context())).succeeded();
            let target = format!("oci:{}:latest", partial.display());
            support::run(self.command().args(["push", "-q", "-D", "--format", "docker", &tag, &target])).succeeded();
            std::fs::rename(&partial, &layout).unwrap();
        }
        Image::read(&layout)
    }

    /// Removes what was kept of an older state of `case`.
    fn forget(&self, case: &Case) {
        for entry in std::fs::read_dir(&self.cache).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let key = name.strip_prefix(&case.name).and_then(|rest| rest.strip_prefix('-'));
            if key.is_some_and(|key| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                std::fs::remove_dir_all(&path).unwrap();
            }
        }
    }

    fn pull(&self, bases: &[Base]) {
        let archives: Vec<(Base, PathBuf)> = bases.iter().map(|base| (*base, self.base(*base))).collect();
        let mut pulled = self.pulled.lock().unwrap();
        for (base, archive) in archives {
            if !pulled.contains(&base) {
                let source = format!("docker-archive:{}", archive.display());
                support::run(self.command().args(["pull", "-q", &source])).succeeded();
                pulled.push(base);
            }
        }
    }

    /// `buildah bud`, one layer per step as ours, no cache: the result must depend on the case alone.
    fn bud(&self) -> Command {
        let mut command = self.command();
        command.args(["bud", "-q", "--format", "docker", "--layers=true", "--no-cache", "--pull-never"]);
        command.args(["--isolation", "chroot", "--network", "host"]);
        command
    }

    fn command(&self) -> Command {
        let driver = self.driver.get_or_init(|| self.usable_driver());
        self.command_with(driver)
    }

    /// Overlay if this machine can nest it, else the slow driver that works everywhere.
    fn usable_driver(&self) -> &'static str {
        let probe = self.command_with("overlay").args(["from", "--name", "probe", "scratch"]).output();
        match probe {
            Ok(output) if output.status.success() => {
                support::run(self.command_with("overlay").args(["rm", "probe"])).succeeded();
                "overlay"
            }
            _ => "vfs",
        }
    }

    fn command_with(&self, driver: &str) -> Command {
        let storage = self.storage.path();
        let settings = storage.join(format!("{driver}.conf"));
        if !settings.exists() {
            let directory = storage.display();
            let text = format!(
                "[storage]\ndriver = \"{driver}\"\nrunroot = \"{directory}/run-{driver}\"\n\
                 graphroot = \"{directory}/root-{driver}\"\n"
            );
            std::fs::write(&settings, text).unwrap();
        }
        let mut command = Command::new("buildah");
        command.env("CONTAINERS_STORAGE_CONF", settings);
        command.env("CONTAINERS_REGISTRIES_CONF", storage.join("registries.conf"));
        command
    }

    fn key(&self, case: &Case) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.version.hash(&mut hasher);
        // A capability can only be put on a file by root, so the contexts differ.
        std::fs::metadata(case.work.path()).unwrap().uid().hash(&mut hasher);
        for base in case::bases(&case.name) {
            modified(&self.base(base)).hash(&mut hasher);
        }
        hash_tree(&case.source, &mut hasher);
        hasher.finish()
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let Some(driver) = self.driver.get() else { return };
        // The container of a failed build stays mounted, and so does the driver's own directory.
        drop(self.command_with(driver).args(["rm", "--all"]).output());
        let root = self.storage.path().join(format!("root-{driver}"));
        drop(Command::new("umount").arg("--lazy").arg(root.join(driver)).output());
        // Without root the storage belongs to subordinate ids, which only their name space may remove.
        if std::fs::metadata(self.storage.path()).is_ok_and(|metadata| metadata.uid() != 0) {
            drop(self.command_with(driver).args(["unshare", "rm", "-rf"]).arg(root).output());
        }
    }
}

fn modified(path: &Path) -> (i64, i64) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.mtime(), metadata.mtime_nsec())
}

fn hash_tree(directory: &Path, hasher: &mut DefaultHasher) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap();
        if name.to_string_lossy().starts_with("expect.") {
            continue;
        }
        name.hash(hasher);
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        metadata.mode().hash(hasher);
        if metadata.is_dir() {
            hash_tree(&path, hasher);
        } else {
            std::fs::read(&path).unwrap().hash(hasher);
        }
    }
}
