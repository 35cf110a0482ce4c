//! A directory, and all that can be done to it without its showing in sizes and modification times.
//!
//! ```text
//! d0 ... d7/f0 ... f23   files of one size and time, sometimes links or directories
//! held/0 ... 3           files that somebody keeps mapped
//! big                    is written to while it is read
//! ```

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FallocateFlags;
use rustix::fs::RenameFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::sandbox::sys::Mapped;

/// The file that is written to while it is read.
pub(super) const BIG: &str = "big";

const DIRECTORIES: u64 = 8;
const FILES: u64 = 24;
const HELD: usize = 4;
const SIZE: usize = 64;
const BIG_SIZE: usize = 1 << 20;
/// The modification time of all files.
const PAST: i64 = 1_000_000_000;

type Trick = fn(&mut World) -> io::Result<()>;

const TRICKS: [(&str, Trick); 31] = [
    ("other bytes", World::other_bytes),
    ("another byte", World::another_byte),
    ("a file renamed over", World::rename_over),
    ("touch -r", World::touch_like),
    ("a time to come", |world| world.other_time(4_000_000_000)),
    ("a time long ago", |world| world.other_time(1)),
    ("the clock set back", World::clock_set_back),
    ("shorter and longer", World::shorter_and_longer),
    ("emptied and filled", World::emptied_and_filled),
    ("a hole", World::hole),
    ("the same inode", World::same_inode),
    ("two files exchanged", World::exchange_files),
    ("three files in a circle", World::circle),
    ("two directories exchanged", World::exchange_directories),
    ("a directory in the place of another", World::other_directory),
    ("a directory renamed twice", World::directory_away_and_back),
    ("a second name", World::second_name),
    ("names of one file exchanged with another's", World::exchange_names),
    ("a link to elsewhere", World::retarget),
    ("a link in the place of a file", World::link_for_file),
    ("a file in the place of a link", World::file_for_link),
    ("a directory in the place of a file", World::directory_for_file),
    ("another mode", World::other_mode),
    ("an attribute", World::attribute),
    ("an attribute that nobody sees", World::hidden_attribute),
    ("an attribute less", World::no_attribute),
    ("an attribute exchanged with another file's", World::exchange_attributes),
    ("a new file with an attribute", World::new_with_attribute),
    ("copied over by the kernel", World::copied_over),
    ("a store through a mapping", World::mapped),
    ("a store through a mapping that stays", World::held),
];

/// The directory and those who hold files of it.
pub(super) struct World {
    root: PathBuf,
    state: u64,
    held: [Option<Mapped>; HELD],
}

impl World {
    pub(super) fn new(root: &Path, seed: u64) -> World {
        let mut world = World { root: root.to_owned(), state: seed | 1, held: Default::default() };
        for directory in 0..DIRECTORIES {
            let directory = root.join(format!("d{directory}"));
            fs::create_dir_all(&directory).unwrap();
            for file in 0..FILES {
                world.fill(&directory.join(format!("f{file}"))).unwrap();
            }
        }
        fs::create_dir_all(root.join("held")).unwrap();
        for number in 0..HELD {
            world.fill(&world.held_path(number)).unwrap();
        }
        fs::write(root.join(BIG), vec![0; BIG_SIZE]).unwrap();
        world
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end
    }

    /// Plays one trick and says which.
    pub(super) fn play(&mut self) -> &'static str {
        let index = usize::try_from(self.below(TRICKS.len() as u64)).unwrap();
        let (name, trick) = TRICKS[index];
        trick(self).unwrap_or_else(|error| panic!("{name}: {error}"));
        name
    }

    /// Whoever holds files lets them go.
    pub(super) fn let_go(&mut self) {
        self.held = Default::default();
    }

    fn held_path(&self, number: usize) -> PathBuf {
        self.root.join("held").join(number.to_string())
    }

    fn directory(&mut self) -> PathBuf {
        let number = self.below(DIRECTORIES);
        self.root.join(format!("d{number}"))
    }

    /// A name that may be a file, a link, a directory.
    fn name(&mut self) -> PathBuf {
        let number = self.below(FILES);
        self.directory().join(format!("f{number}"))
    }

    /// A name that is a regular file.
    fn file(&mut self) -> PathBuf {
        loop {
            let name = self.name();
            if fs::symlink_metadata(&name).unwrap().is_file() {
                return name;
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| b'a' + u8::try_from(self.below(26)).unwrap()).collect()
    }

    /// Makes `path` a file of the one size and time, in place if it is one already.
    fn fill(&mut self, path: &Path) -> io::Result<()> {
        fs::write(path, self.bytes(SIZE))?;
        set_back(path)
    }

    /// Makes `path`, whatever it was, a new file.
    fn renew(&mut self, path: &Path) -> io::Result<()> {
        remove(path)?;
        self.fill(path)
    }

    fn other_bytes(&mut self) -> io::Result<()> {
        let file = self.file();
        self.fill(&file)
    }

    fn another_byte(&mut self) -> io::Result<()> {
        let (path, byte, at) = (self.file(), self.bytes(1), self.below(SIZE as u64));
        File::options().write(true).open(&path)?.write_all_at(&byte, at)?;
        set_back(&path)
    }

    fn rename_over(&mut self) -> io::Result<()> {
        let (path, new) = (self.file(), self.root.join("new"));
        self.fill(&new)?;
        fs::rename(new, path)
    }

    fn touch_like(&mut self) -> io::Result<()> {
        let (path, other) = (self.file(), self.file());
        fs::write(&path, self.bytes(SIZE))?;
        let like = fs::metadata(other)?;
        set_time(&path, like.mtime(), like.mtime_nsec())
    }

    fn other_time(&mut self, seconds: i64) -> io::Result<()> {
        let path = self.file();
        fs::write(&path, self.bytes(SIZE))?;
        set_time(&path, seconds, 0)
    }

    /// As if the clock had been an hour ahead, or was an hour behind now.
    fn clock_set_back(&mut self) -> io::Result<()> {
        let path = self.file();
        fs::write(&path, self.bytes(SIZE))?;
        let now = fs::metadata(&path)?;
        let hour = if self.below(2) == 0 { 3600 } else { -3600 };
        set_time(&path, now.mtime() + hour, now.mtime_nsec())?;
        let bytes = self.bytes(SIZE);
        File::options().write(true).open(&path)?.write_all_at(&bytes, 0)?;
        set_time(&path, now.mtime() + hour, now.mtime_nsec())
    }

    fn shorter_and_longer(&mut self) -> io::Result<()> {
        let path = self.file();
        let file = File::options().write(true).open(&path)?;
        let length = self.below(SIZE as u64);
        file.set_len(length)?;
        file.set_len(SIZE as u64)?;
        set_back(&path)
    }

    fn emptied_and_filled(&mut self) -> io::Result<()> {
        let path = self.file();
        File::options().write(true).open(&path)?.set_len(0)?;
        self.fill(&path)
    }

    fn hole(&mut self) -> io::Result<()> {
        let path = self.file();
        let file = File::options().write(true).open(&path)?;
        let (at, flags) = (self.below(SIZE as u64), FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE);
        rustix::fs::fallocate(&file, flags, at, 8)?;
        set_back(&path)
    }

    /// Disks give the number of a removed file to the next one.
    fn same_inode(&mut self) -> io::Result<()> {
        let path = self.file();
        let inode = fs::metadata(&path)?.ino();
        for _ in 0..4 {
            self.renew(&path)?;
            if fs::metadata(&path)?.ino() == inode {
                break;
            }
        }
        Ok(())
    }

    fn exchange_files(&mut self) -> io::Result<()> {
        let (one, other) = (self.name(), self.name());
        exchange(&one, &other)
    }

    fn circle(&mut self) -> io::Result<()> {
        let (one, other, new) = (self.file(), self.file(), self.root.join("new"));
        if one == other {
            return Ok(());
        }
        fs::rename(&one, &new)?;
        fs::rename(&other, &one)?;
        fs::rename(&new, &other)
    }

    fn exchange_directories(&mut self) -> io::Result<()> {
        let (one, other) = (self.directory(), self.directory());
        exchange(&one, &other)
    }

    /// The same names, sizes and times, and the time of the directory too; other bytes.
    fn other_directory(&mut self) -> io::Result<()> {
        let (path, new) = (self.directory(), self.root.join("new"));
        fs::create_dir(&new)?;
        for number in 0..FILES {
            self.fill(&new.join(format!("f{number}")))?;
        }
        let was = fs::metadata(&path)?;
        exchange(&path, &new)?;
        set_time(&path, was.mtime(), was.mtime_nsec())?;
        fs::remove_dir_all(&new)
    }

    fn directory_away_and_back(&mut self) -> io::Result<()> {
        let (path, new) = (self.directory(), self.root.join("new"));
        fs::rename(&path, &new)?;
        self.other_bytes_in(&new)?;
        fs::rename(&new, &path)
    }

    fn other_bytes_in(&mut self, directory: &Path) -> io::Result<()> {
        let file = directory.join(format!("f{}", self.below(FILES)));
        if fs::symlink_metadata(&file)?.is_file() { self.fill(&file) } else { Ok(()) }
    }

    /// A file under the name of another; then one of the two names is written through.
    fn second_name(&mut self) -> io::Result<()> {
        let (one, other) = (self.file(), self.name());
        if one == other {
            return Ok(());
        }
        remove(&other)?;
        fs::hard_link(&one, &other)?;
        if self.below(2) == 0 { self.fill(&other) } else { Ok(()) }
    }

    /// Two names of one file and two of another: one of each changes sides.
    fn exchange_names(&mut self) -> io::Result<()> {
        let names = [self.name(), self.name(), self.name(), self.name()];
        let is_repeated = names.iter().enumerate().any(|(index, name)| names[..index].contains(name));
        if is_repeated {
            return Ok(());
        }
        for pair in names.chunks(2) {
            self.renew(&pair[0])?;
            remove(&pair[1])?;
            fs::hard_link(&pair[0], &pair[1])?;
        }
        exchange(&names[0], &names[2])
    }

    fn retarget(&mut self) -> io::Result<()> {
        let (path, target, new) = (self.name(), self.below(FILES), self.root.join("new"));
        symlink(format!("f{target}"), &new)?;
        set_back(&new)?;
        remove(&path)?;
        fs::rename(new, path)
    }

    /// The link leads to the file that was there.
    fn link_for_file(&mut self) -> io::Result<()> {
        let path = self.file();
        let other = self.name();
        if path == other {
            return Ok(());
        }
        remove(&other)?;
        fs::rename(&path, &other)?;
        symlink(Path::new("..").join(other.strip_prefix(&self.root).unwrap()), &path)?;
        set_back(&path)
    }

    fn file_for_link(&mut self) -> io::Result<()> {
        for _ in 0..20 {
            let path = self.name();
            if fs::symlink_metadata(&path)?.is_symlink() {
                return self.renew(&path);
            }
        }
        Ok(())
    }

    fn directory_for_file(&mut self) -> io::Result<()> {
        let path = self.name();
        let was_directory = fs::symlink_metadata(&path)?.is_dir();
        remove(&path)?;
        if was_directory {
            return self.fill(&path);
        }
        fs::create_dir(&path)?;
        self.fill(&path.join("inner"))?;
        set_back(&path)
    }

    fn other_mode(&mut self) -> io::Result<()> {
        let path = self.file();
        let mode = [0o644, 0o600, 0o755, 0o640][usize::try_from(self.below(4)).unwrap()];
        self.fill(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    }

    /// Its time is set back as always; nothing else of the file changes.
    fn attribute(&mut self) -> io::Result<()> {
        let (path, value) = (self.file(), self.bytes(4));
        set_attribute(&path, "user.note", &value)?;
        set_back(&path)
    }

    fn hidden_attribute(&mut self) -> io::Result<()> {
        let (path, value) = (self.file(), self.bytes(4));
        set_attribute(&path, "user.overlay.note", &value)?;
        set_back(&path)
    }

    fn no_attribute(&mut self) -> io::Result<()> {
        for _ in 0..20 {
            let path = self.file();
            match rustix::fs::removexattr(&path, "user.note") {
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                other => {
                    other?;
                    return set_back(&path);
                }
            }
        }
        Ok(())
    }

    /// One has it, then the other under its name.
    fn exchange_attributes(&mut self) -> io::Result<()> {
        let (one, other, value) = (self.file(), self.file(), self.bytes(4));
        self.renew(&one)?;
        set_attribute(&one, "user.note", &value)?;
        set_back(&one)?;
        exchange(&one, &other)
    }

    fn new_with_attribute(&mut self) -> io::Result<()> {
        let (path, new, value) = (self.file(), self.root.join("new"), self.bytes(4));
        fs::copy(&path, &new)?;
        set_attribute(&new, "user.note", &value)?;
        set_back(&new)?;
        fs::rename(new, path)
    }

    fn copied_over(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        if fs::metadata(&from)?.ino() == fs::metadata(&to)?.ino() {
            return Ok(());
        }
        let (from, target) = (File::open(from)?, File::options().write(true).open(&to)?);
        rustix::fs::copy_file_range(&from, None, &target, None, SIZE)?;
        set_back(&to)
    }

    fn mapped(&mut self) -> io::Result<()> {
        let (path, byte, at) = (self.file(), self.bytes(1), self.below(SIZE as u64));
        Mapped::new(&File::options().read(true).write(true).open(&path)?)?.store(usize::try_from(at).unwrap(), byte[0]);
        set_back(&path)
    }

    /// No time is set: that would give the change away.
    fn held(&mut self) -> io::Result<()> {
        let number = usize::try_from(self.below(HELD as u64)).unwrap();
        let (at, byte, lets_go) = (self.below(SIZE as u64), self.bytes(1), self.below(8) == 0);
        let path = self.held_path(number);
        let mapped = match self.held[number].take() {
            Some(mapped) => mapped,
            None => Mapped::new(&File::options().read(true).write(true).open(path)?)?,
        };
        mapped.store(usize::try_from(at).unwrap(), byte[0]);
        self.held[number] = (!lets_go).then_some(mapped);
        Ok(())
    }
}

/// Writes other bytes to the big file, which keeps its size and time.
pub(super) fn overwrite_big(root: &Path, byte: u8) {
    let path = root.join(BIG);
    File::options().write(true).open(&path).unwrap().write_all_at(&vec![byte; BIG_SIZE], 0).unwrap();
    set_back(&path).unwrap();
}

/// Where files have no such attributes (in memory before Linux 6.6), there is nobody to be deceived.
fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    match rustix::fs::setxattr(path, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Gives a file the modification time that all have.
fn set_back(path: &Path) -> io::Result<()> {
    set_time(path, PAST, 0)
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
