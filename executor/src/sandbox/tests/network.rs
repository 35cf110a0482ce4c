//! Network slots.

use std::os::linux::net::SocketAddrExt as _;
use std::time::Duration;

use super::fixture::{Fixture, eventually, processes, unavailable};
use crate::sandbox::network::NetworkSlot;

#[test]
fn an_isolated_slot_has_loopback_only() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let slot = NetworkSlot::isolated().unwrap();
    fixture.spec.network = slot.network();
    for _ in 0..2 {
        assert_eq!(fixture.shell("ls /sys/class/net; cat /sys/class/net/lo/flags").success(), "lo\n0x9\n");
    }
}

#[test]
fn p12_a_private_slot_has_a_way_out_and_none_to_the_host() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let slot = match NetworkSlot::private() {
        Ok(slot) => slot,
        Err(error) => return unavailable(&error.to_string()).unwrap_or(()),
    };
    fixture.spec.network = slot.network();
    fixture.spec.resolv_conf = slot.resolv_conf();
    let script = "ip -o addr show tap0; ip route; cat /etc/resolv.conf";
    let output = fixture.shell(script).success();
    assert!(output.contains("10.0.2.100/24") && output.contains("default via 10.0.2.2"), "{output}");
    assert!(output.contains("nameserver 10.0.2.3"), "{output}");

    // A server of the host: reached by the host's address, and not by its loopback, whatever that is called inside.
    let server = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let outside = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    fixture.spec.env.push(format!("CLOSED=10.0.2.2:{port} 127.0.0.1:{port}"));
    if outside.connect("192.0.2.1:9").is_ok() {
        fixture.spec.env.push(format!("OPEN={}:{port}", outside.local_addr().unwrap().ip()));
    }
    let abstract_name = format!("bld-row-p12-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    fixture.spec.env.push(format!("ABSTRACT={abstract_name}"));
    fixture.probe("connections");
    let mine = || processes("slirp4netns").into_iter().filter(|pid| parent(*pid) == std::process::id()).count();
    assert_eq!(mine(), 1);
    drop(slot);
    assert!(eventually(Duration::from_secs(1), || mine() == 0));
}

fn parent(pid: i32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|id| id.trim().parse().ok()).unwrap_or(0)
}
