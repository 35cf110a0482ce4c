//! Short pieces of bytes, whole: what is kept beside images.

/// A level that costs less than the writing that it saves.
const LEVEL: i32 = 1;

/// Bytes as one zstd frame.
pub fn compress_bytes(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL)
}

/// The bytes of a zstd frame. What would be longer than `limit`, or is no frame, is an error.
pub fn decompress_bytes(frame: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    let known = zstd::bulk::Decompressor::upper_bound(frame);
    zstd::bulk::decompress(frame, known.map_or(limit, |known| known.min(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let long = vec![7; 100_000];
        for text in [&b""[..], b"x", &long] {
            assert_eq!(decompress_bytes(&compress_bytes(text).unwrap(), 100_000).unwrap(), text);
        }
        let short = compress_bytes(&long).unwrap();
        assert!(short.len() < 100);
        decompress_bytes(&short, 99_999).unwrap_err();
        decompress_bytes(b"no frame", 1000).unwrap_err();
    }
}
