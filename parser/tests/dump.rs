//! A syntax tree as text one can read and write by hand: one line for each instruction, its details indented below.

use bld_parser::ast::CommandLine;
use bld_parser::ast::CopyFlags;
use bld_parser::ast::CopyPaths;
use bld_parser::ast::CopySource;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Healthcheck;
use bld_parser::ast::Heredoc;
use bld_parser::ast::Instruction;
use bld_parser::ast::KeyValues;
use bld_parser::ast::Located;
use bld_parser::ast::RunScript;
use bld_parser::ast::Text;
use bld_parser::ast::Word;
use bld_parser::diagnostic::Severity;
use bld_parser::source::LineIndex;

/// The whole file.
pub(crate) fn dockerfile(file: &Dockerfile) -> String {
    let mut lines = Vec::new();
    if let Some(syntax) = &file.directives.syntax {
        lines.push(format!("syntax {:?}", syntax.value));
    }
    if file.directives.escape != '\\' {
        lines.push(format!("escape {:?}", file.directives.escape));
    }
    if let Some(check) = &file.directives.check {
        lines.push(format!("check {:?}", check.value));
    }
    for arg in &file.global_args {
        lines.push(instruction(&Instruction::Arg(arg.clone())).join("\n"));
    }
    for stage in &file.stages {
        let from = &stage.from;
        let mut line = format!("from {:?}", from.base.raw);
        push_word(&mut line, "platform", from.platform.as_ref());
        push_text(&mut line, "as", from.name.as_ref());
        if let Some(doc) = &from.doc {
            line.push_str(&format!(" doc {doc:?}"));
        }
        push_text(&mut line, "check", from.check.as_ref());
        lines.push(line);
        for located in &stage.instructions {
            lines.extend(self::located(located).lines().map(|line| format!("  {line}")));
        }
    }
    lines.join("\n") + "\n"
}

/// All that the parser has to say of a text, one line each.
pub(crate) fn diagnostics(bytes: &[u8]) -> String {
    let index = LineIndex::new(bytes);
    let mut text = String::new();
    for diagnostic in bld_parser::parse(bytes).diagnostics {
        let (line, column) = index.line_col(diagnostic.span.start);
        let severity = if diagnostic.severity == Severity::Warning { "warning " } else { "" };
        let (code, message) = (diagnostic.code, diagnostic.message);
        let hint = diagnostic.hint.map(|hint| format!(" | {hint}")).unwrap_or_default();
        text.push_str(&format!("{line}:{column} {severity}{code} {message}{hint}\n"));
    }
    text
}

/// One instruction.
pub(crate) fn located(located: &Located) -> String {
    let mut lines = instruction(&located.instruction);
    if let Some(check) = &located.check {
        lines.push(format!("  check {:?}", check.value));
    }
    lines.join("\n")
}

fn instruction(instruction: &Instruction) -> Vec<String> {
    match instruction {
        Instruction::Add(add) => {
            let mut lines = paths("add", &add.paths);
            detail(&mut lines, "checksum", add.checksum.as_ref());
            if let Some(keep) = add.keep_git_dir {
                lines.push(format!("  keep-git-dir {keep}"));
            }
            if let Some(unpack) = add.unpack {
                lines.push(format!("  unpack {unpack}"));
            }
            copy_flags(&mut lines, &add.flags);
            lines
        }
        Instruction::Copy(copy) => {
            let mut lines = paths("copy", &copy.paths);
            if let Some(from) = &copy.from {
                lines.push(format!("  from {:?}", from.value));
            }
            if copy.parents {
                lines.push("  parents".to_owned());
            }
            copy_flags(&mut lines, &copy.flags);
            lines
        }
        Instruction::Arg(arg) => {
            let mut line = "arg".to_owned();
            for declaration in &arg.declarations {
                line.push_str(&format!(" {:?}", declaration.name.value));
                if let Some(default) = &declaration.default {
                    line.push_str(&format!("={:?}", default.raw));
                }
                if let Some(doc) = &declaration.doc {
                    line.push_str(&format!(" doc {doc:?}"));
                }
            }
            vec![line]
        }
        Instruction::Cmd(command) => vec![format!("cmd {}", command_line(command))],
        Instruction::Entrypoint(command) => vec![format!("entrypoint {}", command_line(command))],
        Instruction::Env(pairs) => vec![key_values("env", pairs)],
        Instruction::Label(pairs) => vec![key_values("label", pairs)],
        Instruction::Expose(words) => vec![word_list("expose", words)],
        Instruction::Volume(words) => vec![word_list("volume", words)],
        Instruction::Healthcheck(Healthcheck::None) => vec!["healthcheck none".to_owned()],
        Instruction::Healthcheck(Healthcheck::Command {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        }) => {
            let numbers = format!("{interval} {timeout} {start_period} {start_interval} {retries}");
            vec![format!("healthcheck {numbers} {}", command_line(command))]
        }
        Instruction::Maintainer(name) => vec![format!("maintainer {:?}", name.value)],
        Instruction::Onbuild(onbuild) => vec![format!("onbuild {:?}", onbuild.text.value)],
        Instruction::Run(run) => {
            let script = match run.script {
                RunScript::None => "",
                RunScript::Shebang => "shebang ",
                RunScript::Body => "body ",
                RunScript::Shell => "script ",
            };
            let mut lines = vec![format!("run {script}{}", command_line(&run.command))];
            lines.extend(run.mounts.iter().map(|mount| format!("  mount {:?}", mount.raw)));
            detail(&mut lines, "network", run.network.as_ref());
            detail(&mut lines, "security", run.security.as_ref());
            lines.extend(run.devices.iter().map(|device| format!("  device {:?}", device.raw)));
            lines.extend(run.heredocs.iter().map(heredoc));
            lines
        }
        Instruction::Shell(words) => vec![format!("shell {}", strings(words))],
        Instruction::StopSignal(word) => vec![format!("stopsignal {:?}", word.raw)],
        Instruction::User(word) => vec![format!("user {:?}", word.raw)],
        Instruction::Workdir(word) => vec![format!("workdir {:?}", word.raw)],
    }
}

fn paths(name: &str, paths: &CopyPaths) -> Vec<String> {
    let mut line = name.to_owned();
    let mut lines = Vec::new();
    for source in &paths.sources {
        match source {
            CopySource::Path(word) => line.push_str(&format!(" {:?}", word.raw)),
            CopySource::Heredoc(document) => {
                line.push_str(&format!(" <<{}", document.name));
                lines.push(heredoc(document));
            }
        }
    }
    lines.insert(0, format!("{line} -> {:?}", paths.destination.raw));
    lines
}

fn heredoc(document: &Heredoc) -> String {
    let expand = if document.expand { "expand" } else { "raw" };
    let descriptor = document.file_descriptor.map(|number| format!(" fd {number}")).unwrap_or_default();
    format!("  heredoc {:?} {expand}{descriptor} {:?}", document.name, document.body)
}

fn copy_flags(lines: &mut Vec<String>, flags: &CopyFlags) {
    detail(lines, "chown", flags.chown.as_ref());
    detail(lines, "chmod", flags.chmod.as_ref());
    if flags.link {
        lines.push("  link".to_owned());
    }
    lines.extend(flags.exclude.iter().map(|pattern| format!("  exclude {:?}", pattern.value)));
}

fn detail(lines: &mut Vec<String>, name: &str, word: Option<&Word>) {
    lines.extend(word.map(|word| format!("  {name} {:?}", word.raw)));
}

fn command_line(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(text) => format!("shell {text:?}"),
        CommandLine::Exec(arguments) => format!("exec {}", strings(arguments)).trim_end().to_owned(),
    }
}

fn key_values(name: &str, pairs: &KeyValues) -> String {
    let legacy = if pairs.legacy { " legacy" } else { "" };
    let pairs: Vec<String> = pairs.pairs.iter().map(|(key, value)| format!("{:?}={:?}", key.raw, value.raw)).collect();
    format!("{name}{legacy} {}", pairs.join(" "))
}

fn word_list(name: &str, words: &[Word]) -> String {
    format!("{name} {}", strings(&words.iter().map(|word| word.raw.clone()).collect::<Vec<_>>()))
}

fn strings(words: &[String]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}

fn push_word(line: &mut String, name: &str, word: Option<&Word>) {
    if let Some(word) = word {
        line.push_str(&format!(" {name} {:?}", word.raw));
    }
}

fn push_text(line: &mut String, name: &str, text: Option<&Text>) {
    if let Some(text) = text {
        line.push_str(&format!(" {name} {:?}", text.value));
    }
}
