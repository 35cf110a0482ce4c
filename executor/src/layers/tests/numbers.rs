//! How long the work on a large layer takes: `cargo test --release -- --ignored --nocapture numbers`.

use std::time::Instant;

use bld_oci::layer::{LayerReader, LayerWriter};

use super::super::pack::pack;
use super::super::remove::remove;
use super::super::scan::scan;
use super::super::unpack::{UnpackOptions, unpack};
use super::tar::{Archive, Header};
use super::{merged, mode};

#[test]
#[ignore = "measures"]
#[expect(clippy::print_stderr, reason = "prints what it measures")]
fn numbers_of_20000_files() {
    let mut body = vec![0_u8; 10 * 1024];
    let mut archive = Archive::default();
    let mut state = 1_u32;
    for number in 0..20_000 {
        for byte in &mut body {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        if number % 100 == 0 {
            archive = archive.dir(&format!("d{:03}", number / 100), 0o755);
        }
        let name = format!("d{:03}/file{number:05}", number / 100);
        archive = archive.add(&Header { name: name.as_bytes(), body: &body, ..Header::default() });
    }
    let bytes = archive.end();
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let layer = directory.path().join(format!("layer{round}"));
        std::fs::create_dir(&layer).unwrap();
        let begin = Instant::now();
        let options = UnpackOptions { mode: mode(), lower: None, max_bytes: u64::MAX };
        let unpacked = unpack(&mut LayerReader::new(bytes.as_slice()), &layer, options).unwrap();
        let unpacking = begin.elapsed();
        let begin = Instant::now();
        let scanned = scan(&layer, &merged(&[]), mode()).unwrap();
        let scanning = begin.elapsed();
        assert_eq!(scanned.tree.digest(), unpacked.tree.digest());
        let begin = Instant::now();
        let mut writer = LayerWriter::new(std::io::sink());
        pack(&scanned.tree, &layer, &mut writer, None).unwrap();
        let packing = begin.elapsed();
        eprintln!("unpack {unpacking:?}, scan {scanning:?}, pack {packing:?}");
    }
    let begin = Instant::now();
    remove(&directory.path().join("layer0")).unwrap();
    eprintln!("remove {:?}", begin.elapsed());
}
