//! From the text of one logical line to a typed instruction.

mod copy;
mod flags;
mod from;
mod key_value;
mod meta;
mod run;

use crate::ast::CommandLine;
use crate::ast::From;
use crate::ast::Instruction;
use crate::ast::Text;
use crate::head;
use crate::head::Head;
use crate::heredoc::ReadHeredoc;
use crate::joined::Slice;
use crate::json;
use crate::json::Json;
use crate::sink::Sink;
use crate::source::Span;
use crate::suggest::nearest;
use flags::Flags;
use flags::Table;
use std::collections::HashMap;

/// All instructions.
pub(crate) const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A line on its way to an instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The text, or the part of it behind ONBUILD.
    pub(crate) slice: Slice<'a>,
    /// The whole instruction with its bodies.
    pub(crate) span: Span,
    /// Its here-documents.
    pub(crate) heredocs: &'a [ReadHeredoc],
    /// The comments above.
    pub(crate) comments: &'a [Text],
    /// Those of them without an empty line in between.
    pub(crate) comments_directly_above: &'a [Text],
    /// The escape character.
    pub(crate) escape: char,
}

/// What a line turned out to be.
#[derive(Debug)]
pub(crate) enum Statement {
    /// FROM: opens a stage.
    From(From),
    /// Anything else.
    Instruction(Instruction),
}

/// What [`parse`] found.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    /// The name as written.
    pub(crate) keyword: Slice<'a>,
    /// `AS` of a FROM as written.
    pub(crate) as_keyword: Option<Slice<'a>>,
    /// A stage's name as written.
    pub(crate) stage_name: Option<Slice<'a>>,
    /// The instruction; `None` after a mistake.
    pub(crate) statement: Option<Statement>,
}

/// Parses one line. Every mistake found in it is reported.
pub(crate) fn parse<'a>(line: Line<'a>, sink: &mut Sink) -> Option<Outcome<'a>> {
    let head = head::parse(line.slice, line.escape, sink)?;
    let mut outcome = Outcome { keyword: head.keyword, as_keyword: None, stage_name: None, statement: None };
    let name = head.keyword.text().to_ascii_uppercase();
    if name == "FROM" {
        let from = from::parse(line, &head, sink);
        outcome.as_keyword = from.as_keyword;
        outcome.stage_name = from.name;
        outcome.statement = from.from.map(Statement::From);
        return Some(outcome);
    }
    let instruction = match name.as_str() {
        "ADD" => copy::add(line, &head, sink).map(Instruction::Add),
        "ARG" => key_value::arg(line, &head, sink).map(Instruction::Arg),
        "CMD" => meta::command(&head, "CMD", sink).map(Instruction::Cmd),
        "COPY" => copy::copy(line, &head, sink).map(Instruction::Copy),
        "ENTRYPOINT" => meta::command(&head, "ENTRYPOINT", sink).map(Instruction::Entrypoint),
        "ENV" => key_value::pairs(line, &head, "ENV", sink).map(Instruction::Env),
        "EXPOSE" => meta::expose(&head, sink).map(Instruction::Expose),
        "HEALTHCHECK" => meta::healthcheck(&head, sink).map(Instruction::Healthcheck),
        "LABEL" => key_value::pairs(line, &head, "LABEL", sink).map(Instruction::Label),
        "MAINTAINER" => {
            meta::rest(&head, "MAINTAINER", "NAME", sink).map(|rest| Instruction::Maintainer(rest.literal()))
        }
        "ONBUILD" => onbuild(line, &head, sink),
        "RUN" => run::parse(line, &head, sink).map(Instruction::Run),
        "SHELL" => meta::shell(&head, sink).map(Instruction::Shell),
        "STOPSIGNAL" => {
            meta::rest(&head, "STOPSIGNAL", "SIGNAL", sink).map(|rest| Instruction::StopSignal(rest.word()))
        }
        "USER" => meta::rest(&head, "USER", "NAME", sink).map(|rest| Instruction::User(rest.word())),
        "VOLUME" => meta::volume(&head, sink).map(Instruction::Volume),
        "WORKDIR" => meta::rest(&head, "WORKDIR", "PATH", sink).map(|rest| Instruction::Workdir(rest.word())),
        _ => {
            unknown(line, &head, sink);
            None
        }
    };
    outcome.statement = instruction.map(Statement::Instruction);
    Some(outcome)
}

/// The descriptions in comments `# NAME description`, by name; the first of each counts.
fn descriptions(comments: &[Text]) -> HashMap<&str, &str> {
    let pairs = comments.iter().rev().filter_map(|comment| comment.value.split_once(char::is_whitespace));
    pairs.map(|(name, description)| (name, description.trim())).collect()
}

/// The value of a comment `# check=...`.
pub(crate) fn check_comment(comments: &[Text]) -> Option<Text> {
    comments.iter().rev().find_map(|comment| {
        let line = format!("#{}", comment.value);
        let (key, value) = crate::directive::comment_value(&line)?;
        key.eq_ignore_ascii_case("check").then(|| Text { value: value.to_owned(), span: comment.span })
    })
}

/// A mistake that holds for several instructions: an argument is missing.
fn missing(head: &Head<'_>, message: String, hint: impl Into<String>, sink: &mut Sink) {
    sink.error("MissingArgument", head.keyword.span(), message, hint);
}

/// Checks flags against the table of the instruction.
fn flags(head: &Head<'_>, name: &str, table: Table, sink: &mut Sink) -> Flags {
    Flags::check(name, &head.flags, table, sink)
}

/// Refuses every flag.
fn no_flags(head: &Head<'_>, name: &str, sink: &mut Sink) {
    Flags::check(name, &head.flags, flags::NONE, sink);
}

/// A command in exec form if it is a JSON array of strings, in shell form otherwise.
fn command_line(arguments: Slice<'_>, sink: &mut Sink) -> Option<CommandLine> {
    match json::parse(arguments.text()) {
        Json::NotArray => Some(CommandLine::Shell(arguments.text().to_owned())),
        Json::Invalid { array_end } => {
            crate::lint::forms::json_looking(arguments, array_end, sink);
            Some(CommandLine::Shell(arguments.text().to_owned()))
        }
        Json::Strings(strings) => Some(CommandLine::Exec(strings.into_iter().map(|(string, _)| string).collect())),
        Json::NotStrings(range) => {
            not_strings(arguments.part(range), sink);
            None
        }
    }
}

fn not_strings(element: Slice<'_>, sink: &mut Sink) {
    sink.error(
        "JsonNotStrings",
        element.span(),
        "a JSON array here may hold strings only",
        format!("put it in double quotes: `\"{}\"`", element.text().replace('"', "\\\"")),
    );
}

fn unknown(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) {
    let name = head.keyword.text();
    let escape = line.escape;
    let hint = match nearest(name, NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|marker| name.starts_with(marker)) => {
            "this line is of a merge conflict: resolve it first".to_owned()
        }
        None if name.starts_with("//") || name.starts_with("/*") || name.starts_with("<!") => {
            "a comment begins with `#`".to_owned()
        }
        None if name.starts_with(|letter: char| !letter.is_alphanumeric()) => {
            format!("to continue the line above, end that one with `{escape}`")
        }
        None => format!("an instruction begins each line; to continue the line above, end that one with `{escape}`"),
    };
    sink.error("UnknownInstruction", head.keyword.span(), format!("unknown instruction `{name}`"), hint);
}

/// What to do instead of a trigger that there cannot be.
pub(crate) fn trigger_hint(name: &str) -> &'static str {
    match name {
        "FROM" => "write the FROM in the Dockerfile that builds on this image: triggers run in its stage",
        "ONBUILD" => "a trigger fires in the next build only: write the instruction without the second ONBUILD",
        _ => "any instruction but FROM, ONBUILD and MAINTAINER can be one",
    }
}

fn onbuild(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<Instruction> {
    no_flags(head, "ONBUILD", sink);
    let trigger = head.arguments;
    if trigger.text().is_empty() {
        missing(head, "ONBUILD needs an instruction".to_owned(), "write `ONBUILD RUN ...` or the like", sink);
        return None;
    }
    let inner = head::parse(trigger, line.escape, sink)?;
    let name = inner.keyword.text().to_ascii_uppercase();
    if matches!(name.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        let message = format!("{name} cannot be a trigger of ONBUILD");
        sink.error("InvalidTrigger", inner.keyword.span(), message, trigger_hint(&name));
        return None;
    }
    // The trigger is parsed for its mistakes only: what counts is its text. `parse` cannot come back here.
    let outcome = parse(Line { slice: trigger, comments: &[], comments_directly_above: &[], ..line }, sink)?;
    outcome.statement?;
    let mut text = trigger.literal();
    for heredoc in line.heredocs {
        text.value.push('\n');
        text.value.push_str(&heredoc.raw_body);
        text.value.push_str(&heredoc.heredoc.name);
        text.span = text.span.to(line.span);
    }
    text.span.start = trigger.span().start;
    Some(Instruction::Onbuild(crate::ast::Onbuild { text }))
}
