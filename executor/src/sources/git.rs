//! Commits of git repositories, by the `git` program.
//!
//! ```text
//! reference --ls-remote--> commit --fetch, shallow--> <store>/git/<hash> --fetch--> a directory of its own, with submodules
//! ```

use std::fs;
use std::fs::Permissions;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_cache::store::Claim;
use bld_oci::Timestamp;
use bld_solver::remote::GitSource;
use rustix::fs::AtFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;

use super::Remotes;
use super::command::Abort;
use super::command::AbortOnDrop;
use super::command::Git;
use super::error::SourceError;
use crate::context::beneath;

/// The files of a commit, in a directory that goes when this does.
#[derive(Debug)]
pub struct Checkout {
    store: Store,
    directory: PathBuf,
    /// The directory asked for: all of it or a subdirectory.
    pub root: PathBuf,
    /// The commit's time.
    pub time: Timestamp,
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // If it fails, the end of the process removes it.
        self.store.discard(&self.directory).ok();
    }
}

impl Remotes {
    /// The commit that a source stands for now. Asked for once in a build.
    pub(super) async fn commit(&self, source: &GitSource) -> Result<String, SourceError> {
        let key = (source.remote.secret().to_owned(), source.reference.clone(), source.checksum.clone());
        let cell = {
            let mut commits = self.shared.commits.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(commits.entry(key).or_default())
        };
        let find = || {
            let source = source.clone();
            self.blocking(move |this, abort| this.find_commit(&source, abort))
        };
        cell.get_or_try_init(find).await.cloned()
    }

    /// The files of the commit that a source stands for.
    pub async fn checkout(&self, source: &GitSource) -> Result<Checkout, SourceError> {
        let commit = self.commit(source).await?;
        let source = source.clone();
        self.blocking(move |this, abort| this.checkout_now(&source, &commit, abort)).await
    }

    /// Runs `work` on a thread where it may block; the git it runs is killed if the future is dropped.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Remotes, Abort) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let guard = AbortOnDrop(Abort::default());
        let (this, abort) = (self.clone(), guard.0.clone());
        let outcome = tokio::task::spawn_blocking(move || work(&this, abort)).await;
        drop(guard);
        match outcome {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SourceError::Canceled),
        }
    }

    fn git_directory(&self) -> Result<PathBuf, SourceError> {
        let path = self.shared.store.repositories();
        make_directory(&path)?;
        Ok(path)
    }

    fn git<'a>(&'a self, source: &'a GitSource, abort: Abort) -> Result<(Git<'a>, PathBuf), SourceError> {
        let directory = self.git_directory()?;
        let git = Git::new(&self.shared.config, &source.remote, &directory.join("known_hosts"), abort)?;
        Ok((git, directory))
    }

    fn find_commit(&self, source: &GitSource, abort: Abort) -> Result<String, SourceError> {
        let found = match &source.reference {
            Some(reference) if is_commit(reference) => reference.to_ascii_lowercase(),
            reference => {
                let (git, directory) = self.git(source, abort)?;
                let remote = source.remote.without_user_info();
                let reference = reference.as_deref().unwrap_or("HEAD");
                let peeled = format!("{reference}^{{}}");
                let arguments = ["ls-remote", "-q", "--", remote.secret(), reference, &peeled];
                let listed = git.run("read the references of", &directory, &arguments)?;
                let missing =
                    || SourceError::NoReference { remote: source.remote.clone(), reference: reference.to_owned() };
                match choose(&listed, reference) {
                    Some(commit) => commit,
                    None if is_abbreviated(reference) => {
                        self.find_abbreviated(source, &git, &directory, reference)?.ok_or_else(missing)?
                    }
                    None => return Err(missing()),
                }
            }
        };
        match &source.checksum {
            Some(expected) if !found.starts_with(expected.as_str()) => {
                Err(SourceError::Commit { remote: source.remote.clone(), expected: expected.clone(), actual: found })
            }
            _ => Ok(found),
        }
    }

    /// The commit whose name begins so. Servers know only whole names, so everything is fetched unless a branch or tag has it.
    fn find_abbreviated(
        &self,
        source: &GitSource,
        git: &Git<'_>,
        directory: &Path,
        beginning: &str,
    ) -> Result<Option<String>, SourceError> {
        let beginning = beginning.to_ascii_lowercase();
        let remote = source.remote.without_user_info();
        let listed = git.run("read the references of", directory, &["ls-remote", "-q", "--", remote.secret()])?;
        let tips = listed.lines().filter_map(|line| line.split_once('\t')).filter(|(commit, _)| is_commit(commit));
        // The object of an annotated tag is no commit.
        let is_tag = |name: &str| listed.contains(&format!("\t{name}^{{}}"));
        let mut tips: Vec<&str> =
            tips.filter(|(tip, name)| tip.starts_with(&beginning) && !is_tag(name)).map(|(tip, _)| tip).collect();
        tips.sort_unstable();
        tips.dedup();
        if let [tip] = tips.as_slice() {
            return Ok(Some((*tip).to_owned()));
        }
        let (bare, _claim) = self.bare(git, directory, source)?;
        fetch_all(git, &bare, remote.secret())?;
        let wanted = format!("{beginning}^{{commit}}");
        let found = git.run_locally("look into the copy of", &bare, &["rev-parse", "-q", "--verify", &wanted]);
        let found = found.ok().map(|found| found.trim().to_owned()).filter(|found| is_commit(found));
        if let Some(commit) = &found {
            git.run_locally("keep a commit of", &bare, &["update-ref", &kept(commit), commit])?;
        }
        Ok(found)
    }

    /// When the commit was made that a source stands for.
    pub(super) async fn commit_time(&self, source: &GitSource) -> Result<Timestamp, SourceError> {
        let commit = self.commit(source).await?;
        let source = source.clone();
        self.blocking(move |this, abort| {
            let (git, directory) = this.git(&source, abort)?;
            let (bare, _claim) = this.fetched(&git, &directory, &source, &commit)?;
            time_of(&git, &bare, &kept(&commit))
        })
        .await
    }

    /// The bare repository that has the commit now; nobody else changes it while the claim is held.
    fn fetched(
        &self,
        git: &Git<'_>,
        directory: &Path,
        source: &GitSource,
        commit: &str,
    ) -> Result<(PathBuf, Claim), SourceError> {
        let (bare, claim) = self.bare(git, directory, source)?;
        fetch(git, &bare, source, source.remote.without_user_info().secret(), commit)?;
        Ok((bare, claim))
    }

    /// The bare repository of a remote, new if it has to be.
    fn bare(&self, git: &Git<'_>, directory: &Path, source: &GitSource) -> Result<(PathBuf, Claim), SourceError> {
        let name = blake3::hash(source.remote.secret().as_bytes()).to_hex();
        let name = name.get(..32).unwrap_or_default();
        let bare = directory.join(name);
        let claim = self.shared.store.claim_name(&format!("git-{name}"))?;
        make_directory(&bare)?;
        if !bare.join("HEAD").exists() {
            git.run_locally("make a copy of", &bare, &["init", "-q", "--bare"])?;
        }
        Ok((bare, claim))
    }

    fn checkout_now(&self, source: &GitSource, commit: &str, abort: Abort) -> Result<Checkout, SourceError> {
        let (git, directory) = self.git(source, abort)?;
        let remote = source.remote.without_user_info();
        let (bare, claim) = self.fetched(&git, &directory, source, commit)?;

        let directory = self.shared.store.scratch()?;
        let store = self.shared.store.clone();
        let mut checkout =
            Checkout { store, root: directory.clone(), directory, time: self.shared.config.made_up_time };
        let place = checkout.directory.clone();
        let reference = kept(commit);
        let bare = bare.to_string_lossy().into_owned();
        git.run_locally("lay out", &place, &["init", "-q"])?;
        let arguments = ["fetch", "-q", "--depth=1", "--no-tags", "--", &bare, &reference];
        git.run_locally("lay out", &place, &arguments)?;
        drop(claim);
        git.run_locally("lay out", &place, &["checkout", "-q", "--detach", "FETCH_HEAD"])?;
        if source.commit_time {
            checkout.time = time_of(&git, &place, "HEAD")?;
        }
        git.run_locally("lay out", &place, &["remote", "add", "--", "origin", remote.secret()])?;
        if source.submodules && place.join(".gitmodules").symlink_metadata().is_ok_and(|status| status.is_file()) {
            let arguments = ["submodule", "--quiet", "update", "--init", "--recursive", "--force", "--depth=1"];
            git.run("fetch the submodules of", &place, &arguments)?;
        }
        // It names a path of this machine.
        fs::remove_file(place.join(".git/FETCH_HEAD")).ok();
        settle(&place, source.keep_git_dir, checkout.time)?;
        if !source.subdirectory.is_empty() {
            checkout.root = subdirectory(&place, &source.subdirectory).ok_or_else(|| SourceError::NoSubdirectory {
                remote: source.remote.clone(),
                subdirectory: source.subdirectory.clone(),
            })?;
        }
        Ok(checkout)
    }
}

/// The reference under which a commit is kept.
fn kept(commit: &str) -> String {
    format!("refs/bld/{commit}")
}

fn time_of(git: &Git<'_>, repository: &Path, reference: &str) -> Result<Timestamp, SourceError> {
    let time = git.run_locally("read the time of", repository, &["log", "-1", "--format=%ct", reference])?;
    // Whatever else git prints is no time: the commit is a broken one.
    Ok(time.trim().parse().map_or(Timestamp::FIXED, Timestamp::from_seconds))
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What git itself takes for the beginning of a commit's name, if nothing is called so.
fn is_abbreviated(text: &str) -> bool {
    (7..64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit of `reference` in a list of references: the one of this very name, else a branch, else a tag, as git checks out.
fn choose(listed: &str, reference: &str) -> Option<String> {
    let find = |name: &str| {
        let mut pairs = listed.lines().filter_map(|line| line.split_once('\t'));
        pairs.find(|(commit, listed)| *listed == name && is_commit(commit)).map(|(commit, _)| commit.to_owned())
    };
    let names = [
        reference.to_owned(),
        format!("refs/{reference}"),
        format!("refs/heads/{reference}"),
        format!("refs/tags/{reference}"),
    ];
    // An annotated tag is an object of its own: what it points to is what counts.
    names.iter().find_map(|name| find(&format!("{name}^{{}}")).or_else(|| find(name)))
}

/// Sees to it that the bare repository has the commit.
fn fetch(git: &Git<'_>, bare: &Path, source: &GitSource, remote: &str, commit: &str) -> Result<(), SourceError> {
    let reference = kept(commit);
    let has = || git.run_locally("look into the copy of", bare, &["rev-parse", "-q", "--verify", &reference]).is_ok();
    if has() {
        return Ok(());
    }
    let by_commit = format!("+{commit}:{reference}");
    let shallow = ["fetch", "-q", "--depth=1", "--no-tags", "--", remote, &by_commit];
    let Err(error) = git.run("fetch", bare, &shallow) else { return Ok(()) };
    if matches!(error, SourceError::Canceled) {
        return Err(error);
    }
    // Some servers give only what has a name: then all of it is fetched, in the hope that the commit is among it.
    let named = source.reference.as_deref().filter(|reference| !is_commit(reference)).unwrap_or("HEAD");
    let by_name = format!("+{named}:refs/bld/named");
    let is_it = |git: &Git<'_>| {
        let found = git.run_locally(
            "look into the copy of",
            bare,
            &["rev-parse", "-q", "--verify", &format!("{commit}^{{commit}}")],
        );
        found.is_ok_and(|found| found.trim() == commit)
    };
    git.run("fetch", bare, &["fetch", "-q", "--depth=1", "--no-tags", "--", remote, &by_name]).map_err(|_| error)?;
    if !is_it(git) {
        fetch_all(git, bare, remote)?;
    }
    git.run_locally("keep a commit of", bare, &["update-ref", &reference, commit]).map(drop)
}

/// Fetches every branch and tag with its whole history.
fn fetch_all(git: &Git<'_>, bare: &Path, remote: &str) -> Result<(), SourceError> {
    let mut arguments = vec!["fetch", "-q", "--no-tags"];
    if bare.join("shallow").exists() {
        arguments.push("--unshallow");
    }
    arguments.extend(["--", remote, "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]);
    git.run("fetch", bare, &arguments).map(drop)
}

fn make_directory(path: &Path) -> Result<(), SourceError> {
    fs::create_dir_all(path).map_err(|source| SourceError::Io { verb: "create", path: path.to_owned(), source })
}

/// The subdirectory, if every part of it is a real directory.
fn subdirectory(root: &Path, relative: &str) -> Option<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(root, flags, Mode::empty()).ok()?;
    beneath::open_directory(open.as_fd(), relative.as_bytes()).ok()?;
    Some(root.join(relative))
}

/// Gives everything the modes and the time it has whoever checks it out, and takes `.git` away unless it is to be kept.
fn settle(directory: &Path, keep_git_dir: bool, time: Timestamp) -> Result<(), SourceError> {
    let failed = |verb: &'static str, path: &Path, source: std::io::Error| SourceError::Io {
        verb,
        path: path.to_owned(),
        source,
    };
    let mut pending = vec![directory.to_owned()];
    let mut directories = Vec::new();
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(&at).map_err(|error| failed("list", &at, error))? {
            let entry = entry.map_err(|error| failed("list", &at, error))?;
            let path = entry.path();
            let status = path.symlink_metadata().map_err(|error| failed("look at", &path, error))?;
            if entry.file_name() == ".git" {
                if !keep_git_dir {
                    let removed = if status.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.map_err(|error| failed("remove", &path, error))?;
                    continue;
                }
                if at != directory {
                    continue;
                }
            }
            if status.is_dir() {
                pending.push(path);
                continue;
            }
            if status.is_file() {
                let mode = if status.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
                let changed = fs::set_permissions(&path, Permissions::from_mode(mode));
                changed.map_err(|error| failed("change the mode of", &path, error))?;
            }
            set_time(&path, time).map_err(|error| failed("change the time of", &path, error))?;
        }
        directories.push(at);
    }
    // A directory's time changes while things are done in it.
    for path in directories.iter().rev() {
        fs::set_permissions(path, Permissions::from_mode(0o755))
            .map_err(|error| failed("change the mode of", path, error))?;
        set_time(path, time).map_err(|error| failed("change the time of", path, error))?;
    }
    Ok(())
}

fn set_time(path: &Path, time: Timestamp) -> std::io::Result<()> {
    let stamp = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    let stamps = Timestamps { last_access: stamp, last_modification: stamp };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &stamps, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_comes_before_a_tag() {
        let (one, two, three) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
        let listed =
            format!("{one}\trefs/tags/v1\n{two}\trefs/tags/v1^{{}}\n{three}\trefs/heads/v1\n{one}\trefs/heads/x/v1\n");
        assert_eq!(choose(&listed, "v1"), Some(three));
        assert_eq!(choose(&listed, "refs/tags/v1"), Some(two));
        assert_eq!(choose(&listed, "x/v1"), Some(one));
        assert_eq!(choose("--upload-pack=x\tHEAD\n", "HEAD"), None);
    }
}
