//! Runs an image in the foreground, to try it: one process, and nothing left of it afterwards.
//!
//! ```text
//! image configuration + `request` -> Spec      (here)
//! layers below, a throw-away directory on top  (the store's tmp/, gone with this process or by the next one)
//! limits -> cgroups                            (`cgroup`)
//! -p, -P -> forwarded ports                    (`ports`)
//! ```
//! The sandbox is that of a `RUN` step. VOLUMEs are directories of the throw-away layer with what the image has there. HEALTHCHECK and
//! ONBUILD mean nothing here.

pub mod cgroup;
pub mod error;
pub mod ports;
pub mod request;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::Store;
use bld_cache::record::LayerId;
use bld_cache::store::ActiveLayer;
use bld_oci::ImagePath;
use bld_oci::image::ContainerConfig;
use bld_solver::record::exec::ExecFacts;

use self::cgroup::Cgroups;
use self::error::RunError;
use self::ports::Publish;
use self::ports::Published;
use self::request::RunNetwork;
use self::request::RunRequest;
use self::request::Variable;
use crate::error::ExecuteError;
use crate::image::image_layers;
use crate::image::local::LocalImage;
use crate::layers;
use crate::passwd;
use crate::sandbox::Exit;
use crate::sandbox::FileMount;
use crate::sandbox::Helper;
use crate::sandbox::Identity;
use crate::sandbox::Mount;
use crate::sandbox::MountSource;
use crate::sandbox::Network;
use crate::sandbox::ResolvConf;
use crate::sandbox::RootFs;
use crate::sandbox::Running;
use crate::sandbox::SandboxError;
use crate::sandbox::Spec;
use crate::sandbox::Streams;
use crate::sandbox::Upper;
use crate::sandbox::network::NetworkSlot;
use crate::sandbox::network::Publisher;
use crate::view::merged::MergedTree;
use crate::worker::Layers;
use crate::worker::layer_mode;
use crate::worker::not_found::Sought;
use crate::worker::not_found::explain_program;

/// Where programs are looked for when the image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// docker's size of /dev/shm.
const DEFAULT_SHM_SIZE: u64 = 64 << 20;
/// The address of the container in its private network.
const INSIDE: &str = "10.0.2.100";

/// All that a run needs, before its process is there. Dropped after it, it leaves nothing.
#[derive(Debug)]
pub struct Container {
    spec: Spec,
    files: Arc<MergedTree>,
    _network: Option<NetworkSlot>,
    publisher: Option<Publisher>,
    to_publish: Vec<Publish>,
    cgroups: Cgroups,
    _layer: ActiveLayer,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Container {
    /// Prepares a run of `image`. Unpacks layers that are not unpacked yet.
    pub fn prepare(
        store: &Store,
        identity: Identity,
        image: &LocalImage,
        request: &RunRequest,
    ) -> Result<Container, RunError> {
        let broken = |source| RunError::Broken { digest: image.descriptor.digest.to_string(), source };
        let adopted = image_layers(&image.manifest, &image.config).map_err(broken)?;
        let adopted = adopted.iter().map(|layer| store.layers().adopt_image_layer(layer));
        let adopted = adopted.collect::<Result<Vec<_>, _>>()?;
        let files = Layers::new(store.clone(), layer_mode(identity));
        let own = [format!("HOSTNAME={}", request.hostname)];
        Container::on_layers(store, identity, &files, &adopted, &image.config.container, &own, request)
    }

    /// Prepares a run in the files that a step of a build began with or left, with what the step had. Unpacks layers that are not
    /// unpacked yet.
    pub fn in_step(
        store: &Store,
        identity: Identity,
        files: &Layers,
        layers: &[LayerId],
        facts: Option<&ExecFacts>,
        request: &RunRequest,
    ) -> Result<Container, RunError> {
        let config = facts.map(|facts| ContainerConfig {
            user: facts.user.clone(),
            env: facts.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_dir: facts.cwd.clone(),
            ..ContainerConfig::default()
        });
        Container::on_layers(store, identity, files, layers, &config.unwrap_or_default(), &[], request)
    }

    /// `own`: variables that are set unless the configuration does.
    fn on_layers(
        store: &Store,
        identity: Identity,
        files: &Layers,
        below: &[LayerId],
        config: &ContainerConfig,
        own: &[String],
        request: &RunRequest,
    ) -> Result<Container, RunError> {
        let args = command(request, config.entrypoint.as_deref(), config.cmd.as_deref())?;
        let mut notes = Vec::new();
        let lowers = files.directories(below)?;
        let view = files.view(below)?;
        let user = request.user.as_deref().unwrap_or(&config.user);
        let user = passwd::resolve_user(user, view.as_ref()).map_err(ExecuteError::from)?;
        if identity == Identity::SingleId && user.uid != 0 {
            notes.push(format!("there is one user id only: the process runs as root, not as {}", user.uid));
        }
        let layer = store.layers().create()?;
        layers::prepare::prepare(layer.directory(), view.as_ref(), files.mode()).map_err(ExecuteError::from)?;

        let to_publish = wanted_ports(request, &config.exposed_ports)?;
        let (network, publisher) = network(store, request, !to_publish.is_empty(), &mut notes)?;
        let cgroups = Cgroups::new(&request.limits)?;
        let mounts = mounts(request, &config.volumes)?;
        let covered = |path: &str| mounts.iter().any(|mount| mount.target == Path::new(path));
        let (inside, resolv_conf) = match (&network, request.network) {
            (Some(slot), _) => (INSIDE, slot.resolv_conf()),
            (None, RunNetwork::None) => ("127.0.1.1", ResolvConf::Image),
            (None, _) => ("127.0.1.1", ResolvConf::Host),
        };
        let hosts = hosts_file(request, inside);
        let hostname_file = FileMount {
            target: "/etc/hostname".into(),
            body: format!("{}\n", request.hostname).into_bytes(),
            mode: 0o644,
            uid: 0,
            gid: 0,
        };
        let spec = Spec {
            root: RootFs {
                lowers,
                upper: Some(Upper { upper: layer.directory().to_owned(), work: layer.work().to_owned() }),
            },
            args,
            env: environment(request, &config.env, own, &user.home),
            cwd: working_directory(request, &config.working_dir),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            hostname: request.hostname.clone(),
            hosts: (!covered("/etc/hosts")).then_some(hosts),
            resolv_conf: if covered("/etc/resolv.conf") { ResolvConf::Image } else { resolv_conf },
            network: match (&network, request.network) {
                (Some(slot), _) => slot.network(),
                (None, RunNetwork::None) => Network::None,
                (None, _) => Network::Host,
            },
            shm_size: request.shm_size.unwrap_or(DEFAULT_SHM_SIZE),
            files: if covered("/etc/hostname") { Vec::new() } else { vec![hostname_file] },
            mounts,
            limits: request.ulimits.clone(),
            privileged: false,
            no_new_privileges: request.no_new_privileges,
            capabilities: request.capabilities,
            read_only: request.read_only,
            cgroups: cgroups.directories().to_vec(),
            identity,
        };
        Ok(Container { spec, files: view, _network: network, publisher, to_publish, cgroups, _layer: layer, notes })
    }

    /// Publishes the ports. Connections wait for the process, as they would for one that is slow to listen.
    pub fn publish(&self) -> Result<Vec<Published>, RunError> {
        let Some(publisher) = &self.publisher else { return Ok(Vec::new()) };
        self.to_publish.iter().map(|wanted| ports::publish(publisher, wanted)).collect()
    }

    /// Starts the process.
    pub fn start(&self, helper: &Helper, streams: Streams) -> Result<Running, RunError> {
        let started = helper.spawn_with(&self.spec, streams);
        started.map_err(|error| {
            let cwd = ImagePath::new(self.spec.cwd.to_string_lossy().as_ref());
            let path = self.spec.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
            let sought = Sought { cwd: &cwd, path: path.unwrap_or_default(), script: None };
            explain_program(error.into(), &sought, self.files.as_ref()).into()
        })
    }

    /// Whether the process was killed because it wanted more memory than it may have.
    pub fn ran_out_of_memory(&self, exit: Exit) -> bool {
        self.cgroups.ran_out_of_memory() || exit.oom
    }
}

/// ENTRYPOINT and CMD, or what stands for them. A new ENTRYPOINT takes the image's CMD away, which was meant for the old one.
fn command(
    request: &RunRequest,
    entrypoint: Option<&[String]>,
    cmd: Option<&[String]>,
) -> Result<Vec<String>, RunError> {
    let (entrypoint, cmd) = match &request.entrypoint {
        Some(own) => (own.as_slice(), &[][..]),
        None => (entrypoint.unwrap_or_default(), cmd.unwrap_or_default()),
    };
    let cmd = if request.command.is_empty() { cmd } else { request.command.as_slice() };
    let args: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if args.is_empty() { Err(RunError::NoCommand) } else { Ok(args) }
}

/// The image's environment with the changes, and what every container has.
fn environment(request: &RunRequest, image: &[String], own: &[String], home: &[u8]) -> Vec<String> {
    let name_of = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    let mut out: Vec<String> = image.to_vec();
    for change in &request.env {
        let place = out.iter().position(|variable| name_of(variable) == change.name());
        match (change, place) {
            (Variable::Set(name, value), Some(place)) => out[place] = format!("{name}={value}"),
            (Variable::Set(name, value), None) => out.push(format!("{name}={value}")),
            (Variable::Remove(_), Some(place)) => drop(out.remove(place)),
            (Variable::Remove(_), None) => {}
        }
    }
    let mut defaults = vec![DEFAULT_PATH.to_owned()];
    defaults.extend_from_slice(own);
    if request.terminal {
        defaults.push("TERM=xterm".to_owned());
    }
    defaults.push(format!("HOME={}", String::from_utf8_lossy(home)));
    for default in defaults {
        if !out.iter().any(|variable| name_of(variable) == name_of(&default)) {
            out.push(default);
        }
    }
    out
}

fn working_directory(request: &RunRequest, image: &str) -> PathBuf {
    let directory = request.working_directory.as_deref().unwrap_or(image);
    let directory = if directory.is_empty() { "/" } else { directory };
    // A relative one of an image counts from the root.
    normalized(directory)
}

/// An absolute path without `.` and `..`.
fn normalized(path: &str) -> PathBuf {
    PathBuf::from(ImagePath::new(path).to_string())
}

/// What the user mounts, and the image's volumes that nothing of it covers.
fn mounts(request: &RunRequest, volumes: &BTreeSet<String>) -> Result<Vec<Mount>, RunError> {
    let mut mounts = request.mounts.clone();
    for volume in volumes {
        let target = normalized(volume);
        if !volume.starts_with('/') || target == Path::new("/") {
            return Err(RunError::BadPath { path: volume.clone() });
        }
        if !mounts.iter().any(|mount| mount.target == target) {
            mounts.push(Mount { target, source: MountSource::Own });
        }
    }
    Ok(mounts)
}

fn wanted_ports(request: &RunRequest, exposed: &BTreeSet<String>) -> Result<Vec<Publish>, RunError> {
    let mut wanted = request.ports.clone();
    if request.publish_all {
        for text in exposed {
            let ports = ports::exposed(text).ok_or_else(|| RunError::Exposed { text: text.clone() })?;
            for (inside, protocol) in ports {
                let is_known = wanted.iter().any(|known| (known.inside, known.protocol) == (inside, protocol));
                if !is_known {
                    wanted.push(Publish { address: Ipv4Addr::UNSPECIFIED, host: None, inside, protocol });
                }
            }
        }
    }
    Ok(wanted)
}

fn network(
    store: &Store,
    request: &RunRequest,
    publishes: bool,
    notes: &mut Vec<String>,
) -> Result<(Option<NetworkSlot>, Option<Publisher>), RunError> {
    let made = match request.network {
        RunNetwork::None => return Ok((None, None)),
        RunNetwork::Host => {
            if publishes {
                notes.push("published ports mean nothing with the host's network: its ports are the host's".to_owned());
            }
            return Ok((None, None));
        }
        RunNetwork::Private | RunNetwork::PrivateOrHost if publishes => {
            let directory = store.scratch()?;
            NetworkSlot::publishing(&directory).map(|(slot, publisher)| (Some(slot), Some(publisher)))
        }
        RunNetwork::Private | RunNetwork::PrivateOrHost => NetworkSlot::private().map(|slot| (Some(slot), None)),
    };
    match made {
        Ok(network) => Ok(network),
        Err(source) if publishes => Err(RunError::Unpublished { source }),
        Err(error) if request.network == RunNetwork::Private => Err(error.into()),
        Err(error) => {
            let reason = match error {
                SandboxError::Network { reason, .. } => reason,
                error => error.to_string(),
            };
            notes.push(format!("the process uses the host's network: {reason}"));
            Ok((None, None))
        }
    }
}

/// `/etc/hosts` as docker writes it.
fn hosts_file(request: &RunRequest, inside: &str) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    for (name, address) in &request.hosts {
        text.extend([address.as_str(), "\t", name.as_str(), "\n"]);
    }
    text.extend([inside, "\t", request.hostname.as_str(), "\n"]);
    text
}
