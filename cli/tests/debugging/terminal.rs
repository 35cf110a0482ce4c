//! A shell under a real terminal.

use super::Site;
use crate::support::screen::Screen;

#[test]
fn a_shell_at_a_terminal() {
    let site = Site::new();
    site.fails("FROM busybox:1\nWORKDIR /work\nRUN echo half > result; exit 1\n");
    let mut screen = Screen::open(site.command(&["shell"]));
    screen.wait_for("these are the files it left");
    screen.wait_for("/work # ");
    assert!(screen.is_raw());
    screen.type_in("tty; cat result; echo $TERM\n");
    for wanted in ["/dev/pts/0\r\n", "\r\nhalf\r\n", "xterm\r\n"] {
        screen.wait_for(wanted);
    }
    // Ctrl-C ends what runs there, not the shell.
    screen.type_in("sleep 1000\n");
    screen.wait_for("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    screen.type_in("\x03");
    screen.type_in("echo still $((40 + 2))\n");
    screen.wait_for("still 42\r\n");
    screen.type_in("exit 9\n");
    assert_eq!(screen.end(), 9);
    site.check_nothing_is_left();
}

#[test]
fn a_command_with_a_terminal() {
    let site = Site::new();
    site.fails("FROM busybox:1\nRUN exit 1\n");
    let screen = Screen::open(site.command(&["exec", "-t", "failed", "--", "sh", "-c", "tty; exit 3"]));
    screen.wait_for("/dev/pts/0\r\n");
    assert_eq!(screen.end(), 3);
    let refused = site.bld(&["exec", "-t", "failed", "--", "true"]);
    assert_eq!(refused.code, Some(2), "{}", refused.failure());
}
