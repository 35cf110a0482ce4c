//! An image of 127 layers: as many as other tools can stack.

use tempfile::TempDir;

use super::Podman;
use super::as_root;
use super::bash;
use super::json;
use super::listing::Look;
use super::listing::differences;
use super::listing::listing;
use super::tool;
use super::unpack_tar;
use crate::support;
use crate::support::Base;
use crate::support::Store;

#[test]
fn an_image_of_127_layers() {
    if !as_root() {
        return;
    }
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("depth-").unwrap());
    let mut dockerfile = "FROM busybox:1\n".to_owned();
    for number in 1..126 {
        dockerfile.push_str(&format!("COPY Dockerfile /files/{number}\n"));
    }
    // A mount of 126 layers, in which a file of the lowest and one of the highest are changed.
    dockerfile.push_str("RUN rm /files/1 && echo changed >> /files/125 && ls /files | wc -l > /count\n");
    std::fs::write(work.path().join("Dockerfile"), dockerfile).unwrap();
    let mut build = store.bld();
    build.args(["build", "-q", "-t", "deep", "-o", "type=oci,dest=deep.tar", "-o", "type=tar,dest=root.tar", "."]);
    support::run(build.current_dir(work.path())).succeeded();
    let archive = work.path().join("deep.tar").display().to_string();

    let inspected = json(&tool("skopeo", &["inspect", "--raw", &format!("oci-archive:{archive}")]).stdout);
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 127);
    let root = work.path().join("root");
    unpack_tar(&work.path().join("root.tar"), &root);
    assert_eq!(std::fs::read_to_string(root.join("count")).unwrap().trim(), "124");
    let files = listing(&root, Look::ALL);
    bash(work.path(), "skopeo copy -q oci-archive:deep.tar oci:layout:deep && umoci unpack --image layout:deep bundle");
    let found = differences("umoci", &files, &listing(&work.path().join("bundle/rootfs"), Look::ALL));
    assert!(found.is_empty(), "{}", found.join("\n"));

    let podman = Podman::new();
    podman.run(&["load", "-q", "-i", &archive]);
    assert_eq!(podman.container("deep", &["tail", "-n", "1", "/files/125"]), "changed\n");

    // And one more on top, out of the archive.
    let again = Store::empty();
    support::run(again.bld().args(["load", "-q", "-i", &archive])).succeeded();
    std::fs::write(
        work.path().join("Dockerfile"),
        "FROM deep\nRUN test ! -e /files/1 && tail -n1 /files/125 > /last\n",
    )
    .unwrap();
    let mut build = again.bld();
    build.args(["build", "-q", "-o", "more", "."]).current_dir(work.path());
    support::run(&mut build).succeeded();
    assert_eq!(std::fs::read_to_string(work.path().join("more/last")).unwrap(), "changed\n");
}
