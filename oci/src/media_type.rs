//! Media types, OCI's and docker's (schema 2).

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, plain.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// docker manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// docker layer, plain.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// docker layer, zstd: nobody's specification, but written by some tools.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

const OCI_LAYER_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const OCI_LAYER_FOREIGN_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const DOCKER_LAYER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

const LAYER_PAIRS: &[(&str, &str)] = &[
    (OCI_LAYER, DOCKER_LAYER),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    (OCI_LAYER_FOREIGN, DOCKER_LAYER_FOREIGN),
    (OCI_LAYER_FOREIGN_GZIP, DOCKER_LAYER_FOREIGN_GZIP),
];

/// Whether it names a manifest of one image.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether it names an index of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// The OCI name of a layer type; a type that is not docker's is returned as it is.
pub fn oci_layer(media_type: &str) -> &str {
    if media_type == DOCKER_LAYER_ZSTD {
        return OCI_LAYER_ZSTD;
    }
    LAYER_PAIRS.iter().find(|(_, docker)| *docker == media_type).map_or(media_type, |(oci, _)| oci)
}

/// docker's name of a layer type; `None` if docker has none (zstd, for one).
pub fn docker_layer(media_type: &str) -> Option<&'static str> {
    LAYER_PAIRS.iter().find(|(oci, docker)| *oci == media_type || *docker == media_type).map(|(_, docker)| *docker)
}
