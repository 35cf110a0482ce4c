//! Published ports: from the host through the user-mode network into the container.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::ops::RangeInclusive;

use super::error::RunError;
pub use crate::sandbox::network::Protocol;
use crate::sandbox::network::Publisher;

/// How many ports that the system calls free are tried: another program may be faster.
const ATTEMPTS: usize = 5;

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The address of the host it is reached by.
    pub address: Ipv4Addr,
    /// The ports of the host that will do, the first one that is free; `None` = any that is free.
    pub host: Option<RangeInclusive<u16>>,
    /// The port inside.
    pub inside: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A port that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where it is reached.
    pub address: SocketAddrV4,
    /// The port inside.
    pub inside: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Whether the user could not know where it is.
    pub was_chosen: bool,
}

/// Publishes one port.
pub(super) fn publish(publisher: &Publisher, wanted: &Publish) -> Result<Published, RunError> {
    let place = |address: SocketAddrV4| Published {
        address,
        inside: wanted.inside,
        protocol: wanted.protocol,
        was_chosen: wanted.host.as_ref().is_none_or(|range| range.start() != range.end()),
    };
    let try_one = |port: u16| -> Result<SocketAddrV4, RunError> {
        let address = SocketAddrV4::new(wanted.address, port);
        // The stack does not say why; and it takes ports that only a program without SO_REUSEADDR would be refused.
        let failed = |source: io::Error| RunError::Port { address, protocol: wanted.protocol.as_str(), source };
        let address = probe(wanted.protocol, address).map_err(failed)?;
        publisher.publish(wanted.protocol, address, wanted.inside).map_err(failed)?;
        Ok(address)
    };
    let candidates: Vec<u16> = match &wanted.host {
        Some(range) => range.clone().collect(),
        None => vec![0; ATTEMPTS],
    };
    let mut last = None;
    for port in candidates {
        match try_one(port) {
            Ok(address) => return Ok(place(address)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(RunError::NoPort))
}

/// Whether the address could be listened at; a port of 0 becomes one that could.
fn probe(protocol: Protocol, address: SocketAddrV4) -> io::Result<SocketAddrV4> {
    let bound = match protocol {
        Protocol::Tcp => TcpListener::bind(address)?.local_addr()?,
        Protocol::Udp => UdpSocket::bind(address)?.local_addr()?,
    };
    Ok(SocketAddrV4::new(*address.ip(), bound.port()))
}

/// `80`, `80/tcp` or `53/udp`, as EXPOSE writes it; `None` for what is no port.
pub fn exposed(text: &str) -> Option<Vec<(u16, Protocol)>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then(|| (first..=last).map(|port| (port, protocol)).collect())
}
