//! A registry in memory: repositories with manifests and blobs, uploads with a state, tokens. Faults are put before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::media_type;

use super::server::Reply;
use super::server::Request;
use super::server::Server;

type Fault = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

pub(crate) struct Fake {
    pub(crate) server: Server,
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// By repository and digest.
    pub(crate) blobs: BTreeMap<(String, Digest), Vec<u8>>,
    /// By repository and tag or digest.
    pub(crate) manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    began: usize,
    /// Asked for in this order before the request is served; the first that answers does.
    faults: Vec<Fault>,
    /// Asked before the body of a request has come.
    pub(crate) early: Option<Fault>,
    /// The Authorization headers that are good, and the challenge for all others.
    pub(crate) guard: Option<(Vec<String>, String)>,
    /// Pieces larger than this are refused.
    pub(crate) largest: Option<usize>,
    pub(crate) mounts: bool,
    pub(crate) ranges: bool,
    pub(crate) digest_header: bool,
}

/// An image in a fake registry.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) layers: Vec<(Descriptor, Vec<u8>)>,
    pub(crate) manifest: Descriptor,
}

impl Fake {
    pub(crate) fn start() -> Fake {
        Fake::at("127.0.0.1")
    }

    pub(crate) fn at(address: &str) -> Fake {
        let state = State { mounts: true, ranges: true, digest_header: true, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(address, move |request| shared.lock().unwrap().serve(request));
        Fake { server, state }
    }

    pub(crate) fn host(&self) -> &str {
        &self.server.host
    }

    /// Puts a fault before those that are there.
    pub(crate) fn fault(&self, fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        self.state.lock().unwrap().faults.insert(0, Box::new(fault));
    }

    pub(crate) fn guard(&self, good: &[&str], challenge: &str) {
        let good = good.iter().map(|text| (*text).to_owned()).collect();
        self.state.lock().unwrap().guard = Some((good, challenge.to_owned()));
    }

    pub(crate) fn blob(&self, repository: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type::OCI_LAYER_GZIP, bytes);
        self.state.lock().unwrap().blobs.insert((repository.to_owned(), descriptor.digest), bytes.to_vec());
        descriptor
    }

    /// Under its digest, and a tag.
    pub(crate) fn manifest(&self, repository: &str, tag: &str, kind: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(kind, bytes);
        let mut state = self.state.lock().unwrap();
        for name in [tag.to_owned(), descriptor.digest.to_string()] {
            state.manifests.insert((repository.to_owned(), name), (kind.to_owned(), bytes.to_vec()));
        }
        descriptor
    }

    /// An image with these layers.
    pub(crate) fn image(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> Image {
        let layers: Vec<_> = layers.iter().map(|bytes| (self.blob(repository, bytes), bytes.clone())).collect();
        let diff_ids: Vec<String> = layers.iter().map(|(layer, _)| layer.digest.to_string()).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = Descriptor {
            media_type: media_type::OCI_CONFIG.to_owned(),
            ..self.blob(repository, config.to_string().as_bytes())
        };
        let list: Vec<_> = layers.iter().map(|(layer, _)| layer).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": list,
        });
        let manifest = self.manifest(repository, tag, media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
        Image { layers, manifest }
    }
}

impl State {
    fn serve(&mut self, request: &Request) -> Reply {
        if request.early {
            let found = self.early.as_ref().and_then(|early| early(request));
            return found.map_or_else(Reply::default, |reply| reply.fault(super::server::Fault::Early));
        }
        let found = self.faults.iter().find_map(|fault| fault(request));
        if let Some(reply) = found {
            return reply;
        }
        if let Some((good, challenge)) = &self.guard {
            let given = request.header("authorization").unwrap_or_default();
            if !good.iter().any(|good| good == given) {
                return error(401, "UNAUTHORIZED").header("www-authenticate", challenge);
            }
        }
        if request.path() == "/v2/" {
            return Reply::new(200).body("{}");
        }
        let path = request.path().strip_prefix("/v2/").unwrap_or_default().to_owned();
        for (middle, serve) in [
            ("/blobs/uploads/", State::upload as fn(&mut State, &Request, &str, &str) -> Reply),
            ("/blobs/", State::get_blob),
            ("/manifests/", State::get_manifest),
            ("/tags/", State::list),
        ] {
            if let Some((repository, name)) = path.split_once(middle) {
                return serve(self, request, repository, name);
            }
        }
        error(404, "UNSUPPORTED")
    }

    fn get_blob(&mut self, request: &Request, repository: &str, name: &str) -> Reply {
        let blob = name.parse().ok().and_then(|digest| self.blobs.get(&(repository.to_owned(), digest)));
        let Some(blob) = blob else { return error(404, "BLOB_UNKNOWN") };
        let range = request.header("range").filter(|_| self.ranges);
        let first = range.and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match first {
            Some(first) if first < blob.len() => {
                let range = format!("bytes {first}-{}/{}", blob.len() - 1, blob.len());
                Reply::new(206).header("content-range", range).body(&blob[first..])
            }
            Some(_) => error(416, "RANGE"),
            None => Reply::new(200).header("docker-content-digest", name).body(blob.as_slice()),
        }
    }

    fn get_manifest(&mut self, request: &Request, repository: &str, name: &str) -> Reply {
        let digest = Digest::of(&request.body);
        if request.method == "PUT" {
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            for name in [name.to_owned(), digest.to_string()] {
                self.manifests.insert((repository.to_owned(), name), (kind.clone(), request.body.clone()));
            }
            return self.with_digest(Reply::new(201), digest);
        }
        if request.method == "DELETE" {
            self.manifests.remove(&(repository.to_owned(), name.to_owned()));
            return Reply::new(202);
        }
        let Some((kind, bytes)) = self.manifests.get(&(repository.to_owned(), name.to_owned())) else {
            return error(404, "MANIFEST_UNKNOWN");
        };
        let reply = Reply::new(200).header("content-type", kind).body(bytes.as_slice());
        self.with_digest(reply, Digest::of(bytes))
    }

    fn with_digest(&self, reply: Reply, digest: Digest) -> Reply {
        if self.digest_header { reply.header("docker-content-digest", digest) } else { reply }
    }

    fn list(&mut self, request: &Request, repository: &str, _: &str) -> Reply {
        let tags: Vec<&str> = self
            .manifests
            .keys()
            .filter(|(found, name)| found == repository && !name.contains(':'))
            .map(|(_, name)| name.as_str())
            .collect();
        let from: usize = request.parameter("from").map_or(0, |text| text.parse().unwrap());
        let page = &tags[from..(from + 2).min(tags.len())];
        let reply = Reply::new(200).body(serde_json::json!({ "name": repository, "tags": page }).to_string());
        if from + 2 < tags.len() {
            return reply.header("link", format!("</v2/{repository}/tags/list?from={}>; rel=\"next\"", from + 2));
        }
        reply
    }

    fn upload(&mut self, request: &Request, repository: &str, name: &str) -> Reply {
        let location = |name: &str| format!("/v2/{repository}/blobs/uploads/{name}?state=x");
        if self.largest.is_some_and(|largest| request.body.len() > largest) {
            return error(413, "SIZE");
        }
        match request.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) = (request.parameter("mount"), request.parameter("from")) {
                    let digest: Digest = digest.parse().unwrap();
                    let found = self.blobs.get(&(from, digest)).cloned().filter(|_| self.mounts);
                    if let Some(blob) = found {
                        self.blobs.insert((repository.to_owned(), digest), blob);
                        return self.with_digest(Reply::new(201), digest);
                    }
                }
                self.began += 1;
                let name = format!("upload-{}", self.began);
                self.uploads.insert(name.clone(), Vec::new());
                Reply::new(202).header("location", location(&name))
            }
            "PATCH" | "PUT" => {
                let Some(upload) = self.uploads.get_mut(name) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
                upload.extend_from_slice(&request.body);
                if request.method == "PATCH" {
                    let last = upload.len() - 1;
                    return Reply::new(202).header("location", location(name)).header("range", format!("0-{last}"));
                }
                let bytes = self.uploads.remove(name).unwrap();
                let digest = Digest::of(&bytes);
                if request.parameter("digest") != Some(digest.to_string()) {
                    return error(400, "DIGEST_INVALID");
                }
                self.blobs.insert((repository.to_owned(), digest), bytes);
                self.with_digest(Reply::new(201), digest)
            }
            "DELETE" => {
                self.uploads.remove(name);
                Reply::new(204)
            }
            _ => error(405, "UNSUPPORTED"),
        }
    }

    /// Uploads that were neither finished nor cancelled.
    pub(crate) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }
}

/// An answer as registries give it.
pub(crate) fn error(status: u16, code: &str) -> Reply {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": format!("the message of {code}") }] });
    Reply::new(status).header("content-type", "application/json").body(body.to_string())
}
