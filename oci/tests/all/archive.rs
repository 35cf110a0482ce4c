//! Archives as written, as read back, and as other tools read them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::io::Write as _;
use std::process::Command;

use bld_oci::Compression;
use bld_oci::Digest;
use bld_oci::Platform;
use bld_oci::archive::ArchiveBlob;
use bld_oci::archive::ArchiveError;
use bld_oci::archive::ArchiveImage;
use bld_oci::archive::ArchivedImage;
use bld_oci::archive::DockerImage;
use bld_oci::archive::scan;
use bld_oci::archive::write_archive;
use bld_oci::image::AssembleOptions;
use bld_oci::image::Descriptor;
use bld_oci::image::Image;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::image::Step;
use bld_oci::image::assemble;
use bld_oci::layer::CompletedLayer;
use bld_oci::layer::LayerSink;
use bld_oci::layout::blob_path;

use crate::raw;

fn layer(text: &str, compression: Compression) -> (CompletedLayer, Vec<u8>) {
    let mut sink = LayerSink::new(Vec::new(), compression).unwrap();
    sink.write_all(&raw::archive(&[raw::file(text, text.as_bytes())])).unwrap();
    sink.complete().unwrap()
}

fn image(layers: &[(CompletedLayer, Vec<u8>)]) -> Image {
    let step = |(layer, _): &(CompletedLayer, Vec<u8>)| Step {
        history: serde_json::Map::from_iter([("created_by".to_owned(), "test".into())]),
        layer: Some(ImageLayer { diff_id: layer.diff_id, blob: layer.blob.clone() }),
    };
    let config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() };
    assemble(&config, &layers.iter().map(step).collect::<Vec<_>>(), &AssembleOptions::default()).unwrap()
}

fn entry(image: &Image, names: &[&str]) -> ArchiveImage {
    ArchiveImage {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        manifest: image.manifest.clone(),
        platform: Some(Platform::new("linux", "amd64", None)),
        annotations: BTreeMap::new(),
        docker: Some(DockerImage { config: image.config.clone(), layers: image.layers.clone() }),
    }
}

fn blobs<'a>(image: &'a Image, layers: &'a [(CompletedLayer, Vec<u8>)]) -> Vec<ArchiveBlob<'a>> {
    let mut blobs: Vec<_> =
        layers.iter().map(|(layer, bytes)| ArchiveBlob::of_bytes(layer.blob.clone(), bytes)).collect();
    blobs.push(ArchiveBlob::of_bytes(image.config.clone(), &image.config_bytes));
    blobs.push(ArchiveBlob::of_bytes(image.manifest.clone(), &image.manifest_bytes));
    blobs
}

fn sample(compression: Compression) -> (Image, Vec<u8>) {
    let layers = [layer("a", compression), layer("b", compression)];
    let image = image(&layers);
    let archive =
        write_archive(Vec::new(), &[entry(&image, &["one:1", "localhost:5000/two:2"])], blobs(&image, &layers))
            .unwrap();
    (image, archive)
}

#[test]
fn archives_read_back() {
    let (image, archive) = sample(Compression::GZIP);
    assert_eq!(archive, sample(Compression::GZIP).1);
    for packed in [false, true] {
        let mut bytes = archive.clone();
        if packed {
            let mut encoder = bld_oci::compression::Encoder::new(Vec::new(), Compression::ZSTD).unwrap();
            encoder.write_all(&archive).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let taken = RefCell::new(BTreeMap::new());
        let contents = scan(bytes.as_slice(), |name, size, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, size);
            taken.borrow_mut().insert(name.to_owned(), bytes);
            Ok(())
        })
        .unwrap();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(
            contents.images().unwrap(),
            [
                ArchivedImage::Oci { name: name("docker.io/library/one:1"), descriptor: image.manifest.clone() },
                ArchivedImage::Oci { name: name("localhost:5000/two:2"), descriptor: image.manifest.clone() },
            ]
        );
        let taken = taken.into_inner();
        assert_eq!(taken.len(), 4);
        assert_eq!(taken[&blob_path(image.config.digest)], image.config_bytes);
        assert!(taken.iter().all(|(name, bytes)| *name == blob_path(Digest::of(bytes))));
    }
}

#[test]
fn wrong_blobs_are_not_written() {
    let layers = [layer("a", Compression::None)];
    let image = image(&layers);
    let archive = |blobs| write_archive(Vec::new(), &[entry(&image, &[])], blobs);
    let mut missing = blobs(&image, &layers);
    missing.remove(0);
    assert!(matches!(archive(missing), Err(ArchiveError::NoBlob { .. })));
    let mut other = blobs(&image, &layers);
    other[0].open = Box::new(|| Ok(Box::new(std::io::repeat(1).take(2048))));
    assert!(archive(other).unwrap_err().to_string().contains("is damaged"));
    let mut short = blobs(&image, &layers);
    short[0].open = Box::new(|| Ok(Box::new(std::io::empty())));
    assert!(archive(short).unwrap_err().to_string().contains("has 0 bytes"));
}

fn images(parts: &[Vec<u8>]) -> Result<Vec<ArchivedImage>, ArchiveError> {
    scan(raw::archive(parts).as_slice(), |_, _, _| Ok(()))?.images()
}

#[test]
fn old_docker_archives() {
    let manifest =
        br#"[{"Config":"abc.json","RepoTags":["one:1"],"Layers":["1/layer.tar","2/layer.tar","1/layer.tar"]},
        {"Config":"./abc.json","RepoTags":null,"Layers":null}]"#;
    let parts = [
        raw::file("1/layer.tar", b"x"),
        raw::Raw::new(b"2/layer.tar", b'2', 0).link(b"../1/layer.tar").done(),
        raw::file("abc.json", b"{}"),
        raw::file("manifest.json", manifest),
    ];
    let layers = vec!["1/layer.tar".to_owned(); 3];
    assert_eq!(
        images(&parts).unwrap(),
        [
            ArchivedImage::Docker { tags: vec!["one:1".into()], config: "abc.json".into(), layers },
            ArchivedImage::Docker { tags: vec![], config: "abc.json".into(), layers: vec![] },
        ]
    );
}

#[test]
fn hostile_archives() {
    let index = |digest: &str| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{digest}","size":1}}]}}"#);
        raw::file("index.json", text.as_bytes())
    };
    let layout = raw::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let row = |text: &str| raw::file("manifest.json", text.as_bytes());
    let zero = Digest::of(b"").to_string();
    for (parts, message) in [
        (vec![], "not an image archive"),
        (vec![layout.clone()], "not an image archive"),
        (vec![layout.clone(), index(&zero)], "has no file"),
        (vec![layout.clone(), index("sha256:../../x")], "index.json"),
        (vec![layout.clone(), layout.clone()], "two files"),
        (vec![raw::file("oci-layout", b"{}"), index(&zero)], "imageLayoutVersion"),
        (vec![row(r#"[{"Config":"../../etc/passwd"}]"#)], "has no file"),
        (vec![row("[]"), row("[]")], "two files"),
        (vec![row("{}")], "not valid"),
        (vec![row(&"[".repeat(10_000))], "not valid"),
        (vec![raw::Raw::new(b"a", b'2', 0).link(b"a").done(), row(r#"[{"Config":"a"}]"#)], "has no file"),
        (vec![raw::file("manifest.json", &vec![b' '; (4 << 20) + 1])], "limit"),
    ] {
        let error = images(&parts).expect_err(message).to_string();
        assert!(error.contains(message), "`{error}` does not contain `{message}`");
    }
    let many: Vec<Vec<u8>> = (0..100_001).map(|number| raw::file(&number.to_string(), b"")).collect();
    assert!(images(&many).unwrap_err().to_string().contains("100000"));
    assert!(scan([0x1f, 0x8b, 8, 0].as_slice(), |_, _, _| Ok(())).is_err());
    assert_eq!(Descriptor::of("a/b", b"").size, 0);
}

/// skopeo reads the archive as an OCI one and as docker's.
#[test]
fn skopeo_agrees() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        std::io::stderr().write_all(b"skopeo_agrees: skipped, there is no skopeo\n").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    for compression in [Compression::GZIP, Compression::None] {
        let (image, archive) = sample(compression);
        std::fs::write(&file, archive).unwrap();
        for source in ["oci-archive:FILE:1", "docker-archive:FILE:one:1", "docker-archive:FILE:localhost:5000/two:2"] {
            let target = folder.path().join("target");
            let source = source.replace("FILE", &file.display().to_string());
            let mut command = Command::new("skopeo");
            command.args(["--insecure-policy", "copy", &source, &format!("dir:{}", target.display())]);
            let out = command.output().unwrap();
            assert!(out.status.success(), "{source}: {}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(std::fs::read(target.join(image.config.digest.hex())).unwrap(), image.config_bytes, "{source}");
            std::fs::remove_dir_all(target).unwrap();
        }
    }
}
