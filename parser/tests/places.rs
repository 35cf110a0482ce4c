//! Spans point at what they say, across continuations too.

use bld_parser::ast::CopySource;
use bld_parser::ast::Instruction;
use bld_parser::source::LineIndex;
use bld_parser::source::Span;

fn cut(text: &str, span: Span) -> &str {
    &text[usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap()]
}

fn instructions(text: &str) -> Vec<bld_parser::ast::Located> {
    let parsed = bld_parser::parse(text.as_bytes());
    assert!(parsed.dockerfile.is_some(), "{:?}", parsed.diagnostics);
    parsed.dockerfile.unwrap().stages.remove(0).instructions
}

#[test]
fn words_behind_continuations() {
    let text = "FROM a\nCOPY --from=b \\\n  # why\n  one \\\n\n  tw\\\no /dir\n";
    let instructions = instructions(text);
    let Instruction::Copy(copy) = &instructions[0].instruction else { panic!("no COPY") };
    assert_eq!(cut(text, copy.from.as_ref().unwrap().span), "b");
    let words: Vec<(&str, &str)> = copy
        .paths
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(word) => (word.raw.as_str(), cut(text, word.span)),
            CopySource::Heredoc(_) => panic!("no heredoc"),
        })
        .collect();
    assert_eq!(words, [("one", "one"), ("two", "tw\\\no")]);
    assert_eq!(cut(text, copy.paths.destination.span), "/dir");
    assert_eq!(cut(text, instructions[0].span), text["FROM a\n".len()..].trim_end());
}

#[test]
fn pairs_and_json() {
    let text = "FROM a\nENV k=\"v w\" \\\n x=y\nVOLUME [\"/a\", \"/b\"]\nUSER me\nHEALTHCHECK --retries='2' CMD x\n";
    let instructions = instructions(text);
    let Instruction::Env(env) = &instructions[0].instruction else { panic!("no ENV") };
    assert_eq!(cut(text, env.pairs[0].1.span), "\"v w\"");
    assert_eq!(cut(text, env.pairs[1].0.span), "x");
    assert_eq!(cut(text, env.pairs[1].1.span), "y");
    let Instruction::Volume(volumes) = &instructions[1].instruction else { panic!("no VOLUME") };
    assert_eq!(cut(text, volumes[1].span), "\"/b\"");
    let Instruction::User(user) = &instructions[2].instruction else { panic!("no USER") };
    assert_eq!(cut(text, user.span), "me");
}

#[test]
fn heredocs() {
    let text = "\u{feff}FROM a\r\nRUN cat \\\r\n <<ONE <<-'TWO'\r\n1\r\nONE\r\n\t2\r\n\tTWO\r\nRUN x\r\n";
    let instructions = instructions(text);
    let Instruction::Run(run) = &instructions[0].instruction else { panic!("no RUN") };
    assert_eq!(cut(text, run.heredocs[0].span), "<<ONE");
    assert_eq!(cut(text, run.heredocs[0].body_span), "1\r\n");
    assert_eq!(cut(text, run.heredocs[1].span), "<<-'TWO'");
    assert_eq!(cut(text, run.heredocs[1].body_span), "\t2\r\n");
    assert_eq!(run.heredocs[1].body, "2\r\n");
    assert!(cut(text, instructions[0].span).ends_with("\tTWO"));
    assert_eq!(cut(text, instructions[1].span), "RUN x");
}

#[test]
fn triggers() {
    let text = "FROM a\nONBUILD RUN <<E cat\n$x\nE\n";
    let instructions = instructions(text);
    let Instruction::Onbuild(onbuild) = &instructions[0].instruction else { panic!("no ONBUILD") };
    let trigger = &onbuild.text.value;
    assert_eq!(trigger, "RUN <<E cat\n$x\nE");
    let parsed = bld_parser::parse_trigger(trigger);
    assert_eq!(parsed.diagnostics, []);
    let located = parsed.instruction.unwrap();
    assert_eq!(cut(trigger, located.span), trigger);
    let Instruction::Run(run) = located.instruction else { panic!("no RUN") };
    assert_eq!(cut(trigger, run.heredocs[0].body_span), "$x\n");
}

#[test]
fn triggers_that_are_refused() {
    for (text, code) in [
        ("", "EmptyTrigger"),
        ("FROM x", "InvalidTrigger"),
        ("ONBUILD RUN x", "InvalidTrigger"),
        ("MAINTAINER me", "InvalidTrigger"),
        ("RUN a\nRUN b", "UnexpectedInstruction"),
        ("COPY a", "MissingArgument"),
        ("COPI a b", "UnknownInstruction"),
    ] {
        let parsed = bld_parser::parse_trigger(text);
        assert!(parsed.instruction.is_none(), "{text}");
        assert_eq!(parsed.diagnostics[0].code, code, "{text}");
    }
}

#[test]
fn lines_and_columns() {
    let text = "\u{feff}one\n\u{e9}\u{1f600}x\r\n\nend".as_bytes();
    let index = LineIndex::new(text);
    assert_eq!(index.line_col(3), (1, 1));
    assert_eq!(index.line_col(6), (1, 4));
    assert_eq!(index.line_col(7), (2, 1));
    assert_eq!(index.line_col(13), (2, 3));
    assert_eq!(index.line_col(16), (3, 1));
    assert_eq!(index.line_col(99), (4, 4));
    let lines: Vec<_> = (0..=5).map(|line| index.line_text(line)).collect();
    assert_eq!(lines, ["", "one", "\u{e9}\u{1f600}x", "", "end", ""]);
    assert_eq!(LineIndex::new(b"").line_col(0), (1, 1));
}
