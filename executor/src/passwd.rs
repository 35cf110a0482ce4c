//! Users and groups of an image: `/etc/passwd` and `/etc/group` as pure text, and the two questions asked of them.
//!
//! ```text
//! passwd line = name ":" password ":" uid ":" gid ":" comment ":" home ":" shell
//! group line  = name ":" password ":" gid ":" member { "," member }
//! ```
//! The files are the image's and nobody vouches for them: they are looked up inside the root, must be regular and small, and lines
//! that make no sense are passed over. Numbers are never looked up as names.

use std::io::Read;

use bld_oci::ImagePath;
use bld_solver::op::Owner;

use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::resolve;

/// The largest file that is read.
const SIZE_LIMIT: u64 = 10 << 20;
/// The largest user or group number: what container runtimes accept.
const NUMBER_LIMIT: u32 = i32::MAX.unsigned_abs();
/// The kernel's limit of supplementary groups.
const GROUP_LIMIT: usize = 65_536;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary first: never empty, so that the caller's own groups cannot stay in force.
    pub groups: Vec<u32>,
    /// Home directory; `/` if unknown.
    pub home: Vec<u8>,
}

/// A user or group could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// There is no user of that name.
    #[error("no user `{name}` in the image's /etc/passwd")]
    UnknownUser {
        /// The name.
        name: String,
        /// Whether the image has the file at all.
        file_exists: bool,
    },
    /// There is no group of that name.
    #[error("no group `{name}` in the image's /etc/group")]
    UnknownGroup {
        /// The name.
        name: String,
        /// Whether the image has the file at all.
        file_exists: bool,
    },
    /// A number that is none, or too large.
    #[error("`{value}` is not a user or group number between 0 and {NUMBER_LIMIT}")]
    BadNumber {
        /// As written.
        value: String,
    },
    /// The file is a directory, a pipe, a device.
    #[error("{path} in the image is not a regular file")]
    NotRegular {
        /// Which.
        path: ImagePath,
    },
    /// The file is larger than any real one.
    #[error("{path} in the image is larger than {SIZE_LIMIT} bytes")]
    TooLarge {
        /// Which.
        path: ImagePath,
    },
    /// More groups than the kernel takes.
    #[error("user `{name}` is in more than {GROUP_LIMIT} groups")]
    TooManyGroups {
        /// The user's name.
        name: String,
    },
    /// The file could not be read.
    #[error("cannot read {path} of the image")]
    Read {
        /// Which.
        path: ImagePath,
        /// Why.
        source: std::io::Error,
    },
    /// The image could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl PasswdError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PasswdError::UnknownUser { file_exists: true, .. } => {
                Some("create the user in an earlier RUN step, or use its number".to_owned())
            }
            PasswdError::UnknownGroup { file_exists: true, .. } => {
                Some("create the group in an earlier RUN step, or use its number".to_owned())
            }
            PasswdError::UnknownUser { .. } => Some("the image has no /etc/passwd: use a number".to_owned()),
            PasswdError::UnknownGroup { .. } => Some("the image has no /etc/group: use a number".to_owned()),
            _ => None,
        }
    }
}

/// Who `USER spec` is in the file system `view`. Empty = root.
pub fn resolve_user(spec: &str, view: &dyn TreeView) -> Result<User, PasswdError> {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = read(view, "/etc/passwd")?;
    let entry = match number(user)? {
        Some(uid) => passwd_entries(passwd.as_deref()).find(|entry| entry.uid == uid),
        None => Some(named_user(user, passwd.as_deref())?),
    };
    let uid = match &entry {
        Some(entry) => entry.uid,
        None => number(user)?.unwrap_or_default(),
    };
    let home = entry.as_ref().map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or(b"/").to_vec();
    if !group.is_empty() {
        let gid = group_number(group, view)?;
        return Ok(User { uid, gid, groups: vec![gid], home });
    }
    let gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let mut groups = vec![gid];
    if let Some(entry) = &entry {
        let file = read(view, "/etc/group")?;
        let more = group_entries(file.as_deref()).filter(|group| group.has_member(entry.name)).map(|group| group.gid);
        groups.extend(more);
        let mut seen = std::collections::HashSet::new();
        groups.retain(|gid| seen.insert(*gid));
        if groups.len() > GROUP_LIMIT {
            return Err(PasswdError::TooManyGroups { name: String::from_utf8_lossy(entry.name).into_owned() });
        }
    }
    Ok(User { uid, gid, groups, home })
}

/// The numbers of a `--chown`, in the file system `view`. A number alone is the group's number too; a name alone brings the user's
/// primary group.
pub fn resolve_owner(owner: &Owner, view: &dyn TreeView) -> Result<(u32, u32), PasswdError> {
    let (uid, default_gid) = if let Some(uid) = number(&owner.user)? {
        (uid, uid)
    } else {
        let passwd = read(view, "/etc/passwd")?;
        let entry = named_user(&owner.user, passwd.as_deref())?;
        (entry.uid, entry.gid)
    };
    let gid = match owner.group.as_deref() {
        None | Some("") => default_gid,
        Some(group) => group_number(group, view)?,
    };
    Ok((uid, gid))
}

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswdEntry<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: &'a [u8],
}

/// One line of `/etc/group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEntry<'a> {
    /// Group name.
    pub name: &'a [u8],
    /// Its number.
    pub gid: u32,
    members: &'a [u8],
}

impl GroupEntry<'_> {
    /// Whether `user` is listed.
    pub fn has_member(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)
    }
}

/// The entries of a passwd file that make sense, in order.
pub fn passwd_entries(file: Option<&[u8]>) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = field_number(fields.next()?)?;
        let gid = field_number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdEntry { name, uid, gid, home })
    })
}

/// The entries of a group file that make sense, in order.
pub fn group_entries(file: Option<&[u8]>) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = field_number(fields.next()?)?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(file: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    file.unwrap_or_default().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn field_number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|number| *number <= NUMBER_LIMIT)
}

fn named_user<'a>(name: &str, passwd: Option<&'a [u8]>) -> Result<PasswdEntry<'a>, PasswdError> {
    passwd_entries(passwd)
        .find(|entry| entry.name == name.as_bytes())
        .ok_or_else(|| PasswdError::UnknownUser { name: name.to_owned(), file_exists: passwd.is_some() })
}

fn group_number(group: &str, view: &dyn TreeView) -> Result<u32, PasswdError> {
    if let Some(gid) = number(group)? {
        return Ok(gid);
    }
    let file = read(view, "/etc/group")?;
    group_entries(file.as_deref())
        .find(|entry| entry.name == group.as_bytes())
        .map(|entry| entry.gid)
        .ok_or_else(|| PasswdError::UnknownGroup { name: group.to_owned(), file_exists: file.is_some() })
}

/// The number a user or group is given by, or `None` if it is a name. What looks like a number but is none is refused, so that no
/// entry of an image's files can give it a meaning.
fn number(text: &str) -> Result<Option<u32>, PasswdError> {
    let bad = || PasswdError::BadNumber { value: text.to_owned() };
    let looks_numeric = text.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '+');
    if !looks_numeric {
        return Ok(None);
    }
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let signed_or_padded = !all_digits || (text.len() > 1 && text.starts_with('0'));
    // A name may begin with a digit (`0day`), but not with a sign and not like a number in another base.
    if !all_digits && !text.starts_with(['-', '+']) && !text.starts_with("0x") && !text.starts_with("0X") {
        return Ok(None);
    }
    if signed_or_padded {
        return Err(bad());
    }
    text.parse().ok().filter(|number| *number <= NUMBER_LIMIT).map(Some).ok_or_else(bad)
}

/// The bytes of a file of the image, links followed inside the root; `None` if there is no such file.
fn read(view: &dyn TreeView, path: &str) -> Result<Option<Vec<u8>>, PasswdError> {
    let asked = ImagePath::new(path);
    let (path, node) = resolve(view, &asked, true)?;
    let Some(node) = node else { return Ok(None) };
    let ViewKind::File { size, .. } = node.kind else { return Err(PasswdError::NotRegular { path: asked }) };
    if size > SIZE_LIMIT {
        return Err(PasswdError::TooLarge { path: asked });
    }
    let mut bytes = Vec::new();
    let read = view.open(&path)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|source| PasswdError::Read { path: asked.clone(), source })?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(PasswdError::TooLarge { path: asked });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use bld_oci::ImagePath;
    use bld_solver::op::Owner;

    use super::PasswdError;
    use super::resolve_owner;
    use super::resolve_user;
    use crate::copy::memory::MemoryTree;
    use crate::view::ViewKind;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbob:x:1000:100:Bob:/home/bob:/bin/sh\n1234:x:0:0::/:\n\
        -1:x:0:0::/:\n0x0:x:0:0::/:\nhuge:x:4294967296:0::/:\nshort:x\nnohome:x:7:7\n0day:x:8:8::/day:\n";
    const GROUP: &str =
        "root:x:0:\nusers:x:100:\nwheel:x:10:root,bob\naudio:x:29: bob ,alice\nbad:x:y:bob\nwheel2:x:10:bob\n";

    fn image() -> MemoryTree {
        let mut tree = MemoryTree::new("");
        put(&mut tree, "/etc/passwd", PASSWD.as_bytes());
        put(&mut tree, "/etc/group", GROUP.as_bytes());
        tree
    }

    fn put(tree: &mut MemoryTree, path: &str, bytes: &[u8]) {
        tree.put(path, ViewKind::File { size: bytes.len() as u64, link_group: None }, bytes);
    }

    #[track_caller]
    fn user(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let user = resolve_user(spec, &image()).unwrap();
        (user.uid, user.gid, user.groups, String::from_utf8(user.home).unwrap())
    }

    #[test]
    fn users() {
        assert_eq!(user(""), (0, 0, vec![0, 10], "/root".to_owned()));
        assert_eq!(user("bob"), (1000, 100, vec![100, 10, 29], "/home/bob".to_owned()));
        assert_eq!(user("1000"), (1000, 100, vec![100, 10, 29], "/home/bob".to_owned()));
        assert_eq!(user("bob:wheel"), (1000, 10, vec![10], "/home/bob".to_owned()));
        assert_eq!(user("bob:0"), (1000, 0, vec![0], "/home/bob".to_owned()));
        assert_eq!(user("bob:"), (1000, 100, vec![100, 10, 29], "/home/bob".to_owned()));
        assert_eq!(user("4711"), (4711, 0, vec![0], "/".to_owned()));
        assert_eq!(user("4711:4712"), (4711, 4712, vec![4712], "/".to_owned()));
        assert_eq!(user("nohome"), (7, 7, vec![7], "/".to_owned()));
        assert_eq!(user("0day").0, 8);
        assert_eq!(user("2147483647").0, 2_147_483_647);
        // The digits of a name in the file are a number all the same.
        assert_eq!(user("1234"), (1234, 0, vec![0], "/".to_owned()));
    }

    #[test]
    fn no_spelling_becomes_root_by_accident() {
        for spec in ["2147483648", "4294967295", "4294967296", "99999999999999999999", "-1", "+0", "00", "0x0"] {
            let error = resolve_user(spec, &image()).unwrap_err();
            assert!(matches!(error, PasswdError::BadNumber { .. }), "{spec}: {error:?}");
            let group = format!("1000:{spec}");
            assert!(matches!(resolve_user(&group, &image()), Err(PasswdError::BadNumber { .. })), "{group}");
        }
        for spec in ["nobody", "huge", "short", "bob "] {
            assert!(matches!(resolve_user(spec, &image()), Err(PasswdError::UnknownUser { .. })), "{spec}");
        }
        assert!(matches!(resolve_user("bob:nope", &image()), Err(PasswdError::UnknownGroup { .. })));
    }

    #[test]
    fn owners() {
        let owner = |user: &str, group: Option<&str>| {
            resolve_owner(&Owner { user: user.to_owned(), group: group.map(str::to_owned) }, &image()).unwrap()
        };
        assert_eq!(owner("55", None), (55, 55));
        assert_eq!(owner("55", Some("66")), (55, 66));
        assert_eq!(owner("bob", None), (1000, 100));
        assert_eq!(owner("bob", Some("audio")), (1000, 29));
        let empty = MemoryTree::new("");
        assert_eq!(resolve_owner(&Owner { user: "1".to_owned(), group: None }, &empty).unwrap(), (1, 1));
        let error = resolve_owner(&Owner { user: "bob".to_owned(), group: None }, &empty).unwrap_err();
        assert_eq!(error.hint().unwrap(), "the image has no /etc/passwd: use a number");
    }

    #[test]
    fn hostile_files() {
        let mut tree = MemoryTree::new("etc/passwd| etc/group/ real/passwd");
        assert!(matches!(resolve_user("bob", &tree), Err(PasswdError::NotRegular { .. })));
        put(&mut tree, "/real/passwd", PASSWD.as_bytes());
        tree.put("/etc/passwd", ViewKind::Symlink { target: b"../../../../real/passwd".to_vec() }, b"");
        assert!(matches!(resolve_user("bob", &tree), Err(PasswdError::NotRegular { .. })));
        tree.nodes.remove(&ImagePath::new("/etc/group"));
        assert_eq!(resolve_user("bob", &tree).unwrap().groups, [100]);
        tree.put("/etc/passwd", ViewKind::CharDevice { major: 1, minor: 5 }, b"");
        assert!(matches!(resolve_user("bob", &tree), Err(PasswdError::NotRegular { .. })));
        put(&mut tree, "/etc/passwd", &vec![b'x'; (10 << 20) + 1]);
        assert!(matches!(resolve_user("bob", &tree), Err(PasswdError::TooLarge { .. })));
        let many: Vec<String> = (0..300_000).map(|gid| format!("g{gid}:x:{gid}:bob\n")).collect();
        put(&mut tree, "/etc/passwd", PASSWD.as_bytes());
        put(&mut tree, "/etc/group", many.concat().as_bytes());
        assert!(matches!(resolve_user("bob", &tree), Err(PasswdError::TooManyGroups { .. })));
    }
}
