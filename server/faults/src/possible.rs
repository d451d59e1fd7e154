//! Which faults this machine can make.

use std::path::{Path, PathBuf};

use crate::disk::Volume;
use crate::faults::{Fault, Lane};
use crate::network;

/// Where Debian's package libfaketime has its library.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The library that makes clocks jump, where it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    FAKETIME.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned)
}

/// Leaves out what cannot be made here, and says why, one line each.
pub(crate) fn sift(asked: Vec<Fault>, members: usize) -> (Vec<Fault>, Vec<String>) {
    let deaf = network::may_partition().is_ok();
    let mounts = Volume::may_mount();
    let jumps = faketime().is_some();
    let mut left_out = Vec::new();
    let why_not = |fault: Fault| match fault {
        _ if fault.lane() == Lane::Network && !deaf => Some("nft does not work (Debian package nftables)"),
        Fault::PowerLoss
        | Fault::FullDisk
        | Fault::RolledBackVolume
        | Fault::Eio
        | Fault::FailingFsync
        | Fault::CopiedDirectory
            if !mounts =>
        {
            Some("/dev/fuse cannot be opened (it takes root)")
        }
        Fault::Clock if !jumps => Some("the library is missing (Debian package libfaketime)"),
        _ if fault.lane() == Lane::Network && members < 2 => Some("it takes two members"),
        Fault::Rejoin | Fault::Wipe | Fault::Snapshot | Fault::RolledBackVolume | Fault::Eio
            if members < 3 =>
        {
            Some("it takes three members")
        }
        // A copy of the only voter is a quorum of its own.
        Fault::CopiedDirectory | Fault::ChangedAddresses if members < 2 => Some("it takes two members"),
        _ => None,
    };
    let kept = asked.into_iter().filter(|fault| {
        why_not(*fault).is_none_or(|why| {
            left_out.push(format!("left out: {fault}: {why}"));
            false
        })
    });
    (kept.collect(), left_out)
}
