//! Warnings that need only the text of the instructions, found while parsing.
//!
//! What needs values (undefined variables, ports, relative directories) is checked by the solver, where they are known.

mod casing;
mod comments;
pub(crate) mod forms;
mod names;
mod platform;
mod stages;

pub use self::names::is_secret;
use crate::ast::Instruction;
use crate::ast::Text;
use crate::instruction::Outcome;
use crate::instruction::Statement;
use crate::joined::Slice;
use crate::sink::Sink;

/// Looks at an instruction that comes out of a base image. Whether SHELL is set there, whoever fires it must know.
pub(crate) fn trigger(instruction: &Instruction, keyword: Slice<'_>, sink: &mut Sink) {
    forms::deprecated(instruction, keyword, sink);
    names::secrets(instruction, sink);
    forms::json_recommended(instruction, keyword, sink);
}

/// Watches instructions go by.
#[derive(Debug, Default)]
pub(crate) struct Linter {
    casing: casing::Casing,
    stages: stages::Stages,
}

impl Linter {
    /// Looks at the next instruction.
    pub(crate) fn instruction(&mut self, outcome: &Outcome<'_>, line: Slice<'_>, above: &[Text], sink: &mut Sink) {
        self.casing.keyword(outcome.keyword);
        if let Some(as_keyword) = outcome.as_keyword {
            casing::as_keyword(outcome.keyword, as_keyword, sink);
        }
        if let Some(name) = outcome.stage_name {
            casing::stage_name(name, sink);
        }
        match &outcome.statement {
            Some(Statement::From(from)) => {
                self.stages.open(from, sink);
                names::reserved(from, sink);
                platform::check(from, sink);
                if let Some(name) = outcome.stage_name {
                    names::description(outcome.keyword, &[name.text()], above, sink);
                }
            }
            Some(Statement::Instruction(instruction)) => {
                self.stages.instruction(instruction, outcome.keyword, sink);
                forms::deprecated(instruction, outcome.keyword, sink);
                names::secrets(instruction, sink);
                comments::trailing(instruction, line, sink);
                if let Instruction::Arg(arg) = instruction {
                    let names: Vec<&str> = arg.declarations.iter().map(|one| one.name.value.as_str()).collect();
                    names::description(outcome.keyword, &names, above, sink);
                }
                let is_command = matches!(instruction, Instruction::Cmd(_) | Instruction::Entrypoint(_));
                if is_command && !self.stages.has_shell() {
                    forms::json_recommended(instruction, outcome.keyword, sink);
                }
            }
            None => {}
        }
    }

    /// Says what only the whole file can tell.
    pub(crate) fn finish(self, sink: &mut Sink) {
        self.casing.finish(sink);
    }
}
