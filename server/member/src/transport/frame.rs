//! Length-prefixed, checksummed frames.
//!
//! `length (u32, little endian) · crc32c of length and payload (u32, little endian) · payload`

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest frame of an established connection: an entry of the largest value and room to spare.
pub(crate) const FRAME_MAX: usize = 8 << 20;
/// The longest frame before the handshake is through.
pub(crate) const HELLO_MAX: usize = 4 << 10;
/// Memory is taken in steps of this size, as the bytes arrive: a length alone takes none.
const STEP: usize = 256 << 10;
const HEADER: usize = 8;

/// What is wrong with a connection's bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The connection ended between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame")]
    CutShort,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {len} bytes is longer than the {max} allowed")]
    TooLong { len: usize, max: usize },
    /// Somebody took the Raft port for another one, or another one for the Raft port.
    #[error(
        "{0} is spoken there, which no Raft port does; give the address of the member's Raft port (--raft-addr)"
    )]
    Foreign(&'static str),
    #[error("a frame has a wrong checksum")]
    Checksum,
    #[error("a frame cannot be decoded: {0}")]
    Decode(#[from] postcard::Error),
}

impl FrameError {
    /// Whether the other side sent what no member sends.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::CutShort | Self::TooLong { .. } | Self::Foreign(_) | Self::Checksum | Self::Decode(_)
        )
    }

    fn inside(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::CutShort } else { Self::Io(error) }
    }
}

/// The frame that carries `message`.
pub(crate) fn encode<T: Serialize + ?Sized>(message: &T, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; HEADER])?;
    let len = frame.len() - HEADER;
    let wire_len = u32::try_from(len).ok().filter(|_| len <= max).ok_or(FrameError::TooLong { len, max })?;
    let length = wire_len.to_le_bytes();
    let crc = checksum(length, frame.get(HEADER..).unwrap_or_default());
    if let Some((header, _)) = frame.split_first_chunk_mut::<HEADER>() {
        *header = header_of(length, crc);
    }
    Ok(frame)
}

fn header_of(length: [u8; 4], crc: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length;
    let [e, f, g, h] = crc.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// Sends `message` as one frame.
pub(crate) async fn send<W, T>(to: &mut W, message: &T, max: usize) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
    T: Serialize + ?Sized,
{
    send_bytes(to, &encode(message, max)?).await
}

/// Sends a frame that is encoded already.
pub(crate) async fn send_bytes<W: AsyncWrite + Unpin>(to: &mut W, frame: &[u8]) -> Result<(), FrameError> {
    to.write_all(frame).await?;
    Ok(to.flush().await?)
}

/// Receives one frame.
pub(crate) async fn receive<R, T>(from: &mut R, max: usize) -> Result<T, FrameError>
where
    R: AsyncRead + Unpin,
    T: DeserializeOwned,
{
    Ok(postcard::from_bytes(&receive_bytes(from, max).await?)?)
}

/// The protocol of which these are the first bytes, where that is one that is mistaken for this one.
fn foreign(first: [u8; 4]) -> Option<&'static str> {
    match &first {
        b"HTTP" | b"GET " | b"PUT " | b"POST" | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"PRI " => {
            Some("HTTP")
        }
        [0x16, 3, ..] => Some("TLS"),
        _ => None,
    }
}

/// Receives one frame's payload.
pub(crate) async fn receive_bytes<R: AsyncRead + Unpin>(
    from: &mut R,
    max: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut header = [0; HEADER];
    let read = from.read(&mut header).await?;
    if read == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(header.get_mut(read..).unwrap_or_default()).await.map_err(FrameError::inside)?;
    let [a, b, c, d, e, f, g, h] = header;
    let length = [a, b, c, d];
    let crc = u32::from_le_bytes([e, f, g, h]);
    let len = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if len > max {
        return Err(foreign(length).map_or(FrameError::TooLong { len, max }, FrameError::Foreign));
    }
    let mut payload = Vec::new();
    while payload.len() < len {
        let start = payload.len();
        payload.resize(len.min(start + STEP), 0);
        from.read_exact(payload.get_mut(start..).unwrap_or_default()).await.map_err(FrameError::inside)?;
    }
    if checksum(length, &payload) != crc {
        return Err(FrameError::Checksum);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        encode(&("a message", 7_u64), HELLO_MAX).unwrap()
    }

    async fn decode(mut bytes: &[u8], max: usize) -> Result<(String, u64), FrameError> {
        receive(&mut bytes, max).await
    }

    #[tokio::test]
    async fn a_frame_carries_its_message() {
        assert_eq!(decode(&frame(), HELLO_MAX).await.unwrap(), ("a message".to_owned(), 7));
        assert!(matches!(decode(&[], HELLO_MAX).await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn every_flipped_bit_and_every_cut_is_refused() {
        let good = frame();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut broken = good.clone();
                broken[at] ^= 1 << bit;
                assert!(decode(&broken, HELLO_MAX).await.is_err(), "bit {bit} of byte {at}");
            }
            let cut = decode(&good[..at], HELLO_MAX).await.unwrap_err();
            assert_eq!(cut.is_malformed(), at > 0, "cut at {at}: {cut}");
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_by_both_ends() {
        assert!(matches!(encode(&vec![1_u8; 100], 50), Err(FrameError::TooLong { .. })));
        let long = encode(&vec![1_u8; 100], HELLO_MAX).unwrap();
        let refused = receive::<_, Vec<u8>>(&mut long.as_slice(), 50).await;
        assert!(matches!(refused, Err(FrameError::TooLong { .. })));
        for (bytes, named) in [
            (&b"GET /livez HTTP/1.1"[..], "HTTP"),
            (b"HTTP/1.1 400 Bad", "HTTP"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", "TLS"),
        ] {
            let refused = receive_bytes(&mut &bytes[..], HELLO_MAX).await;
            assert!(matches!(refused, Err(FrameError::Foreign(name)) if name == named), "{refused:?}");
        }
    }
}
