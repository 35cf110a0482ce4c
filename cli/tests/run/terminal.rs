//! `-i -t` under a real terminal.

use super::PATIENCE;
use super::Site;
use crate::support::host;
use crate::support::screen::Screen;
use crate::support::screen::resize;

#[test]
fn a_shell_in_a_terminal() {
    let site = Site::new();
    let mut screen = Screen::open(site.command(&["-it", "busybox:1", "sh"]));
    screen.wait_for("/ # ");
    assert!(screen.is_raw());
    screen.type_in("tty; stty size; echo $TERM; ls -l /dev/console | cut -c 1; stty -a | grep -c ' echo '\n");
    for wanted in ["/dev/pts/0\r\n", "30 100\r\n", "xterm\r\n", "\r\nc\r\n", "\r\n1\r\n"] {
        screen.wait_for(wanted);
    }
    // Ctrl-C is the container's: it ends what runs there, not the shell.
    screen.type_in("sleep 1000\n");
    screen.wait_for("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    screen.type_in("\x03");
    screen.type_in("echo still $((40 + 2))\n");
    screen.wait_for("still 42\r\n");
    // A new size arrives, and whoever runs there is told.
    screen.type_in("sh -c 'trap \"stty size; exit\" WINCH; echo is $((1 + 1)); while :; do sleep 0.05; done'\n");
    screen.wait_for("is 2");
    resize(&screen.terminal, 40, 120);
    screen.wait_for("40 120\r\n");
    screen.type_in("exit 9\n");
    assert_eq!(screen.end(), 9);
    site.check_nothing_is_left();
}

#[test]
fn job_control_and_end_of_input() {
    let site = Site::new();
    let mut screen = Screen::open(site.command(&["-ti", "busybox:1", "sh"]));
    screen.wait_for("/ # ");
    screen.type_in("sleep 1000\n");
    screen.wait_for("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    screen.type_in("\x1a");
    screen.wait_for("Stopped");
    screen.type_in("kill -9 %1; wait; echo over $((2 + 3))\n");
    screen.wait_for("over 5");
    screen.type_in("(exit 6)\n\x04");
    assert_eq!(screen.end(), 6);
    site.check_nothing_is_left();
}

/// With docker and podman this needs a second terminal: the first process of a container is spared by the kernel.
#[test]
fn ctrl_c_ends_what_does_not_handle_it() {
    let site = Site::new();
    for (typed, code) in [("\x03", 130), ("\x1c", 131)] {
        let mut screen = Screen::open(site.command(&["-it", "busybox:1", "sh", "-c", "echo ready; exec sleep 1000"]));
        screen.wait_for("ready");
        assert!(host::eventually(PATIENCE, || screen.is_raw()));
        // The shell, whose process it is, would have a handler.
        std::thread::sleep(std::time::Duration::from_millis(300));
        screen.type_in(typed);
        assert_eq!(screen.end(), code);
    }
    // Where it is only a character it stays one.
    let script = "stty -isig -icanon; echo ready; head -c 1 | xxd -p; exit 5";
    let mut screen = Screen::open(site.command(&["-it", "busybox:1", "sh", "-c", script]));
    screen.wait_for("ready");
    assert!(host::eventually(PATIENCE, || screen.is_raw()));
    screen.type_in("\x03");
    screen.wait_for("03\r\n");
    assert_eq!(screen.end(), 5);
    site.check_nothing_is_left();
}

/// Whatever ends it, the user's terminal is as it was.
#[test]
fn the_terminal_is_given_back() {
    let site = Site::new();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let screen = Screen::open(site.command(&["-it", "busybox:1", "sh", "-c", "echo ready; exec sleep 1000"]));
        screen.wait_for("ready");
        assert!(host::eventually(PATIENCE, || screen.is_raw()));
        for process in host::processes(site.store.root()).iter().filter(|process| process.command.starts_with("bld:")) {
            host::signal(process.pid, signal);
        }
        assert_eq!(screen.end(), code, "{signal}");
    }
    for (words, code) in [(&["-it", "busybox:1", "nosuch"][..], 127), (&["-it", "nosuch", "sh"], 125)] {
        let screen = Screen::open(site.command(words));
        screen.wait_for("error: ");
        assert_eq!(screen.end(), code);
    }
    site.check_nothing_is_left();
}

/// The process's user owns its terminal; nothing of the user's own is seen inside.
#[test]
fn the_terminal_inside() {
    let site = Site::new();
    let script = "ls -l /proc/self/fd; stat -c '%u %a' $(tty); echo x > /dev/tty; echo y > /dev/console; id -u";
    let screen = Screen::open(site.command(&["-it", "-u", "1234", "busybox:1", "sh", "-c", script]));
    screen.wait_for("1234\r\n");
    let text = screen.text();
    assert_eq!(screen.end(), 0, "{text}");
    assert!(text.contains("1234 620\r\n") && text.contains("\nx\r\ny\r\n"), "{text}");
    let open: Vec<&str> = text.lines().filter(|line| line.contains(" -> ")).collect();
    assert!(open.iter().all(|line| line.contains("/dev/pts/0") || line.contains("/proc/")), "{open:?}");
}

/// A terminal without input: what is typed stays outside, and Ctrl-C is a signal for bld.
#[test]
fn a_terminal_without_input() {
    let site = Site::new();
    let mut screen = Screen::open(site.command(&["-t", "busybox:1", "sh", "-c", "tty; exec sleep 1000"]));
    screen.wait_for("/dev/pts/0\r");
    assert!(!screen.is_raw());
    screen.type_in("\x03");
    assert_eq!(screen.end(), 130);
    assert_eq!(site.output(&["-t", "busybox:1", "stty", "size"]), "24 80\r\n");
    site.check_nothing_is_left();
}

/// Input without a terminal, typed on one.
#[test]
fn input_from_a_terminal() {
    let site = Site::new();
    let mut screen = Screen::open(site.command(&["-i", "busybox:1", "sh", "-c", "tty; cat; echo end $?"]));
    screen.wait_for("not a tty");
    screen.type_in("a line\n\x04");
    screen.wait_for("a line\r\na line\r\n");
    screen.wait_for("end 0");
    assert_eq!(screen.end(), 0);
    site.check_nothing_is_left();
}
