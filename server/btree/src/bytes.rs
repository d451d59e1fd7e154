//! Little-endian numbers in byte slices. Reads past the end give zero, so that no file can make them panic;
//! whoever reads from a file validates lengths first.

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// A length or offset inside a node, which is at most 64 KiB long.
pub(crate) fn small(value: usize) -> u16 {
    u16::try_from(value).expect("offsets in a node are below 64 KiB")
}

/// A number of pages or a length that the format's limits keep below 2^32.
pub(crate) fn word(value: usize) -> u32 {
    u32::try_from(value).expect("page numbers and value lengths are below 2^32")
}

/// A number of bytes or pages of a file that is mapped, and so fits the address space.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("a mapped file fits the address space")
}
