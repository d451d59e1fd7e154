//! What is read from the log, and what may be missing.

use conure_io::RealDisk;
use futures::StreamExt as _;
use openraft::EntryPayload;

use super::*;
use crate::raft::types::log_id;

/// A log of the entries 5 to 14, of which those up to 6 are purged.
async fn log(dir: &std::path::Path) -> LogStore {
    let disk = Arc::new(RealDisk::new(dir).unwrap());
    let (wal, _) = Wal::open(disk, Default::default(), None).unwrap();
    let mut log = LogStore::new(Arc::new(wal), Failure::default());
    let entries = (5..15).map(|index| Entry { log_id: log_id(1, 1, index), payload: EntryPayload::Blank });
    log.append(entries, IOFlushed::noop()).await.unwrap();
    log.purge(log_id(1, 1, 6)).await.unwrap();
    log
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index()).collect()
}

#[tokio::test]
async fn the_stream_that_is_applied_gives_the_range_that_was_asked_for_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path()).await;
    for (range, given, whole) in [
        (7..15, 8, true),
        (9..11, 2, true),
        (9..9, 0, true),
        (7..16, 8, false),
        (15..16, 0, false),
        (6..9, 0, false),
        (0..20, 0, false),
    ] {
        log.failure = Failure::default();
        let read: Vec<_> = log.entries_stream(range.clone()).await.collect().await;
        let given_now = read.iter().take_while(|entry| entry.is_ok()).count();
        assert_eq!((given_now, read.len() == given_now), (given, whole), "{range:?}");
        assert_eq!(log.failure.get().is_none(), whole, "{range:?}");
    }
}

#[tokio::test]
async fn a_closed_log_is_an_error_and_no_failure_of_the_storage() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path()).await;
    log.close();
    let read: Vec<_> = log.entries_stream(7..9).await.collect().await;
    assert!(matches!(&read[..], [Err(_)]) && log.failure.get().is_none());
}

#[tokio::test]
async fn nothing_is_sent_to_a_follower_that_does_not_follow_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path()).await;
    assert_eq!(indexes(&log.limited_get_log_entries(7, 10).await.unwrap()), [7, 8, 9]);
    assert_eq!(indexes(&log.limited_get_log_entries(14, 20).await.unwrap()), [14]);
    assert!(log.limited_get_log_entries(7, 7).await.unwrap().is_empty());
    // Purged meanwhile.
    assert!(log.limited_get_log_entries(6, 10).await.unwrap().is_empty());
    assert!(log.limited_get_log_entries(15, 20).await.is_err());
}

#[tokio::test]
async fn a_plain_read_gives_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path()).await;
    assert_eq!(indexes(&log.try_get_log_entries(0..9).await.unwrap()), [7, 8]);
    assert_eq!(indexes(&log.try_get_log_entries(13..).await.unwrap()), [13, 14]);
    assert!(log.try_get_log_entries(20..30).await.unwrap().is_empty());
}
