//! Brings the clients' records to the file, in the order in which they arrive.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::history::{self, HistoryWriter, Record};

/// How many records may wait for the disk.
const WAITING_MAX: usize = 4096;

#[derive(Debug)]
enum Message {
    Record(Record),
    Flush(oneshot::Sender<()>),
}

/// The history's clock and the way to its file.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    file: mpsc::Sender<Message>,
}

impl Recorder {
    /// The file is complete once the task has ended, which it does when the recorder is dropped.
    pub fn start(path: &Path) -> Result<(Self, JoinHandle<Result<()>>)> {
        let mut writer = HistoryWriter::create(path)?;
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                match message {
                    Message::Record(record) => writer.append(&record)?,
                    Message::Flush(done) => {
                        writer.flush()?;
                        // Whoever asked may have gone: then nobody needs the answer.
                        let _ = done.send(());
                    }
                }
            }
            Ok(writer.flush()?)
        });
        Ok((Self { began: Instant::now(), file: sender }, task))
    }

    /// Nanoseconds since the history began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds a record. If the file cannot be written, its task's own result says so at the end.
    pub async fn add(&self, record: Record) {
        let _ = self.file.send(Message::Record(record)).await;
    }

    /// Everything recorded so far, read back from the file.
    pub(super) async fn flushed(&self, path: &Path) -> Result<Vec<Record>> {
        let (done, flushed) = oneshot::channel();
        self.file.send(Message::Flush(done)).await.ok().context("the history's writer ended early")?;
        flushed.await.context("the history's writer ended early")?;
        Ok(history::read(path)?)
    }
}
