//! A process of docker's registry on the loopback interface.

use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::support;
use crate::support::Store;

/// `user` and `hunter2`, as htpasswd writes it with bcrypt.
const PASSWORDS: &str = "user:$2b$05$YzDZMl.tpDZurZqkmQ2Cp.TtEHDkzymgzhoYHrn3nEh.taJtqR4HS\n";

/// The user that [`PASSWORDS`] lets in.
pub(super) const USER: &str = "user";
/// Its password.
pub(super) const PASSWORD: &str = "hunter2";

/// A registry, for the life of the value.
#[derive(Debug)]
pub(super) struct Host {
    /// `127.0.0.1:PORT`.
    pub(super) name: String,
    directory: tempfile::TempDir,
    process: Child,
}

impl Host {
    /// One that everybody may use, over plain http.
    pub(super) fn open() -> Self {
        Self::start(false)
    }

    /// One that speaks TLS with a certificate nobody knows, and wants a password.
    pub(super) fn guarded() -> Self {
        Self::start(true)
    }

    fn start(guarded: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let name = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
             \x20 delete: {{enabled: true}}\nhttp:\n  addr: {name}\n",
            path("data")
        );
        if guarded {
            certificates(directory.path());
            std::fs::write(directory.path().join("passwords"), PASSWORDS).unwrap();
            config.push_str(&format!(
                "  tls: {{certificate: {}, key: {}}}\nauth:\n  htpasswd: {{realm: test, path: {}}}\n",
                path("server.pem"),
                path("server.key"),
                path("passwords")
            ));
        }
        std::fs::write(directory.path().join("registry.yml"), config).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(directory.path().join("registry.yml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start docker-registry ({error}): run scripts/setup"));
        let mut host = Self { name, directory, process };
        let began = Instant::now();
        while TcpStream::connect(&host.name).is_err() {
            let ended = host.process.try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry has ended: {ended:?}\n{}", host.log());
            assert!(began.elapsed() < Duration::from_secs(30), "docker-registry does not listen\n{}", host.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        host
    }

    /// The name of an image here.
    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The certificate that signs the registry's.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A directory with that certificate as skopeo and podman want it.
    pub(super) fn certificate_directory(&self) -> PathBuf {
        let directory = self.directory.path().join("trusted");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::copy(self.authority(), directory.join("ca.crt")).unwrap();
        directory
    }

    /// The binary on a store, allowed to ask this registry.
    pub(super) fn bld(&self, store: &Store) -> Command {
        let mut command = store.bld();
        command.env_remove("BLD_OFFLINE");
        if self.authority().exists() {
            let file = self.directory.path().join("registries.toml");
            let text = format!("[registry.\"{}\"]\nca = [\"{}\"]\n", self.name, self.authority().display());
            std::fs::write(&file, text).unwrap();
            command.env("BLD_REGISTRIES", file);
        }
        command
    }

    /// The bytes of bodies that were sent and the number of requests, by the registry's own log.
    pub(super) fn sent(&self) -> (u64, usize) {
        // Written after the answer.
        std::thread::sleep(Duration::from_millis(300));
        let log = self.log();
        let written = log.lines().filter_map(|line| line.split_once("http.response.written=")).map(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap_or_default()
        });
        let sizes: Vec<u64> = written.collect();
        (sizes.iter().sum(), sizes.len())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// An authority, and a certificate of it for this machine.
fn certificates(directory: &Path) {
    let run = |arguments: &str| {
        support::run(Command::new("openssl").args(arguments.split(' ')).current_dir(directory)).succeeded();
    };
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";
    std::fs::write(directory.join("names"), names).unwrap();
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=tests");
    run("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=registry");
    run("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
}
