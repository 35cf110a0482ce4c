//! The system call filter of a step, as a classic BPF program.
//!
//! ```text
//! architecture -> native | 32-bit companion (x86 only) | ENOSYS
//! x32 number   -> ENOSYS
//! single id    -> chown, setuid and their kin, device nodes: success without effect
//! by argument  -> socket (no AF_ALG, no AF_VSOCK), clone (no namespaces), personality; clone3 -> ENOSYS
//! newer than the table -> ENOSYS
//! in the table -> allowed, by binary search over ranges of numbers
//! else         -> EPERM
//! ```
//!
//! A 32-bit x86 program is judged by its own table. There `socketcall` is allowed with its arguments in memory, so
//! that address families are not filtered on that path; container engines have the same gap. Arm 32-bit calls get
//! `ENOSYS`.

use libc::sock_filter;

use super::spec::Identity;
use super::syscalls::{ALLOWED, CLONE, CLONE3, Column, MKNOD, MKNODAT, NEWEST, OWNERSHIP, PERSONALITY, SOCKET, number};

/// A compiled filter.
#[derive(Debug)]
pub(super) struct Filter {
    program: Vec<sock_filter>,
}

impl Filter {
    /// Compiles the filter for steps of this identity.
    pub(super) fn new(identity: Identity) -> Self {
        let mut program = vec![load(ARCHITECTURE)];
        for (architecture, column) in PLATFORMS {
            let block = table(*column, identity);
            program.extend(jump_unless(JEQ, *architecture, block.len()));
            program.extend(block);
        }
        program.push(answer(ENOSYS));
        Self { program }
    }

    pub(super) fn program(&self) -> &[sock_filter] {
        &self.program
    }
}

#[cfg(target_arch = "x86_64")]
const PLATFORMS: &[(u32, Column)] = &[(0xc000_003e, Column::X86_64), (0x4000_0003, Column::I386)];
#[cfg(target_arch = "aarch64")]
const PLATFORMS: &[(u32, Column)] = &[(0xc000_00b7, Column::Arm64)];

// Offsets in `struct seccomp_data`; of an argument only the low half counts, the kernel too reads no more of these.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = errno(libc::EPERM);
const ENOSYS: u32 = errno(libc::ENOSYS);
/// An error number of 0: the call is not made and reports success.
const PRETEND: u32 = libc::SECCOMP_RET_ERRNO;

#[expect(clippy::cast_sign_loss, reason = "error numbers are positive")]
const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

const JEQ: u32 = libc::BPF_JEQ;
const JGT: u32 = libc::BPF_JGT;
const JGE: u32 = libc::BPF_JGE;
const JSET: u32 = libc::BPF_JSET;

/// Bit 30 marks the x32 calls.
const X32: u32 = 0x4000_0000;
/// `CLONE_NEWNS` and all other namespaces that clone can make.
const NAMESPACES: u32 = 0x7e02_0000;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// Decides every call of one architecture.
fn table(column: Column, identity: Identity) -> Vec<sock_filter> {
    let mut program = vec![load(NUMBER)];
    // Also what x32 calls look like; no other architecture has numbers that high.
    program.extend(when(JGE, X32, &[answer(ENOSYS)]));
    if identity == Identity::SingleId {
        for row in OWNERSHIP {
            on_call(&mut program, row, column, &[answer(PRETEND)]);
        }
        for (row, mode) in [(MKNOD, 1), (MKNODAT, 2)] {
            on_call(&mut program, row, column, &pretend_devices(mode));
        }
    }
    on_call(&mut program, CLONE3, column, &[answer(ENOSYS)]);
    let mut clone = vec![load(argument(0))];
    clone.extend(when(JSET, NAMESPACES, &[answer(EPERM)]));
    clone.push(answer(ALLOW));
    on_call(&mut program, CLONE, column, &clone);
    let mut socket = vec![load(argument(0))];
    socket.extend(when(JEQ, AF_ALG, &[answer(EPERM)]));
    socket.extend(when(JEQ, AF_VSOCK, &[answer(EPERM)]));
    socket.push(answer(ALLOW));
    on_call(&mut program, SOCKET, column, &socket);
    let mut personality = vec![load(argument(0))];
    for value in PERSONALITIES {
        personality.extend(when(JEQ, value, &[answer(ALLOW)]));
    }
    personality.push(answer(EPERM));
    on_call(&mut program, PERSONALITY, column, &personality);
    program.extend(when(JGT, NEWEST, &[answer(ENOSYS)]));
    program.extend(search(&ranges(column)));
    program
}

fn pretend_devices(mode: u32) -> Vec<sock_filter> {
    let mut block = vec![load(argument(mode)), statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, libc::S_IFMT)];
    block.extend(when(JEQ, libc::S_IFCHR, &[answer(PRETEND)]));
    block.extend(when(JEQ, libc::S_IFBLK, &[answer(PRETEND)]));
    block.push(answer(ALLOW));
    block
}

fn on_call(program: &mut Vec<sock_filter>, row: [u16; 3], column: Column, block: &[sock_filter]) {
    if let Some(number) = number(row, column) {
        program.extend(when(JEQ, number, block));
    }
}

/// Runs of consecutive allowed numbers.
fn ranges(column: Column) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = ALLOWED.iter().filter_map(|(_, row)| number(*row, column)).collect();
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number <= *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Answers ALLOW for a number within one of the ranges, EPERM for all others.
fn search(ranges: &[(u32, u32)]) -> Vec<sock_filter> {
    match ranges {
        [] => vec![answer(EPERM)],
        [(first, last)] => {
            let mut code = when(JGT, *last, &[answer(EPERM)]);
            code.extend(when(JGE, *first, &[answer(ALLOW)]));
            code.push(answer(EPERM));
            code
        }
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (search(left), search(right));
            let first = right.first().map_or(0, |range| range.0);
            let mut code = jump_unless(JGE, first, above.len()).to_vec();
            code.extend(above);
            code.extend(below);
            code
        }
    }
}

/// Runs `block` when the comparison holds, skips it otherwise.
fn when(comparison: u32, value: u32, block: &[sock_filter]) -> Vec<sock_filter> {
    let mut code = jump_unless(comparison, value, block.len()).to_vec();
    code.extend_from_slice(block);
    code
}

/// Skips `length` instructions unless the comparison holds. Conditional jumps reach 255 far, unconditional ones any.
fn jump_unless(comparison: u32, value: u32, length: usize) -> [sock_filter; 2] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let condition = sock_filter { code: code(libc::BPF_JMP | comparison | libc::BPF_K), jt: 1, jf: 0, k: value };
    [condition, statement(libc::BPF_JMP | libc::BPF_JA, length)]
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(value: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, value)
}

fn statement(operation: u32, value: u32) -> sock_filter {
    sock_filter { code: code(operation), jt: 0, jf: 0, k: value }
}

#[expect(clippy::cast_possible_truncation, reason = "operations of BPF are 16 bits wide")]
const fn code(operation: u32) -> u16 {
    operation as u16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use libc::sock_filter;

    use super::super::spec::Identity;
    use super::super::syscalls::{
        ALLOWED, CLONE, CLONE3, MKNOD, MKNODAT, NEWEST, OWNERSHIP, PERSONALITY, SOCKET, number,
    };
    use super::{ALLOW, ARCHITECTURE, ENOSYS, EPERM, Filter, NUMBER, PLATFORMS, PRETEND, argument};

    /// Runs a program as the kernel would.
    fn judge(program: &[sock_filter], architecture: u32, call: u32, arguments: [u32; 3]) -> u32 {
        let data = BTreeMap::from([
            (NUMBER, call),
            (ARCHITECTURE, architecture),
            (argument(0), arguments[0]),
            (argument(1), arguments[1]),
            (argument(2), arguments[2]),
        ]);
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                0x20 => accumulator = data[&k],
                0x06 => return k,
                0x05 => at += k as usize,
                0x15 => branch(accumulator == k),
                0x25 => branch(accumulator > k),
                0x35 => branch(accumulator >= k),
                0x45 => branch(accumulator & k != 0),
                0x54 => accumulator &= k,
                other => panic!("operation {other:x}"),
            }
        }
    }

    /// Row P3: every number of every architecture.
    #[test]
    fn the_program_decides_as_the_table_says() {
        for identity in [Identity::Root, Identity::SubordinateIds, Identity::SingleId] {
            let filter = Filter::new(identity);
            assert!(filter.program().len() < 4096);
            for (architecture, column) in PLATFORMS {
                let by_argument = [SOCKET, CLONE, PERSONALITY].map(|row| number(row, *column));
                let allowed: Vec<u32> = ALLOWED.iter().filter_map(|(_, row)| number(*row, *column)).collect();
                let owners: Vec<u32> = OWNERSHIP.iter().filter_map(|row| number(*row, *column)).collect();
                for call in 0..2000 {
                    let expected = if Some(call) == number(CLONE3, *column) || call > NEWEST {
                        ENOSYS
                    } else if identity == Identity::SingleId && owners.contains(&call) {
                        PRETEND
                    } else if allowed.contains(&call) || by_argument.contains(&Some(call)) {
                        ALLOW
                    } else {
                        EPERM
                    };
                    assert_eq!(judge(filter.program(), *architecture, call, [0; 3]), expected, "{column:?} {call}");
                }
                assert_eq!(judge(filter.program(), *architecture, 0x4000_0000, [0; 3]), ENOSYS);
                assert_eq!(judge(filter.program(), *architecture, 0x4000_0027, [0; 3]), ENOSYS);
            }
            assert_eq!(judge(filter.program(), 0x1234, 0, [0; 3]), ENOSYS);
        }
    }

    #[test]
    fn arguments_decide() {
        let filter = Filter::new(Identity::Root);
        let single = Filter::new(Identity::SingleId);
        for (architecture, column) in PLATFORMS {
            let ask = |filter: &Filter, row, arguments| {
                judge(filter.program(), *architecture, number(row, *column).unwrap(), arguments)
            };
            for family in 0..60 {
                let expected = if family == 38 || family == 40 { EPERM } else { ALLOW };
                assert_eq!(ask(&filter, SOCKET, [family, 0, 0]), expected);
            }
            for bit in 0..32 {
                let namespaces = [17, 25, 26, 27, 28, 29, 30];
                let expected = if namespaces.contains(&bit) { EPERM } else { ALLOW };
                assert_eq!(ask(&filter, CLONE, [1 << bit, 0, 0]), expected, "clone flag {bit}");
            }
            for (persona, expected) in [(0, ALLOW), (8, ALLOW), (u32::MAX, ALLOW), (1, EPERM), (0x40_0000, EPERM)] {
                assert_eq!(ask(&filter, PERSONALITY, [persona, 0, 0]), expected);
            }
            for (kind, expected) in [(0o020_000, PRETEND), (0o060_644, PRETEND), (0o010_644, ALLOW), (0o644, ALLOW)] {
                assert_eq!(ask(&single, MKNODAT, [0, 0, kind]), expected);
                if number(MKNOD, *column).is_some() {
                    assert_eq!(ask(&single, MKNOD, [0, kind, 0]), expected);
                    assert_eq!(ask(&filter, MKNOD, [0, kind, 0]), ALLOW);
                }
            }
        }
    }

    /// The table against the numbers the C library knows.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_are_those_of_the_c_library() {
        let row = |name: &str| ALLOWED.iter().find(|(other, _)| *other == name).map(|(_, row)| i64::from(row[0]));
        for (name, number) in [
            ("read", libc::SYS_read),
            ("execve", libc::SYS_execve),
            ("openat2", libc::SYS_openat2),
            ("setresuid", libc::SYS_setresuid),
            ("statx", libc::SYS_statx),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
            ("close_range", libc::SYS_close_range),
            ("capset", libc::SYS_capset),
            ("chroot", libc::SYS_chroot),
            ("ptrace", libc::SYS_ptrace),
            ("seccomp", libc::SYS_seccomp),
        ] {
            assert_eq!(row(name), Some(number), "{name}");
        }
        for name in ["mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup", "reboot", "pidfd_getfd"] {
            assert_eq!(row(name), None, "{name}");
        }
    }
}
