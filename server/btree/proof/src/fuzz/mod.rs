//! What the fuzz targets do with an input. Whoever finds a fault panics; the inputs that found one are kept in
//! `server/btree/fuzz/inputs` and run as tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a harness tells of what it finds by a panic")]

mod hostile;
mod operations;

pub use hostile::hostile_file;
pub use operations::operations;

/// An input, read from its beginning; at its end there is nothing more to do.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from(self.word()?) | u32::from(self.word()?) << 16)
    }

    /// So many bytes, or those that are left.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }
}
