//! `layers` and `diff`.

use super::Scene;
use super::json;
use super::refused;

#[test]
fn layers_tell_what_is_stored_for_nothing() {
    let scene = Scene::new();
    std::fs::write(scene.path("big"), vec![7; 2_000_000]).unwrap();
    let text = "FROM busybox:1\nCOPY big /big\nRUN chmod 600 /big\nRUN rm /big && echo small > /small\n";
    scene.build(text, &["-t", "wasteful:1"]);
    let report = json(&scene.say(&["layers", "--format", "json", "wasteful:1"]));
    assert_eq!((&report["waste"], &report["own"]), (&4_000_000.into(), &4_000_006.into()), "{report}");
    assert_eq!((&report["base"]["name"], &report["base"]["layers"]), (&"busybox:1".into(), &1.into()));
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    assert_eq!(
        (&layers[1]["added"]["bytes"], &layers[2]["sameBytes"]["bytes"]),
        (&2_000_000.into(), &2_000_000.into())
    );
    assert_eq!((&layers[3]["deleted"]["files"], &layers[3]["added"]["bytes"]), (&1.into(), &6.into()));
    let wasted = &report["wasted"];
    assert_eq!(
        (&wasted[0]["path"], &wasted[0]["storedBy"], &wasted[0]["hiddenBy"]),
        (&"/big".into(), &2.into(), &3.into())
    );
    assert_eq!((&wasted[0]["sameBytes"], &wasted[1]["deleted"]), (&true.into(), &true.into()));
    let shown = scene.say(&["layers", "wasteful:1", "--top", "3"]);
    for wanted in [
        "STEP",
        "1 base",
        "RUN /bin/sh -c chmod 600 /big",
        "base busybox:1",
        "4MB (",
        "of that 2MB because only mode",
        "/big   step 2, stored again by step 3",
        "/big   step 3, deleted by step 4",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    // For CI.
    scene.say(&["layers", "wasteful:1", "--max-size", "10MB", "--max-waste", "5MB"]);
    refused(&scene.run(&["layers", "wasteful:1", "--max-size", "5MB"]), 1, "more than --max-size 5MB");
    refused(&scene.run(&["layers", "wasteful:1", "--max-waste", "10%"]), 1, "more than --max-waste 10%");
    refused(&scene.run(&["layers", "wasteful:1", "--max-waste", "most"]), 2, "is not a size");
    refused(
        &scene.run(&["layers", "wasteful:1", "--base", "wasteful:1", "--platform", "linux/s390x"]),
        1,
        "not for linux/s390x",
    );
    scene.build("FROM scratch\nCOPY Dockerfile /\n", &["-t", "other:1"]);
    refused(&scene.run(&["layers", "wasteful:1", "--base", "other:1"]), 1, "the image was not built on `other:1`");
    // An archive, and an image of one step.
    scene.say(&["save", "wasteful:1", "-o", "a.tar"]);
    let of_archive = json(&scene.say(&["layers", "--format", "json", "a.tar"]));
    assert_eq!(of_archive["waste"], report["waste"]);
    assert!(scene.say(&["layers", "other:1"]).contains("0B (0.0%) stored for nothing"));
}

#[test]
fn images_are_compared() {
    let scene = Scene::new();
    let text =
        "FROM busybox:1\nENV A=1 B=2\nRUN mkdir /d && echo one > /d/one && echo two > /d/two && ln -s one /d/link\n";
    scene.build(text, &["-t", "left:1"]);
    let changed = "FROM busybox:1\nENV A=1 B=3\nLABEL x=y\n\
                   RUN mkdir /d && echo eins > /d/one && echo three > /d/three && ln -s two /d/link && chmod 700 /d && \
                   chown 5:6 /d/one\nUSER 7\n";
    scene.build(changed, &["-t", "right:1"]);
    assert_eq!(scene.say(&["diff", "left:1", "left:1"]), "");
    let run = scene.run(&["diff", "left:1", "right:1"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""), "{}", run.failure());
    for wanted in [
        "configuration:\n",
        "  - config.Env B: 2\n  + config.Env B: 3\n",
        "  + config.Labels.x: y\n",
        "  + config.User: 7\n",
        "history:\n",
        "  + step 5: USER 7\n",
        "files:\n  C /d (mode 0755 -> 0700)\n",
        "  C /d/link (target one -> two)\n",
        "owner 0:0 -> 5:6",
        "  A /d/three (6 bytes)\n  D /d/two (4 bytes)\n",
    ] {
        assert!(run.stdout.contains(wanted), "{wanted}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("created") && !run.stdout.contains("Env A"), "{}", run.stdout);
    let json = json(&scene.run(&["diff", "--format", "json", "left:1", "right:1"]).stdout);
    assert_eq!((&json["same"], json["files"].as_array().map(Vec::len)), (&false.into(), Some(5)), "{json}");
    scene.say(&["save", "right:1", "-o", "right.tar"]);
    scene.say(&["save", "right:1", "-o", "layout", "--format", "oci-dir"]);
    assert_eq!(scene.say(&["diff", "right.tar", "layout"]), "");
    refused(&scene.run(&["diff", "left:1", "nothing:1"]), 1, "nothing:1");
    refused(&scene.run(&["diff", "left:1"]), 2, "IMAGE");
}
