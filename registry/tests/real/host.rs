//! A process of docker's registry, with an authority, a password file and a token server made for it.

use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bld_oci::Digest;

use crate::support::server::Reply;
use crate::support::server::Request;
use crate::support::server::Server;

/// `user` and `hunter2`, as htpasswd writes it with bcrypt.
const PASSWORDS: &str = "user:$2b$05$YzDZMl.tpDZurZqkmQ2Cp.TtEHDkzymgzhoYHrn3nEh.taJtqR4HS\n";
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Auth {
    None,
    Password,
    Tokens,
    /// A certificate of the authority.
    Certificate,
}

pub(crate) struct Host {
    /// `127.0.0.1:PORT`.
    pub(crate) name: String,
    directory: tempfile::TempDir,
    registry: Child,
    tokens: Option<Server>,
}

impl Host {
    pub(crate) fn start(tls: bool, auth: Auth) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let name = format!("127.0.0.1:{port}");
        if tls || matches!(auth, Auth::Tokens) {
            certificates(directory.path());
        }
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: {name}\n",
            path("data")
        );
        if tls {
            let clients = if matches!(auth, Auth::Certificate) { path("ca.pem") } else { String::new() };
            config.push_str(&format!(
                "  tls: {{certificate: {}, key: {}, clientcas: [{clients}]}}\n",
                path("server.pem"),
                path("server.key")
            ));
        }
        let mut tokens = None;
        match auth {
            Auth::None | Auth::Certificate => {}
            Auth::Password => {
                std::fs::write(directory.path().join("passwords"), PASSWORDS).unwrap();
                config.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", path("passwords")));
            }
            Auth::Tokens => {
                let keys = directory.path().to_owned();
                let server = Server::start("127.0.0.1", move |request| token(request, &keys));
                config.push_str(&format!(
                    "auth:\n  token: {{realm: \"http://{}/token\", service: test, issuer: tests, rootcertbundle: {}}}\n",
                    server.host,
                    path("ca.pem")
                ));
                tokens = Some(server);
            }
        }
        std::fs::write(directory.path().join("registry.yml"), config).unwrap();
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(directory.path().join("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry cannot be started: scripts/setup installs it");
        let mut host = Host { name, directory, registry, tokens };
        let began = Instant::now();
        while TcpStream::connect(&host.name).is_err() {
            let ended = host.registry.try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry has ended: {ended:?}");
            assert!(began.elapsed() < Duration::from_secs(20), "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The certificate that signs the registry's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The scopes that tokens were asked for.
    pub(crate) fn scopes(&self) -> Vec<String> {
        self.tokens.iter().flat_map(Server::log).map(|request| request.parameters("scope").join(" ")).collect()
    }

    /// Has skopeo copy an image with everything in it; the digest of the manifest that it got.
    pub(crate) fn skopeo_digest(&self, name: &str, credentials: &Path) -> Digest {
        let certificates = self.path("trusted");
        std::fs::create_dir_all(&certificates).unwrap();
        std::fs::copy(self.authority(), certificates.join("ca.crt")).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--preserve-digests"])
            .args(["--src-cert-dir".as_ref(), certificates.as_os_str()])
            .args(["--src-authfile".as_ref(), credentials.as_os_str()])
            .arg(format!("docker://{}/{name}", self.name))
            .arg(format!("dir:{}", copy.path().display()))
            .output()
            .expect("skopeo cannot be started: scripts/setup installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Digest::of(&std::fs::read(copy.path().join("manifest.json")).unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.registry.kill().ok();
        self.registry.wait().ok();
    }
}

/// An authority, and a certificate of it for this machine.
fn certificates(directory: &Path) {
    let run = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let output = output.expect("openssl cannot be started: scripts/setup installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";
    std::fs::write(directory.join("names"), names).unwrap();
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=tests");
    run("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=registry");
    run("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
    run("req -newkey rsa:2048 -nodes -keyout client.key -out client.csr -subj /CN=client");
    run("x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out client.pem");
    run("x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out old.pem");
}

/// The answer of the token server: everything that is asked for, to who knows the password.
fn token(request: &Request, keys: &Path) -> Reply {
    if request.header("authorization") != Some(BASIC) {
        return crate::support::fake::error(401, "UNAUTHORIZED");
    }
    let access: Vec<_> = request.parameters("scope").iter().map(|scope| {
        let parts: Vec<&str> = scope.split(':').collect();
        serde_json::json!({ "type": parts[0], "name": parts[1], "actions": parts[2].split(',').collect::<Vec<_>>() })
    }).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let certificate: String = std::fs::read_to_string(keys.join("server.pem"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert!(STANDARD.decode(&certificate).is_ok());
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [certificate] });
    let claims = serde_json::json!({
        "iss": "tests", "sub": "user", "aud": request.parameter("service"), "exp": now + 300, "nbf": now - 60, "iat": now,
        "jti": now.to_string(), "access": access,
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = sign(signed.as_bytes(), &keys.join("server.key"));
    let body =
        serde_json::json!({ "token": format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)), "expires_in": 300 });
    Reply::new(200).body(body.to_string())
}

fn sign(bytes: &[u8], key: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("signed");
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
