//! Templates and what Go makes of them. The expected texts are those of docker 28.2.

use serde_json::json;

use super::Field;
use super::Template;
use super::Value;

fn image() -> Value {
    let config = vec![
        Field::optional("User", "app"),
        Field::optional("ExposedPorts", Value::from_json(&json!({"80/tcp": {}, "8080/tcp": {}}))),
        Field::optional("Env", vec!["PATH=/bin", "A=b c"]),
        Field::optional("Cmd", vec!["cat", "/hello"]),
        Field::optional("Entrypoint", Value::List(Vec::new())),
        Field::optional("Labels", Value::from_json(&json!({"a.b": "c", "x": "y z"}))),
        Field::optional("Healthcheck", Value::Nil),
    ];
    Value::Struct(vec![
        Field::new("Id", "sha256:2a18"),
        Field::new("RepoTags", vec!["app:1", "app:2"]),
        Field::new("Size", 1_982_895_u64),
        Field::new("Config", Value::Struct(config)),
    ])
}

#[test]
fn templates() {
    for (template, expected) in [
        ("plain", "plain"),
        ("{{.Id}}", "sha256:2a18"),
        ("{{ .Id }}|{{.Size}}", "sha256:2a18|1982895"),
        ("{{.RepoTags}} {{.Config.Labels}}", "[app:1 app:2] map[a.b:c x:y z]"),
        ("{{.Config.Labels.x}} {{.Config.Labels.zz}}", "y z <no value>"),
        (r#"{{index .Config.Labels "a.b"}}|{{index .Config.Labels "zz"}}|{{index .RepoTags 1}}"#, "c||app:2"),
        ("{{json .RepoTags}} {{.Config.Entrypoint}}", r#"["app:1","app:2"] []"#),
        ("{{json .Config.Cmd}} {{json .Config.Healthcheck}} {{.Config.Healthcheck}}", r#"["cat","/hello"] null <nil>"#),
        (
            "{{json .Config}}",
            r#"{"User":"app","ExposedPorts":{"80/tcp":{},"8080/tcp":{}},"Env":["PATH=/bin","A=b c"],"Cmd":["cat","/hello"],"Labels":{"a.b":"c","x":"y z"}}"#,
        ),
        ("{{range .Config.Env}}{{.}};{{end}}", "PATH=/bin;A=b c;"),
        ("{{range $k, $v := .Config.ExposedPorts}}{{$k}} {{end}}", "80/tcp 8080/tcp "),
        ("{{range $i, $e := .RepoTags}}{{if $i}}, {{end}}{{$e}}{{end}}", "app:1, app:2"),
        ("{{range .Config.Entrypoint}}x{{else}}none{{end}}", "none"),
        ("{{range .RepoTags}}{{$.Size}} {{end}}", "1982895 1982895 "),
        ("{{range 3}}{{.}}{{if eq . 1}}{{break}}{{end}}{{end}}", "01"),
        (r#"{{range .RepoTags}}{{if eq . "app:1"}}{{continue}}{{end}}{{.}}{{end}}"#, "app:2"),
        ("{{if .Config.Healthcheck}}yes{{else}}no{{end}}", "no"),
        ("{{if not .Config.User}}a{{else if gt .Size 5}}b{{else}}c{{end}}", "b"),
        (r#"{{if and .Id (eq .Config.User "root" "app")}}in{{end}}"#, "in"),
        (r#"{{or "" .Config.User}} {{and "" .Config.User.Wrong}}"#, "app "),
        ("{{with .Config.User}}user {{.}}{{end}}{{with .Config.Healthcheck}}x{{else}}-{{end}}", "user app-"),
        (r#"{{join .Config.Env ","}}"#, "PATH=/bin,A=b c"),
        (r#"{{join .Config.Entrypoint ","}}."#, "."),
        (r#"{{index (split .Id ":") 1}}"#, "2a18"),
        (r#"{{.Id | upper | printf "%q"}}"#, r#""SHA256:2A18""#),
        (
            r#"{{printf "%s=%d %v %5s|%-5s|%05d%%" .Id 7 .RepoTags "ab" "ab" 42}}"#,
            "sha256:2a18=7 [app:1 app:2]    ab|ab   |00042%",
        ),
        (r#"{{title "new york"}} {{lower "ABC"}} {{len .RepoTags}} {{len "abc"}}"#, "New York abc 2 3"),
        (r#"{{println 1 "a" "b" 2}}{{print 1 2 "a" 3}}"#, "1 a b 2\n1 2a3"),
        (r#"{{pad "x" 1 2}}|{{truncate .Id 6}}|{{slice .Id 7 9}}"#, " x  |sha256|2a"),
        ("a {{- .Size -}} \n b", "a1982895b"),
        ("{{/* said */}}x{{- /* more */ -}} y", "xy"),
        ("{{$x := .Config.User}}{{$x}}{{$x = \"b\"}}{{$x}}", "appb"),
        ("{{(index .RepoTags 0) | len}} {{(.Config).User}}", "5 app"),
        ("{{`raw \"text\"`}} {{true}} {{-3}} {{1.5}}", "raw \"text\" true -3 1.5"),
        (r#"{{ne 1 2}} {{lt "a" "b"}} {{ge 2 2}} {{eq .Config.Healthcheck nil}}"#, "true true true true"),
        ("}} { {", "}} { {"),
    ] {
        let rendered = Template::parse(template).and_then(|template| template.render(&image()));
        assert_eq!(rendered.as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    for (template, expected) in [
        ("{{.Foo}}", "there is no field `.Foo`: there are .Id, .RepoTags, .Size, .Config"),
        ("{{.Config.Foo}}", "there is no field `.Config.Foo`: there are .User, "),
        ("{{foo .Id}}", "there is no function `foo`: there are and, eq, "),
        ("{{html .Id}}", "there is no function `html`"),
        ("{{.Config.Healthcheck.Test}}", "`.Config.Healthcheck` is not set, so it has no field `.Test`"),
        ("{{.Id.X}}", "`.Id` is a text and has no field `.X`"),
        ("{{$x}}", "there is no variable `$x`"),
        ("{{.Id .Size}}", "`.Id` is not a function"),
        ("{{index .RepoTags 2}}", "index 2 is out of range: there are 2"),
        ("{{eq .Id .Size}}", "`eq` cannot compare a text with a number"),
        ("{{range .Id}}{{end}}", "`range` cannot go over a text"),
        ("{{join .Id}}", "`join` takes a list and a separator"),
        (r#"{{printf "%z" 1}}"#, "the verb `%z` is not supported"),
        (r#"{{printf "%d" "x"}}"#, "`%d` does not print a text"),
        (r#"{{printf "%d"}}"#, "has no argument"),
        ("{{.Id", "at character 1: the action is not closed"),
        ("x{{", "at character 2: the action is not closed"),
        ("{{\"x}}", "the quoted text is not closed"),
        ("{{if .Id}}x", "`{{end}}` is missing"),
        ("{{end}}", "`{{end}}` has nothing to end"),
        ("{{else}}", "`{{else}}` stands without `{{if}}`"),
        ("{{}}", "a value is missing"),
        ("{{.Id |}}", "a value is missing"),
        ("{{(.Id}}", "`)` is missing"),
        ("{{define \"x\"}}{{end}}", "`{{define}}` is not supported"),
        ("{{break}}", "stands outside of"),
        ("{{.Id;}}", "`;` is not expected"),
    ] {
        let said = Template::parse(template).and_then(|template| template.render(&image())).unwrap_err().to_string();
        assert!(said.contains(expected), "{template}: {said}");
    }
    let deep = format!("{}1{}", "{{if 1}}".repeat(100), "{{end}}".repeat(100));
    assert!(Template::parse(&deep).unwrap_err().to_string().contains("nested too deeply"));
    let deep = format!("{{{{{}1{}}}}}", "(".repeat(1000), ")".repeat(1000));
    assert!(Template::parse(&deep).is_err());
}
