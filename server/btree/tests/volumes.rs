//! Real volumes that are full or cannot be written to: needs root, to mount them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use conure_btree::{Db, Durability, Error, Options};
use conure_io::{Disk, RealDisk};
use conure_proof::NAME;
use conure_proof::model::{Entries, assert_clean, contents};

const VOLUME_BYTES: u64 = 8 << 20;

/// A small volume, gone with its owner.
struct Volume {
    folder: tempfile::TempDir,
    mounted: PathBuf,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}; this test needs root");
}

impl Volume {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = folder.path().join("volume");
        fs::create_dir(&mounted).unwrap();
        Self { folder, mounted }
    }

    fn tmpfs() -> Self {
        let volume = Self::new();
        let size = format!("size={VOLUME_BYTES}");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", volume.mounted.to_str().unwrap()]);
        volume
    }

    /// ext4 in a file, over a loop device.
    fn ext4() -> Self {
        let volume = Self::new();
        let image = volume.folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(VOLUME_BYTES).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "1024", image]);
        run("mount", &["-o", "loop", image, volume.mounted.to_str().unwrap()]);
        volume
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(RealDisk::new(&self.mounted).unwrap())
    }

    fn open(&self) -> Result<Db, Error> {
        let mut options = Options::default();
        options.growth_bytes_min = 64 * 1024;
        Db::open(self.disk(), NAME, options)
    }

    fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}"), self.mounted.to_str().unwrap()]);
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Where it is still in use, it goes when it no longer is.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).output();
    }
}

/// Fills a file until there is no room left.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for block in [64 << 10, 1 << 10] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }
    let _ = file.sync_all();
}

fn put(db: &Db, number: u32) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    txn.tree("t")?.put(&number.to_be_bytes(), &vec![7; 900 + number as usize % 9 * 700])?;
    txn.commit(Durability::Durable)
}

fn full_volume(volume: &Volume) {
    let db = volume.open().unwrap();
    put(&db, 0).unwrap();
    let ballast = volume.mounted.join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let snapshot = db.begin_read().unwrap();
    let mut model = Entries::new();
    model.insert(0_u32.to_be_bytes().to_vec(), vec![7; 900]);
    let error = loop {
        let number = u32::try_from(model.len()).unwrap();
        match put(&db, number) {
            Ok(()) => {
                drop(model.insert(number.to_be_bytes().to_vec(), vec![7; 900 + number as usize % 9 * 700]))
            }
            Err(error) => break error,
        }
        assert!(number < 20_000, "the volume never filled");
    };
    let told = matches!(&error, Error::NoSpace { source, .. } if source.kind() == ErrorKind::StorageFull);
    assert!(told, "{error}");
    assert!(error.to_string().contains("No space left"), "it says why: {error}");
    assert_eq!(contents(&snapshot).unwrap()["t"].len(), 1, "a snapshot that was open goes on");
    drop(snapshot);
    let now = || contents(&db.begin_read().unwrap()).unwrap().remove("t").unwrap();
    assert!(now() == model, "what was refused left a trace");
    assert_clean(&db);
    // Deletes go on where there is no room at all.
    fill(&volume.mounted.join("more"));
    for number in 1..20_u32 {
        let mut txn = db.begin_write().unwrap();
        assert!(txn.tree("t").unwrap().delete(&number.to_be_bytes()).unwrap());
        txn.commit(Durability::Durable).unwrap();
        model.remove(&number.to_be_bytes()[..]);
    }
    assert!(now() == model);
    drop(db);
    // Opened again where there is still no room, it has what was committed.
    let db = volume.open().unwrap();
    let now = || contents(&db.begin_read().unwrap()).unwrap().remove("t").unwrap();
    assert!(now() == model, "a commit is gone");
    fs::remove_file(&ballast).unwrap();
    for number in 100_000..100_200 {
        put(&db, number).unwrap();
    }
    assert_eq!(now().len(), model.len() + 200);
    assert_clean(&db);
}

#[test]
fn a_full_tmpfs_is_told_and_keeps_what_was_committed() {
    full_volume(&Volume::tmpfs());
}

#[test]
fn a_full_ext4_is_told_and_keeps_what_was_committed() {
    full_volume(&Volume::ext4());
}

#[test]
fn a_volume_with_no_room_at_all_takes_no_database_and_no_harm() {
    let volume = Volume::tmpfs();
    fill(&volume.mounted.join("ballast"));
    let error = volume.open().unwrap_err();
    let told = matches!(&error, Error::Io { source, .. } | Error::NoSpace { source, .. }
        if source.kind() == ErrorKind::StorageFull);
    assert!(told, "{error}");
    fs::remove_file(volume.mounted.join("ballast")).unwrap();
    put(&volume.open().unwrap(), 1).unwrap();
}

#[test]
fn a_read_only_volume_is_refused_and_said_so() {
    let volume = Volume::ext4();
    volume.remount("ro");
    let refused = |error: Error| {
        let told = matches!(&error, Error::ReadOnly { name, source }
            if name == NAME && source.kind() == ErrorKind::ReadOnlyFilesystem);
        assert!(told, "{error}");
        assert!(error.to_string().contains("Read-only file system"), "{error}");
    };
    refused(volume.open().expect_err("a database was made on a read-only volume"));
    volume.remount("rw");
    put(&volume.open().unwrap(), 1).unwrap();
    volume.remount("ro");
    refused(volume.open().expect_err("a database was opened for writing on a read-only volume"));
    volume.remount("rw");
    let db = volume.open().unwrap();
    assert_eq!(contents(&db.begin_read().unwrap()).unwrap()["t"].len(), 1);
    assert_clean(&db);
}
