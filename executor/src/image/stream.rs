//! The beginning of a tar that somebody names: whether it is one at all is found out before anything is unpacked.

use std::io::Cursor;
use std::io::Read;
use std::path::Path;

use bld_oci::compression::Decoder;

use super::ImagesError;

const BLOCK: usize = 512;

/// Where a header has its checksum.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The bytes of a tar without its compression.
pub(super) fn open_tar<R: Read>(source: R, path: &Path) -> Result<impl Read + use<R>, ImagesError> {
    let failed = |error: std::io::Error| ImagesError::Archive { path: path.to_owned(), source: error.into() };
    let mut decoder = Decoder::new(source).map_err(failed)?;
    let mut head = Vec::with_capacity(BLOCK);
    decoder.by_ref().take(BLOCK as u64).read_to_end(&mut head).map_err(failed)?;
    if !is_header(&head) {
        return Err(ImagesError::NotATar { path: path.to_owned() });
    }
    Ok(Cursor::new(head).chain(decoder))
}

/// Whether a tar may begin so: with a header whose checksum is right, or with its end.
fn is_header(block: &[u8]) -> bool {
    if block.len() < BLOCK {
        return false;
    }
    let digits = block[CHECKSUM].iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let said = digits.fold(0_u64, |sum, digit| sum.wrapping_mul(8).wrapping_add(u64::from(digit - b'0')));
    let counted =
        block.iter().enumerate().map(|(at, byte)| u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }));
    // Some old programs counted bytes with a sign.
    let signed = block.iter().enumerate().filter(|(at, byte)| !CHECKSUM.contains(at) && !byte.is_ascii()).count();
    let sum: u64 = counted.sum();
    said == sum || said == sum.wrapping_sub(256 * signed as u64) || block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tars_are_opened() {
        let mut tar = vec![0; 4 * BLOCK];
        tar[0] = b'a';
        tar[CHECKSUM].copy_from_slice(b"        ");
        tar[CHECKSUM].copy_from_slice(format!("{:06o}\0 ", u64::from(b'a') + 8 * u64::from(b' ')).as_bytes());
        let mut whole = Vec::new();
        open_tar(tar.as_slice(), Path::new("a.tar")).unwrap().read_to_end(&mut whole).unwrap();
        assert_eq!(whole, tar);
        assert!(open_tar([0; 1024].as_slice(), Path::new("empty.tar")).is_ok());
        let long = b"FROM scratch\n".repeat(100);
        for text in [&b""[..], b"FROM scratch\n", &long] {
            let error = open_tar(text, Path::new("Dockerfile")).err().unwrap();
            assert_eq!(error.to_string(), "Dockerfile is not a tar archive (plain, gzip, bzip2, xz or zstd)");
        }
    }
}
