//! The bytes of a segment and of a floor as files: a change of the format that nobody meant shows here.

use bytes::Bytes;

use super::{
    BATCH_HEADER_BYTES, BatchHeader, Position, Record, SEGMENT_HEADER_BYTES, SegmentHeader, put_record,
    seal_batch,
};
use crate::floor::{Floor, Mark};
use crate::logical::{Logical, Purged};

/// Hexadecimal text: a header, then a batch of one record of each kind, as a segment of version 1 has them.
const KEPT: &str = include_str!("../../tests/golden/segment.hex");

fn hex(bytes: &[u8]) -> String {
    let zeros = [0; 32];
    let mut lines = Vec::new();
    for (at, line) in bytes.chunks(32).enumerate() {
        // Padding is not shown.
        if line != &zeros[..line.len()] {
            let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{:06x}: {}", at * 32, digits.join(" ")));
        }
    }
    lines.push(format!("{:06x}.", bytes.len()));
    lines.join("\n") + "\n"
}

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        if let Some(end) = line.strip_suffix('.') {
            bytes.resize(usize::from_str_radix(end, 16).unwrap(), 0);
        } else {
            let (at, digits) = line.split_once(": ").unwrap();
            bytes.resize(usize::from_str_radix(at, 16).unwrap(), 0);
            bytes.extend(digits.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
    }
    bytes
}

#[test]
fn a_segment_is_as_kept() {
    let header = SegmentHeader {
        log_id: 0x0123_4567_89ab_cdef,
        segment: 3,
        previous_end: 8192,
        first_batch: 17,
        chain: 0xdead_beef,
        base: Logical {
            vote: Some(Bytes::from_static(b"vote")),
            purged: Some(Purged { index: 4, marker: Bytes::from_static(b"marker") }),
            entries: Some((5, 9)),
        },
    };
    let records = [
        Record::Entry { index: 10, payload: b"payload" },
        Record::Vote { vote: b"another" },
        Record::Truncate { from: 10 },
        Record::Purge { upto: 9, marker: b"nine" },
    ];
    let (mut segment, chain) = header.encode();
    let mut batch = vec![0; BATCH_HEADER_BYTES];
    records.iter().for_each(|record| put_record(&mut batch, *record));
    let batch_header = BatchHeader {
        log_id: header.log_id,
        number: 17,
        at: Position { segment: 3, offset: 4096 },
        synced_end: Position { segment: 3, offset: 4096 },
        body_bytes: 0,
        body_crc: 0,
        records: 4,
        chain,
    };
    seal_batch(&mut batch, batch_header);
    segment.extend_from_slice(&batch);
    assert_eq!(hex(&segment), KEPT, "it is written otherwise than tests/golden/segment.hex says");

    let kept = unhex(KEPT);
    assert_eq!(kept, segment);
    assert_eq!(SegmentHeader::parse(&kept).unwrap().0, header);
    let (read, _) = BatchHeader::parse(&kept[SEGMENT_HEADER_BYTES..]).unwrap();
    assert_eq!((read.number, read.records, read.chain), (17, 4, chain));
    let mut rest = &kept[SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES..];
    for expected in records {
        let (record, tail) = Record::parse(rest).unwrap();
        assert_eq!(record, expected);
        rest = tail;
    }
}

/// It is stored with the database's checkpoints, so other versions of the program read it.
#[test]
fn a_floor_is_as_kept() {
    let kept = include_str!("../../tests/golden/floor.hex");
    let floor = Floor {
        mark: Some(Mark { log_id: 0x0123_4567_89ab_cdef, batch: 17 }),
        vote: Some(Bytes::from_static(b"vote")),
        committed_index: Some(9),
    };
    assert_eq!(hex(&floor.encode()), kept, "it is written otherwise than tests/golden/floor.hex says");
    assert_eq!(Floor::decode(&unhex(kept)), Some(floor));
}
