//! What one cluster has agreed on: every entry that any member applied, and a model of the state that they make.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};

use bytes::Bytes;
use conure_member::simulation::{Change, Dump, LeaderId, Logged};

/// Keys with the revisions that last changed them, and values.
type Pairs = BTreeMap<Bytes, (u64, Bytes)>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<u64, Logged>,
    state: Pairs,
    revision: u64,
    /// Which change each revision was: the key, and the value where there was one.
    made: BTreeMap<u64, (Bytes, Option<Bytes>)>,
    /// Each key's changes, in order.
    versions: BTreeMap<Bytes, Vec<(u64, Option<Bytes>)>>,
    /// The revision and the digest of the model's state at each index.
    states: BTreeMap<u64, (u64, u64)>,
    /// The digest of the bytes that the first data member had there.
    dumps: BTreeMap<u64, u64>,
    /// The members after the last change of them.
    pub(crate) members: Vec<(u64, String, bool)>,
    pub(crate) members_index: u64,
    /// Whether that change is half done.
    pub(crate) joint: bool,
}

fn digest(what: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Ledger {
    /// The last index that anybody applied.
    pub(crate) fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// The revision after the last entry that anybody applied.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Who wrote the entry that was agreed on there.
    pub(crate) fn by(&self, index: u64) -> Option<LeaderId> {
        self.entries.get(&index).map(|entry| entry.by)
    }

    /// Somebody applied `entry`.
    pub(crate) fn applied(&mut self, entry: &Logged) -> Result<(), String> {
        if let Some(known) = self.entries.get(&entry.index) {
            if known == entry {
                return Ok(());
            }
            return Err(format!("entry {} was agreed on as {known:?} and applied as {entry:?}", entry.index));
        }
        if !self.entries.is_empty() && entry.index != self.last() + 1 {
            return Err(format!("entry {} was applied after entry {}", entry.index, self.last()));
        }
        match &entry.change {
            Change::Put { key, value } => {
                let made_before = |(_, made): (&u64, &(Bytes, Option<Bytes>))| made.1.as_ref() == Some(value);
                if self.made.iter().any(made_before) {
                    return Err(format!("{value:?} was put twice, the second time by entry {}", entry.index));
                }
                self.revision += 1;
                self.state.insert(key.clone(), (self.revision, value.clone()));
                self.change(key, Some(value.clone()));
            }
            Change::Delete { key } => {
                if self.state.remove(key).is_some() {
                    self.revision += 1;
                    self.change(key, None);
                }
            }
            Change::Members { members, joint } => {
                self.members = members.clone();
                self.joint = *joint;
                self.members_index = entry.index;
            }
            Change::Other => {}
        }
        self.entries.insert(entry.index, entry.clone());
        let pairs: Vec<_> =
            self.state.iter().map(|(key, (revision, value))| (key, revision, value)).collect();
        self.states.insert(entry.index, (self.revision, digest(pairs)));
        Ok(())
    }

    fn change(&mut self, key: &Bytes, value: Option<Bytes>) {
        self.made.insert(self.revision, (key.clone(), value.clone()));
        self.versions.entry(key.clone()).or_default().push((self.revision, value));
    }

    /// A data member has this state.
    pub(crate) fn compare(&mut self, dump: &Dump) -> Result<(), String> {
        let Some((revision, state)) = self.states.get(&dump.index) else {
            return Err(format!("its state is that of entry {}, which nobody agreed on", dump.index));
        };
        let pairs: Vec<_> = dump.pairs.iter().map(|(key, revision, value)| (key, revision, value)).collect();
        if *revision != dump.revision || *state != digest(pairs) {
            return Err(format!(
                "its state after entry {} has revision {} and is not what the log makes (revision {revision})",
                dump.index, dump.revision
            ));
        }
        let bytes = digest(&dump.bytes);
        if *self.dumps.entry(dump.index).or_insert(bytes) != bytes {
            return Err(format!("its state after entry {} differs from another member's", dump.index));
        }
        Ok(())
    }

    /// Whether that revision was this change.
    pub(crate) fn made(&self, revision: u64, key: &str, value: Option<&String>) -> bool {
        let value = value.map(|value| value.as_bytes());
        self.made
            .get(&revision)
            .is_some_and(|(made, with)| made == key.as_bytes() && with.as_deref() == value)
    }

    /// Whether a read that saw revision `at`, or a later one, could see this of `key`.
    pub(crate) fn could_see(&self, key: &str, found: Option<&(u64, String)>, at: u64) -> bool {
        let changes = self.versions.get(key.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        // Each version lasts until the next one begins; before the first one the key is absent.
        let mut versions: Vec<(u64, Option<&[u8]>)> = vec![(0, None)];
        versions.extend(changes.iter().map(|(revision, value)| (*revision, value.as_deref())));
        let ends = versions.iter().skip(1).map(|(revision, _)| *revision).chain([u64::MAX]);
        versions.iter().zip(ends).any(|((begin, value), end)| {
            let same = match (found, value) {
                (Some((revision, seen)), Some(value)) => revision == begin && seen.as_bytes() == *value,
                (None, None) => true,
                _ => false,
            };
            same && end > at && at <= self.revision
        })
    }
}
