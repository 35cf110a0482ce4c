//! Instructions that only change the image's configuration.

use super::command_line;
use super::flags;
use super::flags::Flags;
use crate::ast::CommandLine;
use crate::ast::Healthcheck;
use crate::ast::Word;
use crate::duration;
use crate::head::Head;
use crate::joined::Slice;
use crate::json;
use crate::json::Json;
use crate::sink::Sink;
use crate::words::blank_words;

const MINIMUM_INTERVAL: u64 = 1_000_000;

/// CMD and ENTRYPOINT.
pub(super) fn command(head: &Head<'_>, name: &str, sink: &mut Sink) -> Option<CommandLine> {
    super::no_flags(head, name, sink);
    if head.arguments.text().is_empty() {
        let hint = format!("write `{name} [\"PROGRAM\", \"ARGUMENT\"]`; `{name} []` clears it");
        super::missing(head, format!("{name} needs a command"), hint, sink);
        return None;
    }
    command_line(head.arguments, sink)
}

/// The rest of the line as one piece.
pub(super) fn rest<'a>(head: &Head<'a>, name: &str, what: &str, sink: &mut Sink) -> Option<Slice<'a>> {
    super::no_flags(head, name, sink);
    if head.arguments.text().is_empty() {
        super::missing(head, format!("{name} needs an argument"), format!("write `{name} {what}`"), sink);
        return None;
    }
    Some(head.arguments)
}

pub(super) fn expose(head: &Head<'_>, sink: &mut Sink) -> Option<Vec<Word>> {
    super::no_flags(head, "EXPOSE", sink);
    let ports = words(head);
    if ports.is_empty() {
        super::missing(head, "EXPOSE needs a port".to_owned(), "write `EXPOSE 80` or `EXPOSE 53/udp`", sink);
        return None;
    }
    Some(ports)
}

pub(super) fn volume(head: &Head<'_>, sink: &mut Sink) -> Option<Vec<Word>> {
    super::no_flags(head, "VOLUME", sink);
    let volumes = match json::parse(head.arguments.text()) {
        Json::Strings(strings) => {
            let word = |(raw, range): (String, _)| Word {
                raw: raw.trim().to_owned(),
                span: head.arguments.part(range).span(),
            };
            strings.into_iter().map(word).collect()
        }
        Json::NotStrings(range) => {
            super::not_strings(head.arguments.part(range), sink);
            return None;
        }
        Json::NotArray | Json::Invalid { .. } => words(head),
    };
    if volumes.is_empty() {
        super::missing(head, "VOLUME needs a path".to_owned(), "write `VOLUME /PATH`", sink);
        return None;
    }
    if let Some(empty) = volumes.iter().find(|volume| volume.raw.trim().is_empty()) {
        sink.error("EmptyVolume", empty.span, "the path of a volume is empty", "write a path or remove the element");
        return None;
    }
    Some(volumes)
}

pub(super) fn shell(head: &Head<'_>, sink: &mut Sink) -> Option<Vec<String>> {
    super::no_flags(head, "SHELL", sink);
    let hint = "write `SHELL [\"/bin/bash\", \"-c\"]`";
    match json::parse(head.arguments.text()) {
        Json::Strings(strings) if !strings.is_empty() => Some(strings.into_iter().map(|(string, _)| string).collect()),
        Json::NotStrings(range) => {
            super::not_strings(head.arguments.part(range), sink);
            None
        }
        Json::Strings(_) => {
            sink.error("MissingArgument", head.arguments.span(), "SHELL needs at least one string", hint);
            None
        }
        Json::NotArray | Json::Invalid { .. } => {
            if head.arguments.text().is_empty() {
                super::missing(head, "SHELL needs a JSON array".to_owned(), hint, sink);
            } else {
                let written = shell_words(head.arguments.text());
                let hint = written.map_or_else(|| hint.to_owned(), |written| format!("write `SHELL {written}`"));
                sink.error("JsonRequired", head.arguments.span(), "SHELL takes a JSON array of strings", hint);
            }
            None
        }
    }
}

/// Plain words as the array they were meant to be.
fn shell_words(text: &str) -> Option<String> {
    let quoted: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    let plain = !text.contains(['"', '\'', '[', ']', '\\', ',']);
    plain.then(|| format!("[{}]", quoted.join(", ")))
}

pub(super) fn healthcheck(head: &Head<'_>, sink: &mut Sink) -> Option<Healthcheck> {
    let flags = super::flags(head, "HEALTHCHECK", flags::HEALTHCHECK, sink);
    let text = head.arguments.text();
    let kind_end = text.find(char::is_whitespace).unwrap_or(text.len());
    let kind = head.arguments.part(0..kind_end);
    let rest = head.arguments.part(kind_end..text.len()).trimmed();
    match kind.text().to_ascii_uppercase().as_str() {
        "" => {
            let hint = "write `HEALTHCHECK CMD COMMAND` or `HEALTHCHECK NONE`";
            super::missing(head, "HEALTHCHECK needs `CMD` or `NONE`".to_owned(), hint, sink);
            None
        }
        "NONE" => {
            let mut fine = true;
            if !rest.text().is_empty() {
                let message = "HEALTHCHECK NONE takes no arguments";
                sink.error("UnexpectedArgument", rest.span(), message, "remove what follows `NONE`");
                fine = false;
            }
            if let Some(flag) = head.flags.first() {
                let message = "HEALTHCHECK NONE takes no flags";
                sink.error("UnexpectedFlag", flag.slice.span(), message, "remove the flag");
                fine = false;
            }
            fine.then_some(Healthcheck::None)
        }
        "CMD" => {
            let every = interval(&flags, "interval", sink);
            let timeout = interval(&flags, "timeout", sink);
            let start_period = interval(&flags, "start-period", sink);
            let start_interval = interval(&flags, "start-interval", sink);
            let retries = retries(&flags, sink);
            let command = test(kind, rest, sink);
            Some(Healthcheck::Command {
                command: command?,
                interval: every?,
                timeout: timeout?,
                start_period: start_period?,
                start_interval: start_interval?,
                retries: retries?,
            })
        }
        _ => {
            let message = format!("`CMD` is missing before `{}`", kind.text());
            let hint = if head.flags.is_empty() {
                format!("write `HEALTHCHECK CMD {text}`, or `HEALTHCHECK NONE` for no check")
            } else {
                format!("write `CMD {text}` behind the flags")
            };
            sink.error("UnknownHealthcheck", kind.span(), message, hint);
            None
        }
    }
}

fn test(kind: Slice<'_>, rest: Slice<'_>, sink: &mut Sink) -> Option<CommandLine> {
    let command = command_line(rest, sink)?;
    let empty = match &command {
        CommandLine::Shell(text) => text.is_empty(),
        CommandLine::Exec(arguments) => arguments.is_empty(),
    };
    if empty {
        let message = "a command is missing behind `HEALTHCHECK CMD`";
        sink.error("MissingArgument", kind.span(), message, "write the command to run");
        return None;
    }
    Some(command)
}

fn interval(flags: &Flags, name: &str, sink: &mut Sink) -> Option<u64> {
    let Some(value) = flags.text(name) else { return Some(0) };
    let hint = "write a number with a unit, like `30s`, `1m30s` or `500ms`";
    match duration::parse(&value.value) {
        Ok(nanoseconds) if nanoseconds == 0 || nanoseconds >= MINIMUM_INTERVAL => Some(nanoseconds),
        Ok(_) => {
            let message = format!("`{}` is shorter than a millisecond", value.value);
            sink.error("InvalidDuration", value.span, message, hint);
            None
        }
        Err(duration::DurationError::NoUnit) => {
            let text = &value.value;
            let message = format!("`{text}` is not a duration: the unit is missing");
            let hint = format!("write `{text}s` for seconds, `{text}m` for minutes");
            sink.error("InvalidDuration", value.span, message, hint);
            None
        }
        Err(error) => {
            sink.error("InvalidDuration", value.span, format!("`{}` is {error}", value.value), hint);
            None
        }
    }
}

fn retries(flags: &Flags, sink: &mut Sink) -> Option<u32> {
    let Some(value) = flags.text("retries") else { return Some(0) };
    let number = value.value.strip_prefix('+').unwrap_or(&value.value);
    let valid = number.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(retries) = number.parse::<u32>().ok().filter(|retries| valid && i32::try_from(*retries).is_ok()) {
        return Some(retries);
    }
    let message = format!("`{}` is no number of retries", value.value);
    sink.error("InvalidRetries", value.span, message, "write a whole number; `0` is the default");
    None
}

fn words(head: &Head<'_>) -> Vec<Word> {
    blank_words(head.arguments.text()).into_iter().map(|range| head.arguments.part(range).word()).collect()
}
