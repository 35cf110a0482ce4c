//! `bld why`: the cause of each step that ran, what it dragged along, and what to do about it.

use super::Scene;
use super::holds;

const DOCKERFILE: &str = "FROM busybox:1 AS work\n\
    ARG GIT_SHA\n\
    WORKDIR /src\n\
    RUN sleep 0.2; date +%s%N > /stamp\n\
    COPY . .\n\
    RUN cat file > out\n\
    FROM busybox:1\n\
    COPY --from=work /src/out /\n\
    RUN echo $GIT_SHA\n";

#[test]
fn causes_come_before_what_they_drag_along() {
    let scene = Scene::new(DOCKERFILE);
    scene.write("file", "1");
    scene.build(&["--build-arg", "GIT_SHA=a"]);
    holds(&scene.says(&["why"]), &["6 steps not cached", "0 cached", "first build here"]);

    scene.write("file", "2");
    let changed = scene.build(&["--build-arg", "GIT_SHA=a"]);
    let why = scene.says(&["why"]);
    let rows: Vec<&str> = why.lines().skip(3).take_while(|line| !line.is_empty()).collect();
    let steps: Vec<&str> = rows.iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(steps, ["work:4", "work:5", "stage-1:2", "stage-1:3"], "{why}");
    assert!(rows[0].ends_with("COPY .: 1 of 2 files changed: file (content)"), "{why}");
    assert!(rows[1..].iter().all(|row| row.ends_with("because of work:4")), "{why}");
    holds(&why, &["4 steps not cached", "2 cached, which saved ", "work:4 and 3 steps because of it: "]);

    let story = scene.says(&["why", "work:4"]);
    holds(
        &story,
        &[
            "Step:        work:4\n",
            "Instruction: COPY . .\n",
            "Where:       line 5 of Dockerfile, shown as #",
            "Outcome:     ran for ",
            "  file  has other content\n",
            "Dragged:     3 steps, ",
            ": work:5, stage-1:2, stage-1:3\n",
            "Ran before:  build ",
            "Key:  ",
        ],
    );
    let follower = scene.says(&["why", "stage-1:2"]);
    holds(&follower, &["Why:         because of work:4\n", "work:4: COPY .: 1 of 2 files changed: file (content)\n"]);

    // Everything is known now, and who made it.
    scene.build(&["--build-arg", "GIT_SHA=a"]);
    holds(&scene.says(&["why"]), &["all 6 steps were cached, which saved "]);
    let made = format!("Made by:     build {}, ", changed.split_once('-').unwrap().1);
    holds(&scene.says(&["why", "work:5"]), &["Outcome:     cached\n", &made, "Saved:  "]);
    // The build before is still told as it was.
    assert_eq!(scene.says(&["why", "work:4", "--build", "-2"]).lines().nth(4), story.lines().nth(4));

    let json: serde_json::Value =
        serde_json::from_str(&scene.says(&["why", "-b", &changed, "--format", "json"])).unwrap();
    assert_eq!(json["build"], changed.as_str());
    assert_eq!((json["ran"].as_u64(), json["cached"].as_u64()), (Some(4), Some(2)));
    assert_eq!(json["steps"][0]["cause"]["kind"], "files");
    assert_eq!(json["steps"][1]["because_of"], "work:4");
    assert_eq!(json["steps"][0]["dragged"].as_array().unwrap().len(), 3);
    let json: serde_json::Value = serde_json::from_str(&scene.says(&["why", "work:5", "--format", "json"])).unwrap();
    assert_eq!(json["made_by"]["build"], changed.as_str());
    assert_eq!(scene.says(&["why", "-b", "-2", "--format", "{{.ran}} {{(index .steps 0).step}}"]), "4 work:4\n");
    // A build can be named without a flag, alone or before a step.
    assert_eq!(scene.says(&["why", "-2", "--format", "{{.ran}}"]), "4\n");
    assert_eq!(scene.says(&["why", &changed, "--format", "{{.ran}}"]), "4\n");
    assert_eq!(scene.says(&["why", "-2", "[work 4/5]"]), scene.says(&["why", "work:4", "-b", "-2"]));
    assert_eq!(scene.says(&["why", "--json"]), scene.says(&["why", "last", "--format", "json"]));
    let twice = scene.bld(&["why", "-1", "work:4", "-b", "-2"]);
    assert_eq!(twice.code, Some(2));
    holds(&twice.stderr, &["`-1` and `--build` both name a build"]);
    assert_eq!(scene.bld(&["why", "--json", "--format", "text"]).code, Some(2));
}

/// That a step made the same files is said where it helped, and nothing is blamed on such a step.
#[test]
fn the_same_files_are_told_of_where_they_saved_something() {
    let dockerfile = |generator: &str, other: &str| {
        format!(
            "FROM busybox:1 AS left\nRUN {generator} > /left\nFROM busybox:1 AS right\nRUN echo {other} > /right\n\
             FROM busybox:1\nCOPY --from=left /left /\nRUN cat left\nRUN --mount=from=left,target=/l --mount=from=right,target=/r cat /r/right\n"
        )
    };
    let scene = Scene::new(&dockerfile("echo same", "same"));
    scene.build(&[]);
    let said = "made the same files as before";
    assert!(!scene.says(&["why"]).contains(said), "a first build has no before");
    // Only the generator is another: what is made of its files is found.
    scene.write("Dockerfile", &dockerfile("echo  same", "same"));
    scene.build(&[]);
    let why = scene.says(&["why"]);
    holds(&why, &["\nleft:2 made the same files as before: what is below it was found\n", "1 step not cached"]);
    assert!(!why.contains("because of"), "{why}");
    // It is another again, and what else the last step is made of has changed: that is why the step ran.
    scene.write("Dockerfile", &dockerfile("printf 'same\\n'", "other"));
    scene.build(&[]);
    let why = scene.says(&["why"]);
    holds(
        &why,
        &["3 steps not cached", "because of right:2", "right:2 and 1 step because of it", "\nleft:2 made the same"],
    );
    assert!(!why.contains("because of left:2"), "{why}");
    let json: serde_json::Value = serde_json::from_str(&scene.says(&["why", "--json"])).unwrap();
    let same: Vec<&str> = json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["same_result"] == true)
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(same, ["left:2"]);
}

#[test]
fn what_does_not_fit_is_cut_unless_that_is_asked_not_to_be() {
    let long = "x".repeat(200);
    let scene = Scene::new(&format!("FROM busybox:1\nARG A\nRUN echo {long} $A\n"));
    scene.build(&["--build-arg", "A=1"]);
    scene.build(&["--build-arg", "A=2"]);
    for command in [&["why"][..], &["builds", "show"]] {
        let shown = scene.says(command);
        assert!(!shown.contains(&long), "{shown}");
        assert!(!shown.ends_with("\n\n"), "{shown}");
        let row = shown.lines().find(|line| line.contains("RUN echo")).unwrap();
        assert!(row.chars().count() <= 150, "{row}");
        holds(row, &["ARG A changed: 1 -> 2"]);
        holds(&scene.says(&[command, &["--no-trunc"]].concat()), &[&long]);
    }
}

#[test]
fn an_argument_too_far_up_is_told_where_to_go() {
    let scene = Scene::new(DOCKERFILE);
    scene.write("file", "1");
    scene.build(&["--build-arg", "GIT_SHA=a"]);
    scene.build(&["--build-arg", "GIT_SHA=b"]);
    let why = scene.says(&["why"]);
    holds(
        &why,
        &[
            "ARG GIT_SHA changed: a -> b",
            "note: ARG GIT_SHA (line 2) changed; ",
            "RUNs do not name it; it cost ",
            "; move it below line 6\n",
        ],
    );
    holds(&scene.says(&["why", "work:3"]), &["  was a\n", "  is  b\n", "note: ARG GIT_SHA (line 2) changed; "]);
    let json: serde_json::Value = serde_json::from_str(&scene.says(&["why", "--format", "json"])).unwrap();
    assert_eq!(json["advice"][0]["kind"], "late_argument");

    // Where it is told to go it drags nothing along.
    let mut lines: Vec<&str> = DOCKERFILE.lines().collect();
    let argument = lines.remove(1);
    lines.insert(5, argument);
    scene.write("Dockerfile", &(lines.join("\n") + "\n"));
    scene.build(&["--build-arg", "GIT_SHA=b"]);
    scene.build(&["--build-arg", "GIT_SHA=c"]);
    let why = scene.says(&["why"]);
    assert!(!why.contains("GIT_SHA"), "{why}");
}

/// A stage for two platforms has each place twice: numbers tell the steps apart.
#[test]
fn platforms_have_steps_of_their_own() {
    let scene = Scene::new("FROM scratch AS work\nCOPY file /\nFROM work\nARG TARGETARCH\nCOPY file /$TARGETARCH\n");
    scene.write("file", "1");
    scene.build(&["--platform", "linux/amd64,linux/arm64"]);
    scene.write("file", "2");
    scene.build(&["--platform", "linux/amd64,linux/arm64"]);
    let why = scene.says(&["why"]);
    let rows = why.lines().skip(3).take_while(|line| !line.is_empty());
    let steps: Vec<&str> = rows.filter_map(|row| row.split_whitespace().next()).collect();
    holds(&why, &["PLATFORM", "linux/amd64  ", "linux/arm64  "]);
    holds(&scene.says(&["builds", "show"]), &["PLATFORM", "  linux/arm64  "]);
    let double: Vec<&&str> = steps.iter().filter(|step| step.starts_with('#')).collect();
    assert!(double.len() >= 2, "{why}");
    for step in double {
        let story = scene.says(&["why", step]);
        holds(&story, &[&format!("Step:        {step}\n"), "Platform:    linux/a", "file  has other content"]);
    }
    let refused = scene.bld(&["why", "1:1"]);
    holds(&refused.stderr, &["error: `1:1` could be stage-1:1 (#", "hint: write `#N` for the number"]);
}

#[test]
fn unknown_steps_are_answered_with_those_there_are() {
    let scene = Scene::new("FROM busybox:1\nRUN true\n");
    scene.build(&[]);
    let refused = scene.bld(&["why", "work:9"]);
    assert_eq!(refused.code, Some(1));
    holds(&refused.stderr, &["the build has no step `work:9`", "hint: its steps are 1 (#1), 2 (#2)"]);
    holds(&scene.bld(&["why", "failed"]).stderr, &["no step of the build failed"]);
    let refused = scene.bld(&["why", "--format", "{{.x"]);
    assert_eq!(refused.code, Some(2), "{}", refused.failure());
}
