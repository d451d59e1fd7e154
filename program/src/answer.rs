//! Standard output, where it carries what the user asked for: there a failure to write is a failure.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::{flush, say};

/// The exit code of a command line that makes no sense.
const USAGE: u8 = 2;

/// Standard output, unless the process was started without one: the standard library opens `/dev/null` in its place, which
/// would take everything and keep nothing.
///
/// # Errors
///
/// Where standard output is closed.
pub fn stdout() -> io::Result<io::Stdout> {
    if closed::stdout() {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "it is closed"));
    }
    Ok(io::stdout())
}

/// Writes an answer to standard output, all of it.
///
/// # Errors
///
/// Where standard output does not take it.
pub fn answer(bytes: &[u8]) -> io::Result<()> {
    let mut out = stdout()?.lock();
    out.write_all(bytes)?;
    out.flush()
}

/// How a program ends whose command line was not taken: with help or its version, which are asked for, or with what is
/// wrong. A reader that took enough of the help, such as `head`, is no failure.
#[must_use]
pub fn usage(program: &str, is_error: bool, text: &str) -> ExitCode {
    let code = if is_error {
        say!("{}", text.trim_end());
        ExitCode::from(USAGE)
    } else {
        match answer(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !closed::stdout() => ExitCode::SUCCESS,
            Err(error) => {
                say!("{program}: cannot write to standard output: {error}");
                ExitCode::FAILURE
            }
        }
    };
    flush();
    code
}

#[cfg(target_os = "linux")]
mod closed {
    //! Looks at standard output before the standard library opens `/dev/null` in its place.

    use std::os::fd::BorrowedFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    static CLOSED: AtomicBool = AtomicBool::new(false);

    /// Whether the process was started without standard output.
    pub(super) fn stdout() -> bool {
        CLOSED.load(Ordering::Relaxed)
    }

    extern "C" fn look() {
        #[expect(unsafe_code, reason = "a number is all that there is before `main`")]
        // SAFETY: the descriptor is used for one system call, which answers EBADF where it is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(1) };
        let closed = rustix::io::fcntl_getfd(fd) == Err(rustix::io::Errno::BADF);
        CLOSED.store(closed, Ordering::Relaxed);
    }

    #[expect(unsafe_code, reason = "the standard library has nothing that runs before it opens the streams")]
    // SAFETY: the loader calls every function of this section once, before `main` and on the only thread. `look` makes one
    // system call and stores one atomic; it needs nothing of the standard library.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;
}

#[cfg(not(target_os = "linux"))]
mod closed {
    /// Not known here.
    pub(super) fn stdout() -> bool {
        false
    }
}
