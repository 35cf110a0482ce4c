//! The system calls a step may make, with their numbers.
//!
//! The list is the one container engines agree on for the capabilities of a step. Numbers: x86-64, i386, arm64.

/// The call does not exist on that architecture.
const NONE: u16 = u16::MAX;

/// The newest call this table was made with knowledge of, on every architecture listed: what is newer gets `ENOSYS`,
/// so that a C library which tries it first falls back.
pub(super) const NEWEST: u32 = 469;

/// Which column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    #[cfg(target_arch = "x86_64")]
    X86_64,
    #[cfg(target_arch = "x86_64")]
    I386,
    #[cfg(target_arch = "aarch64")]
    Arm64,
}

/// The number of a call, when it exists there.
pub(super) fn number(row: [u16; 3], column: Column) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    let [x86_64, i386, _] = row;
    #[cfg(target_arch = "aarch64")]
    let [_, _, arm64] = row;
    let number = match column {
        #[cfg(target_arch = "x86_64")]
        Column::X86_64 => x86_64,
        #[cfg(target_arch = "x86_64")]
        Column::I386 => i386,
        #[cfg(target_arch = "aarch64")]
        Column::Arm64 => arm64,
    };
    (number != NONE).then_some(u32::from(number))
}

/// Calls that are decided by their arguments.
pub(super) const SOCKET: [u16; 3] = [41, 359, 198];
/// See [`SOCKET`].
pub(super) const CLONE: [u16; 3] = [56, 120, 220];
/// See [`SOCKET`].
pub(super) const PERSONALITY: [u16; 3] = [135, 136, 92];
/// Its flags are in memory, where no filter can look: answered with `ENOSYS`, after which libraries use `clone`.
pub(super) const CLONE3: [u16; 3] = [435, 435, 435];
/// Makes device nodes; the mode is argument 1.
pub(super) const MKNOD: [u16; 3] = [133, 14, NONE];
/// Makes device nodes; the mode is argument 2.
pub(super) const MKNODAT: [u16; 3] = [259, 297, 33];

/// Calls that change ownership or ids: with a single id they are answered with success and not made.
pub(super) const OWNERSHIP: [[u16; 3]; 25] = [
    [92, 182, NONE],   // chown
    [93, 95, 55],      // fchown
    [94, 16, NONE],    // lchown
    [260, 298, 54],    // fchownat
    [NONE, 212, NONE], // chown32
    [NONE, 207, NONE], // fchown32
    [NONE, 198, NONE], // lchown32
    [105, 23, 146],    // setuid
    [106, 46, 144],    // setgid
    [113, 70, 145],    // setreuid
    [114, 71, 143],    // setregid
    [117, 164, 147],   // setresuid
    [119, 170, 149],   // setresgid
    [116, 81, 159],    // setgroups
    [122, 138, 151],   // setfsuid
    [123, 139, 152],   // setfsgid
    [NONE, 213, NONE], // setuid32
    [NONE, 214, NONE], // setgid32
    [NONE, 203, NONE], // setreuid32
    [NONE, 204, NONE], // setregid32
    [NONE, 208, NONE], // setresuid32
    [NONE, 210, NONE], // setresgid32
    [NONE, 206, NONE], // setgroups32
    [NONE, 215, NONE], // setfsuid32
    [NONE, 216, NONE], // setfsgid32
];

/// Allowed whatever the arguments.
#[rustfmt::skip]
pub(super) const ALLOWED: [(&str, [u16; 3]); 364] = [
    ("_llseek", [NONE, 140, NONE]), ("_newselect", [NONE, 142, NONE]), ("accept", [43, NONE, 202]),
    ("accept4", [288, 364, 242]), ("access", [21, 33, NONE]), ("adjtimex", [159, 124, 171]),
    ("alarm", [37, 27, NONE]), ("arch_prctl", [158, NONE, NONE]), ("bind", [49, 361, 200]), ("brk", [12, 45, 214]),
    ("cachestat", [451, 451, 451]), ("capget", [125, 184, 90]), ("capset", [126, 185, 91]), ("chdir", [80, 12, 49]),
    ("chmod", [90, 15, NONE]), ("chown", [92, 182, NONE]), ("chown32", [NONE, 212, NONE]), ("chroot", [161, 61, 51]),
    ("clock_adjtime", [305, 343, 266]), ("clock_adjtime64", [NONE, 405, NONE]), ("clock_getres", [229, 266, 114]),
    ("clock_getres_time64", [NONE, 406, NONE]), ("clock_gettime", [228, 265, 113]),
    ("clock_gettime64", [NONE, 403, NONE]), ("clock_nanosleep", [230, 267, 115]),
    ("clock_nanosleep_time64", [NONE, 407, NONE]), ("close", [3, 6, 57]), ("close_range", [436, 436, 436]),
    ("connect", [42, 362, 203]), ("copy_file_range", [326, 377, 285]), ("creat", [85, 8, NONE]),
    ("dup", [32, 41, 23]), ("dup2", [33, 63, NONE]), ("dup3", [292, 330, 24]), ("epoll_create", [213, 254, NONE]),
    ("epoll_create1", [291, 329, 20]), ("epoll_ctl", [233, 255, 21]), ("epoll_ctl_old", [214, NONE, NONE]),
    ("epoll_pwait", [281, 319, 22]), ("epoll_pwait2", [441, 441, 441]), ("epoll_wait", [232, 256, NONE]),
    ("epoll_wait_old", [215, NONE, NONE]), ("eventfd", [284, 323, NONE]), ("eventfd2", [290, 328, 19]),
    ("execve", [59, 11, 221]), ("execveat", [322, 358, 281]), ("exit", [60, 1, 93]), ("exit_group", [231, 252, 94]),
    ("faccessat", [269, 307, 48]), ("faccessat2", [439, 439, 439]), ("fadvise64", [221, 250, 223]),
    ("fadvise64_64", [NONE, 272, NONE]), ("fallocate", [285, 324, 47]), ("fanotify_mark", [301, 339, 263]),
    ("fchdir", [81, 133, 50]), ("fchmod", [91, 94, 52]), ("fchmodat", [268, 306, 53]), ("fchmodat2", [452, 452, 452]),
    ("fchown", [93, 95, 55]), ("fchown32", [NONE, 207, NONE]), ("fchownat", [260, 298, 54]), ("fcntl", [72, 55, 25]),
    ("fcntl64", [NONE, 221, NONE]), ("fdatasync", [75, 148, 83]), ("fgetxattr", [193, 231, 10]),
    ("flistxattr", [196, 234, 13]), ("flock", [73, 143, 32]), ("fork", [57, 2, NONE]),
    ("fremovexattr", [199, 237, 16]), ("fsetxattr", [190, 228, 7]), ("fstat", [5, 108, 80]),
    ("fstat64", [NONE, 197, NONE]), ("fstatat64", [NONE, 300, NONE]), ("fstatfs", [138, 100, 44]),
    ("fstatfs64", [NONE, 269, NONE]), ("fsync", [74, 118, 82]), ("ftruncate", [77, 93, 46]),
    ("ftruncate64", [NONE, 194, NONE]), ("futex", [202, 240, 98]), ("futex_requeue", [456, 456, 456]),
    ("futex_time64", [NONE, 422, NONE]), ("futex_wait", [455, 455, 455]), ("futex_waitv", [449, 449, 449]),
    ("futex_wake", [454, 454, 454]), ("futimesat", [261, 299, NONE]), ("get_robust_list", [274, 312, 100]),
    ("get_thread_area", [211, 244, NONE]), ("getcpu", [309, 318, 168]), ("getcwd", [79, 183, 17]),
    ("getdents", [78, 141, NONE]), ("getdents64", [217, 220, 61]), ("getegid", [108, 50, 177]),
    ("getegid32", [NONE, 202, NONE]), ("geteuid", [107, 49, 175]), ("geteuid32", [NONE, 201, NONE]),
    ("getgid", [104, 47, 176]), ("getgid32", [NONE, 200, NONE]), ("getgroups", [115, 80, 158]),
    ("getgroups32", [NONE, 205, NONE]), ("getitimer", [36, 105, 102]), ("getpeername", [52, 368, 205]),
    ("getpgid", [121, 132, 155]), ("getpgrp", [111, 65, NONE]), ("getpid", [39, 20, 172]),
    ("getppid", [110, 64, 173]), ("getpriority", [140, 96, 141]), ("getrandom", [318, 355, 278]),
    ("getresgid", [120, 171, 150]), ("getresgid32", [NONE, 211, NONE]), ("getresuid", [118, 165, 148]),
    ("getresuid32", [NONE, 209, NONE]), ("getrlimit", [97, 76, NONE]), ("getrusage", [98, 77, 165]),
    ("getsid", [124, 147, 156]), ("getsockname", [51, 367, 204]), ("getsockopt", [55, 365, 209]),
    ("gettid", [186, 224, 178]), ("gettimeofday", [96, 78, 169]), ("getuid", [102, 24, 174]),
    ("getuid32", [NONE, 199, NONE]), ("getxattr", [191, 229, 8]), ("getxattrat", [464, 464, 464]),
    ("inotify_add_watch", [254, 292, 27]), ("inotify_init", [253, 291, NONE]), ("inotify_init1", [294, 332, 26]),
    ("inotify_rm_watch", [255, 293, 28]), ("io_cancel", [210, 249, 3]), ("io_destroy", [207, 246, 1]),
    ("io_getevents", [208, 247, 4]), ("io_pgetevents", [333, 385, NONE]), ("io_pgetevents_time64", [NONE, 416, NONE]),
    ("io_setup", [206, 245, 0]), ("io_submit", [209, 248, 2]), ("ioctl", [16, 54, 29]),
    ("ioprio_get", [252, 290, 31]), ("ioprio_set", [251, 289, 30]), ("ipc", [NONE, 117, NONE]),
    ("kill", [62, 37, 129]), ("landlock_add_rule", [445, 445, 445]), ("landlock_create_ruleset", [444, 444, 444]),
    ("landlock_restrict_self", [446, 446, 446]), ("lchown", [94, 16, NONE]), ("lchown32", [NONE, 198, NONE]),
    ("lgetxattr", [192, 230, 9]), ("link", [86, 9, NONE]), ("linkat", [265, 303, 37]), ("listen", [50, 363, 201]),
    ("listmount", [458, 458, 458]), ("listxattr", [194, 232, 11]), ("listxattrat", [465, 465, 465]),
    ("llistxattr", [195, 233, 12]), ("lremovexattr", [198, 236, 15]), ("lseek", [8, 19, 62]),
    ("lsetxattr", [189, 227, 6]), ("lstat", [6, 107, NONE]), ("lstat64", [NONE, 196, NONE]),
    ("madvise", [28, 219, 233]), ("map_shadow_stack", [453, 453, 453]), ("membarrier", [324, 375, 283]),
    ("memfd_create", [319, 356, 279]), ("memfd_secret", [447, 447, 447]), ("mincore", [27, 218, 232]),
    ("mkdir", [83, 39, NONE]), ("mkdirat", [258, 296, 34]), ("mknod", [133, 14, NONE]), ("mknodat", [259, 297, 33]),
    ("mlock", [149, 150, 228]), ("mlock2", [325, 376, 284]), ("mlockall", [151, 152, 230]), ("mmap", [9, 90, 222]),
    ("mmap2", [NONE, 192, NONE]), ("modify_ldt", [154, 123, NONE]), ("mprotect", [10, 125, 226]),
    ("mq_getsetattr", [245, 282, 185]), ("mq_notify", [244, 281, 184]), ("mq_open", [240, 277, 180]),
    ("mq_timedreceive", [243, 280, 183]), ("mq_timedreceive_time64", [NONE, 419, NONE]),
    ("mq_timedsend", [242, 279, 182]), ("mq_timedsend_time64", [NONE, 418, NONE]), ("mq_unlink", [241, 278, 181]),
    ("mremap", [25, 163, 216]), ("mseal", [462, 462, 462]), ("msgctl", [71, 402, 187]), ("msgget", [68, 399, 186]),
    ("msgrcv", [70, 401, 188]), ("msgsnd", [69, 400, 189]), ("msync", [26, 144, 227]), ("munlock", [150, 151, 229]),
    ("munlockall", [152, 153, 231]), ("munmap", [11, 91, 215]), ("name_to_handle_at", [303, 341, 264]),
    ("nanosleep", [35, 162, 101]), ("newfstatat", [262, NONE, 79]), ("open", [2, 5, NONE]),
    ("openat", [257, 295, 56]), ("openat2", [437, 437, 437]), ("pause", [34, 29, NONE]),
    ("pidfd_open", [434, 434, 434]), ("pidfd_send_signal", [424, 424, 424]), ("pipe", [22, 42, NONE]),
    ("pipe2", [293, 331, 59]), ("pkey_alloc", [330, 381, 289]), ("pkey_free", [331, 382, 290]),
    ("pkey_mprotect", [329, 380, 288]), ("poll", [7, 168, NONE]), ("ppoll", [271, 309, 73]),
    ("ppoll_time64", [NONE, 414, NONE]), ("prctl", [157, 172, 167]), ("pread64", [17, 180, 67]),
    ("preadv", [295, 333, 69]), ("preadv2", [327, 378, 286]), ("prlimit64", [302, 340, 261]),
    ("process_mrelease", [448, 448, 448]), ("process_vm_readv", [310, 347, 270]),
    ("process_vm_writev", [311, 348, 271]), ("pselect6", [270, 308, 72]), ("pselect6_time64", [NONE, 413, NONE]),
    ("ptrace", [101, 26, 117]), ("pwrite64", [18, 181, 68]), ("pwritev", [296, 334, 70]),
    ("pwritev2", [328, 379, 287]), ("read", [0, 3, 63]), ("readahead", [187, 225, 213]), ("readlink", [89, 85, NONE]),
    ("readlinkat", [267, 305, 78]), ("readv", [19, 145, 65]), ("recvfrom", [45, 371, 207]),
    ("recvmmsg", [299, 337, 243]), ("recvmmsg_time64", [NONE, 417, NONE]), ("recvmsg", [47, 372, 212]),
    ("remap_file_pages", [216, 257, 234]), ("removexattr", [197, 235, 14]), ("removexattrat", [466, 466, 466]),
    ("rename", [82, 38, NONE]), ("renameat", [264, 302, NONE]), ("renameat2", [316, 353, 276]),
    ("restart_syscall", [219, 0, 128]), ("rmdir", [84, 40, NONE]), ("rseq", [334, 386, 293]),
    ("rt_sigaction", [13, 174, 134]), ("rt_sigpending", [127, 176, 136]), ("rt_sigprocmask", [14, 175, 135]),
    ("rt_sigqueueinfo", [129, 178, 138]), ("rt_sigreturn", [15, 173, 139]), ("rt_sigsuspend", [130, 179, 133]),
    ("rt_sigtimedwait", [128, 177, 137]), ("rt_sigtimedwait_time64", [NONE, 421, NONE]),
    ("rt_tgsigqueueinfo", [297, 335, 240]), ("sched_get_priority_max", [146, 159, 125]),
    ("sched_get_priority_min", [147, 160, 126]), ("sched_getaffinity", [204, 242, 123]),
    ("sched_getattr", [315, 352, 275]), ("sched_getparam", [143, 155, 121]), ("sched_getscheduler", [145, 157, 120]),
    ("sched_rr_get_interval", [148, 161, 127]), ("sched_rr_get_interval_time64", [NONE, 423, NONE]),
    ("sched_setaffinity", [203, 241, 122]), ("sched_setattr", [314, 351, 274]), ("sched_setparam", [142, 154, 118]),
    ("sched_setscheduler", [144, 156, 119]), ("sched_yield", [24, 158, 124]), ("seccomp", [317, 354, 277]),
    ("select", [23, 82, NONE]), ("semctl", [66, 394, 191]), ("semget", [64, 393, 190]), ("semop", [65, NONE, 193]),
    ("semtimedop", [220, NONE, 192]), ("semtimedop_time64", [NONE, 420, NONE]), ("sendfile", [40, 187, 71]),
    ("sendfile64", [NONE, 239, NONE]), ("sendmmsg", [307, 345, 269]), ("sendmsg", [46, 370, 211]),
    ("sendto", [44, 369, 206]), ("set_robust_list", [273, 311, 99]), ("set_thread_area", [205, 243, NONE]),
    ("set_tid_address", [218, 258, 96]), ("setfsgid", [123, 139, 152]), ("setfsgid32", [NONE, 216, NONE]),
    ("setfsuid", [122, 138, 151]), ("setfsuid32", [NONE, 215, NONE]), ("setgid", [106, 46, 144]),
    ("setgid32", [NONE, 214, NONE]), ("setgroups", [116, 81, 159]), ("setgroups32", [NONE, 206, NONE]),
    ("setitimer", [38, 104, 103]), ("setpgid", [109, 57, 154]), ("setpriority", [141, 97, 140]),
    ("setregid", [114, 71, 143]), ("setregid32", [NONE, 204, NONE]), ("setresgid", [119, 170, 149]),
    ("setresgid32", [NONE, 210, NONE]), ("setresuid", [117, 164, 147]), ("setresuid32", [NONE, 208, NONE]),
    ("setreuid", [113, 70, 145]), ("setreuid32", [NONE, 203, NONE]), ("setrlimit", [160, 75, NONE]),
    ("setsid", [112, 66, 157]), ("setsockopt", [54, 366, 208]), ("setuid", [105, 23, 146]),
    ("setuid32", [NONE, 213, NONE]), ("setxattr", [188, 226, 5]), ("setxattrat", [463, 463, 463]),
    ("shmat", [30, 397, 196]), ("shmctl", [31, 396, 195]), ("shmdt", [67, 398, 197]), ("shmget", [29, 395, 194]),
    ("shutdown", [48, 373, 210]), ("sigaltstack", [131, 186, 132]), ("signalfd", [282, 321, NONE]),
    ("signalfd4", [289, 327, 74]), ("sigprocmask", [NONE, 126, NONE]), ("sigreturn", [NONE, 119, NONE]),
    ("socketcall", [NONE, 102, NONE]), ("socketpair", [53, 360, 199]), ("splice", [275, 313, 76]),
    ("stat", [4, 106, NONE]), ("stat64", [NONE, 195, NONE]), ("statfs", [137, 99, 43]),
    ("statfs64", [NONE, 268, NONE]), ("statmount", [457, 457, 457]), ("statx", [332, 383, 291]),
    ("symlink", [88, 83, NONE]), ("symlinkat", [266, 304, 36]), ("sync", [162, 36, 81]),
    ("sync_file_range", [277, 314, NONE]), ("syncfs", [306, 344, 267]), ("sysinfo", [99, 116, 179]),
    ("tee", [276, 315, 77]), ("tgkill", [234, 270, 131]), ("time", [201, 13, NONE]),
    ("timer_create", [222, 259, 107]), ("timer_delete", [226, 263, 111]), ("timer_getoverrun", [225, 262, 109]),
    ("timer_gettime", [224, 261, 108]), ("timer_gettime64", [NONE, 408, NONE]), ("timer_settime", [223, 260, 110]),
    ("timer_settime64", [NONE, 409, NONE]), ("timerfd_create", [283, 322, 85]), ("timerfd_gettime", [287, 326, 87]),
    ("timerfd_gettime64", [NONE, 410, NONE]), ("timerfd_settime", [286, 325, 86]),
    ("timerfd_settime64", [NONE, 411, NONE]), ("times", [100, 43, 153]), ("tkill", [200, 238, 130]),
    ("truncate", [76, 92, 45]), ("truncate64", [NONE, 193, NONE]), ("ugetrlimit", [NONE, 191, NONE]),
    ("umask", [95, 60, 166]), ("uname", [63, 122, 160]), ("unlink", [87, 10, NONE]), ("unlinkat", [263, 301, 35]),
    ("uretprobe", [335, NONE, NONE]), ("utime", [132, 30, NONE]), ("utimensat", [280, 320, 88]),
    ("utimensat_time64", [NONE, 412, NONE]), ("utimes", [235, 271, NONE]), ("vfork", [58, 190, NONE]),
    ("vmsplice", [278, 316, 75]), ("wait4", [61, 114, 260]), ("waitid", [247, 284, 95]), ("waitpid", [NONE, 7, NONE]),
    ("write", [1, 4, 64]), ("writev", [20, 146, 66]),
];
