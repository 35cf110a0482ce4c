//! Network slots.

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
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    let script = format!(
        "ip -o addr show tap0; ip route; cat /etc/resolv.conf; wget -q -T 1 -O - http://10.0.2.2:{number} || echo refused"
    );
    let output = fixture.shell(&script).success();
    assert!(output.contains("10.0.2.100/24") && output.contains("default via 10.0.2.2"), "{output}");
    assert!(output.contains("nameserver 10.0.2.3") && output.contains("refused"), "{output}");
    let mine = || processes("slirp4netns").into_iter().filter(|pid| parent(*pid) == std::process::id()).count();
    assert_eq!(mine(), 1);
    drop(slot);
    assert!(eventually(Duration::from_secs(1), || mine() == 0));
}

fn parent(pid: i32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|id| id.trim().parse().ok()).unwrap_or(0)
}
