//! Where a fuzzer's bytes go in: everything that is decoded of what others sent or a disk gave.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backup_format::{Decoder, Record};
use crate::identity;
use crate::raft::records::Joiner;
use crate::raft::state::Applied;
use crate::raft::types::{Entry, LogId, Vote};
use crate::transport::frame::{self, FRAME_MAX, HELLO_MAX};
use crate::transport::message::{Chunk, Greeting, Hello, Opening, Request, Response};

/// Decodes `bytes` as all of it. Nothing may panic, and what was understood can be said again.
pub fn decode(bytes: &[u8]) {
    let stream = |max| {
        let mut rest = bytes;
        futures::executor::block_on(frame::receive_bytes(&mut rest, max))
    };
    if let Ok(payload) = stream(HELLO_MAX) {
        hello(&payload);
    }
    if let Ok(payload) = stream(FRAME_MAX) {
        as_message::<Request>(&payload);
    }
    // Without a checksum in the way.
    as_message::<Opening>(bytes);
    hello(bytes);
    as_message::<Greeting>(bytes);
    as_message::<Request>(bytes);
    as_message::<Response>(bytes);
    as_message::<Chunk>(bytes);
    as_message::<Entry>(bytes);
    as_message::<Vote>(bytes);
    as_message::<LogId>(bytes);
    if let Ok(applied) = Applied::decode(bytes) {
        assert!(applied.encode().is_ok(), "{applied:?} cannot be kept again");
    }
    let _ = identity::decode(bytes);
    let _ = conure_wal::Floor::decode(bytes);
    let mut joiner = Joiner::default();
    for piece in bytes.chunks(7) {
        if joiner.push(piece, |_, _, _| Ok(())).is_err() {
            break;
        }
    }
    let mut decoder = Decoder::default();
    if bytes.chunks(11).all(|piece| decoder.push(piece, |_: Record<'_>| Ok(())).is_ok()) {
        let _ = decoder.finish();
    }
}

/// A hello of any minor version.
fn hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        assert!(
            frame::encode(&(&hello, &hello.introduction), usize::MAX).is_ok(),
            "{hello:?} cannot be said again"
        );
    }
}

fn as_message<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) {
    if let Ok(message) = postcard::from_bytes::<T>(bytes) {
        let said = frame::encode(&message, usize::MAX);
        assert!(said.is_ok(), "{message:?} cannot be said again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    /// What a fuzzer begins with: everything that members say, whole, cut, and with each byte changed.
    #[test]
    fn no_cut_and_no_changed_byte_of_what_members_say_panics() {
        for bytes in golden::all() {
            for at in 0..bytes.len() {
                decode(&bytes[..at]);
                for change in [1, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    decode(&changed);
                }
            }
            decode(&bytes);
        }
    }
}
