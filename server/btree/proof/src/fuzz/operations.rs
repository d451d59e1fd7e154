//! Operations that an input spells out, done to an engine and to its model.

use std::ops::Bound;

use conure_btree::{CompactOptions, Db, Durability, Error, MAX_KEY_BYTES, Options, ReadTxn, WriteTxn};
use conure_io::SimDisk;

use super::Input;
use crate::change::entries_within;
use crate::model::{Entries, Model, contents, open, options};

/// Snapshots held at once.
const READERS_MAX: usize = 4;
/// Operations on the disk before an input is done: what it can learn, it has learnt by then.
const DISK_OPS_MAX: usize = 2000;

struct Machine {
    disk: SimDisk,
    options: Options,
    db: Option<Db>,
    now: Model,
    durable: Model,
    readers: Vec<(ReadTxn, Model)>,
    txn: Option<(WriteTxn, Model)>,
}

/// Does what `data` spells out.
///
/// # Panics
///
/// Where the engine answers something else than a model, loses a commit, or its file is not sound.
pub fn operations(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(mut machine) = Machine::new(&mut input) else { return };
    while machine.disk.ops() < DISK_OPS_MAX && machine.step(&mut input).is_some() {}
    machine.end_txn(Some(Durability::Durable));
    machine.compare();
    machine.crash(7);
}

fn key(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let kind = input.byte()?;
    let mut key = match kind {
        0..=200 => vec![b'a' + kind % 40],
        _ => input.bytes(usize::from(kind - 200) % 12).to_vec(),
    };
    match kind {
        190..=200 => key.resize(MAX_KEY_BYTES - usize::from(kind % 2), b'x'),
        180..=189 => key.resize(300, b'y'),
        _ if key.is_empty() => key.push(0),
        _ => {}
    }
    Some(key)
}

fn bound(input: &mut Input<'_>) -> Option<Bound<Vec<u8>>> {
    Some(match input.byte()? % 5 {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(key(input)?),
        _ => Bound::Excluded(key(input)?),
    })
}

fn value(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let (kind, fill) = (input.byte()?, input.byte()?);
    let len = match kind {
        0..=179 => usize::from(kind),
        180..=239 => usize::from(kind - 170) * 40,
        _ => usize::from(kind - 239) * 3000,
    };
    Some(vec![fill; len])
}

impl Machine {
    fn new(input: &mut Input<'_>) -> Option<Self> {
        let flags = input.byte()?;
        let mut options = options([512, 512, 1024, 4096][usize::from(flags & 3)]);
        options.growth_bytes_min = if flags & 4 == 0 { 4096 } else { 64 * 1024 };
        if flags & 8 != 0 {
            options.dirty_bytes_max = 2048;
        }
        if flags & 16 != 0 {
            options.file_bytes_max = Some(128 * 1024);
        }
        let disk = SimDisk::new();
        let db = Some(open(&disk, options.clone()).unwrap());
        let (now, durable) = (Model::new(), Model::new());
        Some(Self { disk, options, db, now, durable, readers: Vec::new(), txn: None })
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between any two steps")
    }

    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        match input.byte()? {
            0..=119 => self.put(input)?,
            120..=159 => self.delete(input)?,
            160..=169 => self.delete_range(input)?,
            170..=179 => self.append(input)?,
            180..=183 => self.drop_tree(input)?,
            184..=193 => self.look(input)?,
            194..=204 => self.end_txn(Some(Durability::Durable)),
            205..=214 => self.end_txn(Some(Durability::Eventual)),
            215..=217 => self.end_txn(None),
            218..=224 => self.begin_read(),
            225..=230 => self.end_read(input)?,
            231..=234 => self.reopen(false),
            235..=237 => self.reopen(true),
            238..=241 => self.compare(),
            242..=247 => self.fault(input)?,
            248..=253 => self.crash(u64::from(input.byte()?)),
            254 => self.compact(input)?,
            255 => self.sync(),
        }
        Some(())
    }

    /// The transaction, begun where there is none, with its model, and the name of one of three trees.
    fn writing(&mut self, input: &mut Input<'_>) -> Option<(&mut WriteTxn, &mut Model, String)> {
        let name = format!("tree{}", input.byte()? % 3);
        if self.txn.is_none() {
            self.txn = Some((self.db().begin_write().unwrap(), self.now.clone()));
        }
        let (txn, model) = self.txn.as_mut()?;
        Some((txn, model, name))
    }

    fn put(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        let (key, value) = (key(input)?, value(input)?);
        let entries = model.entry(name.clone()).or_default();
        match txn.tree(&name).unwrap().put(&key, &value) {
            Ok(()) => drop(entries.insert(key, value)),
            Err(Error::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        Some(())
    }

    fn delete(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        let key = key(input)?;
        let wanted = model.entry(name.clone()).or_default().remove(&key).is_some();
        assert_eq!(txn.tree(&name).unwrap().delete(&key).unwrap(), wanted);
        Some(())
    }

    fn delete_range(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        let (lower, upper) = (bound(input)?, bound(input)?);
        let entries = model.entry(name.clone()).or_default();
        let gone: Vec<Vec<u8>> =
            entries_within(entries, &lower, &upper).iter().map(|(key, _)| key.to_vec()).collect();
        entries.retain(|key, _| !gone.contains(key));
        let slices = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        assert_eq!(txn.tree(&name).unwrap().delete_range(slices).unwrap(), gone.len() as u64);
        Some(())
    }

    fn append(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        let (count, value) = (input.byte()? % 60, value(input)?);
        let entries = model.entry(name.clone()).or_default();
        let mut tree = txn.tree(&name).unwrap();
        let mut appender = tree.appender().unwrap();
        let mut pushed = 0;
        for number in 0..count {
            let key = [&[b'~', number][..], &value[..value.len().min(20)]].concat();
            let last = entries.last_key_value().map(|(key, _)| key.clone());
            match appender.push(&key, &value) {
                Ok(()) => {
                    assert!(last.is_none_or(|last| last < key), "an entry out of order was taken");
                    entries.insert(key, value.clone());
                    pushed += 1;
                }
                Err(Error::Unsorted { .. }) => assert!(last.is_some_and(|last| last >= key)),
                Err(Error::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(appender.finish().unwrap(), pushed);
        Some(())
    }

    fn drop_tree(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        assert_eq!(txn.drop_tree(&name).unwrap(), model.remove(&name).is_some());
        Some(())
    }

    /// Reads in the transaction: one key, a range from both ends, a cursor's walk.
    fn look(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (txn, model, name) = self.writing(input)?;
        let (key, lower, upper) = (key(input)?, bound(input)?, bound(input)?);
        let entries: &Entries = model.entry(name.clone()).or_default();
        let tree = txn.tree(&name).unwrap();
        assert_eq!(tree.get(&key).unwrap(), entries.get(&key).map(Vec::as_slice));
        assert_eq!(tree.len().unwrap(), entries.len() as u64);
        let slices = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let wanted = entries_within(entries, &lower, &upper);
        let found: Vec<_> = tree.range(slices).map(Result::unwrap).collect();
        assert_eq!(found, wanted);
        let mut found: Vec<_> = tree.range(slices).rev().map(Result::unwrap).collect();
        found.reverse();
        assert_eq!(found, wanted);
        let mut cursor = tree.cursor();
        let above = entries.range::<[u8], _>((Bound::Included(key.as_slice()), Bound::Unbounded));
        let mut above = above.map(|(key, value)| (key.as_slice(), value.as_slice()));
        assert_eq!(cursor.seek(&key).unwrap(), above.next());
        assert_eq!(cursor.next().unwrap(), above.next());
        let below = entries.range::<[u8], _>((Bound::Unbounded, Bound::Included(key.as_slice())));
        let mut below = below.rev().map(|(key, value)| (key.as_slice(), value.as_slice()));
        assert_eq!(cursor.seek_back(&key).unwrap(), below.next());
        assert_eq!(cursor.prev().unwrap(), below.next());
        Some(())
    }

    fn end_txn(&mut self, durability: Option<Durability>) {
        let Some((txn, model)) = self.txn.take() else { return };
        let Some(durability) = durability else { return };
        txn.commit(durability).unwrap();
        self.now = model;
        if durability == Durability::Durable {
            self.durable = self.now.clone();
        }
    }

    fn begin_read(&mut self) {
        if self.readers.len() < READERS_MAX {
            self.readers.push((self.db().begin_read().unwrap(), self.now.clone()));
        }
    }

    fn end_read(&mut self, input: &mut Input<'_>) -> Option<()> {
        let which = usize::from(input.byte()?);
        if !self.readers.is_empty() {
            let (read, model) = self.readers.swap_remove(which % self.readers.len());
            assert!(contents(&read).unwrap() == model, "a snapshot changed");
        }
        Some(())
    }

    /// Ends the database, by closing or as a kill does, and opens it.
    fn reopen(&mut self, kill: bool) {
        if kill {
            self.disk.kill_process();
        }
        self.txn = None;
        self.readers.clear();
        self.db = None;
        self.db = Some(open(&self.disk, self.options.clone()).unwrap());
        self.now = self.durable.clone();
        let found = contents(&self.db().begin_read().unwrap()).unwrap();
        assert!(found == self.now, "opened again, it holds something else");
    }

    /// A compaction, or its first steps. It makes earlier commits durable with its first step.
    fn compact(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (pages, steps) = (input.byte()?, input.byte()?);
        self.end_txn(None);
        let mut options = CompactOptions::default();
        options.step_pages = u32::from(pages).max(1);
        let mut compaction = self.db().compaction(options);
        for _ in 0..steps {
            if !compaction.step().unwrap() {
                break;
            }
        }
        let stats = self.db().stats();
        if stats.durable_commit == stats.commit {
            self.durable = self.now.clone();
        }
        let found = contents(&self.db().begin_read().unwrap()).unwrap();
        assert!(found == self.now, "a compaction changed what it holds");
        Some(())
    }

    fn sync(&mut self) {
        self.end_txn(None);
        self.db().sync().unwrap();
        self.durable = self.now.clone();
    }

    /// Everything against the models.
    fn compare(&mut self) {
        self.end_txn(None);
        for (read, model) in &self.readers {
            assert!(contents(read).unwrap() == *model, "a snapshot changed");
        }
        let found = contents(&self.db().begin_read().unwrap()).unwrap();
        assert!(found == self.now, "not what the model holds");
        let report = self.db().check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }

    /// A durable commit that meets a fault of the disk, if it gets that far.
    fn fault(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (after, kind) = (u64::from(input.byte()? % 8), input.byte()? % 3);
        let (txn, model) = self.txn.take()?;
        match kind {
            0 => self.disk.fail_sync_after(after),
            1 => self.disk.fail_write_after(after),
            _ => self.disk.limit_bytes(self.db().stats().file_bytes + after * 600),
        }
        let result = txn.commit(Durability::Durable);
        self.disk.clear_faults();
        match result {
            Ok(()) => {
                self.now = model;
                self.durable = self.now.clone();
            }
            Err(Error::NoSpace { .. }) => self.compare(),
            Err(Error::Io { .. }) => {
                assert!(matches!(self.db().begin_write(), Err(Error::Poisoned { .. })));
                self.readers.clear();
                self.db = None;
                self.db = Some(open(&self.disk, self.options.clone()).unwrap());
                self.now = contents(&self.db().begin_read().unwrap()).unwrap();
                assert!(self.now == self.durable || self.now == model, "half a commit");
                self.durable = self.now.clone();
            }
            Err(error) => panic!("{error}"),
        }
        Some(())
    }

    /// What a power failure now would leave is exactly the last durable commit.
    fn crash(&mut self, seed: u64) {
        let image = self.disk.crash_image(self.disk.ops(), seed).unwrap();
        let db = open(&image, self.options.clone()).unwrap();
        assert!(contents(&db.begin_read().unwrap()).unwrap() == self.durable, "a crash lost a commit");
        let report = db.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}
