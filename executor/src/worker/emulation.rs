//! Why a program of another architecture does not run here: what `binfmt_misc` (Linux, `Documentation/admin-guide/binfmt-misc.rst`)
//! knows of it.

use std::path::Path;
use std::path::PathBuf;

/// Where the kernel lists its handlers.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";

/// Where an ELF header names its machine.
const MACHINE_OFFSET: usize = 18;

/// A handler for programs of some kind.
#[derive(Debug, PartialEq, Eq)]
struct Handler {
    enabled: bool,
    interpreter: PathBuf,
    /// The kernel opened the interpreter when it was registered: no image needs to hold it.
    is_fixed: bool,
    /// What an ELF header names its machine, if the handler looks at that.
    machine: Option<u16>,
}

/// What is wrong with the emulation of the program with this head; `None` if the program is not an ELF file of another machine.
pub(super) fn problem(head: &[u8]) -> Option<String> {
    let machine = machine(head)?;
    let name = name(machine)?;
    if name == std::env::consts::ARCH {
        return None;
    }
    Some(format!("it is a program for {name}, this machine is {}: {}", std::env::consts::ARCH, state(machine)))
}

fn state(machine: u16) -> String {
    let Ok(entries) = std::fs::read_dir(HANDLERS) else {
        return "this kernel has no binfmt_misc".to_owned();
    };
    let mut is_mounted = false;
    let mut found = None;
    for entry in entries.flatten() {
        is_mounted = true;
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        if let Some(handler) = parse(&text).filter(|handler| handler.machine == Some(machine)) {
            found = Some(handler);
        }
    }
    match found {
        None if !is_mounted => "binfmt_misc is not mounted here".to_owned(),
        None => "no handler is registered for it".to_owned(),
        Some(handler) if !handler.enabled => format!("the handler {} is disabled", handler.interpreter.display()),
        Some(handler) if !handler.is_fixed && !Path::new(&handler.interpreter).exists() => {
            format!("the handler {} is not there", handler.interpreter.display())
        }
        Some(handler) if !handler.is_fixed => format!(
            "the handler {} was registered without flag F, so the image would have to hold it",
            handler.interpreter.display()
        ),
        Some(handler) => format!("the handler {} does not take it", handler.interpreter.display()),
    }
}

/// Reads what the kernel says of a handler.
fn parse(text: &str) -> Option<Handler> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let interpreter = PathBuf::from(value("interpreter ")?);
    let offset: usize = value("offset ").and_then(|text| text.parse().ok()).unwrap_or_default();
    let magic = value("magic ").and_then(|digits| hex::decode(digits).ok()).unwrap_or_default();
    let header: Vec<u8> = std::iter::repeat_n(0, offset).chain(magic).collect();
    Some(Handler {
        enabled: text.lines().next() == Some("enabled"),
        interpreter,
        is_fixed: value("flags:").is_some_and(|flags| flags.contains('F')),
        machine: machine(&header),
    })
}

/// The machine an ELF header names, in the byte order of the header.
fn machine(head: &[u8]) -> Option<u16> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes: [u8; 2] = head.get(MACHINE_OFFSET..MACHINE_OFFSET + 2)?.try_into().ok()?;
    match head.get(5) {
        Some(1) => Some(u16::from_le_bytes(bytes)),
        Some(2) => Some(u16::from_be_bytes(bytes)),
        _ => None,
    }
}

/// As Rust calls the architectures.
fn name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: F\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn handlers_are_read_as_the_kernel_writes_them() {
        let handler = parse(AARCH64).unwrap();
        let interpreter = PathBuf::from("/usr/bin/qemu-aarch64-static");
        assert_eq!(handler, Handler { enabled: true, interpreter, is_fixed: true, machine: Some(183) });
        let other = parse(&AARCH64.replace("enabled", "disabled").replace("flags: F", "flags: ")).unwrap();
        assert!(!other.enabled && !other.is_fixed);
        assert_eq!(parse("enabled\n"), None, "the file `status`");
    }

    #[test]
    fn only_programs_of_other_machines_are_a_problem() {
        let header = |class: u8, order: u8, machine: [u8; 2]| {
            let mut head = vec![0x7f, b'E', b'L', b'F', class, order];
            head.resize(MACHINE_OFFSET, 0);
            head.extend(machine);
            head
        };
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(problem(&own), None);
        assert_eq!(problem(b"#!/bin/sh"), None);
        assert_eq!(problem(&header(1, 1, [0xff, 0xff])), None, "nothing is known of that machine");
        let text = problem(&header(2, 2, [0, 22])).unwrap();
        assert!(text.starts_with("it is a program for s390x, this machine is "), "{text}");
    }
}
