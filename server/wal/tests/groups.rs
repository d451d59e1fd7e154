//! Groups form by themselves: many submitters, few syncs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::future::Future;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use common::*;
use conure_io::{Disk, RealDisk, SimDisk};
use conure_wal::{Options, Wal};

#[test]
fn sixty_four_concurrent_appends_take_fewer_syncs_than_appends() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = Arc::new(RealDisk::new(directory.path()).unwrap());
    let wal = Wal::open(disk as Arc<dyn Disk>, Options::default(), None).unwrap().0;
    let before = wal.stats().syncs;
    let barrier = Barrier::new(64);
    let next = Mutex::new(0..64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                barrier.wait();
                let (sender, receiver) = mpsc::channel();
                {
                    let mut next = next.lock().unwrap();
                    let index = next.next().unwrap();
                    wal.append(vec![entry(index, 256)], move |result| sender.send(result).unwrap());
                }
                receiver.recv().unwrap().unwrap();
            });
        }
    });
    let stats = wal.stats();
    let syncs = stats.syncs - before;
    println!("64 concurrent appends took {syncs} syncs, the largest group {}", stats.largest_group);
    assert!(syncs < 64, "{stats:?}");
    assert_eq!((stats.appended_entries, stats.submissions), (64, 64));
    assert_eq!(all(&wal), entries(0..64, 256));
}

#[test]
fn all_that_waits_goes_with_one_sync() {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let (reached, wait_reached) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    wal.append(entries(0..1, 8), move |_| {
        reached.send(()).unwrap();
        wait_go_on.recv().unwrap();
    });
    wait_reached.recv().unwrap();
    let syncs = disk.syncs();
    for index in 1..101 {
        wal.append(entries(index..index + 1, 8), |result| result.unwrap());
    }
    assert_eq!(wal.stats().queue_len, 100);
    go_on.send(()).unwrap();
    save_vote(&wal, b"behind them").unwrap();
    // One for the group, and one more where the vote came after the group was taken.
    assert!(disk.syncs() - syncs <= 2, "{} syncs", disk.syncs() - syncs);
    assert!(wal.stats().largest_group >= 100);
}

struct Flag(Mutex<mpsc::Sender<()>>);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        // The test may be over.
        let _ = self.0.lock().map(|sender| sender.send(()));
    }
}

#[test]
fn a_full_queue_holds_submitters_back_until_there_is_room() {
    let disk = SimDisk::new();
    let options = Options { queue_bytes: 1000, ..small() };
    let wal = Arc::new(Wal::open(Arc::new(disk), options, None).unwrap().0);
    let (reached, wait_reached) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    wal.append(entries(0..1, 8), move |_| {
        reached.send(()).unwrap();
        wait_go_on.recv().unwrap();
    });
    wait_reached.recv().unwrap();

    let (woken, wait_woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Flag(Mutex::new(woken))));
    let mut context = Context::from_waker(&waker);
    let mut room = Box::pin(wal.room());
    assert_eq!(room.as_mut().poll(&mut context), Poll::Ready(()));
    wal.append(entries(1..3, 600), |result| result.unwrap());
    let mut room = Box::pin(wal.room());
    assert_eq!(room.as_mut().poll(&mut context), Poll::Pending);
    assert!(wal.stats().queue_bytes >= 1000);

    let (submitted, wait_submitted) = mpsc::channel();
    let blocked = std::thread::spawn({
        let wal = Arc::clone(&wal);
        move || {
            wal.append(entries(3..4, 8), |result| result.unwrap());
            submitted.send(()).unwrap();
        }
    });
    assert!(wait_submitted.try_recv().is_err());
    assert_eq!(wal.last_index(), Some(2));
    go_on.send(()).unwrap();
    wait_woken.recv().unwrap();
    assert_eq!(room.as_mut().poll(&mut context), Poll::Ready(()));
    wait_submitted.recv().unwrap();
    blocked.join().unwrap();
    append(&wal, entries(4..5, 8)).unwrap();
}

#[test]
fn a_callback_may_submit_and_may_drop_the_log() {
    let disk = SimDisk::new();
    let options = Options { queue_len: 1, ..small() };
    let wal = Arc::new(Wal::open(Arc::new(disk), options, None).unwrap().0);
    let (sender, receiver) = mpsc::channel();
    let inner = Arc::clone(&wal);
    wal.append(entries(0..1, 8), move |_| {
        for index in 1..10 {
            let sender = sender.clone();
            inner.append(entries(index..index + 1, 8), move |result| sender.send(result).unwrap());
        }
        drop(inner);
    });
    drop(wal);
    for _ in 1..10 {
        receiver.recv().unwrap().unwrap();
    }
}
