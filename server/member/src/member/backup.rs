//! A consistent backup as a stream of bytes.
//!
//! `CONUREBK · version (u16)`, then frames: `kind (u8) · length (u32) · crc32c of kind, length and payload (u32) ·
//! payload`, little endian. First a header, then the record stream of a snapshot in pieces of at most 1 MiB, last
//! an end with the record stream's length (u64) and crc32c (u32). Without its end a backup is not whole.

use std::io;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::core::Core;
use crate::facade::Refusal;
use crate::raft::store::View;
use crate::transport::outgoing;

const MAGIC: &[u8; 8] = b"CONUREBK";
const VERSION: u16 = 1;
const HEADER: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;

/// What a backup says of itself in its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    cluster_id: String,
    incarnation: u64,
    revision: u64,
    log_index: u64,
}

/// A consistent backup as a blocking iterator over pieces of at most about 1 MiB: drive it off the async threads.
#[derive(Debug)]
pub struct Backup {
    beginning: Option<Bytes>,
    chunks: Option<mpsc::Receiver<io::Result<Bytes>>>,
    len: u64,
    crc: u32,
}

fn frame(kind: u8, payload: &[u8]) -> io::Result<Bytes> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
    let crc = [&[kind][..], &len, payload].iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    let mut bytes = BytesMut::with_capacity(payload.len() + 9);
    bytes.extend_from_slice(&[kind]);
    bytes.extend_from_slice(&len);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes.freeze())
}

impl Backup {
    fn new(view: View) -> io::Result<Self> {
        let header = Header {
            cluster_id: view.applied.cluster_id.clone(),
            incarnation: view.applied.incarnation,
            revision: view.applied.revision,
            log_index: view.applied.index(),
        };
        let mut beginning = BytesMut::from(&MAGIC[..]);
        beginning.extend_from_slice(&VERSION.to_le_bytes());
        beginning
            .extend_from_slice(&frame(HEADER, &postcard::to_stdvec(&header).map_err(io::Error::other)?)?);
        let chunks = Some(outgoing::read_ahead(view, true));
        Ok(Self { beginning: Some(beginning.freeze()), chunks, len: 0, crc: 0 })
    }
}

impl Iterator for Backup {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(beginning) = self.beginning.take() {
            return Some(Ok(beginning));
        }
        match self.chunks.as_mut()?.blocking_recv() {
            Some(Ok(chunk)) => {
                self.len += chunk.len() as u64;
                self.crc = crc32c::crc32c_append(self.crc, &chunk);
                Some(frame(DATA, &chunk))
            }
            Some(Err(e)) => {
                self.chunks = None;
                Some(Err(e))
            }
            None => {
                self.chunks = None;
                let mut end = self.len.to_le_bytes().to_vec();
                end.extend_from_slice(&self.crc.to_le_bytes());
                Some(frame(END, &end))
            }
        }
    }
}

impl Core {
    /// `GET /snapshot`: everything that was acknowledged before the call, at one moment.
    pub(crate) async fn backup(&self) -> Result<Backup, Refusal> {
        let node = self.data_node()?;
        self.catch_up(&node).await?;
        node.store.view().and_then(Backup::new).map_err(|e| self.unreadable(&node, &e))
    }
}
