//! `images`, `history` and `inspect` beside docker's.

use rustix::pty::OpenptFlags;

use super::Scene;
use super::json;
use super::refused;
use crate::outputs::Docker;
use crate::support::host;

const DOCKERFILE: &str = r#"
FROM busybox:1
ENV GREETING=hello
LABEL a.b=c x="y z"
RUN echo $GREETING > /hello
EXPOSE 8080
VOLUME /data
HEALTHCHECK --interval=5s CMD true
USER app
CMD ["cat", "/hello"]
"#;

/// What scripts write.
const INSPECTED: [&str; 15] = [
    "{{.Id}}",
    "{{.ID}} {{.Config.Shell}} {{.Config.StopSignal}}",
    "{{json .RepoTags}} {{.Os}}/{{.Architecture}}",
    "{{json .Config.Cmd}} {{.Config.Entrypoint}} {{.Config.OnBuild}}",
    "{{range .Config.Env}}{{println .}}{{end}}",
    "{{range $port, $none := .Config.ExposedPorts}}{{$port}} {{end}}",
    r#"{{index .Config.Labels "a.b"}} {{.Config.Labels.x}} {{.Config.Labels.missing}}"#,
    r#"{{if .Config.Healthcheck}}{{join .Config.Healthcheck.Test ","}}{{else}}none{{end}}"#,
    "{{with .Config.User}}user {{.}}{{end}} {{len .RootFS.Layers}}",
    r#"{{index (split .Id ":") 0}} {{upper .Config.User}} {{title "a b"}}"#,
    r#"{{printf "%s|%-6s|%q" .Config.User .Os .Architecture}}"#,
    "{{.Config.Env}} {{.Config.Labels}} {{.Config.Volumes}}",
    "{{- range $i, $layer := .RootFS.Layers -}} {{if $i}},{{end}}{{$layer}} {{- end}}",
    "{{eq .Os \"linux\"}} {{and .Id (ne .Os \"x\")}} {{not .Author}}",
    "{{json .Config.ExposedPorts}} {{.Created}} {{.Comment}}",
];

#[test]
fn templates_give_what_docker_gives() {
    if !rustix::process::geteuid().is_root() {
        host::cannot_run("a docker daemon needs root");
        return;
    }
    let scene = Scene::new();
    scene.build(DOCKERFILE, &["-t", "app:1", "-o", "type=docker,dest=app.tar"]);
    let docker = Docker::start();
    docker.run(&["load", "-i", scene.path("app.tar").to_str().unwrap()]);
    for format in INSPECTED {
        let theirs = docker.run(&["image", "inspect", "-f", format, "app:1"]).stdout;
        assert_eq!(scene.say(&["image", "inspect", "-f", format, "app:1"]), theirs, "{format}");
    }
    for format in [
        "table {{.ID}}\\t{{.Repository}}\\t{{.Tag}}",
        "{{.Repository}}:{{.Tag}}",
        "table {{.Repository}}",
        "{{.ID}}\\n{{.CreatedAt}}",
        "{{upper .Tag}}|{{pad .Tag 1 2}}|{{truncate .ID 3}}",
    ] {
        let theirs = docker.run(&["images", "--format", format]).stdout;
        assert_eq!(scene.say(&["images", "--format", format, "app"]), theirs, "{format}");
    }
    for arguments in [
        &["history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}}", "app:1"][..],
        &["history", "-H=false", "app:1"],
        &["history", "-q", "app:1"],
        &["history", "--no-trunc", "-q", "app:1"],
        &["history", "--format", "table {{.CreatedBy}}\\t{{.CreatedAt}}", "app:1"],
        &["images", "-q"],
        &["images", "-q", "--no-trunc", "--filter", "label=a.b=c"],
        &["images", "-q", "--filter", "label=a.b=d"],
        &["images", "-q", "--filter", "reference=ap*:1"],
        &["images", "-q", "--filter", "dangling=true"],
    ] {
        let ours = if arguments[0] == "images" { [arguments, &["app"]].concat() } else { arguments.to_vec() };
        let (ours, theirs) = (scene.say(&ours), docker.run(arguments).stdout);
        // docker counts the bytes of symbolic links' targets, which the base has: what is above it must be the same to the byte.
        let own =
            |text: &str| text.lines().filter(|line| !line.contains("Imported from")).collect::<Vec<_>>().join("\n");
        assert_eq!(own(&ours), own(&theirs), "{arguments:?}");
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{arguments:?}");
    }
}

#[test]
fn lists_are_filtered() {
    let scene = Scene::new();
    let plain = "FROM busybox:1\nLABEL stage=";
    scene.build(&format!("{plain}one\n"), &["-t", "team/first:1"]);
    scene.build(&format!("{plain}two other=x\n"), &["-t", "team/second:2"]);
    scene.build(&format!("{plain}three\n"), &[]);
    let names = |filters: &[&str]| {
        let mut arguments = vec!["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"];
        for filter in filters {
            arguments.extend(["-f", filter]);
        }
        let mut lines: Vec<String> = scene.say(&arguments).lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.join(" ")
    };
    for (filters, expected) in [
        (&["dangling=true"][..], "<none>:<none>"),
        (&["dangling=false"], "busybox:1 team/first:1 team/second:2"),
        (&["label=stage"], "<none>:<none> team/first:1 team/second:2"),
        (&["label=stage=two"], "team/second:2"),
        (&["label=stage", "label=other=x"], "team/second:2"),
        (&["label!=stage"], "busybox:1"),
        (&["reference=team/*"], "team/first:1 team/second:2"),
        (&["reference=*:1"], "busybox:1"),
        (&["reference=*/*:2", "reference=busybox"], "busybox:1 team/second:2"),
        (&["before=team/first:1"], "busybox:1"),
        (&["since=team/first:1"], "<none>:<none> team/second:2"),
        (&["since=busybox:1", "before=team/second:2"], "team/first:1"),
        (&["until=1h"], ""),
        (&["until=2000000000000"], "<none>:<none> busybox:1 team/first:1 team/second:2"),
    ] {
        if filters == ["until=2000000000000"] {
            refused(&scene.run(&["images", "-f", "until=2000000000000"]), 2, "it is not a time");
            continue;
        }
        assert_eq!(names(filters), expected, "{filters:?}");
    }
    assert_eq!(scene.say(&["images", "-q", "team/*"]).lines().count(), 2);
    assert_eq!(scene.say(&["images", "-a", "-q"]).lines().count(), 4);
    let row = json(scene.say(&["images", "--format", "json", "team/first"]).trim());
    assert_eq!((&row["Repository"], &row["Tag"]), (&"team/first".into(), &"1".into()));
    refused(&scene.run(&["images", "-f", "color=red"]), 2, "there is no such filter");
    refused(&scene.run(&["images", "--format", "{{.Color}}"]), 2, "there is no field `.Color`: there are .Containers");
    refused(&scene.run(&["inspect", "-f", "{{.Config.Color}}", "busybox:1"]), 2, "there is no field `.Config.Color`");
    refused(&scene.run(&["inspect", "-f", "{{html .Id}}", "busybox:1"]), 2, "there is no function `html`");
    // What is there is shown, whatever else is not.
    let partly = scene.run(&["inspect", "-f", "{{.RepoTags}}", "nothing:1", "busybox:1"]);
    refused(&partly, 1, "nothing:1");
    assert_eq!(partly.stdout, "[busybox:1]\n");
}

#[test]
fn image_prune_takes_what_fits() {
    let scene = Scene::new();
    scene.build("FROM busybox:1\nLABEL keep=yes\n", &["-t", "kept:1"]);
    scene.build("FROM busybox:1\nRUN echo gone > /gone\n", &["-t", "named:1"]);
    scene.build("FROM busybox:1\nRUN echo nameless > /gone\n", &[]);
    let said = scene.say(&["image", "prune", "-f"]);
    assert!(
        said.starts_with("Deleted Images:\ndeleted: sha256:") && said.contains("Total reclaimed space: "),
        "{said}"
    );
    assert!(!said.contains("untagged"), "{said}");
    assert_eq!(scene.say(&["image", "prune", "-f", "-a", "--filter", "until=1h"]), "Total reclaimed space: 0B\n");
    let said = scene.say(&["image", "prune", "-af", "--filter", "label!=keep=yes", "--filter", "reference=named"]);
    assert!(said.contains("untagged: named:1\ndeleted: sha256:"), "{said}");
    assert_eq!(scene.say(&["images", "--format", "{{.Repository}}"]), "kept\nbusybox\n");
    scene.say(&["image", "prune", "-a", "-f"]);
    assert_eq!(scene.say(&["images", "-q"]), "");
    // Not there is no error with force, as with docker.
    scene.say(&["image", "rm", "-f", "nothing:1"]);
}

/// What an image says of itself reaches a program as it is; a terminal gets none of what it would obey.
#[test]
fn a_terminal_does_not_obey_an_image() {
    let scene = Scene::new();
    let label = "a\u{1b}]0;title\u{7}b\rc\u{1b}[2Jd\u{202e}e";
    scene.build(&format!("FROM busybox:1\nLABEL x=\"{label}\"\n"), &["-t", "loud:1"]);
    let words = ["inspect", "--format", "1\t{{.Config.Labels.x}}\n2", "loud:1"];
    assert_eq!(scene.say(&words), format!("1\t{label}\n2\n"));
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    let status = scene.store.bld().args(words).stdout(terminal.try_clone().unwrap()).status().unwrap();
    assert!(status.success());
    let mut shown = vec![0; 4096];
    let length = rustix::io::read(&master, &mut shown).unwrap();
    assert_eq!(String::from_utf8_lossy(&shown[..length]), "1\tabcde\r\n2\r\n");
    drop(terminal);
}
