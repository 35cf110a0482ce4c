//! Values with a grammar of their own: ports, signals, owners, modes.

use bld_parser::mode::Chmod;

use crate::op::ModeChange;
use crate::op::Owner;

/// What an `EXPOSE` word names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// `80/tcp` ...
    pub(super) exposed: Vec<String>,
    /// An address or a host port stood in front; an image has no use for it.
    pub(super) host_part: bool,
    /// The protocol as written, if that is not in lower case.
    pub(super) shouted: Option<String>,
}

/// Reads `[[address:]host:]port[-last][/protocol]`.
pub(super) fn ports(word: &str) -> Result<Ports, String> {
    let (rest, written) = word.split_once('/').filter(|(_, protocol)| !protocol.is_empty()).unwrap_or((word, "tcp"));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let protocol = written.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is not a protocol: write `tcp`, `udp` or `sctp`"));
    }
    let (host, range) = match rest.rsplit_once(':') {
        Some((host, range)) => (Some(host), range),
        None => (None, rest),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(format!("the range `{range}` ends before it begins"));
    }
    let exposed = (first..=last).map(|port| format!("{port}/{protocol}")).collect();
    let shouted = (written != protocol).then(|| written.to_owned());
    Ok(Ports { exposed, host_part: host.is_some(), shouted })
}

fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("`{text}` is not a port: write a number up to 65535"))
}

/// Whether `text` names a signal: a number, or a name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 37] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
        "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
        "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX", "UNUSED",
    ];
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, limit: u8| rest.parse::<u8>().is_ok_and(|offset| (1..=limit).contains(&offset));
    NAMES.contains(&name)
        || name.strip_prefix("RTMIN+").is_some_and(|rest| offset(rest, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|rest| offset(rest, 14))
}

fn root_if_empty(name: &str) -> &str {
    if name.is_empty() { "0" } else { name }
}

/// Reads `[user][:[group]]`, where what is left out before or behind the colon is root; `None` for an empty value, which changes nothing.
pub(super) fn owner(text: &str) -> Result<Option<Owner>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (root_if_empty(user), Some(root_if_empty(group))),
        None => (text, None),
    };
    let is_name = |name: &str| !name.contains(':') && !name.chars().any(char::is_whitespace);
    if !is_name(user) || !group.is_none_or(is_name) {
        return Err(format!("`{text}` is not an owner: write `user` or `user:group`"));
    }
    Ok(Some(Owner { user: user.to_owned(), group: group.map(str::to_owned) }))
}

/// Whether an owner can be known without the image's /etc/passwd and /etc/group.
pub(super) fn is_numeric(owner: &Owner) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok();
    number(&owner.user) && owner.group.as_deref().is_none_or(number)
}

/// Reads a `--chmod`; `None` for an empty value, which changes nothing.
pub(super) fn mode(text: &str) -> Result<Option<ModeChange>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Chmod::parse(text).map_err(|error| error.to_string())?;
    Ok(Some(match u32::from_str_radix(text, 8) {
        Ok(bits) => ModeChange::Absolute(bits),
        Err(_) => ModeChange::Symbolic(text.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::is_signal;
    use super::ports;

    fn listed(word: &str) -> Result<Vec<String>, String> {
        ports(word).map(|ports| ports.exposed)
    }

    #[test]
    fn ports_ranges_and_protocols() {
        assert_eq!(listed("80").unwrap(), ["80/tcp"]);
        assert_eq!(listed("80/").unwrap(), ["80/tcp"]);
        assert_eq!(listed("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(listed("7000-7002/sctp").unwrap(), ["7000/sctp", "7001/sctp", "7002/sctp"]);
        assert_eq!(listed("127.0.0.1:80:8080").unwrap(), ["8080/tcp"]);
        for wrong in ["", "http", "65536", "-1", "10-5", "80/icmp", "80//", "+80", "1-2-3"] {
            assert!(listed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals() {
        for right in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-14", "SIGRTMAX"] {
            assert!(is_signal(right), "{right}");
        }
        for wrong in ["", "0", "65", "SIGFOO", "RTMIN+16", "RTMAX-15", "-9", "SIG"] {
            assert!(!is_signal(wrong), "{wrong}");
        }
    }
}
