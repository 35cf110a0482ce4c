//! Values that a page must not show to everybody it is passed on to.

/// Instead of a value.
const HIDDEN: &str = "***";

/// What every RUN in shell form goes on with behind its build arguments, if SHELL says nothing else.
const SHELL: &str = " /bin/sh -c ";

/// What made a layer, as images tell it, without the values of build arguments whose names sound like secrets:
/// `RUN |2 API_TOKEN=*** MODE=ci /bin/sh -c make`. Nothing tells where a value with blanks in it ends: rather too much is hidden.
pub(crate) fn hide_arguments(command: &str) -> String {
    let found = || {
        let (before, rest) = command.split_once('|')?;
        let (count, rest) = rest.split_once(' ')?;
        let is_list = matches!(before, "" | "RUN " | "/bin/sh -c ");
        Some((before, count.parse::<usize>().ok().filter(|_| is_list)?, rest))
    };
    let Some((before, count, mut rest)) = found() else { return command.to_owned() };
    let mut out = format!("{before}|{count}");
    for left in (0..count).rev() {
        let end = if left > 0 { next_argument(rest) } else { command_after(rest) }.unwrap_or(rest.len());
        let (argument, behind) = rest.split_at(end);
        out.push(' ');
        match argument.split_once('=') {
            Some((name, value)) if bld_parser::is_secret(name) && !value.is_empty() => {
                out.push_str(name);
                out.push('=');
                out.push_str(HIDDEN);
            }
            _ => out.push_str(argument),
        }
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    if !rest.is_empty() {
        out.push(' ');
        out.push_str(rest);
    }
    out
}

/// Where the blank before the next `NAME=` is.
fn next_argument(text: &str) -> Option<usize> {
    let is_argument = |word: &str| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let mut blanks = text.match_indices(' ').map(|(at, _)| at);
    blanks.find(|at| text[at + 1..].split(' ').next().is_some_and(is_argument))
}

/// Where the blank before the command is.
fn command_after(text: &str) -> Option<usize> {
    text.find(SHELL).or_else(|| text.find(" /"))
}

#[cfg(test)]
mod tests {
    use super::hide_arguments;

    #[test]
    fn values_of_secrets_are_hidden() {
        for (command, expected) in [
            ("RUN |2 API_TOKEN=hunter3 MODE=ci /bin/sh -c make", "RUN |2 API_TOKEN=*** MODE=ci /bin/sh -c make"),
            ("RUN |2 MODE=ci API_TOKEN=hunter3 /bin/sh -c make", "RUN |2 MODE=ci API_TOKEN=*** /bin/sh -c make"),
            ("RUN |1 API_TOKEN=hunter 3 /x /bin/sh -c make", "RUN |1 API_TOKEN=*** /bin/sh -c make"),
            ("RUN |1 API_TOKEN=hunter3 /bin/bash -ec a /bin/b", "RUN |1 API_TOKEN=*** /bin/bash -ec a /bin/b"),
            ("RUN |1 API_TOKEN=hunter3 make x", "RUN |1 API_TOKEN=***"),
            ("|1 API_TOKEN=hunter3 /bin/sh -c make", "|1 API_TOKEN=*** /bin/sh -c make"),
            ("RUN |2 A=b c API_TOKEN= /bin/sh -c make", "RUN |2 A=b c API_TOKEN= /bin/sh -c make"),
            ("RUN /bin/sh -c a |1 API_TOKEN=shown", "RUN /bin/sh -c a |1 API_TOKEN=shown"),
            ("COPY a b", "COPY a b"),
            ("RUN |9 A=b /bin/sh -c", "RUN |9 A=b /bin/sh -c"),
        ] {
            assert_eq!(hide_arguments(command).trim_end(), expected, "{command}");
        }
    }
}
