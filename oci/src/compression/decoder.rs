//! Decompression of whatever comes, told by its first bytes. Memory is bounded whatever a header asks for.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Cursor;
use std::io::Read;

/// zstd's largest window: 128 MiB, as a power of two. The format allows 2 GiB and more.
const ZSTD_WINDOW_LOG: u32 = 27;
/// xz -9 needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
const BUFFER: usize = 64 << 10;

/// A stream format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not compressed, or not known.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

/// The format of a stream that begins with `prefix`, of which six bytes are enough.
pub fn detect(prefix: &[u8]) -> Codec {
    match prefix {
        [0x1f, 0x8b, 8, ..] => Codec::Gzip,
        // A frame, or one that is to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Codec::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Codec::Xz,
        _ => Codec::Plain,
    }
}

type Source<R> = io::Chain<Cursor<Vec<u8>>, BufReader<R>>;

/// Reads a stream of any format as plain bytes: all members of it, one after the other.
pub struct Decoder<R: Read> {
    codec: Codec,
    kind: Kind<R>,
}

enum Kind<R: Read> {
    Plain(Source<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Source<R>>>),
    Xz(Box<liblzma::bufread::XzDecoder<Source<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and decodes accordingly.
    pub fn new(source: R) -> io::Result<Decoder<R>> {
        let mut source = BufReader::with_capacity(BUFFER, source);
        let mut prefix = Vec::with_capacity(6);
        source.by_ref().take(6).read_to_end(&mut prefix)?;
        let codec = detect(&prefix);
        let source = Cursor::new(prefix).chain(source);
        let kind = match codec {
            Codec::Plain => Kind::Plain(source),
            Codec::Gzip => Kind::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(source))),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Kind::Zstd(Box::new(decoder))
            }
            Codec::Bzip2 => Kind::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
            Codec::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Kind::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream)))
            }
        };
        Ok(Decoder { codec, kind })
    }

    /// What it was found to be.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Reads what is behind the decoded stream, so that a hasher below sees every byte, and returns the source. Decoders stop where
    /// their format ends; to be called once [`Read::read`] has returned 0.
    pub fn finish(self) -> io::Result<R> {
        let mut source = match self.kind {
            Kind::Plain(source) => source,
            Kind::Gzip(decoder) => decoder.into_inner(),
            Kind::Zstd(decoder) => decoder.finish(),
            Kind::Bzip2(decoder) => decoder.into_inner(),
            Kind::Xz(decoder) => decoder.into_inner(),
        };
        loop {
            let count = source.fill_buf()?.len();
            if count == 0 {
                return Ok(source.into_inner().1.into_inner());
            }
            source.consume(count);
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Plain(source) => source.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
            Kind::Bzip2(decoder) => decoder.read(buffer),
            Kind::Xz(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: Read> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Decoder").field("codec", &self.codec).finish_non_exhaustive()
    }
}
