//! Tars whose checksums are right.

const BLOCK: usize = 512;

/// The input with a right checksum in every block that looks like a header; `None` if that changes nothing. Finding a checksum
/// by chance is hopeless.
pub fn with_checksums(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = input.to_vec();
    for block in out.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    (out != input).then_some(out)
}
