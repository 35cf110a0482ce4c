//! `RUN`.

use super::Line;
use super::command_line;
use super::flags;
use crate::ast::CommandLine;
use crate::ast::Run;
use crate::ast::RunScript;
use crate::head::Head;
use crate::sink::Sink;

pub(super) fn parse(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<Run> {
    let flags = super::flags(head, "RUN", flags::RUN, sink);
    let arguments = head.arguments;
    let (command, script) = match line.heredocs {
        [] => (command_line(arguments, sink)?, RunScript::None),
        [only] if only.range == arguments.range() => {
            let script = if only.heredoc.body.starts_with("#!") { RunScript::Shebang } else { RunScript::Body };
            (CommandLine::Shell(only.heredoc.body.clone()), script)
        }
        heredocs => {
            let mut text = arguments.text().to_owned();
            for heredoc in heredocs {
                // The shell reads the documents itself, `<<-` included: it gets them as they are.
                text.push('\n');
                text.push_str(&heredoc.raw_body);
                text.push_str(&heredoc.heredoc.name);
            }
            (CommandLine::Shell(text), RunScript::Shell)
        }
    };
    if matches!(&command, CommandLine::Exec(arguments) if arguments.is_empty()) || arguments.text().is_empty() {
        let hint = "write `RUN COMMAND`, `RUN [\"PROGRAM\", \"ARGUMENT\"]` or `RUN <<EOF`";
        super::missing(head, "RUN needs a command".to_owned(), hint, sink);
        return None;
    }
    Some(Run {
        command,
        heredocs: line.heredocs.iter().map(|read| read.heredoc.clone()).collect(),
        script,
        mounts: flags.words("mount"),
        network: flags.word("network"),
        security: flags.word("security"),
        devices: flags.words("device"),
    })
}
