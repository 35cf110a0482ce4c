//! Tests of layer directories on a real file system: archives made byte by byte, a canary outside that must not change, real
//! overlay mounts as the judge.
#![expect(clippy::disallowed_methods, reason = "tests ask whether they must run")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod disk;
mod hostile;
mod numbers;
mod outputs;
mod roundtrip;
mod tar;

use std::path::Path;
use std::sync::Arc;

use bld_cache::tree::Tree;
use bld_oci::ImagePath;
use bld_oci::layer::{LayerReader, LayerWriter};

use super::unpack::{UnpackOptions, Unpacked, unpack};
use super::{LayerError, LayerMode, OverlayFlavor, Ownership};
use crate::view::TreeView;
use crate::view::merged::MergedTree;

/// What the tests can do: as root of the machine everything, otherwise what a single user can.
fn mode() -> LayerMode {
    if rustix::process::geteuid().is_root() {
        LayerMode { flavor: OverlayFlavor::Trusted, ownership: Ownership::Real }
    } else {
        LayerMode { flavor: OverlayFlavor::User, ownership: Ownership::Recorded }
    }
}

fn unpack_bytes(bytes: &[u8], directory: &Path, lower: Option<&dyn TreeView>) -> Result<Unpacked, LayerError> {
    std::fs::create_dir_all(directory).unwrap();
    let options = UnpackOptions { mode: mode(), lower, max_bytes: 1 << 30 };
    unpack(&mut LayerReader::new(bytes), directory, options)
}

fn pack_bytes(tree: &Tree, directory: &Path) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    super::pack::pack(tree, directory, &mut writer, None).unwrap();
    writer.finish().unwrap()
}

fn merged(layers: &[(&Tree, &Path)]) -> MergedTree {
    MergedTree::new(layers.iter().map(|(tree, path)| (Arc::new((*tree).clone()), path.to_path_buf())).collect())
}

fn path(text: &str) -> ImagePath {
    ImagePath::new(text)
}

/// Tests that need root say so; where root is promised they fail without it.
fn is_privileged(what: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("BLD_REQUIRE_PRIVILEGED").is_none(), "{what} needs root");
    #[expect(clippy::print_stderr, reason = "says why a test does nothing")]
    {
        eprintln!("skipped: {what} needs root");
    }
    false
}
