//! Compression of layers: which there are, their media types, streaming encoder and decoder.
//!
//! Encoded bytes depend on the content and the level alone, never on the number of threads, the machine's load, or how the content
//! was cut into writes: an image built twice has one digest.

mod bytes;
mod decoder;
mod gzip;

use std::io;
use std::io::Write;

pub use bytes::compress_bytes;
pub use bytes::decompress_bytes;
pub use decoder::Codec;
pub use decoder::Decoder;
pub use decoder::detect;

use crate::media_type;

/// How a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// As plain tar.
    None,
    /// In gzip members of 1 MiB of content each, which every gzip reader takes for one stream.
    Gzip {
        /// 0 (stored) to 9.
        level: u8,
    },
    /// As one zstd frame with a checksum.
    Zstd {
        /// 1 to 19.
        level: u8,
    },
}

/// A level that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{algorithm} has no level {level}: levels are {lowest} to {highest}")]
pub struct LevelError {
    /// `gzip`, `zstd`.
    pub algorithm: &'static str,
    /// What was asked for.
    pub level: u8,
    /// The lowest level.
    pub lowest: u8,
    /// The highest level.
    pub highest: u8,
}

/// zstd makes its output in jobs of this many bytes; fixed, so that memory is bounded at high levels too.
const ZSTD_JOB: u32 = 4 << 20;
const ZSTD_WORKERS: usize = 4;

impl Compression {
    /// gzip at the default level, chosen by measurement. A 192 MB tar of /usr/lib on two cores, both digests included:
    ///
    /// | level | MB/s | ratio |
    /// |---|---|---|
    /// | 1 | 405 | 2.55 |
    /// | 3 | 302 | 2.68 |
    /// | 6 | 206 | 2.78 |
    ///
    /// Against level 1, level 3 pays for itself in one transfer below 22 MB/s, and a layer is transferred more often than it is
    /// made; against level 3, level 6 does so only below 8 MB/s.
    pub const GZIP: Compression = Compression::Gzip { level: 3 };
    /// zstd at its own default level: 526 MB/s and ratio 2.85 in the same measurement.
    pub const ZSTD: Compression = Compression::Zstd { level: 3 };

    /// The OCI media type of a layer stored so.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Compression::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
        }
    }

    /// Names the exact bytes that come out: two blobs of equal content and equal identity are equal. It changes whenever the
    /// compressing library does.
    pub fn identity(self) -> String {
        match self {
            Compression::None => "none".to_owned(),
            Compression::Gzip { level } => format!("gzip:libdeflate-1.26.1:1m:{level}"),
            Compression::Zstd { level } => format!("zstd:1.5.7:4m:{level}"),
        }
    }

    /// Refuses levels that do not exist.
    pub fn check(self) -> Result<(), LevelError> {
        let (algorithm, level, lowest, highest) = match self {
            Compression::None => return Ok(()),
            Compression::Gzip { level } => ("gzip", level, 0, 9),
            Compression::Zstd { level } => ("zstd", level, 1, 19),
        };
        if (lowest..=highest).contains(&level) { Ok(()) } else { Err(LevelError { algorithm, level, lowest, highest }) }
    }
}

impl Default for Compression {
    fn default() -> Compression {
        Compression::GZIP
    }
}

/// Compresses what is written to it. Must be finished: dropped before, its output is incomplete.
pub struct Encoder<W: Write> {
    kind: Kind<W>,
}

enum Kind<W: Write> {
    None(W),
    Gzip(gzip::GzipEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Compresses into `inner`.
    pub fn new(inner: W, compression: Compression) -> io::Result<Encoder<W>> {
        compression.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let kind = match compression {
            Compression::None => Kind::None(inner),
            Compression::Gzip { level } => Kind::Gzip(gzip::GzipEncoder::new(inner, level)?),
            Compression::Zstd { level } => {
                let mut encoder = zstd::stream::write::Encoder::new(inner, i32::from(level))?;
                encoder.include_checksum(true)?;
                let workers = rayon::current_num_threads().clamp(1, ZSTD_WORKERS);
                // Never 0 workers: that is another algorithm with other bytes.
                encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
                encoder.set_parameter(zstd::stream::raw::CParameter::JobSize(ZSTD_JOB))?;
                Kind::Zstd(encoder)
            }
        };
        Ok(Encoder { kind })
    }

    /// Writes what is outstanding and returns the output.
    pub fn finish(self) -> io::Result<W> {
        match self.kind {
            Kind::None(inner) => Ok(inner),
            Kind::Gzip(encoder) => encoder.finish(),
            Kind::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::None(inner) => inner.write(bytes),
            Kind::Gzip(encoder) => encoder.write(bytes),
            Kind::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.kind {
            Kind::None(_) => "None",
            Kind::Gzip(_) => "Gzip",
            Kind::Zstd(_) => "Zstd",
        };
        formatter.debug_tuple("Encoder").field(&name).finish()
    }
}

#[cfg(test)]
mod tests;
