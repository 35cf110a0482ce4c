//! What is mounted: directories of the host, memory, volumes of the image.

use super::Site;
use super::refused;

#[test]
fn directories_of_the_host() {
    let site = Site::new();
    std::fs::create_dir(site.directory.path().join("data")).unwrap();
    site.write("data/file", "of the host\n");
    let absolute = site.directory.path().join("data");
    let absolute = absolute.to_str().unwrap();
    assert_eq!(site.shell(&["-v", "./data:/d"], "cat /d/file; echo new > /d/new"), "of the host\n");
    assert_eq!(site.read("data/new"), "new\n");
    let read_only =
        site.run(&["-v", &format!("{absolute}:/a/b:ro"), "busybox:1", "sh", "-c", "cat /a/b/file; touch /a/b/x"]);
    refused(&read_only, 1, "Read-only file system");
    assert_eq!(read_only.stdout, "of the host\n");
    assert_eq!(site.shell(&["-v", "./data/file:/etc/one:ro"], "cat /etc/one"), "of the host\n");
    // Inside one another, whatever the order.
    let nested = ["-v", "./data/file:/d/sub/file:ro", "-v", "./data:/d:rw"];
    std::fs::create_dir(site.directory.path().join("data/sub")).unwrap();
    assert_eq!(site.shell(&nested, "cat /d/sub/file /d/file"), "of the host\n".repeat(2));
    // What bld itself puts there is behind what the user does.
    site.write("hosts", "mine\n");
    let own = ["-v", "./hosts:/etc/hosts", "-v", "./hosts:/etc/resolv.conf:ro", "-v", "./hosts:/etc/hostname"];
    assert_eq!(site.shell(&own, "cat /etc/hosts /etc/resolv.conf /etc/hostname"), "mine\n".repeat(3));
    // A link of the image does not lead a mount out of it.
    site.build("link", "RUN ln -s /../../../../tmp /link\n");
    assert_eq!(site.output(&["-v", "./data:/link/inside", "link", "cat", "/tmp/inside/file"]), "of the host\n");
    site.check_nothing_is_left();
}

#[test]
fn refused_mounts() {
    let site = Site::new();
    for (code, flags, wanted) in [
        (
            2,
            ["-v", "data:/d"],
            "named volumes are not supported\nhint: name a directory: `mkdir -p data` and `-v ./data:/d`",
        ),
        (2, ["-v", "/tmp:d"], "`d` is not an absolute path"),
        (2, ["-v", "/tmp:/proc/x"], "nothing can be mounted in /proc"),
        (2, ["-v", "/tmp:/d:z"], "bld sets no SELinux labels"),
        (125, ["-v", "./none:/d"], "hint: `mkdir -p ./none` makes a directory"),
        (2, ["--tmpfs", "/t:huge=1"], "the option `huge=1` is not supported"),
        (2, ["--tmpfs", "t"], "`t` is not an absolute path"),
    ] {
        refused(&site.run(&[&flags[..], &["busybox:1", "true"]].concat()), code, wanted);
    }
    refused(&site.run(&["-v", "/d", "--tmpfs", "/d", "busybox:1", "true"]), 2, "two things are mounted at `/d`");
}

#[test]
fn memory() {
    let site = Site::new();
    let script =
        "stat -c %a /t; df -k /t | tail -n 1 | xargs | cut -d ' ' -f 1,2; cp /bin/busybox /t/echo; /t/echo ran 2>&1";
    let plain = site.run(&["--tmpfs", "/t:size=8m,mode=750", "busybox:1", "sh", "-c", script]);
    assert!(plain.stdout.starts_with("750\ntmpfs 8192\n"), "{}", plain.failure());
    assert!(plain.stdout.to_lowercase().contains("permission denied"), "{}", plain.failure());
    assert!(site.shell(&["--tmpfs", "/t:exec"], script).ends_with("\nran\n"));
    let shared = site.shell(&["--shm-size", "1m"], "df -k /dev/shm | tail -n 1 | xargs | cut -d ' ' -f 2");
    assert_eq!(shared, "1024\n");
}

#[test]
fn volumes_of_the_image() {
    let site = Site::new();
    site.build("app", "RUN mkdir /data && echo first > /data/file && chown 5:5 /data\nVOLUME /data /new/place\n");
    let script = "cat /data/file; stat -c %u /data; echo more >> /data/file; touch /new/place/x && ls /new/place";
    for flags in [&[][..], &["--read-only"]] {
        // Each run begins with what the image has.
        assert_eq!(site.output(&[flags, &["app", "sh", "-c", script]].concat()), "first\n5\nx\n", "{flags:?}");
    }
    // What the user mounts there wins.
    std::fs::create_dir(site.directory.path().join("mine")).unwrap();
    site.write("mine/file", "mine\n");
    assert_eq!(site.output(&["-v", "./mine:/data", "app", "cat", "/data/file"]), "mine\n");
}

#[test]
fn read_only() {
    let site = Site::new();
    let script =
        "touch /x || touch /etc/hosts || touch /tmp/x || echo all refused; touch /t/x /v/x /dev/shm/x && echo ok; pwd";
    let flags = ["--read-only", "--tmpfs", "/t", "-v", "/v", "-w", "/work/here"];
    assert_eq!(site.shell(&flags, script), "all refused\nok\n/work/here\n");
    site.check_nothing_is_left();
}

#[test]
fn nothing_is_kept_from_run_to_run() {
    let site = Site::new();
    site.shell(&[], "echo x > /kept; rm -rf /home; mkdir -p /deep/er; chmod 0 /deep");
    assert_eq!(site.shell(&[], "ls -d /home; ls /kept 2>&1 | grep -c 'No such'"), "/home\n1\n");
    site.check_nothing_is_left();
}
