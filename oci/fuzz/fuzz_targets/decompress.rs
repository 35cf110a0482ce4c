//! Any bytes are decompressed or refused, the same however they arrive; and gzip of any bytes is those bytes again.

#![no_main]

#[path = "../pieces.rs"]
mod pieces;

use std::io::Read;
use std::io::Write as _;

use bld_oci::Compression;
use bld_oci::compression::Codec;
use bld_oci::compression::Decoder;
use bld_oci::compression::Encoder;
use bld_oci::compression::detect;

const MAX_OUTPUT: u64 = 1 << 22;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = decode(input);
    let in_pieces = decode(pieces::Pieces(input));
    assert_eq!(whole.is_ok(), in_pieces.is_ok());
    if let (Ok(whole), Ok(in_pieces)) = (&whole, &in_pieces) {
        assert_eq!(whole, in_pieces);
        assert!(detect(input) != Codec::Plain || whole == input);
    }
    let mut encoder = Encoder::new(Vec::new(), Compression::GZIP).expect("a right level");
    encoder.write_all(input).expect("memory takes everything");
    let packed = encoder.finish().expect("memory takes everything");
    assert_eq!(detect(&packed), Codec::Gzip);
    assert_eq!(decode(packed.as_slice()).expect("what was packed unpacks"), input);
});

fn decode(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut decoder = Decoder::new(source)?;
    let mut out = Vec::new();
    decoder.by_ref().take(MAX_OUTPUT).read_to_end(&mut out)?;
    if out.len() as u64 == MAX_OUTPUT {
        return Ok(out);
    }
    let mut rest = decoder.finish()?;
    assert_eq!(rest.read(&mut [0; 1]).ok(), Some(0), "a hasher below has seen every byte");
    Ok(out)
}
