//! Changes of FROM and of sources on the network.

use bld_oci::DiffId;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageLayer;
use bld_solver::op::Source;
use bld_solver::remote::GitSource;
use bld_solver::remote::HttpSource;
use bld_solver::remote::RemoteUrl;

use super::changes::Change;
use super::changes::Changes;
use super::changes::lists;
use super::changes::options;
use super::changes::texts;
use crate::fake::layer;

pub(super) fn of_source(source: &Source) -> Vec<Change<Source>> {
    let mut changes = Changes::of("", source);
    match source {
        Source::Image { layers } => {
            changes.keyed("layers", lists(layers, &layer("x")), |source, layers| *source = Source::Image { layers });
            for (index, one) in layers.iter().enumerate() {
                changes.inside("layers", of_layer(one), |source, to| {
                    let mut layers = layers.clone();
                    layers[index] = to;
                    *source = Source::Image { layers };
                });
            }
        }
        Source::Local { context } => {
            changes.unkeyed("local", texts(context), |source, context| *source = Source::Local { context });
        }
        // What they stand for is in the pin, which is a digest like others.
        Source::Http(http) => changes.inside("http", of_http(http), |source, to| *source = Source::Http(to)),
        Source::Git(git) => changes.inside("git", of_git(git), |source, to| *source = Source::Git(to)),
    }
    changes.list()
}

fn of_layer(one: &ImageLayer) -> Vec<Change<ImageLayer>> {
    let mut changes = Changes::of("", one);
    let ImageLayer { diff_id, blob } = one;
    let other = DiffId(Digest::of(diff_id.0.as_bytes()));
    changes.keyed("diff_id", [other], |layer, to| layer.diff_id = to);
    // However it is compressed.
    let Descriptor { media_type, digest, size } = blob;
    changes.unkeyed("media_type", texts(media_type), |layer, to| layer.blob.media_type = to);
    changes.unkeyed("digest", [Digest::of(digest.as_bytes())], |layer, to| layer.blob.digest = to);
    changes.unkeyed("size", [size + 1], |layer, to| layer.blob.size = to);
    changes.list()
}

fn of_http(http: &HttpSource) -> Vec<Change<HttpSource>> {
    let mut changes = Changes::of("", http);
    let HttpSource { url, checksum, name } = http;
    changes.unkeyed("url", urls(url), |http, to| http.url = to);
    changes.unkeyed("checksum", options(checksum.as_ref(), Digest::of(b"x")), |http, to| http.checksum = to);
    changes.unkeyed("name", texts(name), |http, to| http.name = to);
    changes.list()
}

fn of_git(git: &GitSource) -> Vec<Change<GitSource>> {
    let mut changes = Changes::of("", git);
    let GitSource { remote, reference, checksum, subdirectory, submodules, keep_git_dir, commit_time } = git;
    changes.unkeyed("remote", urls(remote), |git, to| git.remote = to);
    changes.unkeyed("reference", options(reference.as_ref(), "x".to_owned()), |git, to| git.reference = to);
    changes.unkeyed("checksum", options(checksum.as_ref(), "0123456".to_owned()), |git, to| git.checksum = to);
    changes.unkeyed("subdirectory", texts(subdirectory), |git, to| git.subdirectory = to);
    changes.unkeyed("submodules", [!submodules], |git, to| git.submodules = to);
    changes.unkeyed("keep_git_dir", [!keep_git_dir], |git, to| git.keep_git_dir = to);
    changes.unkeyed("commit_time", [!commit_time], |git, to| git.commit_time = to);
    changes.list()
}

fn urls(url: &RemoteUrl) -> [RemoteUrl; 1] {
    [RemoteUrl::new(format!("{}?token=x", url.secret()))]
}
