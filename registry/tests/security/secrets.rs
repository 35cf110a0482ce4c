//! Who learns passwords and tokens: R5, R6, R8, R10.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bld_oci::image::Descriptor;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Settings;

use super::blob;
use super::get;
use crate::support::fake::Fake;
use crate::support::fake::error;
use crate::support::server::Reply;
use crate::support::server::Request;
use crate::support::server::Server;
use crate::support::*;

type MakeReply = fn(&Request, &str) -> Reply;

/// `user:hunter2`, as basic authentication writes it.
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// A registry that wants a token of the realm, and answers `/token` itself.
fn with_tokens(realm: impl Fn(&str) -> String) -> Fake {
    let fake = Fake::start();
    let challenge = format!("Bearer realm=\"{}\",service=\"test\"", realm(fake.host()));
    fake.guard(&["Bearer good"], &challenge);
    fake.fault(|request| (request.path() == "/token").then(|| token(request)));
    fake
}

fn token(request: &Request) -> Reply {
    let known =
        request.header("authorization") == Some(BASIC) || request.field("refresh_token").as_deref() == Some("refresh");
    if known { Reply::new(200).body(r#"{"token":"good","expires_in":300}"#) } else { error(401, "UNAUTHORIZED") }
}

fn user(fake: &Fake, settings: Settings) -> (tempfile::TempDir, Registry) {
    let (directory, credentials) = credentials(fake.host(), "user", "hunter2");
    (directory, client_with(settings, credentials))
}

/// Whether a server was told any secret.
fn learned(server: &Server) -> bool {
    server.log().iter().any(|request| {
        let text = format!("{request:?} {}", String::from_utf8_lossy(&request.body));
        request.header("authorization").is_some() || text.contains("hunter2") || text.contains("refresh_token")
    })
}

#[test]
fn tokens_are_asked_for_and_kept() {
    let fake = with_tokens(|host| format!("http://{host}/token"));
    fake.image("app", "1", &[noise(10, 1), noise(20, 2)]);
    let (_directory, client) = user(&fake, settings());
    let asked = reference(fake.host(), "app:1");
    let found = super::image(&client, &asked).unwrap();
    for layer in &found.manifest.layers {
        blob(&client, fake.host(), layer).unwrap();
    }
    let log = fake.server.log();
    let tokens: Vec<&Request> = log.iter().filter(|request| request.path() == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].parameters("scope"), ["repository:app:pull"]);
    assert_eq!(tokens[0].parameter("service").as_deref(), Some("test"));
    // Only the first request went without.
    assert_eq!(
        log.iter().filter(|request| request.path() != "/v2/" && request.header("authorization").is_none()).count(),
        1
    );
    // Nobody without a password gets one.
    let error = get(&self::client(settings()), &asked).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { tried: false, .. }), "{error}");
    assert!(error.hint().unwrap().contains(&format!("bld login {}", fake.host())));
    let (_directory, credentials) = credentials(fake.host(), "user", "wrong");
    let error = get(&client_with(settings(), credentials), &asked).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { tried: true, .. }), "{error}");
}

#[test]
fn basic_authentication() {
    let fake = Fake::start();
    fake.guard(&[BASIC], "Basic realm=\"x\"");
    fake.image("app", "1", &[]);
    let (_directory, client) = user(&fake, settings());
    assert!(get(&client, &reference(fake.host(), "app:1")).is_ok());
    assert!(matches!(
        get(&self::client(settings()), &reference(fake.host(), "app:1")),
        Err(RegistryError::Unauthorized { .. })
    ));
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let fake = with_tokens(|host| format!("http://{host}/token"));
    fake.image("app", "1", &[]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let json = serde_json::json!({ "auths": { fake.host(): { "auth": "", "identitytoken": "refresh" } } });
    std::fs::write(&path, json.to_string()).unwrap();
    let client = client_with(settings(), bld_registry::Credentials::new(vec![path], None));
    assert!(get(&client, &reference(fake.host(), "app:1")).is_ok());
    let log = fake.server.log();
    let asked: Vec<_> = log.iter().filter(|request| request.path() == "/token").collect();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    for (field, value) in
        [("grant_type", "refresh_token"), ("scope", "repository:app:pull"), ("service", "test"), ("client_id", "bld")]
    {
        assert_eq!(asked[0].field(field).as_deref(), Some(value));
    }
    assert!(!asked[0].target.contains("refresh"));
}

#[test]
fn a_token_that_expires_is_renewed_in_the_middle() {
    let fake = Fake::start();
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    let challenge = format!("Bearer realm=\"http://{}/token\"", fake.host());
    let image = fake.image("app", "1", &[noise(300_000, 1)]);
    let body = image.layers[0].1.clone();
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        // Cut again and again: each part needs a request.
        let from: usize =
            request.header("range").map_or(0, |text| text["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let is_cut = request.path().contains("/blobs/")
            && request.header("authorization").is_some()
            && seen.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        let end = (from + 90_000).min(body.len());
        (is_cut && end < body.len() && from == 0)
            .then(|| Reply::new(200).body(body.as_slice()).fault(crate::support::server::Fault::Cut(end)))
    });
    // Each token is good for two requests.
    let uses = Arc::new(Mutex::new((String::new(), 0)));
    let current = Arc::clone(&uses);
    fake.fault(move |request| {
        if request.path() == "/token" {
            let token = format!("t{}", count.fetch_add(1, Ordering::SeqCst));
            *current.lock().unwrap() = (format!("Bearer {token}"), 0);
            return Some(Reply::new(200).body(format!(r#"{{"access_token":"{token}","expires_in":3600}}"#)));
        }
        let mut current = current.lock().unwrap();
        if request.header("authorization") != Some(current.0.as_str()) || current.1 >= 2 {
            return Some(error(401, "UNAUTHORIZED").header("www-authenticate", &challenge));
        }
        current.1 += 1;
        None
    });
    let client = client(settings());
    let found = super::image(&client, &reference(fake.host(), "app:1")).unwrap();
    for _ in 0..3 {
        assert_eq!(blob(&client, fake.host(), &found.manifest.layers[0]).unwrap(), image.layers[0].1);
    }
    assert!(issued.load(Ordering::SeqCst) >= 3);
}

#[test]
fn the_life_of_a_token_is_kept() {
    for (life, times) in [("1", 2), ("300", 1)] {
        let fake = Fake::start();
        fake.guard(&["Bearer good"], &format!("Bearer realm=\"http://{}/token\"", fake.host()));
        let body = format!(r#"{{"token":"good","expires_in":{life}}}"#);
        fake.fault(move |request| (request.path() == "/token").then(|| Reply::new(200).body(body.as_str())));
        fake.image("app", "1", &[]);
        let (client, asked) = (client(settings()), reference(fake.host(), "app:1"));
        get(&client, &asked).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        get(&client, &asked).unwrap();
        assert_eq!(fake.server.lines().iter().filter(|line| line.starts_with("GET /token")).count(), times, "{life}");
    }
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let fake = with_tokens(|host| format!("http://{host}/token"));
    let bytes = b"layer";
    fake.blob("base", bytes);
    let (_directory, client) = user(&fake, settings());
    let (to, from) = (repository(fake.host(), "app"), repository(fake.host(), "base"));
    let source = || -> std::io::Result<std::io::Empty> { panic!("nothing has to be sent") };
    let pushed =
        run(async move { client.push_blob(&to, &Descriptor::of("x", bytes), &[from], &source, &|_| {}).await });
    assert!(matches!(pushed.unwrap(), bld_registry::Pushed::Mounted(_)));
    let scopes: Vec<Vec<String>> = fake
        .server
        .log()
        .iter()
        .filter(|request| request.path() == "/token")
        .map(|request| request.parameters("scope"))
        .collect();
    assert_eq!(scopes, [vec!["repository:app:pull,push"], vec!["repository:app:pull,push", "repository:base:pull"]]);
}

#[test]
fn r5_no_authorization_for_another_host() {
    let content = noise(1000, 1);
    // What the other host answers: the blob, or a challenge to get a token out of us.
    for (name, challenges) in [("sends the blob", false), ("wants a token", true)] {
        let fake = with_tokens(|host| format!("http://{host}/token"));
        let body = content.clone();
        let trusted = format!("Bearer realm=\"http://{}/token?asked-by=stranger\"", fake.host());
        let other = Server::start("127.0.0.2", move |_| {
            if challenges {
                error(401, "UNAUTHORIZED").header("www-authenticate", &trusted)
            } else {
                Reply::new(200).body(body.as_slice())
            }
        });
        let descriptor = fake.blob("app", &content);
        let target = format!("http://{}/signed?X-Amz-Signature=secret", other.host);
        fake.fault(move |request| {
            let known = request.header("authorization") == Some("Bearer good");
            (request.path().contains("/blobs/") && known).then(|| Reply::new(307).header("location", &target))
        });
        // Named, because it is at an address of a private network.
        let (_directory, client) = user(&fake, named(settings(), &other.host));
        // With a token at hand, so that the other host's challenge is the first one of the next request.
        fake.image("app", "1", &[]);
        get(&client, &reference(fake.host(), "app:1")).unwrap();
        let outcome = blob(&client, fake.host(), &descriptor);
        assert_eq!(outcome.is_ok(), !challenges, "{name}");
        assert!(!other.log().is_empty() && !learned(&other), "{name}: {:?}", other.log());
        // The control: the registry itself was given both.
        assert!(learned(&fake.server));
        assert_eq!(fake.server.lines().iter().filter(|line| line.starts_with("GET /token")).count(), 1, "{name}");
        if let Err(error) = outcome {
            let text = format!("{} {error:?}", whole(&error));
            assert!(!text.contains("secret") && !text.contains("hunter2"), "{text}");
        }
    }
    // The same host again is the registry.
    let fake = with_tokens(|host| format!("http://{host}/token"));
    let descriptor = fake.blob("moved", &content);
    fake.fault(|request| {
        let path = request.path().strip_prefix("/v2/app/blobs/")?;
        Some(Reply::new(302).header("location", format!("/v2/moved/blobs/{path}")))
    });
    let (_directory, client) = user(&fake, settings());
    assert_eq!(blob(&client, fake.host(), &descriptor).unwrap(), content);
}

#[test]
fn r5_no_authorization_for_another_port_or_a_mirror() {
    // The same host with another port is another server.
    let content = noise(1000, 3);
    let fake = with_tokens(|host| format!("http://{host}/token"));
    let body = content.clone();
    let other = Server::start("127.0.0.1", move |_| Reply::new(200).body(body.as_slice()));
    let descriptor = fake.blob("app", &content);
    let target = format!("http://{}/blob", other.host);
    fake.fault(move |request| {
        let known = request.header("authorization") == Some("Bearer good");
        (request.path().contains("/blobs/") && known).then(|| Reply::new(307).header("location", &target))
    });
    let (_directory, client) = user(&fake, settings());
    assert_eq!(blob(&client, fake.host(), &descriptor).unwrap(), content);
    assert!(!learned(&other) && learned(&fake.server));

    // A mirror has credentials of its own, or none.
    for (name, challenge) in [("basic", "Basic realm=x"), ("token", "Bearer realm=\"http://HOST/token\"")] {
        let fake = with_tokens(|host| format!("http://{host}/token"));
        let mirror = Fake::start();
        let challenge = challenge.replace("HOST", mirror.host());
        mirror.guard(&["Bearer good", BASIC], &challenge);
        mirror.fault(|request| (request.path() == "/token").then(|| token(request)));
        let descriptor = fake.blob("app", &content);
        mirror.blob("app", &content);
        let mut settings = settings();
        settings.registry_mut(fake.host()).mirrors = Some(vec![mirror.host().to_owned()]);
        let (_directory, client) = user(&fake, settings.clone());
        assert_eq!(blob(&client, fake.host(), &descriptor).unwrap(), content, "{name}");
        assert!(!mirror.server.log().is_empty() && !learned(&mirror.server), "{name}");
        assert!(learned(&fake.server), "{name}");
        // The control: with its own it serves, and the registry is not asked at all.
        let asked = fake.server.log().len();
        let (_directory, credentials) = credentials(mirror.host(), "user", "hunter2");
        assert_eq!(blob(&client_with(settings, credentials), fake.host(), &descriptor).unwrap(), content, "{name}");
        assert!(learned(&mirror.server), "{name}");
        assert_eq!(fake.server.log().len(), asked, "{name}");
    }
}

#[test]
fn r5_redirections_end() {
    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    let count = AtomicUsize::new(0);
    fake.fault(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        (request.path() != "/v2/").then(|| Reply::new(302).header("location", format!("/again/{number}")))
    });
    let error = blob(&client(settings()), fake.host(), &descriptor).unwrap_err();
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
    assert!(fake.server.log().len() < 10);
}

#[test]
fn r5_and_r7_redirections_to_private_addresses() {
    let elsewhere = Server::start("127.0.0.2", |_| Reply::new(200).body("x"));
    for target in [
        format!("http://{}/x", elsewhere.host),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://10.0.0.1/x".to_owned(),
        "http://[::1]:1/x".to_owned(),
        "http://0.0.0.0:1/x".to_owned(),
        "http://localhost:1/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:pass@127.0.0.1:1/x".to_owned(),
        "http://example.com/plain".to_owned(),
    ] {
        let fake = Fake::start();
        let descriptor = fake.blob("app", b"x");
        let location = target.clone();
        fake.fault(move |request| {
            request.path().contains("/blobs/").then(|| Reply::new(302).header("location", &location))
        });
        let error = blob(&client(settings()), fake.host(), &descriptor).unwrap_err();
        assert!(matches!(error, RegistryError::Redirect { .. }), "{target}: {error}");
        assert!(!whole(&error).contains("pass@"), "{error}");
    }
    assert!(elsewhere.log().is_empty());
    // The control: named in the settings it is asked.
    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    let location = format!("http://{}/x", elsewhere.host);
    fake.fault(move |request| {
        request.path().contains("/blobs/").then(|| Reply::new(302).header("location", &location))
    });
    assert_eq!(blob(&client(named(settings(), &elsewhere.host)), fake.host(), &descriptor).unwrap(), b"x");
}

#[test]
fn r6_credentials_are_given_to_no_foreign_token_server() {
    let foreign = Server::start("127.0.0.2", token);
    let port = foreign.host.split_once(':').unwrap().1.to_owned();
    for realm in [
        format!("http://{}/token", foreign.host),
        format!("http://localhost:{port}/token"),
        format!("http://0.0.0.0:{port}/token"),
        format!("https://{}/token", foreign.host),
        "http://169.254.169.254/token".to_owned(),
        "http://192.168.7.7/token".to_owned(),
        "http://[::1]/token".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://registry.example.com/token".to_owned(),
        "https://registry.example.com/token".to_owned(),
        "https://127.0.0.1.example.com/token".to_owned(),
    ] {
        let fake = with_tokens(|_| realm.clone());
        fake.image("app", "1", &[]);
        let (_directory, client) = user(&fake, settings());
        let error = get(&client, &reference(fake.host(), "app:1")).unwrap_err();
        assert!(matches!(error, RegistryError::ForeignRealm { .. }), "{realm}: {error}");
        assert!(error.to_string().contains(&format!("asks for a token of {realm},")), "{realm}: {error}");
        assert!(error.hint().unwrap().contains("token-servers"), "{error}");
    }
    assert!(foreign.log().is_empty());
    // A realm of our own that sends us on takes nothing along.
    let fake = Fake::start();
    fake.guard(&["Bearer good"], &format!("Bearer realm=\"http://{}/token\"", fake.host()));
    let location = format!("http://{}/token", foreign.host);
    fake.fault(move |request| (request.path() == "/token").then(|| Reply::new(307).header("location", &location)));
    let (_directory, client) = user(&fake, settings());
    assert!(get(&client, &reference(fake.host(), "app:1")).is_err());
    assert!(foreign.log().is_empty());
    let (_directory, client) = user(&fake, named(settings(), &foreign.host));
    assert!(get(&client, &reference(fake.host(), "app:1")).is_err());
    assert!(!learned(&foreign));
    assert!(learned(&fake.server));
    // The controls: a token server on the same host with another port, and one that is named.
    let own = Server::start("127.0.0.1", token);
    let fake = with_tokens(|_| format!("http://{}/token", own.host));
    fake.image("app", "1", &[]);
    let (_directory, client) = user(&fake, settings());
    assert!(get(&client, &reference(fake.host(), "app:1")).is_ok());
    assert!(learned(&own));
    let fake = with_tokens(|_| format!("http://{}/token", foreign.host));
    fake.image("app", "1", &[]);
    let mut settings = settings();
    settings.registry_mut(fake.host()).token_servers = Some(vec![foreign.host.clone()]);
    let (_directory, client) = user(&fake, settings);
    assert!(get(&client, &reference(fake.host(), "app:1")).is_ok());
    assert!(learned(&foreign));
}

#[test]
fn r8_uploads_to_another_host() {
    let bytes = noise(1000, 2);
    let digest = Descriptor::of("x", &bytes).digest;
    let storage = Server::start("127.0.0.2", move |request| match request.method.as_str() {
        "PUT" => Reply::new(201).header("docker-content-digest", digest),
        _ => Reply::new(204),
    });
    let attempt = |settings: Settings, location: String| {
        let fake = with_tokens(|host| format!("http://{host}/token"));
        fake.fault(move |request| {
            let known = request.header("authorization") == Some("Bearer good");
            (request.method == "POST" && known).then(|| Reply::new(202).header("location", &location))
        });
        let (_directory, client) = user(&fake, settings);
        let (to, content) = (repository(fake.host(), "app"), bytes.clone());
        let source = move || Ok::<_, std::io::Error>(std::io::Cursor::new(content.clone()));
        let descriptor = Descriptor::of("x", &bytes);
        let outcome = run(async move { client.push_blob(&to, &descriptor, &[], &source, &|_| {}).await });
        assert!(learned(&fake.server));
        outcome
    };
    let there = format!("http://{}/upload?signature=secret", storage.host);
    for location in [
        there.clone(),
        "http://169.254.169.254/x".to_owned(),
        "http://10.1.1.1/x".to_owned(),
        "gopher://x/y".to_owned(),
    ] {
        let error = attempt(settings(), location.clone()).unwrap_err();
        assert!(matches!(error, RegistryError::Redirect { .. }), "{location}: {error}");
        assert!(!whole(&error).contains("secret"), "{error}");
    }
    assert!(storage.log().is_empty());
    // Named it is used, without credentials, and the signature stays as it was.
    attempt(named(settings(), &storage.host), there).unwrap();
    assert!(!learned(&storage));
    assert!(storage.lines()[0].starts_with("PUT /upload?signature=secret&digest=sha256%3A"), "{:?}", storage.lines());
}

#[test]
fn r10_no_secret_in_messages() {
    let secrets = ["hunter2", "dXNlcjpodW50ZXIy", "SIGNED", "TOKEN", "good-token"];
    let replies: [(&str, MakeReply); 5] = [
        ("a signed address", |_, host| {
            Reply::new(307).header("location", format!("http://{host}/blob?X-Amz-Signature=SIGNED&access_token=TOKEN"))
        }),
        ("a signed address at a private host", |_, _| {
            Reply::new(307).header("location", "http://10.0.0.1/blob?sig=SIGNED")
        }),
        ("a message with what it was sent", |request, _| {
            let given = request.header("authorization").unwrap_or_default();
            let message =
                format!("bad header Authorization: {given} see https://user:hunter2@x.example.com/?token=TOKEN");
            Reply::new(400).body(serde_json::json!({ "errors": [{ "code": "X", "message": message }] }).to_string())
        }),
        ("a plain text with what it was sent", |request, _| {
            let given = request.header("authorization").unwrap_or_default();
            Reply::new(500)
                .header("content-type", "text/plain")
                .body(format!("{given}\nhttps://x.example.com/a?Signature=SIGNED\x1b]0;x\x07"))
        }),
        ("a connection that breaks", |_, _| Reply::new(200).body("x").fault(crate::support::server::Fault::Cut(0))),
    ];
    for (name, reply) in replies {
        for challenge in ["Basic realm=x", "Bearer realm=\"http://HOST/token?key=SIGNED\""] {
            let fake = Fake::start();
            let host = fake.host().to_owned();
            fake.guard(&[BASIC, "Bearer good-token"], &challenge.replace("HOST", &host));
            let descriptor = fake.blob("app", b"x");
            fake.fault(move |request| {
                if request.path() == "/token" {
                    return Some(Reply::new(200).body(r#"{"token":"good-token"}"#));
                }
                let known = request.header("authorization").is_some();
                if request.path() == "/blob" {
                    return Some(Reply::new(403).body("<Error>SIGNED</Error>"));
                }
                (known && request.path().contains("/blobs/")).then(|| reply(request, &host))
            });
            let (_directory, credentials) = credentials(fake.host(), "user", "hunter2");
            let mut few = settings();
            few.retries = Some(1);
            let (client, told) = talkative(few, credentials);
            let proxies = [("all_proxy".to_owned(), "http://user:hunter2@127.0.0.1:1".to_owned())].into();
            let (credentials, notices) = (bld_registry::Credentials::none(), bld_registry::Notices::default());
            let config = bld_registry::Config { settings: settings(), credentials, proxies, notices };
            let shown = format!("{config:?}");
            let shown = format!("{shown} {:?}", Registry::new(config));
            assert!(!shown.contains("hunter2"), "{shown}");
            let error = blob(&client, fake.host(), &descriptor).expect_err(name);
            let told = told.lock().unwrap().join("\n");
            let all = format!("{} {error:?} {:?} {told} {client:?}", whole(&error), error.hint());
            for secret in secrets {
                assert!(!all.contains(secret), "{name}, {challenge}: {secret} in {all}");
            }
            assert!(!all.contains('\x1b'), "{name}: {all}");
            // The control: it did go over the wire.
            assert!(learned(&fake.server));
        }
    }
}
