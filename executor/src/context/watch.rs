//! Whether a file's status will tell of every change to come.
//!
//! The kernel sets the change time of a file with every write, and nobody can set it to what it was. Exceptions are why this module exists:
//!
//! - A store to a mapped page that is dirty already changes no time, for half a minute on a disk and for ever in memory. So a file that
//!   somebody has open or mapped for writing is not believed.
//! - Some file systems have no change time, or one made up from the modification time, which everybody may set.
//!
//! The third, that two changes within one tick of the clock have the same time, is the business of [`super::HashMemo::is_settled`].

use std::fs::File;
use std::os::fd::AsFd;

use super::FileStat;
use crate::sandbox::sys;

/// File systems that have no change time of their own, or may have none (FUSE: sshfs is one of many): FAT, exFAT, FUSE, SMB.
const WITHOUT_CHANGE_TIME: [i128; 6] = [0x4d44, 0x2011_bab0, 0x6573_5546, 0x0000_517b, 0xff53_4d42, 0xfe53_4d42];

/// File systems that set the change time with every extended attribute set or removed: ext2 to ext4, XFS, Btrfs. tmpfs did not before
/// Linux 6.1, and others have not been looked at.
const ATTRIBUTES_CHANGE_TIME: [i128; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Where writers cannot be asked for, a file is believed that did not change for so many seconds: by then the kernel has written a mapped
/// page to the disk, and the next store to it counts as a change again.
const WRITTEN_BACK: i64 = 60;

/// Whether every change of the content of this open file from now on shows in its status.
pub(super) fn shows_changes(file: &File, stat: &FileStat) -> bool {
    if file_system(file).is_none_or(|magic| WITHOUT_CHANGE_TIME.contains(&magic)) {
        return false;
    }
    if let Ok(has_writers) = sys::has_writers(file.as_fd()) {
        return !has_writers;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec;
    stat.mtime.seconds.max(stat.ctime.seconds).saturating_add(WRITTEN_BACK) < now
}

/// Whether every change of the extended attributes of this open file shows in its status.
pub(super) fn shows_attribute_changes(file: &File) -> bool {
    file_system(file).is_some_and(|magic| ATTRIBUTES_CHANGE_TIME.contains(&magic))
}

fn file_system(file: &File) -> Option<i128> {
    // The type of the field depends on the machine; all constants fit in 32 bits.
    Some(i128::from(rustix::fs::fstatfs(file).ok()?.f_type) & 0xffff_ffff)
}
