//! The values of `--publish`.
//!
//! ```text
//! [[IP:]HOST:]PORT[/tcp|udp]      HOST and PORT may be ranges, FIRST-LAST
//! [IP::]PORT[/tcp|udp]            any free port of that address
//! ```

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use bld_executor::run::ports::Protocol;
use bld_executor::run::ports::Publish;

use crate::error::CommandError;

/// Reads one value.
pub(super) fn parse(text: &str) -> Result<Vec<Publish>, CommandError> {
    let refuse = |why: &str| CommandError::usage(format!("`--publish {text}`: {why}"));
    let (ports, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => return Err(refuse(&format!("protocol `{other}` is neither `tcp` nor `udp`"))),
    };
    if ports.starts_with('[') {
        return Err(refuse("the private network has no IPv6").hint("leave the address out, or give an IPv4 address"));
    }
    let mut fields = ports.rsplitn(3, ':');
    let inside = fields.next().unwrap_or_default();
    let host = fields.next().unwrap_or_default();
    let address = fields.next().unwrap_or_default();
    let address = match address {
        "" => Ipv4Addr::UNSPECIFIED,
        given => given.parse().map_err(|_| refuse(&format!("`{given}` is not an IPv4 address")))?,
    };
    let inside = range(inside).ok_or_else(|| refuse(&format!("`{inside}` is not a port (1 to 65535)")))?;
    let host = match host {
        "" => None,
        given => Some(range(given).ok_or_else(|| refuse(&format!("`{given}` is not a port (1 to 65535)")))?),
    };
    let one = |host, inside| Publish { address, host, inside, protocol };
    match host {
        None => Ok(inside.map(|inside| one(None, inside)).collect()),
        Some(host) if inside.len() == 1 => Ok(vec![one(Some(host), *inside.start())]),
        Some(host) if host.len() == inside.len() => {
            Ok(host.zip(inside).map(|(host, inside)| one(Some(host..=host), inside)).collect())
        }
        Some(_) => Err(refuse("the ranges are not equally long")),
    }
}

/// `80` or `8000-8010`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let all = Ipv4Addr::UNSPECIFIED;
        let one =
            |address, host: Option<RangeInclusive<u16>>, inside, protocol| Publish { address, host, inside, protocol };
        for (text, expected) in [
            ("80", vec![one(all, None, 80, Protocol::Tcp)]),
            ("8080:80", vec![one(all, Some(8080..=8080), 80, Protocol::Tcp)]),
            ("53:5353/udp", vec![one(all, Some(53..=53), 5353, Protocol::Udp)]),
            ("127.0.0.1:8080:80", vec![one(Ipv4Addr::LOCALHOST, Some(8080..=8080), 80, Protocol::Tcp)]),
            ("127.0.0.1::80", vec![one(Ipv4Addr::LOCALHOST, None, 80, Protocol::Tcp)]),
            ("8000-8010:80", vec![one(all, Some(8000..=8010), 80, Protocol::Tcp)]),
            (
                "81-82:91-92",
                vec![one(all, Some(81..=81), 91, Protocol::Tcp), one(all, Some(82..=82), 92, Protocol::Tcp)],
            ),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "0:80", "80:", "65536", "a:80", "x:1:2", "1-3:1-2", "3-1", "80/sctp", "[::1]:1:2", "+80"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
