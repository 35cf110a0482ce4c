//! import, images, inspect, history and rmi, as typed and as printed.

use std::path::Path;

use tempfile::TempDir;

use super::bash;
use super::json;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

#[test]
fn a_root_file_system_is_imported_from_any_compression() {
    let (store, work) = (Store::empty(), TempDir::with_prefix("import-").unwrap());
    std::fs::copy(Base::Busybox.tar(), work.path().join("root.tar")).unwrap();
    bash(work.path(), "for tool in gzip zstd xz bzip2; do $tool -k -c root.tar > root.tar.$tool; done");
    let mut diff_ids = Vec::new();
    for (number, file) in
        ["root.tar", "root.tar.gzip", "root.tar.zstd", "root.tar.xz", "root.tar.bzip2"].iter().enumerate()
    {
        let name = format!("imported:{number}");
        let digest = bld(&store, work.path(), &["import", file, &name]).succeeded().stdout;
        assert!(digest.starts_with("sha256:") && digest.len() == 72, "{digest}");
        let inspected = json(&bld(&store, work.path(), &["inspect", &name]).succeeded().stdout);
        assert_eq!(inspected[0]["Descriptor"]["digest"], digest.trim());
        assert_eq!(inspected[0]["Comment"], format!("Imported from {file}"));
        diff_ids.push(inspected[0]["RootFS"]["Layers"].clone());
    }
    assert!(diff_ids.windows(2).all(|pair| pair[0] == pair[1]), "{diff_ids:?}");

    // Standard input, and what can be changed.
    let mut import = store.bld();
    import.args(["import", "-m", "by hand", "--platform", "linux/arm64", "-", "changed"]);
    for change in [
        "CMD [\"sh\", \"-c\", \"exit 3\"]",
        "ENTRYPOINT [\"/bin/env\"]",
        "ENV A=1 B=\"two words\"",
        "EXPOSE 80/tcp",
        "LABEL l=$A",
        "STOPSIGNAL SIGINT",
        "USER 1000:33",
        "VOLUME /data",
        "WORKDIR /srv",
    ] {
        import.args(["-c", change]);
    }
    let output = import.stdin(std::fs::File::open(work.path().join("root.tar.xz")).unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let digest = String::from_utf8(output.stdout).unwrap();
    let inspected = json(&bld(&store, work.path(), &["inspect", digest.trim()]).succeeded().stdout);
    let config = &inspected[0]["Config"];
    assert_eq!(config["Cmd"], serde_json::json!(["sh", "-c", "exit 3"]));
    assert_eq!(config["Entrypoint"], serde_json::json!(["/bin/env"]));
    let environment: Vec<&str> = config["Env"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(environment.contains(&"A=1") && environment.contains(&"B=two words"), "{environment:?}");
    assert_eq!(config["ExposedPorts"], serde_json::json!({"80/tcp": {}}));
    assert_eq!(config["Labels"]["l"], "1");
    assert_eq!((&config["StopSignal"], &config["User"]), (&"SIGINT".into(), &"1000:33".into()));
    assert_eq!(config["Volumes"], serde_json::json!({"/data": {}}));
    assert_eq!((&config["WorkingDir"], &inspected[0]["Comment"]), (&"/srv".into(), &"by hand".into()));
    assert_eq!((&inspected[0]["Architecture"], &inspected[0]["Os"]), (&"arm64".into(), &"linux".into()));

    for (arguments, code, wanted) in [
        (["import", "-c", "RUN true", "root.tar"], 2, "`--change RUN true` is not possible"),
        (["import", "-c", "EXPOSE x/y", "root.tar"], 1, "the --change instructions have mistakes"),
        (["import", "-c", "CMD x", "missing.tar"], 1, "missing.tar"),
        (["import", "-m", "x", "Dockerfile"], 1, "Dockerfile"),
        (["import", "--platform", "beos", "root.tar"], 2, "beos"),
    ] {
        refused(&bld(&store, work.path(), &arguments), code, wanted);
    }
    refused(&bld(&store, work.path(), &["import", "root.tar", "Upper:Case"]), 2, "Upper:Case");
    std::fs::write(work.path().join("text"), "this is no tar ".repeat(100)).unwrap();
    refused(&bld(&store, work.path(), &["import", "text", "no:tar"]), 1, "tar");
    bash(work.path(), "head -c 700000 root.tar.gzip > cut");
    refused(&bld(&store, work.path(), &["import", "cut", "cut:short"]), 1, "");
    let listed = bld(&store, work.path(), &["images"]).succeeded().stdout;
    assert!(!listed.contains("no ") && !listed.contains("cut"), "{listed}");
}

#[test]
fn images_are_listed_in_dockers_columns() {
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("images-").unwrap());
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    std::fs::write(work.path().join("Dockerfile"), "FROM busybox:1\nLABEL a=b\n").unwrap();
    let digest = run(&["build", "-q", "-t", "localhost:5000/team/app:1.0", "-t", "app", "."])
        .succeeded()
        .stdout
        .trim()
        .to_owned();
    std::fs::write(work.path().join("Dockerfile"), "FROM busybox:1\nLABEL a=c\n").unwrap();
    let nameless = run(&["build", "-q", "."]).succeeded().stdout.trim().to_owned();
    let id = json(&run(&["inspect", "app"]).stdout)[0]["Id"].as_str().unwrap().to_owned();
    let short = &id[7..19];

    let all = run(&["images"]).succeeded().stdout;
    let rows: Vec<Vec<&str>> = all.lines().map(columns).collect();
    assert_eq!(rows[0], ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], "{all}");
    assert_eq!(rows.len(), 5, "{all}");
    let row = |repository: &str| {
        rows.iter().find(|row| row[0] == repository).unwrap_or_else(|| panic!("{repository}: {all}"))
    };
    assert_eq!((row("app")[1], row("app")[2]), ("latest", short));
    assert_eq!((row("localhost:5000/team/app")[1], row("localhost:5000/team/app")[2]), ("1.0", short));
    assert_eq!(row("busybox")[1], "1");
    assert_eq!(row("<none>")[1], "<none>");
    assert!(row("app")[3].ends_with("ago") && row("app")[4].ends_with("MB"), "{all}");
    assert_eq!(run(&["ls"]).succeeded().stdout, all);

    let digests = run(&["images", "--digests", "--no-trunc", "app"]).succeeded().stdout;
    let rows: Vec<Vec<&str>> = digests.lines().map(columns).collect();
    assert_eq!(rows[0], ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]);
    assert_eq!((rows.len(), &rows[1][..4]), (2, &["app", "latest", &digest, &id][..]), "{digests}");

    assert_eq!(run(&["images", "-q", "app"]).succeeded().stdout, format!("{short}\n"));
    let quiet = run(&["images", "-q"]).succeeded().stdout;
    assert_eq!(quiet.lines().count(), 3, "an ID for every image: {quiet}");
    assert_eq!(columns(run(&["images", "app:2"]).succeeded().stdout.lines().last().unwrap())[0], "REPOSITORY");
    assert_eq!(run(&["images", "localhost:5000/team/app:1.0"]).succeeded().stdout.lines().count(), 2);
    assert!(run(&["images", "--digests"]).succeeded().stdout.contains(&nameless));
}

#[test]
fn inspect_and_history_tell_what_docker_users_read() {
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("inspect-").unwrap());
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    let dockerfile = "FROM busybox:1\nENV GREETING=hello\nRUN echo $GREETING > /hello\nCOPY Dockerfile /\nWORKDIR /srv\n\
                      EXPOSE 8080\nHEALTHCHECK --interval=5s CMD true\nUSER app\nCMD [\"cat\", \"/hello\"]\n";
    std::fs::write(work.path().join("Dockerfile"), dockerfile).unwrap();
    run(&["build", "-q", "-t", "app:1", "-t", "app:2", "."]).succeeded();
    let inspected = json(&run(&["inspect", "app:1"]).succeeded().stdout);
    let image = &inspected[0];
    for field in ["Id", "Created", "Architecture", "Os", "Author", "Comment"] {
        assert!(image[field].is_string(), "{field}: {image}");
    }
    let mut names: Vec<&str> =
        image["RepoTags"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["app:1", "app:2"]);
    assert!(image["Size"].as_u64().unwrap() > 1_000_000, "{image}");
    assert!(image["RepoDigests"][0].as_str().unwrap().contains("app@sha256:"), "{image}");
    assert_eq!((&image["RootFS"]["Type"], image["RootFS"]["Layers"].as_array().unwrap().len()), (&"layers".into(), 4));
    let config = &image["Config"];
    assert_eq!(config["Cmd"], serde_json::json!(["cat", "/hello"]));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"app".into(), &"/srv".into()));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    assert_eq!(config["Healthcheck"]["Interval"], 5_000_000_000_u64);

    // By ID, the beginning of one, digest; several at once, in the order given.
    let (id, digest) = (image["Id"].as_str().unwrap(), image["Descriptor"]["digest"].as_str().unwrap());
    for name in [id, &id[7..], &id[7..19], digest, &format!("app@{digest}")] {
        assert_eq!(json(&run(&["inspect", name]).succeeded().stdout)[0]["Id"], id, "{name}");
    }
    let several = json(&run(&["inspect", "busybox:1", "app:2"]).succeeded().stdout);
    assert_eq!((several.as_array().unwrap().len(), &several[1]["Id"]), (2, &image["Id"]));
    refused(&run(&["inspect", "nothing"]), 1, "nothing");
    refused(&run(&["inspect"]), 2, "IMAGE");
    refused(&run(&["history", "nothing:1"]), 1, "nothing:1");

    let history = run(&["history", "app:1"]).succeeded().stdout;
    let rows: Vec<Vec<&str>> = history.lines().map(columns).collect();
    assert_eq!(rows[0][..4], ["IMAGE", "CREATED", "CREATED BY", "SIZE"], "{history}");
    assert_eq!(rows[1][0], &id[7..19], "{history}");
    let commands: Vec<&str> = rows[1..].iter().map(|row| row[2]).collect();
    let wanted = [
        "CMD",
        "USER app",
        "HEALTHCHECK",
        "EXPOSE",
        "WORKDIR /srv",
        "COPY Dockerfile",
        "RUN /bin/sh -c echo",
        "ENV GREETING=hello",
    ];
    for (command, wanted) in commands.iter().zip(wanted) {
        assert!(command.starts_with(wanted), "{wanted}:\n{history}");
    }
    let full = run(&["history", "--no-trunc", "app:1"]).succeeded().stdout;
    assert!(full.contains(id) && full.contains("echo $GREETING > /hello") && !full.contains('…'), "{full}");
}

#[test]
fn images_go_by_name_by_id_and_by_force() {
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("rmi-").unwrap());
    let run = |arguments: &[&str]| bld(&store, work.path(), arguments);
    let build = |label: &str, names: &[&str]| {
        std::fs::write(work.path().join("Dockerfile"), format!("FROM busybox:1\nLABEL l={label}\n")).unwrap();
        let mut arguments = vec!["build", "-q", "."];
        for name in names {
            arguments.extend(["-t", name]);
        }
        let digest = run(&arguments).succeeded().stdout.trim().to_owned();
        let id = json(&run(&["inspect", &digest]).succeeded().stdout)[0]["Id"].as_str().unwrap().to_owned();
        (digest, id)
    };
    // By name: one of two, and then the last.
    let (digest, _) = build("a", &["a:1", "a:2"]);
    assert_eq!(run(&["rmi", "a:1"]).succeeded().stdout, "Untagged: a:1\n");
    assert_eq!(run(&["rmi", "a:2"]).succeeded().stdout, format!("Untagged: a:2\nDeleted: {digest}\n"));
    refused(&run(&["rmi", "a:2"]), 1, "no such image: `a:2`");
    // By ID, whole and shortened.
    let (digest, id) = build("b", &["b"]);
    assert_eq!(run(&["rmi", &id]).succeeded().stdout, format!("Untagged: b:latest\nDeleted: {digest}\n"));
    let (digest, id) = build("c", &[]);
    assert_eq!(run(&["rmi", &id[7..19]]).succeeded().stdout, format!("Deleted: {digest}\n"));
    // By the form that `inspect` shows as a digest of the repository.
    let (digest, _) = build("n", &["n"]);
    assert_eq!(
        run(&["rmi", &format!("n@{digest}")]).succeeded().stdout,
        format!("Untagged: n:latest\nDeleted: {digest}\n")
    );
    // Several names need force when an ID is given.
    let (digest, id) = build("d", &["d:1", "d:2"]);
    let kept = run(&["rmi", &id]);
    refused(&kept, 1, "has several names (d:1, d:2)");
    assert!(kept.stderr.contains("--force"), "{}", kept.failure());
    let forced = run(&["rmi", "--force", &id]).succeeded().stdout;
    assert_eq!(forced, format!("Untagged: d:1\nUntagged: d:2\nDeleted: {digest}\n"));
    // Several at once: those that can go do.
    // (Not called by a hexadecimal digit: once it is gone that would be the beginning of some other image's ID.)
    let (digest, _) = build("e", &["other"]);
    let partly = run(&["rmi", "missing", "other"]);
    refused(&partly, 1, "no such image: `missing`");
    assert_eq!(partly.stdout, format!("Untagged: other:latest\nDeleted: {digest}\n"));
    refused(&run(&["rmi", "missing", "other"]), 1, "2 images were not removed");
    refused(&run(&["rmi"]), 2, "IMAGE");
    refused(&run(&["rmi", "busybox:1", "--no-such-flag"]), 2, "--no-such-flag");
    // What is left is untouched, and blobs of what went are gone with it.
    let left = run(&["images"]).succeeded().stdout;
    assert_eq!(left.lines().count(), 2, "{left}");
    assert!(!store.root().join("oci/blobs/sha256").join(&digest[7..]).exists());
}

fn bld(store: &Store, directory: &Path, arguments: &[&str]) -> Run {
    support::run(store.bld().args(arguments).current_dir(directory))
}

#[track_caller]
fn refused(run: &Run, code: i32, wanted: &str) {
    assert!(run.code == Some(code) && run.stderr.contains(wanted), "not {code} with {wanted:?}: {}", run.failure());
}

/// The cells of a row: at least two blanks stand between them.
fn columns(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}
