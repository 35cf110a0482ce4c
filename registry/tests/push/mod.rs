//! Pushing: nothing is sent that is there, and nothing counts as there that is not.

use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bld_oci::Digest;
use bld_oci::Reference;
use bld_oci::image::Descriptor;
use bld_oci::media_type;
use bld_registry::BlobSource;
use bld_registry::Pushed;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Repository;
use bld_registry::Settings;

use crate::support::fake::Fake;
use crate::support::fake::error;
use crate::support::server::Fault;
use crate::support::server::Reply;
use crate::support::server::Request;
use crate::support::*;

/// Bytes in memory, and how often they were opened.
#[derive(Clone, Default)]
struct Memory {
    bytes: Arc<Vec<u8>>,
    opened: Arc<AtomicUsize>,
}

impl Memory {
    fn new(bytes: &[u8]) -> Memory {
        Memory { bytes: Arc::new(bytes.to_vec()), opened: Arc::default() }
    }
}

impl BlobSource for Memory {
    async fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(std::io::Cursor::new(self.bytes.as_ref().clone())))
    }
}

fn push_with(client: &Registry, host: &str, others: &[&str], bytes: &[u8]) -> (Result<Pushed, RegistryError>, usize) {
    let source = Memory::new(bytes);
    let opened = Arc::clone(&source.opened);
    let descriptor = Descriptor::of("x/y", bytes);
    let to = repository(host, "app");
    let others: Vec<Repository> = others.iter().map(|path| repository(host, path)).collect();
    let client = client.clone();
    let outcome = run(async move { client.push_blob(&to, &descriptor, &others, &source, &|_| {}).await });
    (outcome, opened.load(Ordering::SeqCst))
}

fn push(client: &Registry, fake: &Fake, bytes: &[u8]) -> Result<Pushed, RegistryError> {
    push_with(client, fake.host(), &[], bytes).0
}

fn has(fake: &Fake, bytes: &[u8]) -> bool {
    let key = ("app".to_owned(), Digest::of(bytes));
    fake.state.lock().unwrap().blobs.get(&key).is_some_and(|found| found == bytes)
}

fn methods(fake: &Fake) -> String {
    let log = fake.server.log();
    let lines = log.iter().filter(|request| request.path() != "/v2/").map(|request| request.method.as_str());
    lines.collect::<Vec<_>>().join(" ")
}

/// Answers the first requests with this method to an upload.
fn first(fake: &Fake, method: &'static str, count: usize, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        let matches = request.method == method && request.path().contains("/blobs/uploads/");
        (matches && seen.fetch_add(1, Ordering::SeqCst) < count).then(|| reply(request))
    });
}

#[test]
fn in_one_piece_and_only_once() {
    let fake = Fake::start();
    let client = client(settings());
    for bytes in [noise(700_000, 1), Vec::new()] {
        assert_eq!(push(&client, &fake, &bytes).unwrap(), Pushed::Uploaded);
        assert!(has(&fake, &bytes));
        let (again, opened) = push_with(&client, fake.host(), &[], &bytes);
        assert_eq!((again.unwrap(), opened), (Pushed::Existed, 0));
    }
    assert_eq!(methods(&fake), "HEAD POST PUT HEAD HEAD POST PUT HEAD");
}

#[test]
fn mounted_from_another_repository() {
    let bytes = noise(10_000, 2);
    let fake = Fake::start();
    fake.blob("base", &bytes);
    let (outcome, opened) = push_with(&client(settings()), fake.host(), &["none", "base"], &bytes);
    assert_eq!((outcome.unwrap(), opened), (Pushed::Mounted(repository(fake.host(), "base")), 0));
    assert!(has(&fake, &bytes));
    // The upload that the first repository brought about is cancelled.
    assert_eq!(fake.state.lock().unwrap().open_uploads(), 1);

    // A registry that does not mount has begun an upload, which is used.
    let fake = Fake::start();
    fake.state.lock().unwrap().mounts = false;
    let (outcome, opened) = push_with(&client(settings()), fake.host(), &["base"], &bytes);
    assert_eq!((outcome.unwrap(), opened), (Pushed::Uploaded, 1));
    assert_eq!(methods(&fake), "HEAD POST PUT");
    assert_eq!(fake.state.lock().unwrap().open_uploads(), 0);

    // A registry that does not know what mounting is.
    let fake = Fake::start();
    fake.fault(|request| request.parameter("mount").map(|_| error(404, "UNSUPPORTED")));
    assert_eq!(push_with(&client(settings()), fake.host(), &["base"], &bytes).0.unwrap(), Pushed::Uploaded);
    assert_eq!(methods(&fake), "HEAD POST POST PUT");

    // Another registry's repository is nothing to this one.
    let fake = Fake::start();
    let (to, other) = (repository(fake.host(), "app"), repository("other.example.com", "base"));
    let (client, source, descriptor) = (client(settings()), Memory::new(&bytes), Descriptor::of("x", &bytes));
    run(async move { client.push_blob(&to, &descriptor, &[other], &source, &|_| {}).await.unwrap() });
    assert_eq!(methods(&fake), "HEAD POST PUT");
}

#[test]
fn in_pieces() {
    let bytes = noise(12 << 20, 3);
    let check = |fake: &Fake, settings: Settings, expected: &str| {
        assert_eq!(push(&client(settings), fake, &bytes).unwrap(), Pushed::Uploaded);
        assert!(has(fake, &bytes));
        assert_eq!(methods(fake), expected);
        let ranges: Vec<String> =
            fake.server.log().iter().filter_map(|request| request.header("content-range").map(str::to_owned)).collect();
        ranges
    };
    let fake = Fake::start();
    let mut chunked = settings();
    chunked.registry_mut(fake.host()).chunk_size = Some(5 << 20);
    let ranges = check(&fake, chunked, "HEAD POST PATCH PATCH PATCH PUT");
    assert_eq!(ranges, ["0-5242879", "5242880-10485759", "10485760-12582911"]);
    // Because one piece is too large for the registry.
    let fake = Fake::start();
    fake.state.lock().unwrap().largest = Some(8 << 20);
    let ranges = check(&fake, settings(), "HEAD POST PUT DELETE HEAD POST PATCH PATCH PUT");
    assert_eq!(ranges, ["0-6291455", "6291456-12582911"]);
}

#[test]
fn an_upload_that_fails_begins_again() {
    let bytes = noise(300_000, 4);
    let token = "Bearer realm=\"x\"";
    for (name, method, reply) in [
        ("500", "PUT", Reply::new(500)),
        ("503 to POST", "POST", Reply::new(503)),
        ("429", "PUT", Reply::new(429).header("retry-after", 0)),
        ("401 in the middle", "PUT", Reply::new(401).header("www-authenticate", token)),
        ("connection closed", "PUT", Reply::new(200).fault(Fault::Close)),
        ("no answer", "PUT", Reply::new(201).fault(Fault::Close)),
    ] {
        let fake = Fake::start();
        if name.starts_with("401") {
            let realm = format!("Bearer realm=\"http://{}/token\"", fake.host());
            fake.fault(|request| (request.path() == "/token").then(|| Reply::new(200).body(r#"{"token":"t"}"#)));
            first(&fake, method, 2, move |_| error(401, "UNAUTHORIZED").header("www-authenticate", &realm));
        } else {
            first(&fake, method, 2, move |_| reply.clone());
        }
        assert_eq!(push(&client(settings()), &fake, &bytes).unwrap(), Pushed::Uploaded, "{name}");
        assert!(has(&fake, &bytes), "{name}");
    }
}

/// Servers in front of a registry do not wait for 50 MB to say that these are too many.
#[test]
fn answers_that_come_before_the_body_was_read() {
    let bytes = noise(50 << 20, 11);
    let fake = Fake::start();
    fake.state.lock().unwrap().early = Some(Box::new(|request| {
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        (length > 20 << 20).then(|| error(413, "SIZE"))
    }));
    assert_eq!(push(&client(settings()), &fake, &bytes).unwrap(), Pushed::Uploaded);
    assert!(has(&fake, &bytes));
    assert!(methods(&fake).ends_with("PATCH PATCH PATCH PATCH PUT"), "{}", methods(&fake));
    // A token that is not good any more.
    let fake = Fake::start();
    let (seen, challenge) = (AtomicUsize::new(0), format!("Bearer realm=\"http://{}/token\"", fake.host()));
    fake.fault(|request| (request.path() == "/token").then(|| Reply::new(200).body(r#"{"token":"t"}"#)));
    fake.state.lock().unwrap().early = Some(Box::new(move |_| {
        let first = seen.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| error(401, "UNAUTHORIZED").header("www-authenticate", &challenge))
    }));
    assert_eq!(push(&client(settings()), &fake, &bytes).unwrap(), Pushed::Uploaded);
    assert!(has(&fake, &bytes));
    // Somebody who may not.
    let fake = Fake::start();
    fake.state.lock().unwrap().early = Some(Box::new(|_| Some(error(403, "DENIED"))));
    let error = push(&client(settings()), &fake, &bytes).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
}

#[test]
fn what_seemed_to_fail_may_have_succeeded() {
    let bytes = noise(50_000, 5);
    let fake = Fake::start();
    let state = Arc::downgrade(&fake.state);
    drop(state);
    let stored = Arc::new(Mutex::new(false));
    let (shared, copy) = (Arc::clone(&stored), bytes.clone());
    // It takes everything, and then the connection is gone.
    fake.fault(move |request| {
        let mut stored = shared.lock().unwrap();
        if request.method == "PUT" {
            *stored = true;
            return Some(Reply::new(201).fault(Fault::Close));
        }
        let is_head = request.method == "HEAD" && *stored;
        is_head.then(|| Reply::new(200).header("content-length", copy.len()))
    });
    let (outcome, opened) = push_with(&client(settings()), fake.host(), &[], &bytes);
    assert_eq!((outcome.unwrap(), opened), (Pushed::Existed, 1));
}

#[test]
fn success_is_believed_only_with_the_right_digest() {
    let bytes = noise(1_000, 6);
    let other = Digest::of(b"other");
    let location = "/v2/app/blobs/uploads/1";
    for (name, method, reply, part) in [
        ("no location", "POST", Reply::new(202), "does not say where to upload to"),
        ("200 instead of 201", "PUT", Reply::new(200), "status 200"),
        ("202 instead of 201", "PUT", Reply::new(202).header("location", location), "status 202"),
        ("another digest", "PUT", Reply::new(201).header("docker-content-digest", other), "sends something else"),
        (
            "nonsense digest",
            "PUT",
            Reply::new(201).header("docker-content-digest", "sha256:../../x"),
            "names a digest that is none",
        ),
        ("nothing stored", "PUT", Reply::new(201), "and then that it has not"),
        ("digest refused", "PUT", error(400, "DIGEST_INVALID"), "DIGEST_INVALID"),
        ("upload forgotten", "PUT", error(404, "BLOB_UPLOAD_UNKNOWN"), "BLOB_UPLOAD_UNKNOWN"),
        ("not allowed", "POST", error(403, "DENIED"), "forbids it"),
        ("always 500", "PUT", Reply::new(500), "status 500"),
    ] {
        let fake = Fake::start();
        first(&fake, method, usize::MAX, move |_| reply.clone());
        let error = push(&client(settings()), &fake, &bytes).expect_err(name);
        assert!(whole(&error).contains(part), "{name}: {}", whole(&error));
        assert!(!has(&fake, &bytes), "{name}");
    }
    // A registry that says nothing of digests is asked whether the blob is there.
    let fake = Fake::start();
    fake.state.lock().unwrap().digest_header = false;
    assert_eq!(push(&client(settings()), &fake, &bytes).unwrap(), Pushed::Uploaded);
    assert_eq!(methods(&fake), "HEAD POST PUT HEAD");
}

#[test]
fn a_mount_is_believed_only_if_the_blob_is_there() {
    let bytes = noise(1_000, 7);
    let fake = Fake::start();
    fake.fault(|request| request.parameter("mount").map(|_| Reply::new(201)));
    assert_eq!(push_with(&client(settings()), fake.host(), &["base"], &bytes).0.unwrap(), Pushed::Uploaded);
    assert!(has(&fake, &bytes));
}

#[test]
fn a_source_that_fails_is_said_to_be_at_fault() {
    struct Short;
    impl BlobSource for Short {
        async fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(std::io::Cursor::new(vec![0; 10])))
        }
    }
    let fake = Fake::start();
    let (client, to) = (client(settings()), repository(fake.host(), "app"));
    let descriptor = Descriptor::of("x", &noise(400_000, 8));
    let error = run(async move { client.push_blob(&to, &descriptor, &[], &Short, &|_| {}).await.unwrap_err() });
    assert!(matches!(error, RegistryError::Source { .. }), "{}", whole(&error));
    let fake = Fake::start();
    let (client, to) = (self::client(settings()), repository(fake.host(), "app"));
    let gone = || Err::<std::io::Empty, _>(std::io::Error::from(std::io::ErrorKind::NotFound));
    let error =
        run(async move { client.push_blob(&to, &Descriptor::of("x", b"x"), &[], &gone, &|_| {}).await.unwrap_err() });
    assert!(matches!(error, RegistryError::Source { .. }), "{}", whole(&error));
}

#[test]
fn manifests_by_tag_and_by_digest() {
    let fake = Fake::start();
    let bytes = br#"{"schemaVersion":2,"manifests":[]}"#;
    let put = |client: Registry, reference: Reference| {
        run(async move { client.push_manifest(&reference, media_type::OCI_INDEX, bytes).await })
    };
    let digest = Digest::of(bytes);
    let client = client(settings());
    let by_tag = put(client.clone(), reference(fake.host(), "app:v1")).unwrap();
    assert_eq!((by_tag.digest, by_tag.size), (digest, bytes.len() as u64));
    put(client.clone(), reference(fake.host(), "app").with_digest(digest)).unwrap();
    let lines = fake.server.lines();
    assert!(lines.contains(&"PUT /v2/app/manifests/v1".to_owned()));
    assert!(lines.contains(&format!("PUT /v2/app/manifests/{digest}")));
    // A registry without the header is asked what it has now.
    fake.state.lock().unwrap().digest_header = false;
    put(client.clone(), reference(fake.host(), "app:v2")).unwrap();
    // A failure is repeated; a lie is not believed.
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        (request.method == "PUT" && seen.fetch_add(1, Ordering::SeqCst) < 2).then(|| Reply::new(502))
    });
    put(client.clone(), reference(fake.host(), "app:v3")).unwrap();
    fake.fault(|request| {
        (request.method == "PUT").then(|| Reply::new(201).header("docker-content-digest", Digest::of(b"other")))
    });
    assert!(matches!(
        put(client.clone(), reference(fake.host(), "app:v4")).unwrap_err(),
        RegistryError::Content { .. }
    ));
    fake.fault(|request| (request.method == "PUT").then(|| Reply::new(202)));
    assert!(put(client, reference(fake.host(), "app:v5")).is_err());
}

#[test]
fn deleted_by_digest() {
    let fake = Fake::start();
    let image = fake.image("app", "1", &[]);
    let (client, tag) = (client(settings()), reference(fake.host(), "app:1"));
    let digest = run({
        let (client, tag) = (client.clone(), tag.clone());
        async move { client.delete_manifest(&tag).await.unwrap() }
    });
    assert_eq!(digest, image.manifest.digest);
    assert_eq!(fake.server.lines().last().unwrap(), &format!("DELETE /v2/app/manifests/{digest}"));
    fake.fault(|request| (request.method == "DELETE").then(|| error(405, "UNSUPPORTED")));
    let error = run(async move { client.delete_manifest(&tag.with_digest(digest)).await.unwrap_err() });
    assert!(error.hint().unwrap().contains("administrator"), "{error}");
}

#[test]
fn what_is_pushed_may_be_pulled_from_the_same_registry_first() {
    struct Lazy(Registry, Repository, Descriptor);
    impl BlobSource for Lazy {
        async fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
            let bytes = self.0.small_blob(&self.1, &self.2, 1 << 20).await.map_err(std::io::Error::other)?;
            Ok(Box::new(std::io::Cursor::new(bytes)))
        }
    }
    let fake = Fake::start();
    let mut settings = settings();
    settings.parallel = Some(1);
    let (client, to, from) = (client(settings), repository(fake.host(), "app"), repository(fake.host(), "base"));
    let bytes = noise(5_000, 10);
    let descriptor = fake.blob("base", &bytes);
    let lazy = Lazy(client.clone(), from, descriptor.clone());
    run(async move { client.push_blob(&to, &descriptor, &[], &lazy, &|_| {}).await.unwrap() });
    assert!(has(&fake, &bytes));
}

#[test]
fn a_bad_day() {
    let fake = Fake::start();
    let seen = AtomicUsize::new(0);
    fake.fault(move |request| {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        let fails = request.path() != "/v2/" && matches!(number % 10, 1 | 4 | 7);
        fails.then(|| if number.is_multiple_of(2) { Reply::new(503) } else { Reply::new(200).fault(Fault::Close) })
    });
    let client = client(settings());
    for number in 0..20 {
        let bytes = noise(20_000, 100 + number);
        push(&client, &fake, &bytes).unwrap();
        assert!(has(&fake, &bytes));
    }
}

#[test]
fn progress_is_told() {
    let fake = Fake::start();
    let bytes = noise(3 << 20, 9);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (client, to, list) = (client(settings()), repository(fake.host(), "app"), Arc::clone(&seen));
    let (descriptor, source) = (Descriptor::of("x", &bytes), Memory::new(&bytes));
    run(async move {
        let progress = move |position| list.lock().unwrap().push(position);
        client.push_blob(&to, &descriptor, &[], &source, &progress).await.unwrap()
    });
    let seen = seen.lock().unwrap();
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&(3 << 20))));
}
