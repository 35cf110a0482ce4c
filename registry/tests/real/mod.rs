//! Against docker's own registry, with TLS, basic authentication and a token server; what was pushed is read by skopeo.

mod host;

use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::media_type;
use bld_registry::Credentials;
use bld_registry::Pushed;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Repository;
use bld_registry::Secret;
use bld_registry::Settings;
use bld_registry::Stored;

use self::host::Auth;
use self::host::Host;
use crate::support::*;

/// An image of these layers, pushed blob by blob; the digest of its manifest.
async fn push_image(
    client: &Registry,
    host: &str,
    name: &str,
    layers: &[Vec<u8>],
    others: &[Repository],
) -> Result<(Digest, Vec<Pushed>), RegistryError> {
    let reference = reference(host, name);
    let repository = Repository::of(&reference);
    let mut outcomes = Vec::new();
    let mut push = async |kind: &str, bytes: &[u8]| {
        let descriptor = Descriptor::of(kind, bytes);
        let content = bytes.to_vec();
        let source = move || Ok(std::io::Cursor::new(content.clone()));
        let pushed = client.push_blob(&repository, &descriptor, others, &source, &|_| {}).await?;
        outcomes.push(pushed);
        Ok::<_, RegistryError>(descriptor)
    };
    let mut descriptors = Vec::new();
    for layer in layers {
        descriptors.push(push(media_type::OCI_LAYER, layer).await?);
    }
    let diff_ids: Vec<Digest> = descriptors.iter().map(|layer| layer.digest).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = push(media_type::OCI_CONFIG, config.to_string().as_bytes()).await?;
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": descriptors,
    });
    let bytes = manifest.to_string();
    let pushed = client.push_manifest(&reference, media_type::OCI_MANIFEST, bytes.as_bytes()).await?;
    Ok((pushed.digest, outcomes))
}

/// Everything of an image.
async fn pull_image(client: &Registry, host: &str, name: &str) -> Result<(Digest, Vec<Vec<u8>>), RegistryError> {
    let reference = reference(host, name);
    let repository = Repository::of(&reference);
    let image = client.image(&reference, &"linux/amd64".parse().unwrap()).await?;
    client.config(&repository, &image.manifest).await?;
    let mut layers = Vec::new();
    for layer in &image.manifest.layers {
        let mut bytes: Vec<u8> = Vec::new();
        client.blob(&repository, layer, &mut bytes, &|_| {}).await?;
        layers.push(bytes);
    }
    Ok((image.fetched.descriptor.digest, layers))
}

/// Settings that trust the authority of the tests.
fn trusting(host: &Host) -> Settings {
    let mut settings = settings();
    settings.registry_mut(&host.name).ca = Some(vec![host.authority()]);
    settings
}

#[test]
fn plain_http() {
    let host = Host::start(false, Auth::None);
    let (client, name) = (client(settings()), host.name.clone());
    let layers = [noise(3_000_000, 1), noise(10, 2), Vec::new()];
    run(async move {
        let (digest, outcomes) = push_image(&client, &name, "team/app:1", &layers, &[]).await.unwrap();
        assert_eq!(outcomes, vec![Pushed::Uploaded; 4]);
        // A second time nothing is sent, into another repository everything is mounted.
        let (again, outcomes) = push_image(&client, &name, "team/app:2", &layers, &[]).await.unwrap();
        assert_eq!((again, outcomes), (digest, vec![Pushed::Existed; 4]));
        let first = repository(&name, "team/app");
        let (again, outcomes) =
            push_image(&client, &name, "other:1", &layers, std::slice::from_ref(&first)).await.unwrap();
        assert_eq!((again, outcomes), (digest, vec![Pushed::Mounted(first.clone()); 4]));
        for tag in ["team/app:1", "team/app:2", "other:1"] {
            let (found, pulled) = pull_image(&client, &name, tag).await.unwrap();
            assert_eq!((found, pulled.as_slice()), (digest, layers.as_slice()));
            assert_eq!(client.resolve(&reference(&name, tag)).await.unwrap().digest, digest);
        }
        let mut tags = client.tags(&first).await.unwrap();
        tags.sort();
        assert_eq!(tags, ["1", "2"]);
        assert!(client.referrers(&first, digest).await.unwrap().index.manifests.is_empty());
        // By digest, without a tag.
        let fetched = client.manifest(&reference(&name, "other:1")).await.unwrap();
        let by_digest = reference(&name, "other").with_digest(digest);
        client.push_manifest(&by_digest, media_type::OCI_MANIFEST, &fetched.bytes).await.unwrap();
        client.delete_manifest(&reference(&name, "other:1")).await.unwrap();
        assert!(client.manifest(&by_digest).await.unwrap_err().is_not_found());
        let error = client.manifest(&reference(&name, "nothing:here")).await.unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
    });
}

#[test]
fn in_pieces() {
    let host = Host::start(false, Auth::None);
    let mut settings = settings();
    settings.registry_mut(&host.name).chunk_size = Some(5 << 20);
    let (client, name) = (client(settings), host.name.clone());
    let layers = [noise(12 << 20, 3)];
    run(async move {
        let (digest, _) = push_image(&client, &name, "app:1", &layers, &[]).await.unwrap();
        assert_eq!(pull_image(&client, &name, "app:1").await.unwrap(), (digest, layers.to_vec()));
    });
}

#[test]
fn tls_and_a_password() {
    let host = Host::start(true, Auth::Password);
    let file = host.path("config.json");
    let credentials = || Credentials::new(vec![file.clone()], None);
    let name = host.name.clone();
    let layers = [noise(2_000_000, 4)];

    // An authority that nobody knows.
    let asked = reference(&name, "app:1");
    let client = client_with(settings(), credentials());
    let error = run(async move { client.manifest(&asked).await.unwrap_err() });
    assert!(matches!(error, RegistryError::Certificate { .. }), "{}", whole(&error));
    let mut strict = settings();
    strict.registry_mut(&name).http = Some(false);
    let (client, asked) = (client_with(strict, credentials()), reference(&name, "app:1"));
    let error = run(async move { client.manifest(&asked).await.unwrap_err() });
    assert!(matches!(error, RegistryError::Certificate { .. }), "{}", whole(&error));
    assert!(error.hint().unwrap().contains(&format!("[registry.\"{name}\"] ca = ")), "{error}");

    let client = client_with(trusting(&host), credentials());
    let stored = file.clone();
    let digest = run({
        let (client, name, layers) = (client.clone(), name.clone(), layers.clone());
        async move {
            let error = push_image(&client, &name, "app:1", &layers, &[]).await.unwrap_err();
            assert!(matches!(error, RegistryError::Unauthorized { tried: false, .. }), "{error}");
            assert_eq!(error.hint().unwrap(), format!("log in with `bld login {name}`"));
            let wrong = client.login(&name, "user", Secret::new("wrong".to_owned())).await.unwrap_err();
            assert!(matches!(wrong, RegistryError::Unauthorized { tried: true, .. }), "{wrong}");
            let right = client.login(&name, "user", Secret::new("hunter2".to_owned())).await.unwrap();
            assert_eq!(right, Stored::File(stored));
            let (digest, _) = push_image(&client, &name, "app:1", &layers, &[]).await.unwrap();
            assert_eq!(pull_image(&client, &name, "app:1").await.unwrap(), (digest, layers.to_vec()));
            digest
        }
    });
    // skopeo reads our file of credentials, and sees the same digest.
    assert_eq!(host.skopeo_digest(&format!("app@{digest}"), &file), digest);
    assert_eq!(host.skopeo_digest("app:1", &file), digest);

    // Any certificate, if that is wanted.
    let mut careless = settings();
    careless.registry_mut(&name).insecure_skip_verify = Some(true);
    let careless = client_with(careless, credentials());
    let host_name = name.clone();
    run(async move {
        assert_eq!(pull_image(&careless, &host_name, "app:1").await.unwrap().0, digest);
        assert!(client.logout(&host_name).await.unwrap());
        assert!(matches!(pull_image(&client, &host_name, "app:1").await, Err(RegistryError::Unauthorized { .. })));
    });
}

#[test]
fn a_file_of_authorities_that_is_not_there() {
    let host = Host::start(true, Auth::None);
    for (file, part) in [("none.pem", "cannot read"), ("server.key", "has no usable certificate")] {
        let mut settings = settings();
        settings.registry_mut(&host.name).ca = Some(vec![host.path(file)]);
        let (client, asked) = (client(settings), reference(&host.name, "app:1"));
        let error = run(async move { client.manifest(&asked).await.unwrap_err() });
        let text = whole(&error);
        assert!(text.contains(part) && text.contains(file) && text.contains(&host.name), "{text}");
    }
}

#[test]
fn tls_and_a_certificate_of_ours() {
    let host = Host::start(true, Auth::Certificate);
    let mut settings = trusting(&host);
    settings.retries = Some(0);
    let (stranger, name) = (client(settings.clone()), host.name.clone());
    settings.registry_mut(&host.name).client_cert = Some(host.path("client.pem"));
    settings.registry_mut(&host.name).client_key = Some(host.path("client.key"));
    let known = client(settings.clone());
    run(async move {
        let layers = [noise(1_000, 7)];
        let error = push_image(&stranger, &name, "app:1", &layers, &[]).await.unwrap_err();
        assert!(matches!(error, RegistryError::Transport { .. }), "{}", whole(&error));
        let (digest, _) = push_image(&known, &name, "app:1", &layers, &[]).await.unwrap();
        assert_eq!(pull_image(&known, &name, "app:1").await.unwrap().0, digest);
    });
    // A key that is none, and a certificate of a version that nobody uses any more.
    for (certificate, key) in [("client.pem", "ca.pem"), ("old.pem", "client.key")] {
        settings.registry_mut(&host.name).client_cert = Some(host.path(certificate));
        settings.registry_mut(&host.name).client_key = Some(host.path(key));
        let (client, asked) = (client(settings.clone()), reference(&host.name, "app:1"));
        let error = run(async move { client.manifest(&asked).await.unwrap_err() });
        assert!(matches!(error, RegistryError::BadFile { .. }), "{}", whole(&error));
        assert!(error.to_string().contains(certificate), "{error}");
    }
}

#[test]
fn tls_and_a_token_server() {
    let host = Host::start(true, Auth::Tokens);
    let file = host.path("config.json");
    let client = client_with(trusting(&host), Credentials::new(vec![file.clone()], None));
    let name = host.name.clone();
    let layers = [noise(1_000_000, 5), noise(100, 6)];
    let digest = run(async move {
        let error = push_image(&client, &name, "team/app:1", &layers, &[]).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
        client.login(&name, "user", Secret::new("hunter2".to_owned())).await.unwrap();
        let (digest, outcomes) = push_image(&client, &name, "team/app:1", &layers, &[]).await.unwrap();
        assert_eq!(outcomes, vec![Pushed::Uploaded; 3]);
        let first = repository(&name, "team/app");
        let (_, outcomes) = push_image(&client, &name, "other:1", &layers, std::slice::from_ref(&first)).await.unwrap();
        assert_eq!(outcomes, vec![Pushed::Mounted(first); 3]);
        assert_eq!(pull_image(&client, &name, "other:1").await.unwrap(), (digest, layers.to_vec()));
        client.delete_manifest(&reference(&name, "other:1")).await.unwrap();
        digest
    });
    assert_eq!(host.skopeo_digest(&format!("team/app@{digest}"), &file), digest);
    // Each token was for what was done, and for nothing more.
    let scopes = host.scopes();
    for scope in [
        "repository:team/app:pull,push",
        "repository:other:pull,push repository:team/app:pull",
        "repository:other:pull",
    ] {
        assert!(scopes.iter().any(|asked| asked == scope), "{scope} in {scopes:?}");
    }
}
