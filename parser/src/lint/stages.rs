//! What may be said once: DuplicateStageName, MultipleInstructionsDisallowed.

use crate::ast::From;
use crate::ast::Instruction;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::source::Span;
use std::collections::HashMap;

/// The stages so far and what the present one holds.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// Whether one that starts from a stage of this name has a SHELL of its own in force.
    shells: HashMap<String, bool>,
    current: Current,
}

#[derive(Debug, Default)]
struct Current {
    name: Option<String>,
    shell: bool,
    /// Stages that start from this one get a SHELL by ONBUILD.
    passes_shell: bool,
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
}

impl Stages {
    /// A FROM begins the next stage.
    pub(super) fn open(&mut self, from: &From, sink: &mut Sink) {
        self.close();
        if let Some(name) = from.name.as_ref().filter(|name| self.shells.contains_key(&name.value)) {
            let message = format!("stage name `{}` is used before", name.value);
            sink.warning(
                "DuplicateStageName",
                name.span,
                message,
                "give each stage a name of its own; the last one wins",
            );
        }
        let shell = self.shells.get(&from.base.raw.to_lowercase()).copied().unwrap_or(false);
        self.current = Current { name: from.name.as_ref().map(|name| name.value.clone()), shell, ..Current::default() };
    }

    /// An instruction of the present stage.
    pub(super) fn instruction(&mut self, instruction: &Instruction, keyword: Slice<'_>, sink: &mut Sink) {
        let (seen, name) = match instruction {
            Instruction::Cmd(_) => (&mut self.current.cmd, "CMD"),
            Instruction::Entrypoint(_) => (&mut self.current.entrypoint, "ENTRYPOINT"),
            Instruction::Healthcheck(_) => (&mut self.current.healthcheck, "HEALTHCHECK"),
            Instruction::Shell(_) => {
                self.current.shell = true;
                return;
            }
            Instruction::Onbuild(onbuild) => {
                let keyword = onbuild.text.value.split_whitespace().next().unwrap_or_default();
                self.current.passes_shell |= keyword.eq_ignore_ascii_case("SHELL");
                return;
            }
            _ => return,
        };
        // The earlier one is what has no effect.
        if let Some(earlier) = seen.replace(keyword.span()) {
            let message = format!("{name} has no effect: a later {name} in the same stage replaces it");
            sink.warning("MultipleInstructionsDisallowed", earlier, message, format!("keep only the last {name}"));
        }
    }

    /// Whether SHELL was set, here or in the stage this one is based on.
    pub(super) fn has_shell(&self) -> bool {
        self.current.shell
    }

    fn close(&mut self) {
        let current = std::mem::take(&mut self.current);
        if let Some(name) = current.name {
            self.shells.insert(name, current.shell || current.passes_shell);
        }
    }
}
