//! What a hostile registry or network can try, row by row. Each row has its control: the same with nothing wrong works, and where it is
//! about who learns a secret, the right host does.

mod credentials;
mod secrets;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bld_oci::Digest;
use bld_oci::Reference;
use bld_oci::image::Descriptor;
use bld_oci::media_type;
use bld_registry::FetchedManifest;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::ResolvedImage;

use crate::support::fake::Fake;
use crate::support::server::Fault;
use crate::support::server::Reply;
use crate::support::server::Server;
use crate::support::*;

fn get(client: &Registry, reference: &Reference) -> Result<FetchedManifest, RegistryError> {
    let (client, reference) = (client.clone(), reference.clone());
    run(async move { client.manifest(&reference).await })
}

fn image(client: &Registry, reference: &Reference) -> Result<ResolvedImage, RegistryError> {
    let (client, reference) = (client.clone(), reference.clone());
    run(async move { client.image(&reference, &"linux/amd64".parse().unwrap()).await })
}

fn blob(client: &Registry, host: &str, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let (client, repository, descriptor) = (client.clone(), repository(host, "app"), descriptor.clone());
    run(async move {
        let mut bytes: Vec<u8> = Vec::new();
        client.blob(&repository, &descriptor, &mut bytes, &|_| {}).await.map(|()| bytes)
    })
}

fn config(client: &Registry, reference: &Reference, found: &ResolvedImage) -> Result<(), RegistryError> {
    let (client, repository, manifest) =
        (client.clone(), bld_registry::Repository::of(reference), found.manifest.clone());
    run(async move { client.config(&repository, &manifest).await.map(|_| ()) })
}

#[test]
fn r1_bytes_are_those_of_the_digest() {
    let right = noise(100_000, 1);
    let mut flipped = right.clone();
    flipped[77_777] ^= 1;
    let longer = [right.as_slice(), b"x"].concat();
    let huge = [right.as_slice(), &noise(8 << 20, 2)].concat();
    for (name, sent, fault, part) in [
        ("right", right.as_slice(), Fault::None, None),
        ("right, length unsaid", &right, Fault::NoLength, None),
        ("other bytes", &flipped, Fault::None, Some("is damaged")),
        ("shorter", &right[..99_999], Fault::None, Some("99999 bytes where 100000")),
        ("longer", &longer, Fault::None, Some("100001 bytes where 100000")),
        ("longer, length unsaid", &longer, Fault::NoLength, Some("100001 bytes where 100000")),
        ("much longer, length unsaid", &huge, Fault::NoLength, Some("100001 bytes where 100000")),
        ("shorter, length unsaid", &right[..99_999], Fault::NoLength, Some("ended after 99999 of 100000")),
        ("nothing", &[], Fault::None, Some("0 bytes where 100000")),
    ] {
        let fake = Fake::start();
        let descriptor = Descriptor::of("x", &right);
        let body = sent.to_vec();
        fake.fault(move |request| {
            request.path().contains("/blobs/").then(|| Reply::new(200).body(body.as_slice()).fault(fault))
        });
        let outcome = blob(&client(settings()), fake.host(), &descriptor);
        match (outcome, part) {
            (Ok(bytes), None) => assert_eq!(bytes, right, "{name}"),
            (Err(error), Some(part)) => assert!(whole(&error).contains(part), "{name}: {}", whole(&error)),
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
    // The same digest with another size.
    let fake = Fake::start();
    let mut descriptor = fake.blob("app", &right);
    for size in [99_999, 100_001, 0, u64::MAX] {
        descriptor.size = size;
        assert!(
            matches!(blob(&client(settings()), fake.host(), &descriptor), Err(RegistryError::Content { .. })),
            "{size}"
        );
    }
}

#[test]
fn r1_manifest_and_configuration() {
    let fake = Fake::start();
    let good = fake.image("app", "good", &[noise(10, 1), noise(20, 2)]);
    let client = client(settings());
    let tag = |tag: &str| reference(fake.host(), &format!("app:{tag}"));
    let found = image(&client, &tag("good")).unwrap();
    config(&client, &tag("good"), &found).unwrap();
    assert!(get(&client, &tag("good").with_digest(good.manifest.digest)).is_ok());
    // Another manifest under a digest, and one whose digest the registry misstates.
    let bytes = fake.state.lock().unwrap().manifests[&("app".to_owned(), "good".to_owned())].1.clone();
    let asked = Digest::of(b"asked");
    for name in [asked.to_string(), "misstated".to_owned()] {
        let kind = media_type::OCI_MANIFEST.to_owned();
        fake.state.lock().unwrap().manifests.insert(("app".to_owned(), name), (kind, bytes.clone()));
    }
    assert!(matches!(get(&client, &tag("good").with_digest(asked)), Err(RegistryError::Content { .. })));
    let body = bytes.clone();
    fake.fault(move |request| {
        request.path().ends_with("/misstated").then(|| {
            let reply = Reply::new(200).header("content-type", media_type::OCI_MANIFEST).body(body.as_slice());
            reply.header("docker-content-digest", Digest::of(b"misstated"))
        })
    });
    assert!(matches!(get(&client, &tag("misstated")), Err(RegistryError::Content { .. })));
    // More layers than the configuration knows of.
    let mut found = found;
    found.manifest.layers.pop();
    let error = config(&client, &tag("good"), &found).unwrap_err();
    assert!(whole(&error).contains("lists 1 layers, the image configuration 2"), "{}", whole(&error));
    // A configuration that is another one.
    let mut found = image(&client, &tag("good")).unwrap();
    let other = noise(usize::try_from(found.manifest.config.size).unwrap(), 3);
    let key = ("app".to_owned(), found.manifest.config.digest);
    fake.state.lock().unwrap().blobs.insert(key, other);
    assert!(matches!(config(&client, &tag("good"), &found), Err(RegistryError::Content { .. })));
    // An index that lists something else under this digest.
    found.fetched.descriptor.size += 1;
    let (client, repository, descriptor) = (client.clone(), repository(fake.host(), "app"), found.fetched.descriptor);
    let outcome = run(async move { client.manifest_of(&repository, &descriptor).await });
    assert!(matches!(outcome, Err(RegistryError::Content { .. })));
}

#[test]
fn r2_digests_are_digests() {
    let hex = "a".repeat(64);
    for digest in [
        "sha256:../../x".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}a"),
        format!("md5:{hex}"),
        format!("sha512:{hex}{hex}"),
        format!("sha256:{}\0", &hex[1..]),
    ] {
        let fake = Fake::start();
        let layer = serde_json::json!({ "mediaType": media_type::OCI_LAYER, "digest": digest, "size": 5 });
        let right = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": right, "layers": [layer] });
        fake.manifest("app", "1", media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [layer] });
        fake.manifest("app", "2", media_type::OCI_INDEX, index.to_string().as_bytes());
        for tag in ["1", "2"] {
            let asked = reference(fake.host(), &format!("app:{tag}"));
            assert!(matches!(image(&client(settings()), &asked), Err(RegistryError::Document { .. })), "{digest:?}");
        }
        assert!(fake.server.lines().iter().all(|line| line == "GET /v2/" || line.contains("/manifests/")), "{digest}");
        assert!(format!("{}/app@{digest}", fake.host()).parse::<Reference>().is_err());
    }
    // As a registry's word on what a tag stands for.
    let fake = Fake::start();
    fake.image("app", "1", &[]);
    fake.fault(|request| {
        (request.method == "HEAD").then(|| {
            let reply = Reply::new(200).header("content-type", media_type::OCI_MANIFEST).header("content-length", 5);
            reply.header("docker-content-digest", "sha256:../../etc/passwd")
        })
    });
    let (client, asked) = (client(settings()), reference(fake.host(), "app:1"));
    assert!(matches!(run(async move { client.resolve(&asked).await }), Err(RegistryError::Protocol { .. })));
}

#[test]
fn r3_a_document_is_one_thing() {
    let descriptor = |bytes: &[u8]| serde_json::json!({ "mediaType": media_type::OCI_CONFIG, "digest": Digest::of(bytes), "size": bytes.len() });
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": descriptor(b"{}"), "layers": [] });
    let mut typed = manifest.clone();
    typed["mediaType"] = media_type::DOCKER_MANIFEST.into();
    let mut both = manifest.clone();
    both["manifests"] = serde_json::json!([]);
    let schema1 = serde_json::json!({ "schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": [] });
    for (name, document, kind, part) in [
        ("right", &manifest, media_type::OCI_MANIFEST, None),
        ("right, with a parameter", &manifest, "application/vnd.oci.image.manifest.v1+json; charset=utf-8", None),
        ("right, unsaid", &manifest, "application/json", None),
        ("right, docker", &typed, media_type::DOCKER_MANIFEST, None),
        ("both", &both, media_type::OCI_MANIFEST, Some("both `layers` and `manifests`")),
        ("a manifest sent as index", &manifest, media_type::OCI_INDEX, Some("media type is")),
        ("an OCI type for docker's", &typed, media_type::OCI_MANIFEST, Some("media type is")),
        ("schema 1", &schema1, "application/vnd.docker.distribution.manifest.v1+prettyjws", Some("schema version 1")),
        ("something else", &manifest, "text/html", Some("media type is `text/html`")),
    ] {
        let fake = Fake::start();
        fake.manifest("app", "1", kind, document.to_string().as_bytes());
        match (image(&client(settings()), &reference(fake.host(), "app:1")), part) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(whole(&error).contains(part), "{name}: {}", whole(&error)),
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
    // A manifest where an index lists an index.
    let fake = Fake::start();
    let bytes = manifest.to_string();
    let inner = fake.manifest("app", "inner", media_type::OCI_MANIFEST, bytes.as_bytes());
    let entry = Descriptor { media_type: media_type::OCI_INDEX.to_owned(), ..inner };
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    fake.manifest("app", "1", media_type::OCI_INDEX, index.to_string().as_bytes());
    let error = image(&client(settings()), &reference(fake.host(), "app:1")).unwrap_err();
    assert!(whole(&error).contains("ambiguous"), "{}", whole(&error));
}

#[test]
fn r4_memory_is_bounded() {
    const MUCH: u64 = 16 << 20;
    let is_manifest = |path: &str| path.contains("/manifests/");
    // Endless, and one that says at once that it is too large.
    for reply in [
        Reply::new(200).fault(Fault::Endless),
        Reply::new(200).header("content-length", 1_u64 << 30).body("x"),
        Reply::new(200).body(noise((4 << 20) + 1, 1)),
    ] {
        let server =
            Server::start(
                "127.0.0.1",
                move |request| if is_manifest(request.path()) { reply.clone() } else { Reply::new(200) },
            );
        let error = get(&client(settings()), &reference(&server.host, "app:1")).unwrap_err();
        assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
        assert!(server.sent() < MUCH, "{} bytes taken", server.sent());
    }
    // An error's text without end is still that error.
    let server = Server::start("127.0.0.1", move |request| {
        if is_manifest(request.path()) { Reply::new(403).fault(Fault::Endless) } else { Reply::new(200) }
    });
    assert!(matches!(get(&client(settings()), &reference(&server.host, "app:1")), Err(RegistryError::Denied { .. })));
    assert!(server.sent() < MUCH, "{} bytes taken", server.sent());
    // A token server without end.
    let fake = Fake::start();
    fake.guard(&["Bearer t"], &format!("Bearer realm=\"http://{}/token\"", fake.host()));
    fake.fault(|request| (request.path() == "/token").then(|| Reply::new(200).fault(Fault::Endless)));
    let error = get(&client(settings()), &reference(fake.host(), "app:1")).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
    assert!(fake.server.sent() < MUCH);
    // 100,000 headers.
    let mut many = Reply::new(200);
    many.headers = (0..100_000).map(|number| (format!("x-{number}"), "y".to_owned())).collect();
    let server = Server::start(
        "127.0.0.1",
        move |request| if is_manifest(request.path()) { many.clone() } else { Reply::new(200) },
    );
    let mut few = settings();
    few.retries = Some(0);
    assert!(matches!(get(&client(few), &reference(&server.host, "app:1")), Err(RegistryError::Transport { .. })));
}

#[test]
fn r4_depth_and_number_are_bounded() {
    // More layers than any image has; the limit of 4 MiB comes first for a million.
    let fake = Fake::start();
    let layer = serde_json::json!({ "mediaType": "x", "digest": Digest::of(b""), "size": 0 });
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": layer, "layers": vec![&layer; 20_000] });
    fake.manifest("app", "1", media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
    assert!(image(&client(settings()), &reference(fake.host(), "app:1")).is_err());
    let layers = vec![serde_json::json!({}); 1_000_000];
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": layer, "layers": layers });
    fake.manifest("app", "2", media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
    assert!(image(&client(settings()), &reference(fake.host(), "app:2")).is_err());
    // Indexes in indexes: 4 are followed, 100 are not, and no more is fetched than needed to see it.
    let good = fake.image("app", "image", &[]);
    let mut descriptor = good.manifest;
    for depth in 1..=100 {
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor] });
        descriptor =
            fake.manifest("app", &format!("depth-{depth}"), media_type::OCI_INDEX, index.to_string().as_bytes());
    }
    let client = client(settings());
    assert_eq!(image(&client, &reference(fake.host(), "app:depth-4")).unwrap().indexes.len(), 4);
    let before = fake.server.log().len();
    let error = image(&client, &reference(fake.host(), "app:depth-100")).unwrap_err();
    assert!(error.to_string().contains("more than 4 deep"), "{error}");
    assert_eq!(fake.server.log().len() - before, 5);
    // JSON in JSON.
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    fake.manifest("app", "deep", media_type::OCI_MANIFEST, deep.as_bytes());
    assert!(image(&client, &reference(fake.host(), "app:deep")).is_err());
}

#[test]
fn r7_urls_of_layers_are_not_followed() {
    let elsewhere = Server::start("127.0.0.1", |_| Reply::new(200).body("layer"));
    let fake = Fake::start();
    let mut layer =
        serde_json::to_value(Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"layer"))
            .unwrap();
    layer["urls"] = serde_json::json!([format!("http://{}/layer", elsewhere.host)]);
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    fake.manifest("app", "1", media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
    let client = client(settings());
    let found = image(&client, &reference(fake.host(), "app:1")).unwrap();
    let layer = &found.manifest.layers[0];
    assert!(blob(&client, fake.host(), layer).unwrap_err().is_not_found());
    assert!(elsewhere.log().is_empty());
    // Where the registry itself has it, it is got.
    fake.blob("app", b"layer");
    assert_eq!(blob(&client, fake.host(), layer).unwrap(), b"layer");
}

#[test]
fn r9_no_way_from_https_to_http() {
    let fake = Fake::start();
    fake.image("app", "1", &[]);
    let asked = reference(fake.host(), "app:1");
    // The control: plain http is found out, for this machine only.
    assert!(get(&client(settings()), &asked).is_ok());
    let mut secure = settings();
    secure.retries = Some(0);
    secure.registry_mut(fake.host()).http = Some(false);
    let before = fake.server.log().len();
    let error = get(&client(secure.clone()), &asked).unwrap_err();
    assert!(matches!(error, RegistryError::NotTls { .. }), "{}", whole(&error));
    let hint = error.hint().unwrap();
    assert!(hint.contains(&format!("[registry.\"{}\"] http = true", fake.host())), "{hint}");
    // What is said about certificates means TLS, too.
    secure.registry_mut(fake.host()).http = None;
    secure.registry_mut(fake.host()).insecure_skip_verify = Some(true);
    assert!(matches!(get(&client(secure), &asked), Err(RegistryError::NotTls { .. })));
    assert_eq!(fake.server.log().len(), before);
}

#[test]
fn r12_a_tag_is_looked_up_once() {
    let fake = Fake::start();
    let (old, new) = (fake.image("app", "old", &[noise(10, 1)]), fake.image("app", "new", &[noise(10, 2)]));
    let index = |manifest: &Descriptor| serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    let (first, second) = (index(&old.manifest), index(&new.manifest));
    fake.manifest("app", "first", media_type::OCI_INDEX, first.as_bytes());
    // The tag moves each time somebody looks.
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        if !request.path().ends_with("/manifests/moving") {
            return None;
        }
        let text = if seen.fetch_add(1, Ordering::SeqCst) == 0 { &first } else { &second };
        Some(Reply::new(200).header("content-type", media_type::OCI_INDEX).body(text.as_str()))
    });
    let found = image(&client(settings()), &reference(fake.host(), "app:moving")).unwrap();
    assert_eq!(found.fetched.descriptor.digest, old.manifest.digest);
    assert_eq!(fake.server.lines().iter().filter(|line| line.ends_with("/moving")).count(), 1);
    // By digest the tag does not matter at all.
    let both: Reference = format!("{}/app:moving@{}", fake.host(), new.manifest.digest).parse().unwrap();
    assert_eq!(get(&client(settings()), &both).unwrap().descriptor, new.manifest);
}

#[test]
fn r13_names_become_paths_as_they_are() {
    let server = Server::start("127.0.0.1", |_| fake_404());
    let client = client(settings());
    for (name, path) in [
        ("a/b/c:tag", "/v2/a/b/c/manifests/tag"),
        ("a__b/c-d.e:T_1.x-y", "/v2/a__b/c-d.e/manifests/T_1.x-y"),
        ("a", "/v2/a/manifests/latest"),
    ] {
        assert!(get(&client, &reference(&server.host, name)).unwrap_err().is_not_found());
        assert_eq!(server.log().last().unwrap().target, path);
    }
    for name in ["../x", "a/../b", "a//b", "a%2fb", "a?b", "a#b", "A/b", "a:b:c", "a\\b", "a b"] {
        assert!(format!("{}/{name}", server.host).parse::<Reference>().is_err(), "{name}");
    }
}

fn fake_404() -> Reply {
    crate::support::fake::error(404, "NAME_UNKNOWN")
}
