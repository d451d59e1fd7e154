//! What the process ends with where a page of a map cannot be read: the disk failed under it, or the file was cut.
#![allow(unsafe_code, reason = "signal handlers are unsafe by nature; the argument stands at each block")]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mapped;

/// How long standard error may take the line, in milliseconds: one that nobody reads must not keep the process.
const LINE_PATIENCE_MS: c_int = 1_000;

/// What the process says last, and its exit code.
static LAST: OnceLock<(Box<[u8]>, c_int)> = OnceLock::new();
/// What SIGBUS did before.
static FORMER: OnceLock<libc::sigaction> = OnceLock::new();
/// Whether a thread is ending the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// From now on the process writes `line` to standard error and ends with `code` where a page of a [`Map`](crate::Map)
/// cannot be read. SIGBUS of any other cause does what it did. To be called once in a process: what is said later counts for
/// nothing.
///
/// # Errors
///
/// The system refuses the handler.
pub fn end_on_unreadable_map(line: &str, code: u8) -> io::Result<()> {
    if LAST.set((format!("{line}\n").into_bytes().into_boxed_slice(), code.into())).is_err() {
        return Ok(());
    }
    let mut former = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both structures are whole: all zeros is a valid `sigaction`, with an empty mask, and the kernel fills `former`
    // where it answers 0. The handler has the signature that SA_SIGINFO asks for, and what it does may be done in one: see there.
    let former = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_sigbus as *const () as libc::sighandler_t;
        // On the alternative stack where a thread has one: what the former handler does may need it.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &action, former.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        former.assume_init()
    };
    // A fault before this line finds none, and ends the process as it would without a handler.
    let _ = FORMER.set(former);
    Ok(())
}

/// Takes no lock and no memory, and calls only what POSIX lists as safe in a handler; atomics are loaded and stored, cells
/// that were set are read.
extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`; that of SIGBUS has an address, which means
    // something only where the kernel sent it (a positive code).
    let (address, sent_by_a_process) = unsafe { ((*info).si_addr().addr(), (*info).si_code <= 0) };
    if !sent_by_a_process
        && mapped::holds(address)
        && let Some((line, code)) = LAST.get()
    {
        end(line, *code);
    }
    // SAFETY: the former action is one that the kernel gave, the default one is all zeros. Back from here the same
    // instruction faults again and meets that action; a signal that a process sent does not come again by itself. It
    // meets the default action, as that of the standard library ends no process for a signal without a fault.
    unsafe {
        let default = MaybeUninit::<libc::sigaction>::zeroed();
        let former = FORMER.get().filter(|_| !sent_by_a_process);
        libc::sigaction(signal, former.map_or(default.as_ptr(), ptr::from_ref), ptr::null_mut());
        if sent_by_a_process {
            libc::raise(signal);
        }
    }
}

/// Says the line, once in a process, and ends it without anything that could wait for another thread.
fn end(line: &[u8], code: c_int) -> ! {
    // SAFETY: `poll`, `write`, `pause` and `_exit` may be called in a handler; the pointers are those of a structure on this
    // stack and of bytes that live as long as the process.
    unsafe {
        if ENDING.swap(true, Ordering::AcqRel) {
            loop {
                libc::pause();
            }
        }
        let mut output = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        if libc::poll(&raw mut output, 1, LINE_PATIENCE_MS) == 1 && output.revents & libc::POLLOUT != 0 {
            // Where it cannot be said, the code tells.
            let _ = libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        }
        libc::_exit(code)
    }
}
