//! The keys and values of a run: a pure function of their number, so that no process has to hold or share them.
//! `bbolt/data.go` is the same function; both are tested against the same bytes, and every run compares the two.

/// Bytes in a key.
pub const KEY_BYTES: usize = 24;

/// Bytes in a value.
pub const VALUE_BYTES: usize = 150;

/// Where a value holds its version. The bytes before are the same in all versions.
pub const VERSION_AT: usize = 8;

const SEED: u64 = 0x636f_6e75_7265_6462;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of 64-bit numbers: SplitMix64.
#[derive(Debug, Clone)]
pub struct Stream(u64);

impl Stream {
    /// The stream of that number. Streams of different numbers never begin in the same state.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(mixed(SEED.wrapping_add(number)))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// A number below `end`, every one (nearly) as likely as any other.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The key of an entry. Different entries have different keys.
#[must_use]
pub fn key(entry: u64) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    Stream::new(entry.wrapping_mul(2)).fill(&mut bytes);
    bytes
}

/// The value of an entry in one of its versions; 0 is the one that is loaded.
#[must_use]
pub fn value(entry: u64, version: u64) -> [u8; VALUE_BYTES] {
    let mut bytes = [0; VALUE_BYTES];
    Stream::new(entry.wrapping_mul(2).wrapping_add(1)).fill(&mut bytes);
    for (byte, other) in bytes.iter_mut().skip(VERSION_AT).zip(version.to_le_bytes()) {
        *byte ^= other;
    }
    bytes
}

/// The first bytes of a value as a number: what reads are checked by.
#[must_use]
pub fn head(value: &[u8]) -> u64 {
    value.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// What [`head`] says of an entry's value in every version.
#[must_use]
pub fn head_of(entry: u64) -> u64 {
    Stream::new(entry.wrapping_mul(2).wrapping_add(1)).next_u64()
}

/// A digest of entries in their order.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    state: u64,
    entries: u64,
}

impl Digest {
    /// Adds an entry.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes(key);
        self.bytes(value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.state = mixed(self.state ^ u64::from_le_bytes(word)).wrapping_add(GOLDEN);
        }
    }

    /// The digest of what was added.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.state
    }

    /// How many entries were added.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// The digest of the first entries, in the order of their numbers: two generators that agree on it are the same.
#[must_use]
pub fn digest_of(entries: u64) -> u64 {
    let mut digest = Digest::default();
    (0..entries).for_each(|entry| digest.add(&key(entry), &value(entry, entry)));
    digest.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `bbolt/data_test.go` holds the same bytes.
    #[test]
    fn the_generator_makes_the_bytes_that_are_written_down() {
        assert_eq!(hex(&key(0)), "f772c36c83ea332f8a2a16850bf3a0e2ffe6090a6d8b01cf");
        assert_eq!(hex(&key(1_000_000)), "0362966c50d4456849fd41e2d1e2e2744fc753f5a3f90753");
        assert_eq!(hex(&value(0, 0)[..24]), "89d47f2d583bf740dde9eff877d96dac6a85ad448676e92c");
        assert_eq!(hex(&value(7, 0x0102_0304)[..24]), "9aac346a68b2a8a92b4d5a705ef551a4644d29bb773471d6");
        assert_eq!(hex(&value(7, 0)[144..]), "9ea4ad25c0cf");
        assert_eq!(digest_of(1000), 6_353_229_950_387_404_788);
    }

    #[test]
    fn a_version_leaves_the_head_as_it_is() {
        for (entry, version) in [(0, 0), (3, 1), (12, u64::MAX)] {
            assert_eq!(head(&value(entry, version)), head_of(entry));
        }
        assert_ne!(value(3, 1), value(3, 2));
        assert_eq!(head(b"short"), 0);
    }

    #[test]
    fn a_choice_stays_below_its_end_and_reaches_all() {
        let mut stream = Stream::new(1);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[usize::try_from(stream.below(10)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_digest_knows_the_order() {
        let of = |entries: &[u64]| {
            let mut digest = Digest::default();
            entries.iter().for_each(|entry| digest.add(&key(*entry), &value(*entry, 0)));
            (digest.value(), digest.entries())
        };
        assert_eq!(of(&[1, 2]), of(&[1, 2]));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_eq!(of(&[1, 2, 3]).1, 3);
    }
}
