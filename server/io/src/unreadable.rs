//! A disk that cannot read back what was written to it.

use std::io;

use rustix::io::Errno;

/// What was written is on the disk and the disk cannot read it any more (`EIO`): the data is damaged, whatever else works. The
/// errors of reads carry it.
#[derive(Debug, thiserror::Error)]
#[error("the disk cannot read it: {0}")]
pub struct Unreadable(#[source] io::Error);

impl Unreadable {
    /// Whether `error` is one of these.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }

    /// The error of a read, as callers are told it.
    pub(crate) fn of_read(error: io::Error) -> io::Error {
        if error.raw_os_error() == Some(Errno::IO.raw_os_error()) {
            return io::Error::new(error.kind(), Self(error));
        }
        error
    }
}
