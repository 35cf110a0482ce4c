//! One pass from tar bytes to a stored blob with both of its digests.
//!
//! ```text
//! tar --> sha256 (DiffId), count --> compressor --> sha256 (blob), count --> file
//! ```
//!
//! Digests are computed on the writing thread: while members are compressed elsewhere it has nothing else to do. A thread of its own
//! for the tar's digest made no difference that could be measured on two cores (zstd level 1: 729 against 737 MB/s).

use std::io;
use std::io::Write;

use crate::compression::Compression;
use crate::compression::Encoder;
use crate::digest::DiffId;
use crate::hashing::DigestWriter;
use crate::image::Descriptor;

/// Takes a layer's tar and stores it compressed. Dropped before it is complete, it leaves no digest to refer to.
#[derive(Debug)]
pub struct LayerSink<W: Write> {
    compression: Compression,
    pipe: Pipe<W>,
}

#[derive(Debug)]
enum Pipe<W: Write> {
    /// The tar is the blob: one digest is both.
    Plain(DigestWriter<W>),
    Packed(Box<DigestWriter<Encoder<DigestWriter<W>>>>),
}

/// A layer that has been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedLayer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The stored bytes.
    pub blob: Descriptor,
    /// Size of the uncompressed tar.
    pub uncompressed_size: u64,
}

impl<W: Write> LayerSink<W> {
    /// A layer stored in `inner`.
    pub fn new(inner: W, compression: Compression) -> io::Result<LayerSink<W>> {
        let inner = DigestWriter::new(inner);
        let pipe = match compression {
            Compression::None => Pipe::Plain(inner),
            packed => Pipe::Packed(Box::new(DigestWriter::new(Encoder::new(inner, packed)?))),
        };
        Ok(LayerSink { compression, pipe })
    }

    /// Writes what is outstanding; gives the layer's identity and the output.
    pub fn complete(self) -> io::Result<(CompletedLayer, W)> {
        let (diff_id, uncompressed_size, digest, size, inner) = match self.pipe {
            Pipe::Plain(writer) => {
                let (digest, size, inner) = writer.complete();
                (digest, size, digest, size, inner)
            }
            Pipe::Packed(writer) => {
                let (diff_id, uncompressed_size, encoder) = writer.complete();
                let (digest, size, inner) = encoder.finish()?.complete();
                (diff_id, uncompressed_size, digest, size, inner)
            }
        };
        let media_type = self.compression.media_type().to_owned();
        let blob = Descriptor { media_type, digest, size };
        Ok((CompletedLayer { diff_id: DiffId(diff_id), blob, uncompressed_size }, inner))
    }
}

impl<W: Write> Write for LayerSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.pipe {
            Pipe::Plain(writer) => writer.write(bytes),
            Pipe::Packed(writer) => writer.write(bytes),
        }
    }

    /// Does nothing before the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn digests_are_of_what_was_written() {
        let tar = vec![7; 3_000_000];
        for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
            let mut sink = LayerSink::new(Vec::new(), compression).unwrap();
            tar.chunks(10_001).for_each(|chunk| sink.write_all(chunk).unwrap());
            let (layer, blob) = sink.complete().unwrap();
            assert_eq!(layer.diff_id.0, Digest::of(&tar));
            assert_eq!(layer.uncompressed_size, 3_000_000);
            assert_eq!(layer.blob, Descriptor::of(compression.media_type(), &blob));
        }
    }
}
