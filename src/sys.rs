//! What std does not offer of the operating system: fork and exit hooks, C's standard output, the signal mask. The only
//! unsafe code outside `lua/hot`; each block says why it is sound.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};
use std::{panic, process, thread};

/// Set in a child of `fork`, where the threads and the state of the locks of its parent are gone.
static FORKED: AtomicBool = AtomicBool::new(false);

/// What [`install`] was given.
static AT_EXIT: OnceLock<fn()> = OnceLock::new();

/// Whether this process is a child that `fork` made after [`install`]: everything that needs the reactor's thread or a lock
/// is unusable in it.
#[inline]
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Done when [`install`] was called.
static INSTALLED: Once = Once::new();

/// Whether [`forked`] works.
pub fn is_installed() -> bool {
    INSTALLED.is_completed()
}

/// Makes [`forked`] work and has `at_exit` called when the process ends by `exit` or a return from `main`, but never in a
/// forked child. Only the first call does anything.
pub fn install(at_exit: fn()) {
    INSTALLED.call_once(|| {
        let _ = AT_EXIT.set(at_exit);
        // SAFETY: both handlers are functions that live as long as the process (the library is linked with
        // `-z nodelete`, so it stays mapped after a dlclose), unwind nowhere, and the child's only stores to an atomic,
        // which is safe between fork and exec. A failure (no memory) leaves the hook out, nothing else.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
            libc::atexit(run_at_exit);
        }
    });
}

extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

extern "C" fn run_at_exit() {
    if forked() {
        return;
    }
    if let Some(at_exit) = AT_EXIT.get() {
        // A panic must not leave a function that C calls; at this point nobody is left to tell.
        let _ = panic::catch_unwind(at_exit);
    }
}

unsafe extern "C" {
    /// C's standard output, which Lua writes to.
    static mut stdout: *mut libc::FILE;
    fn ftrylockfile(file: *mut libc::FILE) -> libc::c_int;
}

/// Ends the process the way C's `exit` does, while another thread may be writing to C's standard output: `exit` pays no
/// regard to that, and would write the same bytes again. A thread that does not get on with writing is not waited for: then
/// nothing more is written, but what [`install`] was given is done all the same.
pub fn exit_beside_a_writer(status: i32) -> ! {
    const LIMIT: Duration = Duration::from_millis(500);
    const LOOK: Duration = Duration::from_micros(100);
    let deadline = Instant::now() + LIMIT;
    // SAFETY: the C library has made `stdout` before `main`, and nobody closes a file of its; the lock may be asked for at
    // any time. It is kept: from here on nobody writes but `exit`.
    while unsafe { ftrylockfile(stdout) } != 0 {
        if Instant::now() >= deadline {
            run_at_exit();
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) };
        }
        thread::sleep(LOOK);
    }
    process::exit(status)
}

/// Runs `f` with every signal blocked, so that threads that it starts never handle one: a signal belongs to the program
/// that we are a guest in, and Ctrl-C must interrupt its thread.
pub fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the mask is one that pthread_sigmask itself has written.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initializes `all`; pthread_sigmask reads it and, with valid arguments, cannot fail and
    // initializes `old`.
    let _restore = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        Restore(old.assume_init())
    };
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether this thread blocks SIGINT.
    fn blocks_interrupts() -> bool {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: without a new mask this only writes the current one to `mask`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), libc::SIGINT) == 1
        }
    }

    #[test]
    fn a_thread_started_with_signals_blocked_keeps_them_blocked() {
        let thread = with_signals_blocked(|| {
            assert!(blocks_interrupts());
            std::thread::spawn(blocks_interrupts)
        });
        assert!(!blocks_interrupts(), "restored");
        assert!(thread.join().unwrap());
    }
}
