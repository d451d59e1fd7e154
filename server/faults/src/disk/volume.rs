//! A member's volume: a mounted [`Device`], or a plain folder where the kernel lets nobody mount one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use fuser::{BackgroundSession, INodeNo, MountOption};

use super::fuse::{Device, Files};
use super::state::{Loss, State};

/// More than any member writes in a run.
const CAPACITY_BYTES: u64 = 8 << 30;

/// What was on a volume at some moment.
#[derive(Debug)]
pub(crate) struct Image(State);

/// See the module.
#[derive(Debug)]
pub(crate) struct Volume {
    at: PathBuf,
    /// None for a plain folder.
    device: Option<Arc<Device>>,
    mount: Option<BackgroundSession>,
    sync: Duration,
}

impl Volume {
    /// A new, empty volume whose syncs take `sync`.
    pub(crate) fn create(at: &Path, sync: Duration) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| at.display().to_string())?;
        let mut volume = Self { at: at.to_owned(), device: None, mount: None, sync };
        volume.replace()?;
        Ok(volume)
    }

    /// Another volume at `at` with what is on this one now; its process has ended.
    pub(crate) fn copy(&self, at: &Path) -> Result<Self> {
        let device = self.device.as_ref().context("only a mounted volume can be copied")?;
        let state = device.state().image();
        let mut copy = Self { at: at.to_owned(), device: None, mount: None, sync: self.sync };
        fs::create_dir_all(at).with_context(|| at.display().to_string())?;
        copy.insert(state)?;
        Ok(copy)
    }

    /// What is on it now; none of a plain folder.
    pub(crate) fn image(&self) -> Option<Image> {
        Some(Image(self.device.as_ref()?.state().image()))
    }

    /// It is as it was again; its process has ended.
    pub(crate) fn put_back(&mut self, image: Image) -> Result<()> {
        self.unmount()?;
        self.insert(image.0)
    }

    /// Nothing is left of it; its process has ended.
    pub(crate) fn remove(&mut self) -> Result<()> {
        self.unmount()?;
        fs::remove_dir_all(&self.at).with_context(|| self.at.display().to_string())
    }

    /// A disk with this on it is mounted.
    fn insert(&mut self, state: State) -> Result<()> {
        self.device = Some(Arc::new(Device::new(state)));
        self.set_sync(self.sync);
        self.mount()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Whether this process may mount volumes, so that more than a wipe can happen to them.
    pub(crate) fn may_mount() -> bool {
        fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
    }

    fn mount(&mut self) -> Result<()> {
        let Some(device) = &self.device else { return Ok(()) };
        let mut config = fuser::Config::default();
        config.mount_options =
            vec![MountOption::FSName("conure-faults".into()), MountOption::NoAtime, MountOption::NoDev];
        let session = fuser::spawn_mount(Files(Arc::clone(device)), &self.at, &config)
            .with_context(|| format!("cannot mount a volume at {}", self.at.display()))?;
        self.mount = Some(session);
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        let Some(session) = self.mount.take() else { return Ok(()) };
        session.umount_and_join().with_context(|| format!("cannot unmount {}", self.at.display()))
    }

    /// The power fails: from now on nothing becomes durable. [`Self::lose_power`] follows.
    pub(crate) fn cut_power(&self) {
        if let Some(device) = &self.device {
            device.off.store(true, Ordering::SeqCst);
        }
    }

    /// What the power loss left is all that there is; its process has ended.
    pub(crate) fn lose_power(&mut self, loss: Loss) -> Result<()> {
        self.unmount()?;
        if let Some(device) = &self.device {
            device.state().lose_power(loss);
            device.off.store(false, Ordering::SeqCst);
        }
        self.mount()
    }

    /// Another, empty volume takes its place; its process has ended.
    pub(crate) fn replace(&mut self) -> Result<()> {
        self.unmount()?;
        if Self::may_mount() {
            return self.insert(State::new(CAPACITY_BYTES));
        }
        fs::remove_dir_all(&self.at)?;
        Ok(fs::create_dir(&self.at)?)
    }

    /// From now on no new page can be had, or as many as ever.
    pub(crate) fn set_full(&self, full: bool) {
        let Some(device) = &self.device else { return };
        let mut state = device.state();
        let used_bytes = state.used() * super::PAGE_BYTES as u64;
        state.set_capacity(if full { used_bytes } else { CAPACITY_BYTES });
    }

    /// From now on syncs fail, or work again.
    pub(crate) fn set_broken(&self, broken: bool) {
        if let Some(device) = &self.device {
            device.broken.store(broken, Ordering::Relaxed);
        }
    }

    /// From now on one of its files cannot be read, and what the kernel remembers of it is forgotten; false where there is none.
    pub(crate) fn set_unreadable(&self, rng: &mut fastrand::Rng) -> Result<bool> {
        let (Some(device), Some(mount)) = (&self.device, &self.mount) else { return Ok(false) };
        let files = device.state().files();
        let Some(file) = rng.choice(files) else { return Ok(false) };
        device.unreadable.store(file, Ordering::Relaxed);
        match mount.notifier().inval_inode(INodeNo(file), 0, 0) {
            // The kernel knows nothing of it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// Every file can be read again.
    pub(crate) fn set_readable(&self) {
        if let Some(device) = &self.device {
            device.unreadable.store(0, Ordering::Relaxed);
        }
    }

    fn set_sync(&self, sync: Duration) {
        if let Some(device) = &self.device {
            device.sync_us.store(u64::try_from(sync.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}
