//! Bytes that arrive in pieces.

use std::io::Read;

/// Gives its bytes in pieces of changing length.
pub struct Pieces<'a>(pub &'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = (self.0.len() % 97 + 1).min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}
