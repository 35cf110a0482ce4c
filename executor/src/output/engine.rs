//! docker or podman on this machine: images are handed to them as `docker load` takes them.

#![expect(clippy::disallowed_methods, reason = "starts docker and podman")]

use std::io::BufWriter;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use bld_cache::Store;
use bld_oci::reference::Reference;

use super::OutputError;
use super::write_to;
use crate::image::assemble::Assembled;

/// A container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// docker, whose daemon answers.
    Docker {
        /// Which of docker's contexts; `None` = the current one.
        context: Option<String>,
    },
    /// podman.
    Podman,
}

impl Engine {
    /// What a person calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Engine::Docker { .. } => "docker",
            Engine::Podman => "podman",
        }
    }

    /// docker, if its daemon answers.
    pub fn docker(context: Option<&str>) -> Option<Engine> {
        let engine = Engine::Docker { context: context.map(str::to_owned) };
        engine.answers(&["version", "--format", "{{.Server.Version}}"]).then_some(engine)
    }

    /// podman, if it is there.
    pub fn podman() -> Option<Engine> {
        Engine::Podman.answers(&["--version"]).then_some(Engine::Podman)
    }

    fn answers(&self, arguments: &[&str]) -> bool {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.name());
        if let Engine::Docker { context: Some(context) } = self {
            command.arg("--context").arg(context);
        }
        command
    }

    /// Hands an image over; answers what the engine says.
    pub fn load(&self, store: &Store, made: &Assembled, names: &[Reference]) -> Result<String, OutputError> {
        let program = PathBuf::from(format!("{} load", self.name()));
        let io = |verb| {
            let path = program.clone();
            move |source| OutputError::Io { verb, path, source }
        };
        let mut command = self.command();
        command.arg("load").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(io("start"))?;
        let stdin = child.stdin.take();
        // What it says is read meanwhile: a full pipe would stop it.
        let (written, finished) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let Some(stdin) = stdin else { return Ok(()) };
                let mut stdin = BufWriter::with_capacity(1 << 20, stdin);
                write_to(&mut stdin, store, made, names, &program)?;
                stdin.flush().map_err(io("write to"))
            });
            let finished = child.wait_with_output();
            (writer.join(), finished)
        });
        let finished = finished.map_err(io("wait for"))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !finished.status.success() {
            // It stopped reading, so the writer failed too: what it says is the reason.
            return Err(OutputError::Engine { engine: self.name(), said: said(&finished.stderr) });
        }
        written.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(said(&finished.stdout))
    }
}
