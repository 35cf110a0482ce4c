//! What hostile input does to bld, and must not.
//!
//! Images are written byte by byte, because a well-behaved tool cannot make the bad ones.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use bld_oci::Digest;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts bytes into the layout `directory` and describes them.
fn blob(directory: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
}

/// A layout of one image that is called `evil:1`, with this configuration and these layers.
fn layout(directory: &Path, config: &[u8], layers: &[&[u8]]) {
    let config = blob(directory, CONFIG, config);
    let layers: Vec<Value> = layers.iter().map(|bytes| blob(directory, LAYER, bytes)).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let mut entry = blob(directory, MANIFEST, manifest.to_string().as_bytes());
    entry["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/evil:1" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// An archive of an image without layers, with this configuration.
fn archive(work: &Path, config: &[u8]) -> PathBuf {
    let directory = work.join("layout");
    layout(&directory, config, &[]);
    let file = work.join("evil.tar");
    let mut tar = tar::Builder::new(fs::File::create(&file).unwrap());
    tar.append_dir_all("", &directory).unwrap();
    tar.finish().unwrap();
    file
}

fn load(store: &Store, config: &[u8]) -> Run {
    let work = TempDir::new().unwrap();
    support::run(store.bld().args(["load", "-i"]).arg(archive(work.path(), config)))
}

fn context(dockerfile: &[u8]) -> TempDir {
    let context = TempDir::new().unwrap();
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    context
}

#[test]
fn an_image_with_a_broken_configuration_is_not_loaded() {
    let store = Store::empty();
    let too_many = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{:064}", 0)] } });
    for config in [b"".as_slice(), b"null", b"[]", b"{\"config\":7}", too_many.to_string().as_bytes()] {
        let loaded = load(&store, config);
        assert_eq!(loaded.code, Some(1), "{}", loaded.failure());
        let listed = support::run(store.bld().arg("images")).succeeded();
        assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
    }
    // The archive itself is fine.
    let good = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } });
    load(&store, good.to_string().as_bytes()).succeeded();
    let listed = support::run(store.bld().arg("images")).succeeded();
    assert!(listed.stdout.contains("evil"), "{}", listed.stdout);
}

#[test]
fn messages_do_not_drive_the_terminal() {
    let store = Store::empty();
    for dockerfile in [
        b"FROM scratch\nR\x1b]52;c;QUJD\x07UN x\n".as_slice(),
        b"FROM scratch AS a\x1b[2Jb\n",
        b"FROM b\x1b[2Jusybox\n",
        b"FROM scratch\nCOPY a\x1b[2J\xc2\x9b2Jb /\n",
    ] {
        let context = context(dockerfile);
        let built = support::run(store.bld().arg("build").arg(context.path()));
        assert_eq!(built.code, Some(1), "{}", built.failure());
        let shown = built.stderr.chars().find(|shown| shown.is_control() && !matches!(shown, '\n' | '\t'));
        assert_eq!(shown, None, "{:?}", built.stderr);
    }
    for arguments in [["build", "-t=x\x1b[2J", "."], ["build", "--target=\x1b[2J", "."], ["rmi", "\x1b[2J", "x"]] {
        let context = context(b"FROM scratch\n");
        let built = support::run(store.bld().args(arguments).current_dir(context.path()));
        assert!(!built.stderr.contains('\x1b'), "{:?}", built.stderr);
    }
}

#[test]
fn a_damaged_blob_is_named_and_made_again() {
    let store = Store::with(&[Base::Busybox]);
    let context = context(b"FROM busybox:1\nCOPY Dockerfile /f\n");
    let out = TempDir::new().unwrap();
    let file = out.path().join("out.tar");
    let build = || {
        let output = format!("type=oci,dest={}", file.display());
        support::run(store.bld().args(["build", "-o", &output]).arg(context.path()))
    };
    let digest = build().succeeded().stdout;
    let whole = fs::read(&file).unwrap();
    let manifest = support::layout::Layout::unpack(&file, &out.path().join("layout"));
    let layer = manifest.layers().pop().unwrap();
    let blob = store.root().join("oci/blobs/sha256").join(layer.file_name().unwrap());
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&blob, &bytes).unwrap();
    fs::remove_file(&file).unwrap();
    let broken = build();
    assert_eq!(broken.code, Some(1), "{}", broken.failure());
    assert!(broken.stderr.contains("is damaged"), "{}", broken.failure());
    assert!(!file.exists(), "wrong bytes must not get out");
    assert_eq!(build().succeeded().stdout, digest);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_damaged_image_does_not_hide_the_others() {
    let store = Store::with(&[Base::Busybox]);
    let context = context(b"FROM busybox:1\nLABEL a=b\n");
    let built = support::run(store.bld().args(["build", "-t", "hurt"]).arg(context.path())).succeeded();
    let digest = built.stdout.trim().strip_prefix("sha256:").unwrap().to_owned();
    let manifest = store.root().join("oci/blobs/sha256").join(&digest);
    let length = fs::read(&manifest).unwrap().len();
    fs::write(&manifest, vec![b' '; length]).unwrap();
    // What is remembered of an image is shown without reading it: forget that.
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        drop(fs::remove_file(store.root().join(name)));
    }
    let listed = support::run(store.bld().arg("images")).succeeded();
    assert!(listed.stdout.contains("busybox"), "{}", listed.stdout);
    assert!(listed.stdout.contains("damaged"), "{}", listed.stdout);
    assert!(listed.stderr.contains("hurt:latest cannot be read"), "{}", listed.stderr);
    support::run(store.bld().args(["rmi", "hurt"])).succeeded();
    let listed = support::run(store.bld().arg("images")).succeeded();
    assert!(!listed.stdout.contains("hurt"), "{}", listed.stdout);
}

#[test]
fn a_false_claim_to_a_layer_does_not_spoil_the_true_one() {
    let store = Store::empty();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    tar.append_data(&mut header, "file", b"true".as_slice()).unwrap();
    let layer = tar.into_inner().unwrap();
    let config = json!({
        "os": "linux",
        "architecture": "amd64",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] },
    });
    let work = TempDir::new().unwrap();
    let context = context(b"FROM base\nCOPY --from=base /file /copy\n");
    let build = |name: &str, bytes: &[u8]| {
        let directory = work.path().join(name);
        layout(&directory, config.to_string().as_bytes(), &[bytes]);
        let base = format!("base=oci-layout://{}", directory.display());
        let output = work.path().join("out");
        support::run(store.bld().args(["build", "--build-context", &base, "-o"]).arg(output).arg(context.path()))
    };
    let lied = build("liar", b"not what the configuration says");
    assert_eq!(lied.code, Some(1), "{}", lied.failure());
    build("honest", &layer).succeeded();
    assert_eq!(fs::read(work.path().join("out/copy")).unwrap(), b"true");
}

#[test]
fn a_nul_does_not_cut_a_name_short() {
    let store = Store::empty();
    for dockerfile in [b"FROM scratch\nWORKDIR /a\0b\n".as_slice(), b"FROM scratch\nENV A=b\0c\n", b"FROM scr\0atch\n"]
    {
        let context = context(dockerfile);
        let built = support::run(store.bld().arg("build").arg(context.path()));
        assert_eq!(built.code, Some(1), "{}", built.failure());
        assert!(built.stderr.contains("NUL"), "{}", built.failure());
    }
}
