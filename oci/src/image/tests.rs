//! Configurations and manifests, honest and hostile.

use serde_json::json;

use super::*;
use crate::media_type;
use crate::platform::Platform;

fn descriptor(text: &str) -> Descriptor {
    Descriptor::of(media_type::OCI_LAYER_GZIP, text.as_bytes())
}

fn step(text: &str, layer: bool) -> Step {
    let history = Map::from_iter([("created_by".to_owned(), json!(text))]);
    let diff_id = DiffId(Digest::of(text.as_bytes()));
    Step { history, layer: layer.then(|| ImageLayer { diff_id, blob: descriptor(text) }) }
}

#[test]
fn config_round_trip_keeps_everything() {
    let text = json!({
        "architecture": "arm64", "os": "linux", "variant": "v8", "author": "me", "created": "2020-01-01T00:00:00Z",
        "docker_version": "20", "os.version": "1", "moby.buildkit.cache.v0": "abc", "container_config": {"Cmd": null, "x": [1]},
        "config": {
            "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "Env": ["B=2", "A=1"], "Entrypoint": ["e"], "Cmd": ["c", ""],
            "Volumes": {"/v": {}}, "WorkingDir": "/w", "Labels": {"b": "", "a": "1"}, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5_000_000_000_u64, "Retries": 3, "StartInterval": 7},
            "OnBuild": ["RUN x"], "Shell": ["/bin/bash"], "ArgsEscaped": true, "Hostname": "h", "Tty": false
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"a")]},
        "history": [{"created_by": "x", "weird": 1}, {"empty_layer": true}]
    });
    let config = ImageConfig::parse(text.to_string().as_bytes()).unwrap();
    assert!(config.container.args_escaped);
    assert_eq!(config.container.healthcheck.as_ref().unwrap().start_interval, 7);
    assert_eq!(config.platform().to_string(), "linux/arm64");
    assert_eq!(serde_json::from_slice::<Value>(&config.to_json()).unwrap(), text);
    assert_eq!(ImageConfig::parse(&config.to_json()).unwrap(), config);
}

#[test]
fn null_is_absent_everywhere() {
    let fields = ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"];
    let docker = ["Healthcheck", "OnBuild", "Shell", "ArgsEscaped", "Image"];
    let nulls: Map<String, Value> =
        fields.iter().chain(&docker).map(|name| ((*name).to_owned(), Value::Null)).collect();
    let text =
        json!({"architecture": null, "os": null, "config": nulls, "rootfs": null, "history": null, "created": null});
    assert_eq!(ImageConfig::parse(text.to_string().as_bytes()).unwrap(), ImageConfig::default());
    let text = json!({"config": null, "rootfs": {"type": null, "diff_ids": null}, "history": [null]});
    assert_eq!(ImageConfig::parse(text.to_string().as_bytes()).unwrap().history.len(), 1);
}

#[test]
fn hostile_configs_are_errors() {
    let deep = "[".repeat(100_000);
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_DOCUMENT));
    for text in [
        "",
        "[]",
        "1",
        "{",
        "\u{0}",
        deep.as_str(),
        huge.as_str(),
        r#"{"config":[]}"#,
        r#"{"config":{"Env":{}}}"#,
        r#"{"config":{"Env":[1]}}"#,
        r#"{"config":{"Labels":{"a":1}}}"#,
        r#"{"config":{"ArgsEscaped":"true"}}"#,
        r#"{"config":{"Healthcheck":{"Interval":-1}}}"#,
        r#"{"config":{"Healthcheck":{"Retries":5000000000}}}"#,
        r#"{"rootfs":{"type":"other"}}"#,
        r#"{"rootfs":{"diff_ids":["sha256:../x"]}}"#,
        r#"{"history":{}}"#,
        r#"{"os":1}"#,
    ] {
        assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{}", text.chars().take(50).collect::<String>());
    }
}

#[test]
fn assembled_images_agree_with_themselves() {
    let config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..ImageConfig::default() };
    let all = [step("a", true), step("b", false), step("c", true)];
    let image = assemble(&config, &all, &AssembleOptions::default()).unwrap();
    let manifest = read_manifest(&image.manifest_bytes).unwrap();
    let read = ImageConfig::parse(&image.config_bytes).unwrap();
    assert_eq!(manifest.config, image.config);
    assert_eq!(manifest.layers, [descriptor("a"), descriptor("c")]);
    assert_eq!(read.history[1]["empty_layer"], json!(true));
    assert!(!read.history[0].contains_key("empty_layer"));
    assert_eq!(steps(&read, &manifest).unwrap(), all);
    assert_eq!(assemble(&read, &all, &AssembleOptions::default()).unwrap(), image);
}

#[test]
fn docker_format() {
    let options = AssembleOptions { format: Format::Docker, annotations: BTreeMap::from([("a".into(), "b".into())]) };
    let image = assemble(&ImageConfig::default(), &[step("a", true)], &options).unwrap();
    let manifest = read_manifest(&image.manifest_bytes).unwrap();
    assert_eq!(manifest.media_type, media_type::DOCKER_MANIFEST);
    assert_eq!(manifest.layers[0].media_type, media_type::DOCKER_LAYER_GZIP);
    assert!(manifest.annotations.is_empty() && manifest.is_image());
    let mut zstd = step("a", true);
    zstd.layer.as_mut().unwrap().blob.media_type = media_type::OCI_LAYER_ZSTD.to_owned();
    assert!(matches!(assemble(&ImageConfig::default(), &[zstd], &options), Err(ImageError::NoDockerType { .. })));
}

#[test]
fn history_that_disagrees_is_repaired() {
    let blobs = vec![descriptor("a"), descriptor("b")];
    let diff_ids = vec![DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b"))];
    let manifest = Manifest {
        media_type: media_type::OCI_MANIFEST.into(),
        config: descriptor("c"),
        layers: blobs,
        annotations: BTreeMap::new(),
    };
    let mut config = ImageConfig { diff_ids, ..ImageConfig::default() };
    for (rows, layers) in [(0, vec![true, true]), (1, vec![true, true]), (3, vec![true, true, false])] {
        config.history = vec![Map::new(); rows];
        let found: Vec<bool> = steps(&config, &manifest).unwrap().iter().map(|step| step.layer.is_some()).collect();
        assert_eq!(found, layers, "{rows} rows");
    }
    config.diff_ids.pop();
    assert!(matches!(steps(&config, &manifest), Err(ImageError::LayerCount { layers: 2, diff_ids: 1 })));
}

#[test]
fn hostile_manifests_are_errors() {
    let blob = json!({"mediaType": "x/y", "digest": Digest::of(b""), "size": 0});
    let with = |digest: &str| json!({"mediaType": "x/y", "digest": digest, "size": 1});
    let manifest = |config: Value, layers: Value| json!({"schemaVersion": 2, "config": config, "layers": layers});
    assert!(read_manifest(manifest(blob.clone(), Value::Array(vec![])).to_string().as_bytes()).is_ok());
    for value in [
        json!({"schemaVersion": 2}),
        json!({"schemaVersion": 1, "config": blob, "layers": []}),
        json!({"config": blob, "layers": []}),
        json!({"schemaVersion": 2, "config": blob, "layers": [], "manifests": []}),
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "config": blob, "layers": []}),
        json!({"schemaVersion": 2, "manifests": []}),
        manifest(blob.clone(), json!([with("sha512:00")])),
        manifest(blob.clone(), json!([with("sha256:../../x")])),
        manifest(blob.clone(), json!([with(&Digest::of(b"").to_string().to_uppercase())])),
        manifest(blob.clone(), json!([{"mediaType": "x/y", "digest": Digest::of(b""), "size": -1}])),
        manifest(blob.clone(), Value::Array(vec![blob.clone(); MAX_LAYERS + 1])),
        manifest(json!("x"), json!([])),
    ] {
        let text = value.to_string();
        assert!(read_manifest(text.as_bytes()).is_err(), "{}", text.chars().take(200).collect::<String>());
    }
    let text = manifest(blob.clone(), json!([])).to_string();
    assert!(read_document(text.as_bytes(), Some(media_type::DOCKER_MANIFEST)).is_ok());
    assert!(read_document(text.as_bytes(), Some(media_type::DOCKER_INDEX)).is_err());
    assert!(read_index(text.as_bytes()).is_err());
}

#[test]
fn platforms_are_selected() {
    let entry = |name: &str, platform: Value| json!({"mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(name.as_bytes()), "size": 1, "platform": platform});
    let index = json!({"schemaVersion": 2, "manifests": [
        entry("unknown", json!({"architecture": "unknown", "os": "unknown"})),
        entry("amd64", json!({"architecture": "amd64", "os": "linux"})),
        entry("v6", json!({"architecture": "arm", "os": "linux", "variant": "v6"})),
        entry("v7", json!({"architecture": "arm", "os": "linux", "variant": "v7"})),
        entry("arm64", json!({"architecture": "arm64", "os": "linux", "variant": "v8"})),
    ]});
    let index = read_index(index.to_string().as_bytes()).unwrap();
    for (platform, name) in [
        ("linux/amd64", "amd64"),
        ("linux/arm", "v7"),
        ("linux/arm/v6", "v6"),
        ("linux/arm64", "arm64"),
        ("linux/amd64/v4", "amd64"),
    ] {
        let found = select_platform(&index, &platform.parse::<Platform>().unwrap()).unwrap();
        assert_eq!(found.descriptor.digest, Digest::of(name.as_bytes()), "{platform}");
    }
    let error = select_platform(&index, &"linux/s390x".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "no image for linux/s390x; the index has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64");
    let alone = json!({"schemaVersion": 2, "manifests": [entry("x", Value::Null)]});
    let alone = read_index(alone.to_string().as_bytes()).unwrap();
    assert!(select_platform(&alone, &"linux/s390x".parse().unwrap()).is_ok());
}

proptest::proptest! {
    #[test]
    fn documents_with_one_byte_changed_do_not_panic(position in 0..2000_usize, byte in proptest::prelude::any::<u8>()) {
        let all = [step("a", true), step("b", false)];
        let mut image = assemble(&ImageConfig::default(), &all, &AssembleOptions::default()).unwrap();
        for bytes in [&mut image.config_bytes, &mut image.manifest_bytes] {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        let _ignored = read_document(&image.manifest_bytes, None);
        if let Ok(config) = ImageConfig::parse(&image.config_bytes) {
            proptest::prop_assert_eq!(ImageConfig::parse(&config.to_json()).unwrap(), config);
        }
    }
}
