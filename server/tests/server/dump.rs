//! `conure-db dump` and `conure-db load`: any bytes, there and back.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use crate::common::Node;
use crate::tools::{Ended, contents, conure, conure_fed, stopped_with, text};

/// Everything but the header, whose cluster is another one after every load.
fn behind_header(dump: &[u8]) -> &[u8] {
    let at = dump.iter().position(|byte| *byte == b'\n').unwrap();
    &dump[at + 1..]
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = usize::try_from(word >> (18 - 6 * digit) & 63).unwrap();
            text.push(if digit <= three.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

/// A dump as somebody else might write it: all in base64, without checksums.
fn written_by_hand(keys: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let mut dump =
        String::from("{\"conuredb_dump\":1,\"cluster_id\":\"c\",\"incarnation\":1,\"revision\":1000}\n");
    for (number, (key, value)) in (1..).zip(keys) {
        let (key, value) = (base64(key), base64(value));
        dump += &format!("{{\"key_base64\":\"{key}\",\"revision\":{number},\"value_base64\":\"{value}\"}}\n");
    }
    dump + &format!("{{\"keys\":{}}}\n", keys.len())
}

/// What a dump says, read by its documentation alone.
fn read_by_hand(dump: &[u8]) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
    let lines: Vec<serde_json::Value> = behind_header(dump)
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let (end, keys) = lines.split_last().unwrap();
    assert_eq!(end["keys"], keys.len());
    let bytes = |line: &serde_json::Value, name: &str| match line[name].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => from_base64(line[format!("{name}_base64")].as_str().unwrap()),
    };
    keys.iter()
        .map(|line| (bytes(line, "key"), (line["revision"].as_u64().unwrap(), bytes(line, "value"))))
        .collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        (word, bits) = (word << 6 | u32::from(value), bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 255).unwrap());
        }
    }
    bytes
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        "\\PC{1,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 4_096),
    ]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        4 => ".{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 5_000..20_000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_dumped_is_what_was_loaded(keys in prop::collection::btree_map(any_key(), any_value(), 0..60)) {
        let here = tempfile::tempdir().unwrap();
        let (one, two) = (here.path().join("one"), here.path().join("two"));
        conure_fed(&["load", text(&one)], written_by_hand(&keys).as_bytes()).good();
        let first = conure(&["dump", text(&one)]).good();
        let wanted: BTreeMap<_, _> =
            (1..).zip(&keys).map(|(number, (key, value))| (key.clone(), (number, value.clone()))).collect();
        prop_assert_eq!(read_by_hand(&first), wanted);
        conure_fed(&["load", text(&two)], &first).good();
        let second = conure(&["dump", text(&two)]).good();
        prop_assert_eq!(behind_header(&second), behind_header(&first));
        conure(&["check", text(&two)]).good();
    }
}

/// The dump that docs/operations.md shows.
#[test]
fn the_documented_dump_loads_as_it_stands() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("data");
    conure_fed(&["load", text(&dir)], shown.as_bytes()).good();
    let dump = conure(&["dump", text(&dir)]).good();
    assert_eq!(behind_header(&dump), behind_header(shown.as_bytes()));
    let changed = shown.replacen("blue", "grey", 1);
    let other = here.path().join("other");
    conure_fed(&["load", text(&other)], changed.as_bytes()).refused(2, &["line 4", "checksum"]);
    let without: String = changed
        .lines()
        .map(|line| line.split(",\"crc32c\"").next().unwrap())
        .fold(String::new(), |dump, line| dump + line + if line.ends_with('}') { "\n" } else { "}\n" });
    conure_fed(&["load", text(&other)], without.as_bytes()).good();
    let dump = String::from_utf8(conure(&["dump", text(&other)]).good()).unwrap();
    assert!(dump.contains(r#"{"key":"colour","revision":7,"value":"grey"}"#), "{dump}");
}

#[tokio::test]
async fn a_dump_of_a_member_loads_into_one_that_goes_on_above_it() {
    let node = stopped_with(30).await;
    let before = contents(&node.directory);
    let dump = conure(&["dump", text(&node.directory)]).good();
    assert_eq!(contents(&node.directory), before, "dumping changed the directory");
    let keys = read_by_hand(&dump);
    assert_eq!(keys.len(), 30);

    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("data");
    conure_fed(&["load", "--node-id=other", text(&dir)], &dump).good();
    let mut loaded = Node::over("other", &dir, &[]);
    loaded.restart().await;
    loaded.until_ready().await;
    for (key, (revision, value)) in keys {
        let found = loaded.client().get(&key).await.unwrap().unwrap();
        assert_eq!((found.revision, found.bytes.to_vec()), (revision, value));
    }
    assert!(loaded.client().put(b"new", "1").await.unwrap().revision > 1 << 32);
    conure(&["dump", text(&dir)]).refused(2, &["in use"]);
    conure_fed(&["load", text(&dir)], &dump).refused(2, &["in use"]);
}

#[tokio::test]
async fn a_dump_that_was_cut_or_changed_is_refused_by_line() {
    let node = stopped_with(5).await;
    let dump = String::from_utf8(conure(&["dump", text(&node.directory)]).good()).unwrap();
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("data");
    let lines: Vec<&str> = dump.lines().collect();
    let with = |lines: &[&str]| lines.join("\n") + "\n";
    let doubled = with(&[lines[0], lines[1], lines[1], lines[6]]);
    let without_one = with(&[&lines[..2], &lines[3..]].concat());
    let later = dump.replacen("\"revision\":1,", "\"revision\":9999,", 1);
    for (bad, named) in [
        (String::new(), "line 1 of the dump: it does not begin as a dump"),
        ("hello\n".to_owned(), "line 1 of the dump"),
        (dump.replacen("dump\":1", "dump\":2", 1), "line 1 of the dump: it has format version 2"),
        (
            dump.replacen("\"incarnation\":1", "\"incarnation\":0", 1),
            "line 1 of the dump: its checksum is wrong",
        ),
        (with(&lines[..3]), "line 4 of the dump: the dump is cut off before it"),
        (dump[..dump.len() - 1].to_owned(), "line 7 of the dump: the dump is cut off in it"),
        (dump.replacen("key/003", "key/003x", 1), "line 7 of the dump: its checksum"),
        (without_one, "line 6 of the dump: 4 keys came and 5 should have"),
        (doubled, "line 3 of the dump: its key is not above"),
        (later, "its revision is 9999"),
        (dump.clone() + "{}\n", "line 8 of the dump: something follows"),
        (dump.replacen("\"value\"", "\"valeu\"", 1), "line 2 of the dump: it is not a line"),
    ] {
        conure_fed(&["load", text(&dir)], bad.as_bytes()).refused(2, &[named, "; "]);
        assert!(!dir.join("identity").exists() && !dir.join("tree.db").exists(), "{named}: something stayed");
    }
    conure_fed(&["load", text(&dir)], dump.as_bytes()).good();
    conure_fed(&["load", text(&dir)], dump.as_bytes()).refused(2, &["belongs to a member already"]);
}

fn dump(dir: &Path, flags: &[&str]) -> Ended {
    conure(&[&["dump", text(dir)], flags].concat())
}

#[tokio::test]
async fn changes_that_only_the_log_holds_are_not_left_out_in_silence() {
    let mut node = Node::ready("node1", &[]).await;
    node.client().put(b"a", "1").await.unwrap();
    node.stop().await;
    node.restart().await;
    node.until_ready().await;
    node.client().put(b"b", "2").await.unwrap();
    node.kill();
    let before = contents(&node.directory);
    dump(&node.directory, &[]).refused(2, &["1 changes in its log", "SIGTERM", "--ignore-log"]);
    let part = dump(&node.directory, &["--ignore-log"]).good();
    assert_eq!(read_by_hand(&part).into_keys().collect::<Vec<_>>(), [b"a"]);
    conure(&["check", text(&node.directory)]).good();
    assert_eq!(contents(&node.directory), before, "looking changed what a crash left");
    node.restart().await;
    node.until_ready().await;
    node.stop().await;
    assert_eq!(read_by_hand(&dump(&node.directory, &[]).good()).len(), 2);
}
