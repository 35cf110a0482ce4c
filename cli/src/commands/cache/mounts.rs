//! `bld cache mount`: looks into cache mounts, and empties them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bld_cache::Store;
use bld_cache::store::CacheMount;
use bld_cache::store::Holder;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::list::at;
use crate::args::cache::CacheMountBrowseArgs;
use crate::args::cache::CacheMountListArgs;
use crate::args::cache::CacheMountRemoveArgs;
use crate::commands::print;
use crate::environment;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;
use crate::ui::table;

const HEADINGS: [(&str, &str); 8] = [
    ("Bytes", "BYTES"),
    ("Copies", "COPIES"),
    ("Hash", "HASH"),
    ("ID", "ID"),
    ("InUse", "IN USE"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("Size", "SIZE"),
];

const STANDARD: &str = "{{.ID}}\t{{.Copies}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.InUse}}";

pub(super) fn list(store: &Store, args: &CacheMountListArgs) -> Result<(), CommandError> {
    let format = ListFormat::parse(args.format.as_deref(), STANDARD)?;
    let mounts = store.cache_mounts().list()?;
    if args.quiet && !matches!(format, ListFormat::Lines(_)) {
        let mut ids: Vec<String> = mounts.iter().map(|mount| one_line(&mount.id)).collect();
        ids.push(String::new());
        return print(&ids.join("\n"));
    }
    let now = environment::now().seconds;
    let mut rows = Vec::with_capacity(mounts.len());
    for mount in &mounts {
        let size = store.cache_mounts().size(mount)?;
        let used = mount.last_used_ns / 1_000_000_000;
        let holder = match mount.holder {
            Holder::Nobody => "no",
            Holder::Shared => "shared",
            Holder::Alone => "alone",
        };
        rows.push(Value::Struct(vec![
            Field::new("Bytes", size),
            Field::new("Copies", mount.copies.len().to_string()),
            Field::new("Hash", mount.hash.clone()),
            Field::new("ID", one_line(&mount.id).replace('\t', " ")),
            Field::new("InUse", holder),
            Field::new("LastUsedAt", at(used)),
            Field::new("LastUsedSince", human_age(now - used)),
            Field::new("Size", human_size(size)),
        ]));
    }
    print(&format.render(&HEADINGS, &rows)?)
}

pub(super) fn remove(store: &Store, args: &CacheMountRemoveArgs) -> Result<(), CommandError> {
    let mounts = store.cache_mounts().list()?;
    let wanted: Vec<&CacheMount> = if args.all {
        mounts.iter().collect()
    } else {
        args.ids.iter().map(|id| find(&mounts, id)).collect::<Result<_, _>>()?
    };
    let (mut lines, mut freed, mut failures) = (Vec::new(), 0, Vec::new());
    for mount in wanted {
        let size = store.cache_mounts().size(mount)?;
        if store.cache_mounts().remove(mount)? {
            freed += size;
            lines.push(format!("Removed: {}", one_line(&mount.id)));
        } else {
            let message = format!("the cache mount `{}` is in use by a step that runs", one_line(&mount.id));
            failures.push(CommandError::failed(message).hint("try again when the build has ended"));
        }
    }
    lines.push(format!("Total reclaimed space: {}\n", human_size(freed)));
    print(&lines.join("\n"))?;
    CommandError::together(failures, "cache mounts")
}

/// A mount by its id, or the beginning of its id or of its hash.
fn find<'a>(mounts: &'a [CacheMount], text: &str) -> Result<&'a CacheMount, CommandError> {
    if let Some(exact) = mounts.iter().find(|mount| mount.id == text) {
        return Ok(exact);
    }
    let begins = |mount: &&CacheMount| mount.id.starts_with(text) || (text.len() > 3 && mount.hash.starts_with(text));
    let found: Vec<&CacheMount> = mounts.iter().filter(begins).filter(|_| !text.is_empty()).collect();
    let shown = |mounts: &[&CacheMount]| {
        mounts.iter().take(8).map(|mount| format!("`{}`", one_line(&mount.id))).collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [only] => Ok(only),
        [] => {
            let error = CommandError::failed(format!("there is no cache mount `{}`", one_line(text)));
            let all: Vec<&CacheMount> = mounts.iter().collect();
            Err(if all.is_empty() {
                error.hint("there are none: `RUN --mount=type=cache,target=PATH` makes one")
            } else {
                error.hint(format!("the cache mounts are {}", shown(&all)))
            })
        }
        several => Err(CommandError::failed(format!("`{}` could be {}", one_line(text), shown(several)))),
    }
}

pub(super) fn browse(store: &Store, args: &CacheMountBrowseArgs) -> Result<(), CommandError> {
    let mounts = store.cache_mounts().list()?;
    let mount = find(&mounts, &args.id)?;
    let number = match (args.copy, mount.copies.as_slice()) {
        (None, [first, ..]) => *first,
        (Some(wanted), copies) if copies.contains(&wanted) => wanted,
        (wanted, copies) => {
            let copies: Vec<String> = copies.iter().map(ToString::to_string).collect();
            return Err(CommandError::failed(format!("the cache mount has no copy {}", wanted.unwrap_or(0)))
                .hint(format!("its copies are {}", copies.join(", "))));
        }
    };
    let directory = store.cache_mounts().copy(mount, number);
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(&directory, flags, Mode::empty()).map_err(|errno| failed("open", &directory, errno))?;
    let shown = one_line(&args.path.to_string_lossy());
    let said = |errno: Errno| {
        let reason = match errno {
            Errno::NOENT => "it is not there".to_owned(),
            Errno::LOOP => "its links go round in circles".to_owned(),
            errno => std::io::Error::from(errno).to_string(),
        };
        CommandError::failed(format!("cannot open {shown} of cache mount `{}`: {reason}", one_line(&mount.id)))
    };
    let found = open(&root, &args.path, OFlags::PATH).map_err(said)?;
    let stat = rustix::fs::fstat(&found).map_err(said)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let rows =
                entries(&open(&root, &args.path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(said)?).map_err(said)?;
            print(&table::columns(&rows, 2))
        }
        FileType::RegularFile => {
            let file = open(&root, &args.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(said)?;
            // Something else may have this name by now.
            let now = rustix::fs::fstat(&file).map_err(said)?;
            if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
                return Err(said(Errno::STALE));
            }
            copy(File::from(file))
        }
        _ => Err(CommandError::failed(format!("{shown} is neither a directory nor a file"))),
    }
}

/// Opens a path as a process would whose root directory this is: links lead nowhere else.
fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    const ATTEMPTS: usize = 100;
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed during the walk.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// What `ls -l` says of a directory, sorted by name.
fn entries(directory: &OwnedFd) -> Result<Vec<Vec<String>>, Errno> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            result => result?,
        };
        let mut shown = one_line(&OsStr::from_bytes(name.to_bytes()).to_string_lossy());
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let target = rustix::fs::readlinkat(directory.as_fd(), name.as_c_str(), Vec::new())?;
            shown = format!("{shown} -> {}", one_line(&target.to_string_lossy()));
        }
        found.push((name, row(&stat, shown)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

fn row(stat: &Stat, name: String) -> Vec<String> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    vec![
        permissions(stat.st_mode),
        format!("{}:{}", stat.st_uid, stat.st_gid),
        size.to_string(),
        at(stat.st_mtime),
        name,
    ]
}

fn permissions(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 > 0 { 'r' } else { '-' });
        text.push(if bits & 2 > 0 { 'w' } else { '-' });
        text.push(match (mode & special > 0, bits & 1 > 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A program gets the bytes; a terminal must not obey them.
fn copy(mut file: File) -> Result<(), CommandError> {
    use std::io::IsTerminal as _;
    let unreadable = |error: &std::io::Error| CommandError::failed(format!("cannot read the file: {error}"));
    if std::io::stdout().is_terminal() {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        return print(&String::from_utf8_lossy(&bytes));
    }
    let mut stdout = std::io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(|error| unreadable(&error))?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            return stdout.flush().map_err(|error| CommandError::stdout(&error));
        }
        stdout.write_all(chunk).map_err(|error| CommandError::stdout(&error))?;
    }
}

fn failed(verb: &str, path: &Path, errno: Errno) -> CommandError {
    CommandError::failed(format!("cannot {verb} {}: {}", path.display(), std::io::Error::from(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cache::rows::SHORT;

    #[test]
    fn modes() {
        for (mode, expected) in [
            (0o040_755, "drwxr-xr-x"),
            (0o100_640, "-rw-r-----"),
            (0o120_777, "lrwxrwxrwx"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_644, "-rw-r-Sr--"),
            (0o041_777, "drwxrwxrwt"),
            (0o010_000, "p---------"),
        ] {
            assert_eq!(permissions(mode), expected);
        }
    }

    #[test]
    fn by_id_or_by_its_beginning() {
        let mount = |id: &str| CacheMount {
            hash: bld_cache::store::mount_hash(id),
            id: id.to_owned(),
            copies: vec![0],
            last_used_ns: 0,
            holder: Holder::Nobody,
        };
        let mounts = [mount("/root/.cache"), mount("/root"), mount("apt")];
        let found = |text: &str| find(&mounts, text).map(|mount| mount.id.clone()).map_err(|error| error.to_text());
        assert_eq!(found("/root").as_deref(), Ok("/root"));
        assert_eq!(found("a").as_deref(), Ok("apt"));
        assert_eq!(found(&mounts[2].hash[..SHORT]).as_deref(), Ok("apt"));
        assert_eq!(found("/r").unwrap_err(), "error: `/r` could be `/root/.cache`, `/root`");
        assert!(found("").is_err());
        assert_eq!(
            found("go").unwrap_err(),
            "error: there is no cache mount `go`\nhint: the cache mounts are `/root/.cache`, `/root`, `apt`"
        );
    }
}
