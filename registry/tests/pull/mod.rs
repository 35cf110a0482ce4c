//! Pulling: what works, and what goes on working on a bad day.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::media_type;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Repository;

use crate::support::fake::Fake;
use crate::support::server::Fault;
use crate::support::server::Reply;
use crate::support::server::Request;
use crate::support::*;

/// Pulls one blob.
fn pull(client: &Registry, host: &str, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let (client, repository, descriptor) = (client.clone(), repository(host, "app"), descriptor.clone());
    run(async move {
        let mut bytes: Vec<u8> = Vec::new();
        client.blob(&repository, &descriptor, &mut bytes, &|_| {}).await?;
        Ok(bytes)
    })
}

/// Pulls everything of an image, blobs at the same time.
async fn pull_image(client: Registry, host: String) -> Result<Vec<Vec<u8>>, RegistryError> {
    let reference = reference(&host, "app:1");
    let repository = Repository::of(&reference);
    let image = client.image(&reference, &"linux/amd64".parse().unwrap()).await?;
    client.config(&repository, &image.manifest).await?;
    let tasks: Vec<_> = image
        .manifest
        .layers
        .iter()
        .cloned()
        .map(|layer| {
            let (client, repository) = (client.clone(), repository.clone());
            tokio::spawn(async move {
                let mut bytes: Vec<u8> = Vec::new();
                client.blob(&repository, &layer, &mut bytes, &|_| {}).await.map(|()| bytes)
            })
        })
        .collect();
    let mut layers = Vec::new();
    for task in tasks {
        layers.push(task.await.unwrap()?);
    }
    Ok(layers)
}

fn is_blob(request: &Request) -> bool {
    request.method == "GET" && request.path().contains("/blobs/")
}

/// Answers the first `count` requests for a blob, the number of the request being given.
fn first(fake: &Fake, count: usize, reply: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) {
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        let number = if is_blob(request) { seen.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        if number < count { reply(request, number) } else { None }
    });
}

#[test]
fn an_image_with_everything_checked() {
    let fake = Fake::start();
    let layers = [noise(100_000, 1), noise(5, 2), Vec::new()];
    let image = fake.image("app", "1", &layers);
    let client = client(settings());
    let host = fake.host().to_owned();
    assert_eq!(run(pull_image(client.clone(), host.clone())).unwrap(), layers);
    let asked = reference(&host, "app:1");
    let (resolved, fetched) = run({
        let client = client.clone();
        async move { (client.resolve(&asked).await.unwrap(), client.manifest(&asked).await.unwrap()) }
    });
    assert_eq!(resolved, image.manifest);
    assert_eq!((fetched.descriptor, fetched.host), (image.manifest.clone(), host.clone()));
    assert_eq!(Digest::of(&fetched.bytes), image.manifest.digest);
    assert!(matches!(fetched.document, Document::Manifest(_)));
    // One question whether plain http is spoken, and no request more than needed.
    assert_eq!(fake.server.lines().iter().filter(|line| *line == "GET /v2/").count(), 1);
    assert_eq!(fake.server.lines().len(), 1 + 1 + 1 + 3 + 2);
}

#[test]
fn an_index_leads_to_the_platform() {
    let fake = Fake::start();
    let image = fake.image("app", "amd64", &[noise(10, 1)]);
    let entry = serde_json::json!({
        "mediaType": image.manifest.media_type, "digest": image.manifest.digest, "size": image.manifest.size,
        "platform": { "os": "linux", "architecture": "amd64" },
    });
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry] });
    let index = fake.manifest("app", "1", media_type::OCI_INDEX, index.to_string().as_bytes());
    let client = client(settings());
    let asked = reference(fake.host(), "app:1");
    let (good, bad) = run(async move {
        let good = client.image(&asked, &"linux/amd64".parse().unwrap()).await;
        (good, client.image(&asked, &"linux/s390x".parse().unwrap()).await)
    });
    let good = good.unwrap();
    assert_eq!((&good.root().descriptor, &good.fetched.descriptor), (&index, &image.manifest));
    assert!(whole(&bad.unwrap_err()).contains("no image for linux/s390x; the index has linux/amd64"));
}

#[test]
fn nothing_is_touched_before_the_first_request() {
    let fake = Fake::start();
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings();
    // None of these files is there, and nobody notices.
    settings.registry_mut(fake.host()).ca = Some(vec![directory.path().join("none.pem")]);
    let credentials = bld_registry::Credentials::new(vec![directory.path().join("none.json")], None);
    let began = Instant::now();
    for _ in 0..100 {
        drop(client_with(settings.clone(), bld_registry::Credentials::none()));
    }
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    drop(client_with(settings, credentials));
    assert!(fake.server.log().is_empty());
}

#[test]
fn a_third_of_all_requests_fail() {
    let fake = Fake::start();
    let layers: Vec<Vec<u8>> = (0..12).map(|number| noise(200_000 + number * 31_000, number as u64)).collect();
    fake.image("app", "1", &layers);
    let (seen, failed) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&failed);
    // 3 of 10, in every way there is.
    fake.fault(move |request| {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        // The question for plain http is asked once.
        if request.path() == "/v2/" || !matches!(number % 10, 2 | 5 | 8) {
            return None;
        }
        let kind = counter.fetch_add(1, Ordering::SeqCst) % 5;
        match kind {
            0 => Some(Reply::new(503)),
            1 => Some(Reply::new(500).body("broken")),
            2 => Some(Reply::new(429).header("retry-after", 0)),
            _ => Some(Reply::new(200).fault(Fault::Close)),
        }
    });
    // And every fourth good answer is cut somewhere.
    let state = Arc::downgrade(&fake.state);
    let (cuts, total) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let cut = Arc::clone(&total);
    let blobs: Vec<(String, Vec<u8>)> =
        layers.iter().map(|bytes| (format!("/v2/app/blobs/{}", Digest::of(bytes)), bytes.clone())).collect();
    drop(state);
    fake.fault(move |request| {
        let (_, bytes) = blobs.iter().find(|(path, _)| path == request.path())?;
        if cuts.fetch_add(1, Ordering::SeqCst) % 4 != 1 || request.header("range").is_some() {
            return None;
        }
        cut.fetch_add(1, Ordering::SeqCst);
        Some(Reply::new(200).body(bytes.as_slice()).fault(Fault::Cut(bytes.len() * 3 / 5)))
    });
    let size: u64 = layers.iter().map(|layer| layer.len() as u64).sum();
    let client = client(settings());
    assert_eq!(run(pull_image(client, fake.host().to_owned())).unwrap(), layers);
    let requests = fake.server.log().len();
    let failures = failed.load(Ordering::SeqCst);
    assert!(failures * 10 >= requests * 2, "{failures} of {requests} failed");
    assert!(total.load(Ordering::SeqCst) >= 2);
    // Besides the layers there are a manifest, a configuration and messages.
    let sent = fake.server.sent();
    assert!(sent * 100 <= size * 105, "{sent} bytes sent for an image of {size}");
}

#[test]
fn transfers_are_resumed() {
    let blob = noise(300_000, 7);
    for (name, cut) in
        [("reset", Fault::Cut(123_457)), ("silence", Fault::Silence(123_457)), ("last byte", Fault::Cut(299_999))]
    {
        let fake = Fake::start();
        let descriptor = fake.blob("app", &blob);
        let body = blob.clone();
        first(&fake, 1, move |_, _| Some(Reply::new(200).body(body.as_slice()).fault(cut)));
        assert_eq!(pull(&client(settings()), fake.host(), &descriptor).unwrap(), blob, "{name}");
        let ranges: Vec<_> =
            fake.server.log().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges.len(), 1, "{name}");
        assert!(ranges[0].starts_with("bytes=") && ranges[0] != "bytes=0-", "{name}: {ranges:?}");
        assert!(fake.server.sent() <= 300_100, "{name}: {} bytes sent", fake.server.sent());
    }
}

#[test]
fn cut_anywhere_and_often() {
    let blob = noise(200_000, 13);
    for seed in 0..10 {
        let fake = Fake::start();
        let descriptor = fake.blob("app", &blob);
        let body = blob.clone();
        let random = noise(64, 100 + seed);
        first(&fake, 4, move |request, number| {
            let from = offset(request);
            let left = body.len() - from;
            let cut = usize::from(u16::from_le_bytes([random[2 * number], random[2 * number + 1]])) % left;
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            let reply = Reply::new(if from == 0 { 200 } else { 206 }).header("content-range", range);
            Some(reply.body(&body[from..]).fault(Fault::Cut(cut)))
        });
        assert_eq!(pull(&client(settings()), fake.host(), &descriptor).unwrap(), blob, "{seed}");
        assert!(fake.server.sent() <= 200_100, "{seed}: {}", fake.server.sent());
    }
}

#[test]
fn a_host_that_is_not_there() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = pull(&client(settings()), &gone, &Descriptor::of("x", b"x")).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains(&gone), "{error}");
}

#[test]
fn a_registry_that_ignores_ranges_or_lies_about_them() {
    let blob = noise(200_000, 8);
    for (name, fault) in
        [("ignores", 0), ("other part", 1), ("other size", 2), ("not satisfiable", 3), ("no content-range", 4)]
    {
        let fake = Fake::start();
        let descriptor = fake.blob("app", &blob);
        fake.state.lock().unwrap().ranges = false;
        let body = blob.clone();
        first(&fake, 2, move |request, number| {
            let reply = Reply::new(206);
            match (number, fault) {
                (0, _) => Some(Reply::new(200).body(body.as_slice()).fault(Fault::Cut(50_000))),
                (_, 0) => None,
                (_, 1) => Some(reply.header("content-range", "bytes 7-199999/200000").body(&body[7..])),
                (_, 2) => Some(
                    reply
                        .header("content-range", format!("bytes {}-199999/200001", offset(request)))
                        .body(&body[offset(request)..]),
                ),
                (_, 3) => Some(Reply::new(416)),
                _ => Some(reply.body(&body[offset(request)..])),
            }
        });
        assert_eq!(pull(&client(settings()), fake.host(), &descriptor).unwrap(), blob, "{name}");
    }
}

fn offset(request: &Request) -> usize {
    request.header("range").and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0)
}

#[test]
fn bytes_that_changed_between_two_parts_are_not_trusted() {
    let blob = noise(100_000, 9);
    let fake = Fake::start();
    let descriptor = fake.blob("app", &blob);
    // First another file of the same size, cut in the middle; then the right one from there.
    first(&fake, 1, move |_, _| Some(Reply::new(200).body(noise(100_000, 10)).fault(Fault::Cut(40_000))));
    let positions = Arc::new(Mutex::new(Vec::new()));
    let (client, host, list) = (client(settings()), fake.host().to_owned(), Arc::clone(&positions));
    let pulled = run(async move {
        let mut bytes: Vec<u8> = Vec::new();
        let progress = move |position| list.lock().unwrap().push(position);
        client.blob(&repository(&host, "app"), &descriptor, &mut bytes, &progress).await.map(|()| bytes)
    });
    assert_eq!(pulled.unwrap(), blob);
    // The user interface sees that it begins again.
    let positions = positions.lock().unwrap();
    assert!(positions.contains(&0) && positions.last() == Some(&100_000), "{positions:?}");
    assert_eq!(fake.server.log().iter().filter(|request| is_blob(request)).count(), 3);
}

#[test]
fn a_registry_that_sends_next_to_nothing_is_given_up() {
    let blob = noise(100_000, 11);
    for fault in [Fault::Silence(0), Fault::Drip(10, Duration::from_millis(100))] {
        let fake = Fake::start();
        let descriptor = fake.blob("app", &blob);
        let body = blob.clone();
        fake.fault(move |request| is_blob(request).then(|| Reply::new(200).body(body.as_slice()).fault(fault)));
        let mut settings = settings();
        settings.retries = Some(1);
        let began = Instant::now();
        let error = pull(&client(settings), fake.host(), &descriptor).unwrap_err();
        assert!(matches!(error, RegistryError::Stalled { .. }), "{fault:?}: {error}");
        assert!(began.elapsed() < Duration::from_secs(8), "{fault:?}: {:?}", began.elapsed());
    }
    // Slow is not the same as next to nothing.
    let fake = Fake::start();
    let small = noise(6_000, 12);
    let descriptor = fake.blob("app", &small);
    let body = small.clone();
    fake.fault(move |request| {
        is_blob(request)
            .then(|| Reply::new(200).body(body.as_slice()).fault(Fault::Drip(300, Duration::from_millis(100))))
    });
    assert_eq!(pull(&client(settings()), fake.host(), &descriptor).unwrap(), small);
}

#[test]
fn retries_are_bounded_and_wait_as_long_as_they_are_told() {
    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    fake.fault(|request| is_blob(request).then(|| Reply::new(503)));
    let mut few = settings();
    few.retries = Some(3);
    let error = pull(&client(few.clone()), fake.host(), &descriptor).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 503, .. }), "{error}");
    assert_eq!(fake.server.log().iter().filter(|request| is_blob(request)).count(), 4);

    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    first(&fake, 1, |_, _| Some(Reply::new(429).header("retry-after", 1)));
    let began = Instant::now();
    assert_eq!(pull(&client(few.clone()), fake.host(), &descriptor).unwrap(), b"x");
    assert!(began.elapsed() >= Duration::from_secs(1));

    // A registry that does not say for how long is asked again after the usual pause.
    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    first(&fake, 2, |_, _| Some(Reply::new(429)));
    assert_eq!(pull(&client(few.clone()), fake.host(), &descriptor).unwrap(), b"x");

    // Nobody waits for an hour.
    first(&fake, 1, |_, _| Some(Reply::new(429).header("retry-after", 3600)));
    let error = pull(&client(few), fake.host(), &descriptor).unwrap_err();
    assert!(error.to_string().contains("wants to be asked again in 3600 s"), "{error}");
}

#[test]
fn what_does_not_get_better_is_not_asked_twice() {
    for (status, kind) in
        [(401, "asks for a login"), (403, "forbids it"), (404, "does not have it"), (400, "status 400")]
    {
        let fake = Fake::start();
        let descriptor = fake.blob("app", b"x");
        fake.fault(move |request| is_blob(request).then(|| crate::support::fake::error(status, "CODE")));
        let error = pull(&client(settings()), fake.host(), &descriptor).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(kind) && text.contains("CODE: the message of CODE") && text.contains(fake.host()),
            "{text}"
        );
        assert_eq!(fake.server.log().iter().filter(|request| is_blob(request)).count(), 1, "{text}");
        assert_eq!(error.hint().is_some(), status != 400, "{text}");
    }
    // The quota of a day is not there again in a second.
    let fake = Fake::start();
    let descriptor = fake.blob("app", b"x");
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    fake.fault(move |request| is_blob(request).then(|| Reply::new(429).body(body)));
    let error = pull(&client(settings()), fake.host(), &descriptor).unwrap_err();
    assert!(error.hint().unwrap().contains("bld login"), "{error}");
    assert_eq!(fake.server.log().iter().filter(|request| is_blob(request)).count(), 1);
}

#[test]
fn mirrors_are_asked_first_and_passed_over() {
    let (origin, good, bad, lying) = (Fake::start(), Fake::start(), Fake::start(), Fake::start());
    let layers = [noise(50_000, 20), noise(60_000, 21)];
    origin.image("app", "1", &layers);
    // A port where nobody listens.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bad.fault(|_| Some(Reply::new(503)));
    good.image("hub/app", "1", &layers);
    good.state.lock().unwrap().blobs.remove(&("hub/app".to_owned(), Digest::of(&layers[1])));
    let wrong = noise(60_000, 22);
    lying.fault(move |request| is_blob(request).then(|| Reply::new(200).body(wrong.as_slice())));
    let mut settings = settings();
    settings.registry_mut(origin.host()).mirrors = Some(vec![
        format!("http://{gone}"),
        bad.host().to_owned(),
        format!("{}/v2/hub", good.host()),
        lying.host().to_owned(),
    ]);
    let (client, told) = talkative(settings, bld_registry::Credentials::none());
    assert_eq!(run(pull_image(client, origin.host().to_owned())).unwrap(), layers);
    // The second layer came from the registry itself: one mirror lacks it, another lies.
    let blobs = |fake: &Fake| fake.server.log().iter().filter(|request| is_blob(request)).count();
    assert_eq!(blobs(&origin), 1);
    assert!(blobs(&good) >= 3 && blobs(&lying) == 1);
    let told = told.lock().unwrap().join("\n");
    for part in [gone.to_string().as_str(), "does not have it", "sends something else", "status 503"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Who could not be reached is asked once.
    assert_eq!(told.matches(&format!("mirror {gone} is passed over")).count(), 1, "{told}");
}

#[test]
fn transfers_wait_for_their_turn() {
    let fake = Fake::start();
    let layers: Vec<Vec<u8>> = (0..8).map(|number| noise(3_000, 30 + number)).collect();
    fake.image("app", "1", &layers);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
    let blobs: Vec<_> =
        layers.iter().map(|bytes| (format!("/v2/app/blobs/{}", Digest::of(bytes)), bytes.clone())).collect();
    // Outside of the lock of the registry, which would itself let through one at a time.
    let server = crate::support::server::Server::start("127.0.0.1", move |request| {
        let Some((_, bytes)) = blobs.iter().find(|(path, _)| path == request.path()) else { return Reply::new(200) };
        peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(40));
        running.fetch_sub(1, Ordering::SeqCst);
        Reply::new(200).body(bytes.as_slice())
    });
    let mut settings = settings();
    settings.parallel = Some(3);
    let client = client(settings);
    let repository = repository(&server.host, "app");
    run(async move {
        let tasks: Vec<_> = layers
            .into_iter()
            .map(|bytes| {
                let (client, repository) = (client.clone(), repository.clone());
                tokio::spawn(async move {
                    client.small_blob(&repository, &Descriptor::of("x", &bytes), 1 << 20).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 3);
    drop(now);
}

#[test]
fn tags_come_in_pages() {
    let fake = Fake::start();
    for tag in ["a", "b", "c", "d", "e"] {
        fake.image("app", tag, &[]);
    }
    let (client, repository) = (client(settings()), repository(fake.host(), "app"));
    assert_eq!(run(async move { client.tags(&repository).await.unwrap() }), ["a", "b", "c", "d", "e"]);
}

#[test]
fn what_refers_to_an_image() {
    let fake = Fake::start();
    let image = fake.image("app", "1", &[]);
    let (client, repository) = (client(settings()), repository(fake.host(), "app"));
    let ask = || {
        let (client, repository, digest) = (client.clone(), repository.clone(), image.manifest.digest);
        run(async move { client.referrers(&repository, digest).await })
    };
    // A registry that knows nothing of this, and nobody who has left a list.
    assert!(ask().unwrap().index.manifests.is_empty());
    // A list that clients keep under a tag.
    let list = |kind: &str| {
        let entry = serde_json::json!({ "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"x"), "size": 1, "artifactType": kind });
        serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry] }).to_string()
    };
    let tag = format!("sha256-{}", image.manifest.digest.hex());
    fake.manifest("app", &tag, media_type::OCI_INDEX, list("by/tag").as_bytes());
    let found = ask().unwrap();
    assert_eq!(found.index.manifests[0].descriptor.digest, Digest::of(b"x"));
    assert!(String::from_utf8(found.bytes).unwrap().contains("by/tag"));
    // A registry that keeps the list.
    let (path, answer) = (format!("/v2/app/referrers/{}", image.manifest.digest), list("by/registry"));
    fake.fault(move |request| {
        let reply = Reply::new(200).header("content-type", media_type::OCI_INDEX).body(answer.as_str());
        (request.path() == path).then_some(reply)
    });
    assert!(String::from_utf8(ask().unwrap().bytes).unwrap().contains("by/registry"));
    // And one that sends something else.
    fake.fault(|request| request.path().contains("/referrers/").then(|| Reply::new(200).body("{}")));
    assert!(matches!(ask(), Err(RegistryError::Document { .. })));
}

#[test]
fn proxies() {
    let fake = Fake::start();
    let image = fake.image("app", "1", &[]);
    let bytes = fake.state.lock().unwrap().manifests[&("app".to_owned(), "1".to_owned())].1.clone();
    let proxy = crate::support::server::Server::start("127.0.0.1", move |_| {
        Reply::new(200).header("content-type", media_type::OCI_MANIFEST).body(bytes.as_slice())
    });
    let ask = |host: &str| {
        let variables = [("http_proxy", format!("http://{}", proxy.host))];
        let mut settings = named(settings(), "registry.test");
        settings.retries = Some(0);
        let client = Registry::new(bld_registry::Config {
            settings,
            credentials: bld_registry::Credentials::none(),
            proxies: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            notices: bld_registry::Notices::default(),
        });
        let asked = reference(host, "app:1");
        run(async move { client.manifest(&asked).await })
    };
    // A name that only the proxy has to know.
    assert_eq!(ask("registry.test").unwrap().descriptor, image.manifest);
    assert_eq!(proxy.lines(), ["GET http://registry.test/v2/app/manifests/1"]);
    // What is on this machine is not asked through a proxy.
    assert!(fake.server.log().is_empty());
    assert_eq!(ask(fake.host()).unwrap().descriptor, image.manifest);
    assert_eq!(proxy.log().len(), 1);
}
