//! A consistent backup as a stream of bytes, in the format of [`crate::backup_format`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::core::Core;
use crate::backup_format::{Encoder, Header};
use crate::facade::Refusal;
use crate::raft::store::View;
use crate::transport::outgoing;

/// A consistent backup as a blocking iterator over pieces of at most about 1 MiB: drive it off the async threads.
#[derive(Debug)]
pub struct Backup {
    beginning: Option<Bytes>,
    chunks: Option<mpsc::Receiver<io::Result<Bytes>>>,
    encoder: Encoder,
}

impl Backup {
    fn new(view: View) -> io::Result<Self> {
        let header = Header {
            cluster_id: view.applied.cluster_id.clone(),
            incarnation: view.applied.incarnation,
            revision: view.applied.revision,
            log_index: view.applied.index(),
        };
        let encoder = Encoder::default();
        let beginning = Some(encoder.begin(&header)?);
        let chunks = Some(outgoing::read_ahead(Arc::new(view), true));
        Ok(Self { beginning, chunks, encoder })
    }
}

impl Iterator for Backup {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(beginning) = self.beginning.take() {
            return Some(Ok(beginning));
        }
        match self.chunks.as_mut()?.blocking_recv() {
            Some(Ok(chunk)) => Some(self.encoder.data(&chunk)),
            Some(Err(e)) => {
                self.chunks = None;
                Some(Err(e))
            }
            None => {
                self.chunks = None;
                Some(self.encoder.end())
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
