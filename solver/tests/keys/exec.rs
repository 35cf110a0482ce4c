//! Changes of RUN and its mounts.

use bld_oci::ImagePath;
use bld_oci::platform::Platform;
use bld_solver::op::BindMount;
use bld_solver::op::CacheMount;
use bld_solver::op::CopyFrom;
use bld_solver::op::Exec;
use bld_solver::op::ExecMount;
use bld_solver::op::InputIndex;
use bld_solver::op::MountContent;
use bld_solver::op::NetworkMode;
use bld_solver::op::Script;
use bld_solver::op::SecretMount;
use bld_solver::op::SecurityMode;
use bld_solver::op::Sharing;
use bld_solver::op::SshMount;
use bld_solver::op::TmpfsMount;

use super::changes::Change;
use super::changes::Changes;
use super::changes::lists;
use super::changes::options;
use super::changes::paths;
use super::changes::text_lists;
use super::changes::texts;

pub(super) fn of_exec(exec: &Exec) -> Vec<Change<Exec>> {
    let mut changes = Changes::of("", exec);
    let Exec {
        args,
        env,
        unkeyed_env,
        cwd,
        user,
        network,
        security,
        mounts,
        hostname,
        extra_hosts,
        script,
        shm_size,
        platform,
    } = exec;
    let pair = ("X".to_owned(), "y".to_owned());
    changes.keyed("args", text_lists(args), |exec, to| exec.args = to);
    changes.keyed("env", lists(env, &pair), |exec, to| exec.env = to);
    for (index, (name, value)) in env.iter().enumerate() {
        changes.keyed("env.name", texts(name), |exec, to| exec.env[index].0 = to);
        changes.keyed("env.value", texts(value), |exec, to| exec.env[index].1 = to);
        changes.keyed("env.border", moved_letter(&env[index]), |exec, to| exec.env[index] = to);
    }
    changes.unkeyed("unkeyed_env", lists(unkeyed_env, &pair), |exec, to| exec.unkeyed_env = to);
    changes.keyed("cwd", paths(cwd), |exec, to| exec.cwd = to);
    changes.keyed("user", texts(user), |exec, to| exec.user = to);
    changes.keyed("network", networks(*network), |exec, to| exec.network = to);
    changes.keyed("security", [other_security(*security)], |exec, to| exec.security = to);
    for (index, mount) in mounts.iter().enumerate() {
        changes.inside("mounts", of_mount(mount), |exec, to| exec.mounts[index] = to);
    }
    // Without what it takes from trees: what is given stays as it is.
    let tmpfs = ExecMount::Tmpfs(TmpfsMount { target: ImagePath::new("/x"), size: None });
    changes.keyed("mounts", [()], |exec, ()| exec.mounts.push(tmpfs.clone()));
    changes.keyed("hostname", texts(hostname), |exec, to| exec.hostname = to);
    changes.keyed("extra_hosts", lists(extra_hosts, &pair), |exec, to| exec.extra_hosts = to);
    for (index, (name, address)) in extra_hosts.iter().enumerate() {
        changes.keyed("extra_hosts.name", texts(name), |exec, to| exec.extra_hosts[index].0 = to);
        changes.unkeyed("extra_hosts.address", texts(address), |exec, to| exec.extra_hosts[index].1 = to);
    }
    let another = Script { path: ImagePath::new("/dev/pipes/X"), body: "#!x".to_owned() };
    changes.keyed("script", options(script.as_ref(), another), |exec, to| exec.script = to);
    if let Some(script) = script {
        changes.inside("script", of_script(script), |exec, to| exec.script = Some(to));
    }
    changes.unkeyed("shm_size", options(shm_size.as_ref(), 77), |exec, to| exec.shm_size = to);
    changes.inside("platform", of_platform(platform), |exec, to| exec.platform = to);
    changes.list()
}

/// A letter of the name as one of the value.
fn moved_letter((name, value): &(String, String)) -> Option<(String, String)> {
    let (place, last) = name.char_indices().next_back()?;
    Some((name[..place].to_owned(), format!("{last}{value}")))
}

/// The same digits, divided elsewhere.
fn moved(uid: u32, gid: u32) -> Vec<(u32, u32)> {
    let digits = format!("{uid}{gid}");
    let divided = (1..digits.len()).map(|place| digits.split_at(place));
    divided.map(|(uid, gid)| (uid.parse().unwrap(), gid.parse().unwrap())).collect()
}

fn networks(mode: NetworkMode) -> [NetworkMode; 2] {
    match mode {
        NetworkMode::Default => [NetworkMode::None, NetworkMode::Host],
        NetworkMode::None => [NetworkMode::Default, NetworkMode::Host],
        NetworkMode::Host => [NetworkMode::Default, NetworkMode::None],
    }
}

fn other_security(mode: SecurityMode) -> SecurityMode {
    match mode {
        SecurityMode::Sandbox => SecurityMode::Insecure,
        SecurityMode::Insecure => SecurityMode::Sandbox,
    }
}

fn sharings(sharing: Sharing) -> [Sharing; 2] {
    match sharing {
        Sharing::Shared => [Sharing::Private, Sharing::Locked],
        Sharing::Private => [Sharing::Shared, Sharing::Locked],
        Sharing::Locked => [Sharing::Shared, Sharing::Private],
    }
}

fn of_script(script: &Script) -> Vec<Change<Script>> {
    let mut changes = Changes::of("", script);
    let Script { path, body } = script;
    changes.keyed("path", paths(path), |script, to| script.path = to);
    changes.keyed("body", texts(body), |script, to| script.body = to);
    changes.list()
}

fn of_platform(platform: &Platform) -> Vec<Change<Platform>> {
    let mut changes = Changes::of("", platform);
    let Platform { os, architecture, variant } = platform;
    changes.keyed("os", texts(os), |platform, to| platform.os = to);
    changes.keyed("architecture", texts(architecture), |platform, to| platform.architecture = to);
    changes.keyed("variant", options(variant.as_ref(), "v9".to_owned()), |platform, to| platform.variant = to);
    changes.list()
}

fn of_mount(mount: &ExecMount) -> Vec<Change<ExecMount>> {
    let mut changes = Changes::of("", mount);
    match mount {
        ExecMount::Bind(inner) => changes.inside("bind", of_bind(inner), |mount, to| *mount = ExecMount::Bind(to)),
        ExecMount::Cache(inner) => changes.inside("cache", of_cache(inner), |mount, to| *mount = ExecMount::Cache(to)),
        ExecMount::Tmpfs(inner) => changes.inside("tmpfs", of_tmpfs(inner), |mount, to| *mount = ExecMount::Tmpfs(to)),
        ExecMount::Secret(inner) => {
            changes.inside("secret", of_secret(inner), |mount, to| *mount = ExecMount::Secret(to));
        }
        ExecMount::Ssh(inner) => changes.inside("ssh", of_ssh(inner), |mount, to| *mount = ExecMount::Ssh(to)),
    }
    changes.list()
}

fn of_bind(bind: &BindMount) -> Vec<Change<BindMount>> {
    let mut changes = Changes::of("", bind);
    let BindMount { target, from, read_write } = bind;
    changes.keyed("target", paths(target), |bind, to| bind.target = to);
    changes.inside("from", of_content(from), |bind, to| bind.from = to);
    changes.keyed("read_write", [!read_write], |bind, to| bind.read_write = to);
    changes.list()
}

fn of_cache(cache: &CacheMount) -> Vec<Change<CacheMount>> {
    let mut changes = Changes::of("", cache);
    let CacheMount { target, id, sharing, initial, subpath, mode, uid, gid, read_only } = cache;
    changes.keyed("target", paths(target), |cache, to| cache.target = to);
    changes.unkeyed("id", texts(id), |cache, to| cache.id = to);
    changes.unkeyed("sharing", sharings(*sharing), |cache, to| cache.sharing = to);
    let tree = MountContent { from: CopyFrom::Input(InputIndex(1)), source: ImagePath::new("/seed") };
    changes.keyed("initial", options(initial.as_ref(), tree), |cache, to| cache.initial = to);
    if let Some(initial) = initial {
        changes.inside("initial", of_content(initial), |cache, to| cache.initial = Some(to));
    }
    changes.keyed("subpath", paths(subpath), |cache, to| cache.subpath = to);
    changes.keyed("mode", [mode ^ 1], |cache, to| cache.mode = to);
    changes.keyed("uid", [uid + 1], |cache, to| cache.uid = to);
    changes.keyed("gid", [gid + 1], |cache, to| cache.gid = to);
    changes.keyed("uid and gid", moved(*uid, *gid), |cache, (uid, gid)| (cache.uid, cache.gid) = (uid, gid));
    changes.keyed("read_only", [!read_only], |cache, to| cache.read_only = to);
    changes.list()
}

fn of_tmpfs(tmpfs: &TmpfsMount) -> Vec<Change<TmpfsMount>> {
    let mut changes = Changes::of("", tmpfs);
    let TmpfsMount { target, size } = tmpfs;
    changes.keyed("target", paths(target), |tmpfs, to| tmpfs.target = to);
    changes.keyed("size", options(size.as_ref(), 77), |tmpfs, to| tmpfs.size = to);
    changes.list()
}

fn of_secret(secret: &SecretMount) -> Vec<Change<SecretMount>> {
    let mut changes = Changes::of("", secret);
    let SecretMount { id, target, env, required, mode, uid, gid } = secret;
    changes.keyed("id", texts(id), |secret, to| secret.id = to);
    let path = ImagePath::new("/run/secrets/x");
    changes.keyed("target", options(target.as_ref(), path), |secret, to| secret.target = to);
    changes.keyed("env", options(env.as_ref(), "X".to_owned()), |secret, to| secret.env = to);
    changes.keyed("required", [!required], |secret, to| secret.required = to);
    changes.keyed("mode", [mode ^ 1], |secret, to| secret.mode = to);
    changes.keyed("uid", [uid + 1], |secret, to| secret.uid = to);
    changes.keyed("gid", [gid + 1], |secret, to| secret.gid = to);
    changes.keyed("uid and gid", moved(*uid, *gid), |secret, (uid, gid)| (secret.uid, secret.gid) = (uid, gid));
    changes.list()
}

fn of_ssh(agent: &SshMount) -> Vec<Change<SshMount>> {
    let mut changes = Changes::of("", agent);
    let SshMount { id, target, required, mode, uid, gid } = agent;
    changes.keyed("id", texts(id), |agent, to| agent.id = to);
    changes.keyed("target", paths(target), |agent, to| agent.target = to);
    changes.keyed("required", [!required], |agent, to| agent.required = to);
    changes.keyed("mode", [mode ^ 1], |agent, to| agent.mode = to);
    changes.keyed("uid", [uid + 1], |agent, to| agent.uid = to);
    changes.keyed("gid", [gid + 1], |agent, to| agent.gid = to);
    changes.keyed("uid and gid", moved(*uid, *gid), |agent, (uid, gid)| (agent.uid, agent.gid) = (uid, gid));
    changes.list()
}

fn of_content(content: &MountContent) -> Vec<Change<MountContent>> {
    let mut changes = Changes::of("", content);
    let MountContent { from, source } = content;
    changes.inside("tree", of_tree(from), |content, to| content.from = to);
    match from {
        CopyFrom::Context(_) => {
            changes.unkeyed("source in a context", paths(source), |content, to| content.source = to);
        }
        CopyFrom::Input(_) => {
            changes.keyed("source in an input", paths(source), |content, to| content.source = to);
        }
    }
    changes.list()
}

/// Which context it is shows by its digest; which input it is does not.
pub(super) fn of_tree(from: &CopyFrom) -> Vec<Change<CopyFrom>> {
    let mut changes = Changes::of("", from);
    match from {
        CopyFrom::Context(name) => {
            changes.unkeyed("context", texts(name), |from, to| *from = CopyFrom::Context(to));
            changes.keyed("kind", [0, 1], |from, to| *from = CopyFrom::Input(InputIndex(to)));
        }
        CopyFrom::Input(InputIndex(index)) => {
            changes.keyed("input", [index + 1, index + 2], |from, to| *from = CopyFrom::Input(InputIndex(to)));
            changes.keyed("kind", ["", "context"], |from, to| *from = CopyFrom::Context(to.to_owned()));
        }
    }
    changes.list()
}
