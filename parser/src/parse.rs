//! The way from bytes to a [`Dockerfile`].

use crate::ast::Dockerfile;
use crate::ast::Instruction;
use crate::ast::Located;
use crate::ast::Stage;
use crate::check::CheckOptions;
use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::instruction;
use crate::instruction::Line;
use crate::instruction::Outcome;
use crate::instruction::Statement;
use crate::joined::Slice;
use crate::limits::MAX_FILE_BYTES;
use crate::limits::MAX_LINE_BYTES;
use crate::lines::Lines;
use crate::lines::LogicalLine;
use crate::lint::Linter;
use crate::sink::Sink;
use crate::source::BYTE_ORDER_MARK;
use crate::source::Span;
use crate::suggest::is_near;

/// What became of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The syntax tree; `None` if any diagnostic is an error.
    pub dockerfile: Option<Dockerfile>,
    /// If there are errors: the tree without the instructions that have them, provided that no other instruction depends on those.
    /// Never to be built, only to be looked at for further mistakes.
    pub sound_part: Option<Dockerfile>,
    /// All findings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// What became of the text of an ONBUILD trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedTrigger {
    /// The instruction, its spans relative to the trigger's text; `None` if any diagnostic is an error.
    pub instruction: Option<Located>,
    /// All findings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses a Dockerfile. Every mistake is reported, not only the first.
pub fn parse(text: &[u8]) -> Parsed {
    let mut sink = Sink::default();
    let (dockerfile, contained) = read(text, &mut sink).map_or((None, 0), |(tree, contained)| (Some(tree), contained));
    let (dockerfile, sound_part) = match sink.error_count() {
        0 => (dockerfile, None),
        errors => (None, dockerfile.filter(|tree| errors == contained && !tree.stages.is_empty())),
    };
    Parsed { dockerfile, sound_part, diagnostics: sink.into_sorted() }
}

/// Parses the text of one ONBUILD trigger as an image's configuration holds it: one instruction, perhaps with
/// here-documents, and no directives.
pub fn parse_trigger(text: &str) -> ParsedTrigger {
    let mut sink = Sink::default();
    let instruction = read_trigger(text, &mut sink);
    ParsedTrigger { instruction: instruction.filter(|_| !sink.has_errors()), diagnostics: sink.into_sorted() }
}

/// The tree, and how many of the errors concern nothing but their own instruction.
fn read(bytes: &[u8], sink: &mut Sink) -> Option<(Dockerfile, usize)> {
    if !is_small_enough(bytes, sink) || is_utf16(bytes, sink) {
        return None;
    }
    check_line_lengths(bytes, sink);
    check_nul(bytes, sink);
    let (text, invalid) = decode(bytes);
    let start = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let (directives, start) = directive::read(&text, start, sink);
    let mut lines = Lines::new(&text, start, directives.escape);
    let mut builder = Builder::default();
    while let Some(line) = lines.next(sink) {
        if !builder.any && is_yaml(&line, sink) {
            return None;
        }
        let before = sink.error_count();
        builder.line(&line, directives.escape, sink);
        let errors = sink.error_count() - before;
        if errors > 0 && builder.in_stage && builder.contains(&line) {
            builder.contained += errors;
        }
    }
    let contained = builder.contained;
    report_invalid(&invalid, start, lines.comment_spans(), sink);
    let (global_args, stages) = builder.finish(sink)?;
    Some((Dockerfile { directives, global_args, stages }, contained))
}

/// Instructions without which no other one is wrong.
const ALONE: [&str; 14] = [
    "ADD",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Without these nobody knows the values of variables, and nothing else is wrong.
const SETTERS: [&str; 2] = ["ARG", "ENV"];

/// Whether an instruction is, or was meant to be, one of `names`.
fn is_one_of(line: &str, names: &[&str]) -> bool {
    let keyword = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if instruction::NAMES.contains(&keyword.as_str()) {
        return names.contains(&keyword.as_str());
    }
    let mut meant = instruction::NAMES.into_iter().filter(|name| is_near(&keyword, name)).peekable();
    meant.peek().is_some() && meant.all(|name| names.contains(&name))
}

fn read_trigger(text: &str, sink: &mut Sink) -> Option<Located> {
    if !is_small_enough(text.as_bytes(), sink) {
        return None;
    }
    let mut lines = Lines::new(text, 0, '\\');
    let Some(line) = lines.next(sink) else {
        sink.error(
            "EmptyTrigger",
            Span::new(0, text.len()),
            "the trigger holds no instruction",
            "write an instruction",
        );
        return None;
    };
    if let Some(surplus) = lines.next(sink) {
        let hint = "use one ONBUILD for each instruction";
        sink.error("UnexpectedInstruction", surplus.span, "a trigger is a single instruction", hint);
    }
    let whole = Slice::whole(&line.joined);
    let outcome = instruction::parse(as_line(&line, whole, '\\'), sink)?;
    match outcome.statement? {
        Statement::Instruction(Instruction::Onbuild(_) | Instruction::Maintainer(_)) | Statement::From(_) => {
            let name = outcome.keyword.text().to_ascii_uppercase();
            let message = format!("{name} cannot be a trigger of ONBUILD");
            sink.error("InvalidTrigger", outcome.keyword.span(), message, instruction::trigger_hint(&name));
            None
        }
        Statement::Instruction(instruction) => {
            crate::lint::trigger(&instruction, outcome.keyword, sink);
            Some(locate(&line, instruction))
        }
    }
}

fn as_line<'a>(line: &'a LogicalLine, slice: Slice<'a>, escape: char) -> Line<'a> {
    let comments_directly_above = line.comments_directly_above();
    Line { slice, span: line.span, heredocs: &line.heredocs, comments: &line.comments, comments_directly_above, escape }
}

fn locate(line: &LogicalLine, instruction: Instruction) -> Located {
    Located {
        instruction,
        span: line.span,
        text: line.joined.text().to_owned(),
        check: instruction::check_comment(line.comments_directly_above()),
    }
}

/// Gathers instructions into stages.
#[derive(Debug, Default)]
struct Builder {
    global_args: Vec<crate::ast::ArgInstruction>,
    stages: Vec<Stage>,
    linter: Linter,
    /// Whether any FROM was met, even a wrong one.
    in_stage: bool,
    any: bool,
    /// Errors of instructions on which no other depends.
    contained: usize,
    orphan_reported: bool,
}

impl Builder {
    fn line(&mut self, line: &LogicalLine, escape: char, sink: &mut Sink) {
        self.any = true;
        let before = sink.error_count();
        let whole = Slice::whole(&line.joined);
        let Some(outcome) = instruction::parse(as_line(line, whole, escape), sink) else { return };
        if let Some(check) = instruction::check_comment(line.comments_directly_above()) {
            match CheckOptions::parse(&check.value) {
                Ok(options) => directive::report_unknown(&options, check.span, sink),
                Err(error) => sink.warning("InvalidCheck", check.span, error.to_string(), directive::CHECK_HINT),
            }
        }
        self.linter.instruction(&outcome, whole, &line.comments, sink);
        let is_from = outcome.keyword.text().eq_ignore_ascii_case("FROM");
        self.in_stage |= is_from;
        let Outcome { keyword, statement: Some(statement), .. } = outcome else { return };
        if self.in_stage && sink.error_count() > before && is_one_of(keyword.text(), &ALONE) {
            return;
        }
        match statement {
            Statement::From(from) => {
                self.stages.push(Stage { from, instructions: Vec::new(), values_unknown_from: None });
            }
            Statement::Instruction(Instruction::Arg(arg)) if !self.in_stage => self.global_args.push(arg),
            Statement::Instruction(_) if !self.in_stage => self.orphan(keyword, sink),
            Statement::Instruction(instruction) => {
                if let Some(stage) = self.stages.last_mut() {
                    stage.instructions.push(locate(line, instruction));
                }
            }
        }
    }

    /// Whether a mistake in this line concerns no other, but for values of variables, which are noted as unknown.
    fn contains(&mut self, line: &LogicalLine) -> bool {
        let text = line.joined.text();
        if is_one_of(text, &ALONE) {
            return true;
        }
        // A setter that may have been something else, too, counts as a setter.
        let either: Vec<&str> = ALONE.into_iter().chain(SETTERS).collect();
        let Some(stage) = self.stages.last_mut().filter(|_| is_one_of(text, &either)) else { return false };
        stage.values_unknown_from.get_or_insert(line.span.start);
        true
    }

    fn orphan(&mut self, keyword: Slice<'_>, sink: &mut Sink) {
        // One report is enough: it is one mistake, however many instructions follow.
        if !std::mem::replace(&mut self.orphan_reported, true) {
            let name = keyword.text().to_ascii_uppercase();
            let message = format!("{name} stands before the first FROM: there is no build stage yet");
            sink.error(
                "NoBuildStage",
                keyword.span(),
                message,
                "begin with `FROM IMAGE`; only ARG may stand before it",
            );
        }
    }

    fn finish(self, sink: &mut Sink) -> Option<(Vec<crate::ast::ArgInstruction>, Vec<Stage>)> {
        self.linter.finish(sink);
        if !self.any {
            let message = "file with no instructions";
            sink.error("EmptyDockerfile", Span::new(0, 0), message, "begin with `FROM IMAGE`");
            return None;
        }
        if !self.in_stage && !self.orphan_reported && !sink.has_errors() {
            let place = self.global_args.last().map_or(Span::new(0, 0), |arg| arg.span);
            let message = "there is no build stage: no FROM was found";
            sink.error("NoBuildStage", place, message, "add `FROM IMAGE` behind it");
        }
        Some((self.global_args, self.stages))
    }
}

fn is_small_enough(bytes: &[u8], sink: &mut Sink) -> bool {
    if bytes.len() <= MAX_FILE_BYTES {
        return true;
    }
    let message = format!("the Dockerfile has {} bytes, more than {MAX_FILE_BYTES}", bytes.len());
    sink.error("FileTooLarge", Span::new(0, 0), message, "move data out of the Dockerfile and COPY it");
    false
}

/// What some Windows editors and shells write by default. One report says it all.
fn is_utf16(bytes: &[u8], sink: &mut Sink) -> bool {
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let found = marked || matches!(bytes, [1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, ..]);
    if found {
        let hint = "save the file as UTF-8; PowerShell does with `Out-File -Encoding utf8`";
        sink.error("InvalidUtf8", Span::new(0, 0), "the file is UTF-16, not UTF-8", hint);
    }
    found
}

/// A compose file or the like: every line of it would be a mistake of its own.
fn is_yaml(line: &LogicalLine, sink: &mut Sink) -> bool {
    let first = line.joined.text().split_whitespace().next().unwrap_or_default();
    let key = first.strip_suffix(':').filter(|key| !key.is_empty());
    let found = first == "---" || key.is_some_and(|key| !instruction::NAMES.iter().any(|name| is_near(key, name)));
    if found {
        let message = format!("this is no Dockerfile: `{first}` looks like the beginning of a YAML file");
        let hint = "name the Dockerfile with `-f FILE`; bld reads no compose files";
        let end = first.len().min(line.span.end.saturating_sub(line.span.start) as usize);
        let start = line.span.start as usize;
        sink.error("NotADockerfile", Span::new(start, start + end), message, hint);
    }
    found
}

fn check_line_lengths(bytes: &[u8], sink: &mut Sink) {
    let mut start = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        if content.len() > MAX_LINE_BYTES {
            let span = Span::new(start + MAX_LINE_BYTES, start + content.len());
            let message = format!("line is longer than {MAX_LINE_BYTES} bytes");
            sink.error("LineTooLong", span, message, "split it with the escape character at the end of a line");
        }
        start += line.len() + 1;
    }
}

/// No file name, argument or variable can hold a NUL: what stands behind one would silently be lost.
fn check_nul(bytes: &[u8], sink: &mut Sink) {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        sink.error("InvalidUtf8", Span::new(at, at + 1), "text has a NUL byte", "save the file as UTF-8 text");
    }
}

/// The text with every invalid byte replaced by a question mark - so offsets stay what they were - and where those are.
fn decode(bytes: &[u8]) -> (String, Vec<Span>) {
    let mut text = String::with_capacity(bytes.len());
    let mut invalid: Vec<Span> = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let bad = chunk.invalid().len();
        if bad > 0 {
            let span = Span::new(text.len(), text.len() + bad);
            match invalid.last_mut() {
                // Neighbours are one mistake.
                Some(last) if last.end == span.start => last.end = span.end,
                _ => invalid.push(span),
            }
            text.extend(std::iter::repeat_n('?', bad));
        }
    }
    (text, invalid)
}

/// Bytes that are no UTF-8 stop the build unless they stand in a comment.
fn report_invalid(invalid: &[Span], directives_end: usize, comments: &[Span], sink: &mut Sink) {
    for span in invalid.iter().copied() {
        let index = comments.partition_point(|comment| comment.end <= span.start);
        let in_comment = comments.get(index).is_some_and(|comment| comment.start <= span.start);
        let in_directive = usize::try_from(span.start).is_ok_and(|start| start < directives_end);
        let hint = "save the file as UTF-8";
        if in_comment || in_directive {
            sink.warning("InvalidUtf8", span, "comment is not UTF-8", hint);
        } else {
            sink.error("InvalidUtf8", span, "text is not UTF-8", hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_is_sound_is_kept_if_nothing_depends_on_the_rest() {
        let instructions = |text: &str| parse(text.as_bytes()).sound_part.map(|tree| tree.stages[0].instructions.len());
        assert_eq!(instructions("FROM a\nCOYP a b\nEXPOSE\nRUN x\nEXPOSE abc\n"), Some(2));
        assert_eq!(instructions("FROM a\nHEALTHCHECK --interval=5 CMD x\nRUN x\n"), Some(1));
        assert_eq!(instructions("FROM a\nENV A\nRUN x\n"), Some(1));
        assert_eq!(instructions("FROM a\nARG\nCOPY\n"), Some(0));
        let unknown_from = |text: &str| parse(text.as_bytes()).sound_part.unwrap().stages[0].values_unknown_from;
        assert_eq!(unknown_from("FROM a\nENV A\nENV B\nRUN x\n"), Some(7));
        assert_eq!(unknown_from("FROM a\nEXPOSE\n"), None);
        for text in [
            "FROM a\nRUN x\n",
            "FROM a\nFORM b\nCOPY\n",
            "COPY\nFROM a\n",
            "FROM a\nCOPY\nCOPY <<EOF /x\n",
            "FROM a b\nCOPY\n",
        ] {
            assert_eq!(instructions(text), None, "{text:?}");
        }
    }
}
