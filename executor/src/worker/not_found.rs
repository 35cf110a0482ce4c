//! Why a command is said not to exist. The kernel has one answer for a missing program and for a missing interpreter of a program.

use std::io::Read as _;

use bld_oci::ImagePath;
use bld_solver::op::Exec;

use crate::error::ExecuteError;
use crate::sandbox::SandboxError;
use crate::sandbox::StepError;
use crate::view::TreeView;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::resolve;

/// As much of a program as is read: the kernel looks for an interpreter no further.
const HEAD: u64 = 4096;

/// The kernel follows no more from script to script.
const MOST_INTERPRETERS: usize = 5;

/// What a shell-form RUN needs.
const SHELL: &str = "/bin/sh";

/// Where a command was looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    /// The working directory.
    pub(crate) cwd: &'a ImagePath,
    /// The last `PATH` of the environment; empty if there is none.
    pub(crate) path: &'a str,
    /// A script that is in no layer, under this name.
    pub(crate) script: Option<(&'a ImagePath, &'a str)>,
}

/// The same error, or a better one if it is about the command of a step that was not found in `view`.
pub(super) fn explain(error: ExecuteError, exec: &Exec, view: &dyn TreeView) -> ExecuteError {
    let path = exec.env.iter().rev().find(|(variable, _)| variable == "PATH").map_or("", |(_, path)| path.as_str());
    let script = exec.script.as_ref().map(|script| (&script.path, script.body.as_str()));
    let sought = Sought { cwd: &exec.cwd, path, script };
    match explain_program(error, &sought, view) {
        ExecuteError::Sandbox(SandboxError::Step(StepError::NotFound { name }))
            if name == SHELL && sought.candidates(&name).iter().all(|path| head(view, path).is_none()) =>
        {
            ExecuteError::NoShell { shell: name }
        }
        error => error,
    }
}

/// The same error, or a better one if it is about a command that was not found in `view`.
pub(crate) fn explain_program(error: ExecuteError, sought: &Sought<'_>, view: &dyn TreeView) -> ExecuteError {
    let name = match &error {
        ExecuteError::Sandbox(SandboxError::Step(StepError::NotFound { name })) => name,
        ExecuteError::Sandbox(SandboxError::Step(StepError::CannotExecute { name, .. })) => {
            let program = sought.candidates(name).iter().find_map(|path| head(view, path));
            let problem = program.and_then(|program| super::emulation::problem(&program));
            return match problem {
                Some(reason) => ExecuteError::OtherMachine { program: name.clone(), reason },
                None => error,
            };
        }
        _ => return error,
    };
    let script = sought.script.filter(|(path, _)| path.to_string() == *name);
    let mut program = match script {
        Some((_, body)) => Some((name.clone(), body.as_bytes().to_vec())),
        None => sought.candidates(name).iter().find_map(|path| Some((path.to_string(), head(view, path)?))),
    };
    // The interpreter of a script may itself lack one.
    for _ in 0..MOST_INTERPRETERS {
        let Some((path, bytes)) = program else { break };
        let Some(interpreter) = interpreter(&bytes) else { break };
        program = head(view, &sought.cwd.join(&interpreter)).map(|bytes| (interpreter.clone(), bytes));
        if program.is_none() {
            return ExecuteError::NoInterpreter { program: path, interpreter };
        }
    }
    error
}

/// The beginning of a regular file.
fn head(view: &dyn TreeView, path: &ImagePath) -> Option<Vec<u8>> {
    let (real, Some(ViewNode { kind: ViewKind::File { .. }, .. })) = resolve(view, path, true).ok()? else {
        return None;
    };
    let mut head = Vec::new();
    view.open(&real).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

impl Sought<'_> {
    /// Where the kernel looked.
    fn candidates(&self, name: &str) -> Vec<ImagePath> {
        if name.contains('/') {
            return vec![self.cwd.join(name)];
        }
        self.path.split(':').map(|directory| self.cwd.join(directory).join(name)).collect()
    }
}

fn interpreter(head: &[u8]) -> Option<String> {
    let interpreter = script_interpreter(head).or_else(|| elf_interpreter(head))?;
    Some(String::from_utf8_lossy(interpreter).into_owned())
}

/// Of `#!/bin/sh -e`; a carriage return belongs to the name.
fn script_interpreter(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    line.split(is_blank).find(|word| !word.is_empty())
}

/// The loader a dynamic program of a 64-bit little-endian machine names.
fn elf_interpreter(head: &[u8]) -> Option<&[u8]> {
    const INTERPRETER: u64 = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |offset: u64, length: u64| {
        let start = usize::try_from(offset).ok()?;
        let bytes = head.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let entry = (0..count).find_map(|index| {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        (number(entry, 4)? == INTERPRETER).then_some(entry)
    })?;
    let start = usize::try_from(number(entry.checked_add(8)?, 8)?).ok()?;
    head.get(start..)?.split(|byte| *byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::elf_interpreter;
    use super::interpreter;
    use super::script_interpreter;

    #[test]
    fn interpreters_of_scripts() {
        assert_eq!(script_interpreter(b"#!/bin/sh -e\necho"), Some(&b"/bin/sh"[..]));
        assert_eq!(script_interpreter(b"#! /usr/bin/env python"), Some(&b"/usr/bin/env"[..]));
        assert_eq!(script_interpreter(b"echo"), None);
        assert_eq!(script_interpreter(b"#!\n"), None);
    }

    #[test]
    fn windows_line_ends_are_told() {
        let interpreter = interpreter(b"#!/bin/bash\r\necho\r\n").unwrap();
        let error = crate::error::ExecuteError::NoInterpreter { program: "/run.sh".to_owned(), interpreter };
        assert_eq!(error.to_string(), "`/run.sh` exists, but its interpreter `/bin/bash\\r` does not");
        assert!(error.hint().is_some_and(|hint| hint.starts_with("the file has Windows line ends")));
    }

    #[test]
    fn interpreters_of_programs() {
        let mut head = b"\x7fELF\x02\x01".to_vec();
        head.resize(64 + 56, 0);
        (head[32], head[54], head[56]) = (64, 56, 1);
        (head[64], head[72]) = (3, 120);
        head.extend(b"/lib/ld.so\0rest");
        assert_eq!(elf_interpreter(&head), Some(&b"/lib/ld.so"[..]));
        for length in 0..120 {
            elf_interpreter(&head[..length]);
        }
    }
}
