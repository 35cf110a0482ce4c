//! Encoders against other readers, in any cut, on any number of threads.

use std::io::Read as _;
use std::io::Write as _;

use super::*;

/// Text-like bytes from a fixed generator.
fn content(size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<Vec<u8>> = (0..200).map(|_| next().to_string().into_bytes()).collect();
    let mut out = Vec::with_capacity(size + 20);
    while out.len() < size {
        out.extend_from_slice(&words[usize::try_from(next() % 200).unwrap()]);
    }
    out.truncate(size);
    out
}

fn encode(content: &[u8], compression: Compression, threads: usize, chunk: usize) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        content.chunks(chunk).for_each(|chunk| encoder.write_all(chunk).unwrap());
        encoder.finish().unwrap()
    })
}

fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(bytes)?;
    decoder.read_to_end(&mut out)?;
    decoder.finish()?;
    Ok(out)
}

const ALL: [Compression; 6] = [
    Compression::None,
    Compression::GZIP,
    Compression::Gzip { level: 0 },
    Compression::Gzip { level: 9 },
    Compression::ZSTD,
    Compression::Zstd { level: 9 },
];

#[test]
fn bytes_do_not_depend_on_threads_or_writes() {
    for compression in ALL {
        for size in [0, 1, 1_000_000, 1 << 20, (1 << 20) + 1, 9_000_001] {
            let content = content(size);
            let expected = encode(&content, compression, 1, 1 << 20);
            assert_eq!(decode(&expected).unwrap(), content);
            for (threads, chunk) in [(2, 77_777), (4, 3_000_000), (4, 4096)] {
                let found = encode(&content, compression, threads, chunk);
                assert!(found == expected, "{compression:?}, {size} bytes, {threads} threads, {chunk} a write");
            }
        }
    }
}

#[test]
fn gzip_on_a_thread_outside_the_pool() {
    let content = content(30 << 20);
    let mut encoder = Encoder::new(Vec::new(), Compression::Gzip { level: 1 }).unwrap();
    encoder.write_all(&content).unwrap();
    assert!(decode(&encoder.finish().unwrap()).unwrap() == content);
}

#[test]
fn all_pool_threads_may_encode_at_once() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let content = content(6 << 20);
    let make = || {
        let mut encoder = Encoder::new(Vec::new(), Compression::GZIP).unwrap();
        encoder.write_all(&content).unwrap();
        encoder.finish().unwrap().len()
    };
    let (one, two) = pool.install(|| rayon::join(make, make));
    assert_eq!(one, two);
}

#[test]
fn levels() {
    assert!(Compression::Gzip { level: 10 }.check().is_err());
    assert!(Compression::Zstd { level: 0 }.check().is_err());
    assert!(Encoder::new(Vec::new(), Compression::Zstd { level: 20 }).is_err());
    assert_eq!(Compression::default().media_type(), media_type::OCI_LAYER_GZIP);
}

#[test]
fn any_format_is_read() {
    let content = content(300_000);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&content).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&content).unwrap();
    let packed = [(Codec::Bzip2, bzip2.finish().unwrap()), (Codec::Xz, xz.finish().unwrap())];
    for (codec, bytes) in packed {
        assert_eq!(detect(&bytes), codec);
        assert!(decode(&bytes).unwrap() == content, "{codec:?}");
        // Several streams in a row are one.
        assert!(decode(&[bytes.clone(), bytes].concat()).unwrap().len() == 600_000, "{codec:?}");
    }
    assert_eq!(decode(b"BZ").unwrap(), b"BZ");
    assert_eq!(decode(b"").unwrap(), b"");
}

#[test]
fn damaged_streams_are_errors() {
    let content = content(100_000);
    for compression in [Compression::GZIP, Compression::ZSTD] {
        let good = encode(&content, compression, 1, 4096);
        for cut in [7, 20, good.len() / 2, good.len() - 1] {
            assert!(decode(&good[..cut]).is_err(), "{compression:?} cut at {cut}");
        }
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        assert!(decode(&flipped).is_err(), "{compression:?} flipped");
    }
}

#[test]
fn zstd_windows_are_limited() {
    // A frame header that asks for a window of 2 GiB: no single segment, no content size, window log 31.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00];
    assert!(decode(&frame).is_err());
    let small = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (20 - 10) << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(&small).unwrap(), b"");
}
