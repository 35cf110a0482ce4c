//! Tests that are run inside a sandbox by the rows around them; outside they are ignored.

use std::os::linux::net::SocketAddrExt as _;
use std::time::Duration;

use crate::sandbox::sys::attempt;

#[test]
#[ignore = "runs inside a sandbox"]
fn only_three_descriptors() {
    let open: Vec<i32> = (3..65536)
        .filter(|number| attempt(libc::SYS_fcntl, [*number, libc::F_GETFD.into(), 0]) == 0)
        .map(|number| i32::try_from(number).unwrap())
        .collect();
    assert_eq!(open, Vec::<i32>::new());
}

#[test]
#[ignore = "runs inside a sandbox"]
fn filtered_calls() {
    let refused = [
        (libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0]),
        (libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0]),
        (libc::SYS_clone, [i64::from(libc::CLONE_NEWNS | libc::SIGCHLD), 0, 0]),
        (libc::SYS_setns, [0, 0, 0]),
        (libc::SYS_socket, [38, 5, 0]),
        (libc::SYS_socket, [40, 1, 0]),
        (libc::SYS_socket, [(7 << 32) + 38, 5, 0]),
        (libc::SYS_mount, [0; 3]),
        (libc::SYS_umount2, [0; 3]),
        (libc::SYS_bpf, [0; 3]),
        (libc::SYS_perf_event_open, [0; 3]),
        (libc::SYS_keyctl, [0; 3]),
        (libc::SYS_add_key, [0; 3]),
        (libc::SYS_io_uring_setup, [1, 0, 0]),
        (libc::SYS_userfaultfd, [0; 3]),
        (libc::SYS_open_by_handle_at, [0; 3]),
        (libc::SYS_pivot_root, [0; 3]),
        (libc::SYS_fsopen, [0; 3]),
        (libc::SYS_open_tree, [0; 3]),
        (libc::SYS_kexec_load, [0; 3]),
        (libc::SYS_init_module, [0; 3]),
        (libc::SYS_personality, [0x40_0000, 0, 0]),
        (libc::SYS_reboot, [0; 3]),
        (libc::SYS_swapon, [0; 3]),
        (libc::SYS_sethostname, [0; 3]),
    ];
    for (number, arguments) in refused {
        assert_eq!(attempt(number, arguments), libc::EPERM, "call {number}");
    }
    assert_eq!(attempt(libc::SYS_clone3, [0; 3]), libc::ENOSYS);
    assert_eq!(attempt(999, [0; 3]), libc::ENOSYS);
    assert_eq!(attempt(0x4000_0000 | libc::SYS_getpid, [0; 3]), libc::ENOSYS);
    for family in [1, 2, 10, 16] {
        assert_eq!(attempt(libc::SYS_socket, [family, 3, 0].map(i64::from)).min(0), 0);
    }
    assert_eq!(attempt(libc::SYS_personality, [0xffff_ffff, 0, 0]), 0);
    assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
}

#[test]
#[ignore = "runs inside a sandbox"]
fn connections() {
    let connect = |address: &str| {
        let address: std::net::SocketAddr = address.parse().unwrap();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))
    };
    for address in std::env::var("CLOSED").unwrap().split(' ') {
        assert!(connect(address).is_err(), "{address}");
    }
    if let Ok(address) = std::env::var("OPEN") {
        connect(&address).unwrap();
    }
    let name = std::os::unix::net::SocketAddr::from_abstract_name(std::env::var("ABSTRACT").unwrap()).unwrap();
    assert!(std::os::unix::net::UnixStream::connect_addr(&name).is_err());
}
