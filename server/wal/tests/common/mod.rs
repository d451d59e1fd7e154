//! What the tests of the log share.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests, of which each test file uses a part")]

pub(crate) mod model;

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use conure_io::{Disk, SimDisk};
use conure_wal::{Entry, Error, Floor, Options, Recovered, Wal};

/// Small segments, so that a few batches fill one, and no payload stays in memory longer than it must.
pub(crate) fn small() -> Options {
    Options { segment_bytes: 16 << 10, cache_bytes: 0, ..Options::default() }
}

pub(crate) fn open(disk: &SimDisk) -> Result<(Wal, Recovered), Error> {
    open_with(disk, None)
}

pub(crate) fn open_with(disk: &SimDisk, floor: Option<&Floor>) -> Result<(Wal, Recovered), Error> {
    Wal::open(Arc::new(disk.clone()) as Arc<dyn Disk>, small(), floor)
}

pub(crate) fn entry(index: u64, len: usize) -> Entry {
    let mut payload = index.to_le_bytes().to_vec();
    payload.resize(len.max(8), u8::try_from(index % 251).unwrap());
    Entry { index, payload: Bytes::from(payload) }
}

pub(crate) fn entries(range: std::ops::Range<u64>, len: usize) -> Vec<Entry> {
    range.map(|index| entry(index, len)).collect()
}

/// Waits for one submission.
pub(crate) fn wait(submit: impl FnOnce(Box<dyn FnOnce(Result<(), Error>) + Send>)) -> Result<(), Error> {
    let (sender, receiver) = mpsc::channel();
    submit(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().expect("every callback is called")
}

pub(crate) fn append(wal: &Wal, entries: Vec<Entry>) -> Result<(), Error> {
    wait(|done| wal.append(entries, done))
}

pub(crate) fn save_vote(wal: &Wal, vote: &'static [u8]) -> Result<(), Error> {
    wait(|done| wal.save_vote(Bytes::from_static(vote), done))
}

pub(crate) fn truncate(wal: &Wal, from: u64) -> Result<(), Error> {
    wait(|done| wal.truncate(from, done))
}

pub(crate) fn purge(wal: &Wal, upto: u64) -> Result<(), Error> {
    wait(|done| wal.purge(upto, marker(upto), done))
}

pub(crate) fn marker(upto: u64) -> Bytes {
    Bytes::from(format!("purged {upto}"))
}

pub(crate) fn all(wal: &Wal) -> Vec<Entry> {
    wal.read(0..u64::MAX, usize::MAX).unwrap()
}

/// The bytes of a file of the disk.
pub(crate) fn file_bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, conure_io::OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Names of the segment files, in order.
pub(crate) fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names: Vec<_> = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".log")).collect();
    names.sort();
    names
}

/// Makes the file what `bytes` are.
pub(crate) fn put_file(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let file = disk
        .open(name, conure_io::OpenMode::Existing)
        .or_else(|_| disk.open(name, conure_io::OpenMode::CreateNew))
        .unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}
