//! Where the build arguments of a Dockerfile are declared, and who names them: what it takes to say where an ARG should stand.

use std::collections::HashMap;

use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Stage;
use bld_parser::source::LineIndex;
use serde::Deserialize;
use serde::Serialize;

/// An ARG of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// The stage: its name, or its number.
    pub stage: String,
    /// The first line of the ARG, from 1.
    pub line: u32,
    /// The last line of the stage.
    pub stage_end: u32,
    /// The instructions below it, up to the next ARG of that name, in whose text it stands.
    pub named: Vec<Naming>,
}

/// An instruction that names a build argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    /// Its first line.
    pub line: u32,
    /// Its keyword: `LABEL`.
    pub instruction: String,
}

/// All ARGs of all stages, in their order.
pub fn arguments(dockerfile: &Dockerfile, source: &[u8]) -> Vec<Argument> {
    let lines = LineIndex::new(source);
    let stages = dockerfile.stages.iter().enumerate();
    stages.flat_map(|(number, stage)| of_stage(number, stage, source, &lines)).collect()
}

fn of_stage(number: usize, stage: &Stage, source: &[u8], lines: &LineIndex<'_>) -> Vec<Argument> {
    let label = stage.from.name.as_ref().map_or_else(|| number.to_string(), |name| name.value.clone());
    let Some(last) = stage.instructions.last() else { return Vec::new() };
    let stage_end = lines.line_col(last.span.end.saturating_sub(1)).0;
    let mut found: Vec<Argument> = Vec::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for located in &stage.instructions {
        let line = lines.line_col(located.span.start).0;
        let range = located.span.start as usize..located.span.end as usize;
        let text = || String::from_utf8_lossy(source.get(range.clone()).unwrap_or_default());
        let declares: Vec<&str> = match &located.instruction {
            Instruction::Arg(arg) => {
                arg.declarations.iter().map(|declaration| declaration.name.value.as_str()).collect()
            }
            _ => Vec::new(),
        };
        if !latest.is_empty() && sees_arguments(&located.instruction) {
            let text = text();
            let keyword = located.text.split_whitespace().next().unwrap_or_default();
            // There may be very many arguments: the words of the text are fewer. What is no word, no text can name.
            for word in text.split(|letter| !is_part(letter)) {
                let named = latest.get(word).filter(|_| !declares.contains(&word) || text.contains('$'));
                let Some(argument) = named.and_then(|place| found.get_mut(*place)) else { continue };
                if argument.named.last().is_none_or(|naming| naming.line != line) {
                    argument.named.push(Naming { line, instruction: keyword.to_ascii_uppercase() });
                }
            }
        }
        for name in declares {
            let argument = Argument { name: name.to_owned(), stage: label.clone(), line, stage_end, named: Vec::new() };
            // The last ARG of a name is the one that counts.
            latest.insert(name, found.len());
            found.push(argument);
        }
    }
    found
}

/// Whether build arguments mean anything to an instruction while it is built.
fn sees_arguments(instruction: &Instruction) -> bool {
    !matches!(
        instruction,
        Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Healthcheck(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Shell(_)
    )
}

/// Whether a name stands in a text by itself: `$NAME`, `${NAME:-x}`, but also `printenv NAME` or `env["NAME"]`.
pub(crate) fn names(text: &str, name: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(is_part);
    text.match_indices(name)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + name.len()..].chars().next()))
}

fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let dockerfile = bld_parser::parse(source.as_bytes()).dockerfile.unwrap();
        let shown = |argument: Argument| {
            let named: Vec<String> =
                argument.named.iter().map(|naming| format!("{} {}", naming.instruction, naming.line)).collect();
            let Argument { name, stage, line, stage_end, .. } = argument;
            format!("{stage} {name} {line}-{stage_end}: {}", named.join(", "))
        };
        arguments(&dockerfile, source.as_bytes()).into_iter().map(shown).collect()
    }

    #[test]
    fn arguments_know_who_names_them() {
        for (source, expected) in [
            ("ARG A\nFROM x\nRUN echo $A\n", &[][..]),
            ("FROM x\nARG A\nRUN echo $A\n", &["0 A 2-3: RUN 3"]),
            (
                "FROM x AS Build\nARG A B=1\n\n# A\nRUN echo \\\n  ${A:-x}\nLABEL v=$AB\n",
                &["build A 2-7: RUN 5", "build B 2-7: "],
            ),
            ("FROM x\nARG A\nRUN printenv A\nCMD echo $A\n", &["0 A 2-4: RUN 3"]),
            ("FROM x\nARG A\nLABEL a=$A\nFROM y\nRUN echo $A\n", &["0 A 2-3: LABEL 3"]),
            ("FROM x\nARG A=1\nARG A=2\nRUN echo $A\n", &["0 A 2-4: ", "0 A 3-4: RUN 4"]),
            ("FROM x\nARG A=1\nARG B=$A\nRUN <<E\necho $A\nE\n", &["0 A 2-6: ARG 3, RUN 4", "0 B 3-6: "]),
        ] {
            assert_eq!(found(source), expected, "{source}");
        }
    }
}
