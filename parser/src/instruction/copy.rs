//! `COPY` and `ADD`.

use super::Line;
use super::flags;
use super::flags::Flags;
use crate::ast::Add;
use crate::ast::Copy;
use crate::ast::CopyFlags;
use crate::ast::CopyPaths;
use crate::ast::CopySource;
use crate::ast::Word;
use crate::head::Head;
use crate::json;
use crate::json::Json;
use crate::sink::Sink;
use crate::words::blank_words;
use std::ops::Range;

pub(super) fn copy(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<Copy> {
    let flags = super::flags(head, "COPY", flags::COPY, sink);
    let from = flags.text("from");
    if let Some(from) = from.as_ref().filter(|from| from.value.contains('$')) {
        sink.error(
            "VariableInCopyFrom",
            from.span,
            "`--from` does not expand variables",
            "give the image a name with `FROM ${IMAGE} AS name` and use that name",
        );
    }
    let paths = paths(line, head, "COPY", sink)?;
    Some(Copy { paths, from, parents: flags.boolean("parents").unwrap_or(false), flags: shared(&flags) })
}

pub(super) fn add(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<Add> {
    let flags = super::flags(head, "ADD", flags::ADD, sink);
    let paths = paths(line, head, "ADD", sink)?;
    Some(Add {
        paths,
        checksum: flags.word("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
        flags: shared(&flags),
    })
}

fn shared(flags: &Flags) -> CopyFlags {
    CopyFlags {
        chown: flags.word("chown"),
        chmod: flags.word("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        exclude: flags.texts("exclude"),
    }
}

fn paths(line: Line<'_>, head: &Head<'_>, name: &str, sink: &mut Sink) -> Option<CopyPaths> {
    let mut words = path_words(head, sink)?;
    let too_few = |words: &[(Word, Range<usize>)], sink: &mut Sink| {
        let (missing, written) = match words {
            [] => ("a source and a destination", "SOURCE DESTINATION".to_owned()),
            [(only, _), ..] => ("a destination", format!("{} DESTINATION`, for example `{name} {0} ./", only.raw)),
        };
        super::missing(head, format!("{name} needs {missing}"), format!("write `{name} {written}`"), sink);
    };
    let Some((destination, destination_range)) = words.pop() else {
        too_few(&words, sink);
        return None;
    };
    if words.is_empty() {
        too_few(&[(destination, destination_range)], sink);
        return None;
    }
    let mut sources = Vec::with_capacity(words.len());
    // Both run along the line, and both have ranges in the whole of it.
    let mut heredocs = line.heredocs.iter().peekable();
    for (word, range) in words {
        match heredocs.next_if(|heredoc| heredoc.range == range) {
            Some(read) => sources.push(CopySource::Heredoc(read.heredoc.clone())),
            None => sources.push(CopySource::Path(word)),
        }
    }
    match heredocs.next() {
        None => Some(CopyPaths { sources, destination }),
        Some(read) if read.range == destination_range => {
            let message = "a here-document cannot be the destination";
            sink.error("HeredocAsDestination", read.heredoc.span, message, "write the path of the file behind it");
            None
        }
        Some(read) => {
            let message = format!("the delimiter of a here-document in {name} cannot hold blanks");
            sink.error("InvalidHeredoc", read.heredoc.span, message, "use a single word like `<<EOF`");
            None
        }
    }
}

fn path_words(head: &Head<'_>, sink: &mut Sink) -> Option<Vec<(Word, Range<usize>)>> {
    let arguments = head.arguments;
    match json::parse(arguments.text()) {
        Json::Strings(strings) => Some(
            strings
                .into_iter()
                .map(|(raw, range)| {
                    let slice = arguments.part(range);
                    (Word { raw, span: slice.span() }, slice.range())
                })
                .collect(),
        ),
        Json::NotStrings(range) => {
            super::not_strings(arguments.part(range), sink);
            None
        }
        Json::NotArray | Json::Invalid { .. } => Some(
            blank_words(arguments.text())
                .into_iter()
                .map(|range| (arguments.part(range.clone()).word(), arguments.part(range).range()))
                .collect(),
        ),
    }
}
