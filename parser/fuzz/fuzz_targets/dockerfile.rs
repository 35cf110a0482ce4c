//! Any bytes are a Dockerfile, or are refused: nothing panics, and every place named lies in the text.

#![no_main]

use bld_parser::ast;
use bld_parser::ast::Instruction;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::source::LineIndex;
use bld_parser::source::Span;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let parsed = bld_parser::parse(text);
    let checker = Checker { text, lines: LineIndex::new(text) };
    checker.diagnostics(&parsed.diagnostics);
    let failed = parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(parsed.dockerfile.is_none(), failed);
    for dockerfile in [&parsed.dockerfile, &parsed.sound_part].into_iter().flatten() {
        checker.dockerfile(dockerfile);
    }
    if let Ok(text) = std::str::from_utf8(text) {
        trigger(text);
    }
});

/// A trigger is an instruction of its own text.
fn trigger(text: &str) {
    let parsed = bld_parser::parse_trigger(text);
    let checker = Checker { text: text.as_bytes(), lines: LineIndex::new(text.as_bytes()) };
    checker.diagnostics(&parsed.diagnostics);
    assert!(parsed.instruction.is_some() || !parsed.diagnostics.is_empty());
    if let Some(located) = &parsed.instruction {
        checker.located(located);
    }
}

struct Checker<'a> {
    text: &'a [u8],
    lines: LineIndex<'a>,
}

impl Checker<'_> {
    fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            self.span(diagnostic.span);
            assert!(!diagnostic.message.is_empty());
        }
    }

    fn span(&self, span: Span) {
        assert!(span.start <= span.end && span.end as usize <= self.text.len(), "{span:?}");
        let (start, end) = (self.lines.line_col(span.start), self.lines.line_col(span.end));
        assert!(start.0 <= end.0 && end.0 <= self.lines.line_count());
        drop(self.lines.line_text(start.0));
    }

    fn word(&self, word: &ast::Word) {
        self.span(word.span);
        // What is as long as its place is what stands there: places inside a word are counted on that.
        let place = &self.text[word.span.start as usize..word.span.end as usize];
        assert!(place.len() != word.raw.len() || place == word.raw.as_bytes(), "{word:?}");
    }

    fn words<'a>(&self, words: impl IntoIterator<Item = &'a ast::Word>) {
        words.into_iter().for_each(|word| self.word(word));
    }

    fn texts<'a>(&self, texts: impl IntoIterator<Item = &'a ast::Text>) {
        texts.into_iter().for_each(|text| self.span(text.span));
    }

    fn heredoc(&self, heredoc: &ast::Heredoc) {
        self.span(heredoc.span);
        self.span(heredoc.body_span);
    }

    fn dockerfile(&self, dockerfile: &ast::Dockerfile) {
        let directives = &dockerfile.directives;
        self.texts(directives.syntax.iter().chain(&directives.check));
        dockerfile.global_args.iter().for_each(|arg| self.argument(arg));
        for stage in &dockerfile.stages {
            let from = &stage.from;
            self.span(from.span);
            self.words(from.platform.iter().chain([&from.base]));
            self.texts(from.name.iter().chain(&from.check));
            stage.instructions.iter().for_each(|located| self.located(located));
        }
    }

    fn argument(&self, arg: &ast::ArgInstruction) {
        self.span(arg.span);
        for declaration in &arg.declarations {
            self.texts([&declaration.name]);
            self.words(&declaration.default);
        }
    }

    fn paths(&self, paths: &ast::CopyPaths, flags: &ast::CopyFlags) {
        assert!(!paths.sources.is_empty());
        for source in &paths.sources {
            match source {
                ast::CopySource::Path(word) => self.word(word),
                ast::CopySource::Heredoc(heredoc) => self.heredoc(heredoc),
            }
        }
        self.words([&paths.destination].into_iter().chain(&flags.chown).chain(&flags.chmod));
        self.texts(&flags.exclude);
    }

    fn located(&self, located: &ast::Located) {
        self.span(located.span);
        assert!(located.span.start < located.span.end);
        self.texts(&located.check);
        match &located.instruction {
            Instruction::Add(add) => {
                self.paths(&add.paths, &add.flags);
                self.words(&add.checksum);
            }
            Instruction::Copy(copy) => {
                self.paths(&copy.paths, &copy.flags);
                self.texts(&copy.from);
            }
            Instruction::Arg(arg) => self.argument(arg),
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                self.words(pairs.pairs.iter().flat_map(|(key, value)| [key, value]));
            }
            Instruction::Expose(words) | Instruction::Volume(words) => self.words(words),
            Instruction::Maintainer(text) => self.span(text.span),
            Instruction::Onbuild(onbuild) => {
                self.span(onbuild.text.span);
                trigger(&onbuild.text.value);
            }
            Instruction::Run(run) => {
                run.heredocs.iter().for_each(|heredoc| self.heredoc(heredoc));
                self.words(run.mounts.iter().chain(&run.network).chain(&run.security).chain(&run.devices));
                for mount in &run.mounts {
                    let (options, mistakes) = bld_parser::mount::options(mount);
                    options.iter().for_each(|option| self.span(option.span));
                    mistakes.iter().for_each(|mistake| self.span(mistake.span));
                }
            }
            Instruction::StopSignal(word) | Instruction::User(word) | Instruction::Workdir(word) => self.word(word),
            Instruction::Cmd(_) | Instruction::Entrypoint(_) | Instruction::Healthcheck(_) | Instruction::Shell(_) => {}
        }
    }
}
