//! Files with credentials and helper programs: R16, and logging in and out.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use bld_registry::Credentials;
use bld_registry::CredentialsError;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Secret;
use bld_registry::Settings;
use bld_registry::Stored;

use super::get;
use crate::support::fake::Fake;
use crate::support::*;

const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// A registry for `user:hunter2`, a directory, and a configuration file in it.
struct Setup {
    fake: Fake,
    directory: tempfile::TempDir,
}

impl Setup {
    fn new() -> Setup {
        let fake = Fake::start();
        fake.guard(&[BASIC], "Basic realm=\"x\"");
        fake.image("team/app", "1", &[]);
        Setup { fake, directory: tempfile::tempdir().unwrap() }
    }

    fn host(&self) -> &str {
        self.fake.host()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("config.json")
    }

    fn write(&self, json: &serde_json::Value) {
        std::fs::write(self.file(), json.to_string()).unwrap();
        std::fs::set_permissions(self.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.file()).unwrap()).unwrap()
    }

    /// A helper program with this script.
    fn helper(&self, name: &str, script: &str) {
        let path = self.directory.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn credentials(&self) -> Credentials {
        let mut path = OsString::from(".:relative:");
        path.push(self.directory.path());
        Credentials::new(vec![self.file()], Some(&path)).with_helper_timeout(Duration::from_secs(2))
    }

    fn client(&self) -> Registry {
        client_with(settings(), self.credentials())
    }

    fn try_pull(&self) -> Result<(), RegistryError> {
        get(&self.client(), &reference(self.host(), "team/app:1")).map(|_| ())
    }
}

const GOOD: &str =
    r#"read key; echo "$1 $key" >> "$0.log"; echo '{"ServerURL":"x","Username":"user","Secret":"hunter2"}'"#;

#[test]
fn where_credentials_are_found() {
    let setup = Setup::new();
    let host = setup.host().to_owned();
    setup.helper("good", GOOD);
    setup.helper("empty", "echo 'credentials not found in native keychain'; exit 1");
    let (good, bad) = ("dXNlcjpodW50ZXIy", "dXNlcjp3cm9uZw==");
    let auth = |auth: &str| serde_json::json!({ "auth": auth });
    for (name, json, works) in [
        ("by host", serde_json::json!({ "auths": { &host: auth(good) } }), true),
        ("wrong password", serde_json::json!({ "auths": { &host: auth(bad) } }), false),
        ("another host", serde_json::json!({ "auths": { "example.com": auth(good) } }), false),
        ("old form", serde_json::json!({ "auths": { format!("https://{host}/v1/"): auth(good) } }), true),
        (
            "by repository",
            serde_json::json!({ "auths": { &host: auth(bad), format!("{host}/team/app"): auth(good) } }),
            true,
        ),
        (
            "by part of the path",
            serde_json::json!({ "auths": { &host: auth(bad), format!("{host}/team"): auth(good) } }),
            true,
        ),
        (
            "by another repository",
            serde_json::json!({ "auths": { &host: auth(good), format!("{host}/tea"): auth(bad) } }),
            true,
        ),
        (
            "helper of the host",
            serde_json::json!({ "credHelpers": { &host: "good" }, "auths": { &host: auth(bad) } }),
            true,
        ),
        ("helper of another host", serde_json::json!({ "credHelpers": { "example.com": "good" } }), false),
        ("store", serde_json::json!({ "credsStore": "good", "auths": { &host: {} } }), true),
        ("store that has nothing", serde_json::json!({ "credsStore": "empty", "auths": { &host: auth(good) } }), true),
        ("helper and store", serde_json::json!({ "credsStore": "empty", "credHelpers": { &host: "good" } }), true),
        (
            "program that is not there",
            serde_json::json!({ "credsStore": "desktop", "auths": { &host: auth(good) } }),
            true,
        ),
        ("empty file", serde_json::json!({}), false),
    ] {
        setup.write(&json);
        let outcome = setup.try_pull();
        assert_eq!(outcome.is_ok(), works, "{name}: {outcome:?}");
    }
    let log = std::fs::read_to_string(setup.directory.path().join("docker-credential-good.log")).unwrap();
    assert!(log.lines().all(|line| line == format!("get {host}")), "{log}");
    // The first file that knows the host decides.
    setup.write(&serde_json::json!({ "auths": { &host: auth(good) } }));
    let second = setup.directory.path().join("auth.json");
    std::fs::write(&second, serde_json::json!({ "auths": { &host: auth(bad) } }).to_string()).unwrap();
    for (files, works) in [([setup.file(), second.clone()], true), ([second, setup.file()], false)] {
        let client = client_with(settings(), Credentials::new(files.to_vec(), None));
        assert_eq!(get(&client, &reference(&host, "team/app:1")).is_ok(), works);
    }
}

#[test]
fn r16_helpers_that_misbehave() {
    let setup = Setup::new();
    let host = setup.host().to_owned();
    // What must not be run.
    setup.helper("x", "touch \"$0.ran\"");
    for name in ["../../x", "../x", "x/../x", "x y", "X", "x;y", "$(x)", "\u{e9}", "x\n"] {
        setup.write(&serde_json::json!({ "credsStore": name }));
        let error = setup.try_pull().unwrap_err();
        assert!(matches!(error, RegistryError::Credentials(CredentialsError::HelperName { .. })), "{name}: {error}");
    }
    assert!(!setup.directory.path().join("docker-credential-x.ran").exists());
    for (name, script, part) in [
        ("gigabyte", "exec cat /dev/zero", "prints more than 65536 bytes"),
        ("hangs", "exec sleep 100", "has not ended after 2 s"),
        ("silent", "cat; exec sleep 100 > /dev/null", "has not ended after 2 s"),
        ("fails", "echo 'the keyring is locked'; exit 1", "the keyring is locked"),
        ("dies", "kill -9 $$", "failed with signal: 9"),
        ("nonsense", "echo hello", "is not JSON"),
        ("deaf", "exec 0<&-; echo 7", "is not JSON"),
    ] {
        setup.helper(name, script);
        setup.write(&serde_json::json!({ "credHelpers": { &host: name } }));
        let began = Instant::now();
        let error = setup.try_pull().unwrap_err();
        assert!(matches!(error, RegistryError::Credentials(CredentialsError::Helper { .. })), "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.hint().unwrap().contains(&format!("docker-credential-{name} list")));
        assert!(began.elapsed() < Duration::from_secs(6), "{name}");
    }
    // The control.
    setup.helper("good", GOOD);
    setup.write(&serde_json::json!({ "credHelpers": { &host: "good" } }));
    setup.try_pull().unwrap();
}

#[test]
fn helpers_that_hang_leave_nothing_behind() {
    let setup = Setup::new();
    // The answer is awaited as long as what was started holds the pipe, whether the helper itself is there or not.
    for (name, script) in [
        ("waits", "sleep 1000 & echo $! > \"$0.pid\"; wait"),
        ("ends", "sleep 1000 & echo $! > \"$0.pid\""),
        ("floods", "sleep 1000 & echo $! > \"$0.pid\"; exec cat /dev/zero"),
    ] {
        setup.helper(name, script);
        setup.write(&serde_json::json!({ "credsStore": name }));
        let error = setup.try_pull().unwrap_err();
        assert!(matches!(error, RegistryError::Credentials(CredentialsError::Helper { .. })), "{name}: {error}");
        let pid =
            std::fs::read_to_string(setup.directory.path().join(format!("docker-credential-{name}.pid"))).unwrap();
        let command = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
        let deadline = Instant::now() + Duration::from_secs(5);
        // Nobody may be there to reap it: what has ended has no command line.
        while std::fs::read_to_string(&command).is_ok_and(|line| line.starts_with("sleep")) {
            assert!(Instant::now() < deadline, "{name}: {pid} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn pipes_are_not_waited_for() {
    let setup = Setup::new();
    let pipe = setup.directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let credentials = || Credentials::new(vec![pipe.clone()], None);
    let text =
        whole(&get(&client_with(settings(), credentials()), &reference(setup.host(), "team/app:1")).unwrap_err());
    assert!(text.contains("pipe: it is not a regular file"), "{text}");
    let text = whole(&login(&client_with(settings(), credentials()), setup.host(), "hunter2").unwrap_err());
    assert!(text.contains("pipe: it is not a regular file"), "{text}");
    let text = whole(&Settings::read(std::slice::from_ref(&pipe)).unwrap_err());
    assert!(text.contains("pipe: it is not a regular file"), "{text}");
    // Certificates are read when a host that speaks TLS is asked.
    for which in ["ca", "key"] {
        let mut settings = settings();
        let entry = settings.registry_mut("127.0.0.1:1");
        entry.http = Some(false);
        if which == "ca" {
            entry.ca = Some(vec![pipe.clone()]);
        } else {
            (entry.client_cert, entry.client_key) = (Some(pipe.clone()), Some(pipe.clone()));
        }
        let text = whole(&get(&client(settings), &reference("127.0.0.1:1", "team/app:1")).unwrap_err());
        assert!(text.contains("it is not a regular file"), "{which}: {text}");
    }
}

#[test]
fn r16_files_that_are_not_right() {
    let setup = Setup::new();
    let host = setup.host().to_owned();
    for (json, part) in [
        (serde_json::json!({ "auths": [] }), "auths must be an object"),
        (serde_json::json!({ "credsStore": 5 }), "credsStore must be a string"),
        (serde_json::json!({ "credHelpers": { &host: 5 } }), "must be a string"),
        (serde_json::json!({ "auths": { &host: { "auth": "%%%" } } }), "base64 of USER:PASSWORD"),
        (serde_json::json!({ "auths": { &host: { "auth": "dXNlcg==" } } }), "base64 of USER:PASSWORD"),
        (serde_json::json!([]), "is not a configuration file"),
    ] {
        setup.write(&json);
        let text = whole(&setup.try_pull().unwrap_err());
        assert!(text.contains(part) && text.contains("config.json"), "{text}");
    }
    // Who else can read it is said once, with what to do.
    setup.write(&serde_json::json!({ "auths": { &host: { "auth": "dXNlcjpodW50ZXIy" } } }));
    for (mode, remarks) in [(0o600, 0), (0o644, 1), (0o640, 1)] {
        std::fs::set_permissions(setup.file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let (client, told) = talkative(settings(), setup.credentials());
        for _ in 0..2 {
            get(&client, &reference(&host, "team/app:1")).unwrap();
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len(), remarks, "{told:?}");
        assert!(told.iter().all(|text| text.contains("others can read it") && text.contains("chmod 600")), "{told:?}");
    }
}

fn login(client: &Registry, host: &str, password: &str) -> Result<Stored, RegistryError> {
    let (client, host, password) = (client.clone(), host.to_owned(), Secret::new(password.to_owned()));
    run(async move { client.login(&host, "user", password).await })
}

fn logout(client: &Registry, host: &str) -> bool {
    let (client, host) = (client.clone(), host.to_owned());
    run(async move { client.logout(&host).await.unwrap() })
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn login_and_logout() {
    let setup = Setup::new();
    let host = setup.host().to_owned();
    let client = setup.client();
    let asked = reference(&host, "team/app:1");
    assert!(get(&client, &asked).is_err());
    // A wrong password is not stored.
    let error = login(&client, &host, "wrong").unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { tried: true, .. }), "{error}");
    assert!(!setup.file().exists());
    assert_eq!(login(&client, &format!("https://{host}/v2/"), "hunter2").unwrap(), Stored::File(setup.file()));
    assert_eq!(mode(&setup.file()), 0o600);
    assert_eq!(setup.read()["auths"][&host]["auth"], "dXNlcjpodW50ZXIy");
    // The same client knows it at once, and a new one finds it.
    get(&client, &asked).unwrap();
    setup.try_pull().unwrap();
    assert!(logout(&client, &host));
    assert!(!logout(&client, &host));
    assert!(get(&client, &asked).is_err());
    assert_eq!(setup.read()["auths"], serde_json::json!({}));
    // What else is in the file stays, and a link stays a link.
    let real = setup.directory.path().join("real.json");
    std::fs::write(&real, r#"{"HttpHeaders":{"X":"y"},"auths":{"a.b":{"auth":"x"}},"number":1.5}"#).unwrap();
    std::fs::remove_file(setup.file()).unwrap();
    std::os::unix::fs::symlink("real.json", setup.file()).unwrap();
    login(&client, &host, "hunter2").unwrap();
    assert!(setup.file().is_symlink());
    let json = setup.read();
    assert_eq!(
        (&json["HttpHeaders"]["X"], &json["auths"]["a.b"]["auth"], &json["number"]),
        (&"y".into(), &"x".into(), &1.5.into())
    );
    assert_eq!(mode(&real), 0o600);
    assert!(logout(&client, &host));
    assert_eq!(setup.read()["auths"]["a.b"]["auth"], "x");
    let files: Vec<_> = std::fs::read_dir(setup.directory.path()).unwrap().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    // Many at once: none is lost.
    let names: Vec<_> = (0..8).map(|_| setup.credentials()).collect();
    let threads: Vec<_> = names
        .into_iter()
        .map(|credentials| {
            let fake = Fake::start();
            std::thread::spawn(move || {
                login(&client_with(settings(), credentials), fake.host(), "any").unwrap();
                fake.host().to_owned()
            })
        })
        .collect();
    let hosts: Vec<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let json = setup.read();
    assert!(hosts.iter().all(|host| json["auths"][host]["auth"].is_string()), "{json}");
}

#[test]
fn login_with_a_helper() {
    let setup = Setup::new();
    let host = setup.host().to_owned();
    // Keeps what it is given in a file beside itself.
    setup.helper(
        "keeps",
        r#"case $1 in
        store) cat > "$0.kept" ;;
        get) cat "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
        erase) rm "$0.kept" ;;
        esac"#,
    );
    setup.write(&serde_json::json!({ "credsStore": "keeps" }));
    let client = setup.client();
    assert!(setup.try_pull().is_err());
    assert_eq!(login(&client, &host, "hunter2").unwrap(), Stored::Helper("docker-credential-keeps".to_owned()));
    assert_eq!(setup.read()["auths"][&host], serde_json::json!({}));
    assert!(!std::fs::read_to_string(setup.file()).unwrap().contains("hunter2"));
    setup.try_pull().unwrap();
    assert!(logout(&client, &host));
    assert!(setup.try_pull().is_err());
    assert!(!logout(&client, &host));
    // A helper that is not there must not lead to a password in a file.
    setup.write(&serde_json::json!({ "credsStore": "desktop" }));
    let error = login(&setup.client(), &host, "hunter2").unwrap_err();
    assert!(matches!(error, RegistryError::Credentials(CredentialsError::NoHelper { .. })), "{error}");
    assert!(!std::fs::read_to_string(setup.file()).unwrap().contains("auth"));
}

#[test]
fn login_without_a_place() {
    let fake = Fake::start();
    let client = client(settings());
    assert!(matches!(login(&client, fake.host(), "x"), Err(RegistryError::Credentials(CredentialsError::Nowhere))));
    let host = fake.host().to_owned();
    for name in ["", "a:b"] {
        let (client, host) = (client.clone(), host.clone());
        let outcome = run(async move { client.login(&host, name, Secret::new("x".to_owned())).await });
        assert!(matches!(outcome, Err(RegistryError::Credentials(CredentialsError::UserName))), "{name}");
    }
}
