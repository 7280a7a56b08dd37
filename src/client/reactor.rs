//! The one thread that drives all sockets and timers of the process.
//!
//! It is called `mqtt-reactor` and is started at first use. Signals are blocked in it and in the helper threads that it
//! starts itself (async-io's, the ones that resolve names), so that a signal always reaches the program's own threads.

use std::future::{Future, pending};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use parking_lot::Mutex;
use smol::{Executor, Task};

use super::shutdown;
use crate::sys;

static EXECUTOR: Executor<'static> = Executor::new();

/// Set once the thread runs.
static RUNNING: AtomicBool = AtomicBool::new(false);

const NAME: &str = "mqtt-reactor";

/// Starts the thread unless it runs.
///
/// # Errors
/// The system refuses another thread.
pub fn start() -> io::Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    if RUNNING.load(Ordering::Acquire) {
        return Ok(());
    }
    let _one_at_a_time = STARTING.lock();
    if RUNNING.load(Ordering::Acquire) {
        return Ok(());
    }
    sys::install(shutdown::at_exit);
    let (ready, is_ready) = mpsc::channel();
    sys::with_signals_blocked(|| {
        thread::Builder::new().name(NAME.into()).spawn(move || {
            // async-io starts its helper thread at first use: that has to happen here, where signals are blocked.
            smol::block_on(async {
                smol::Timer::after(Duration::ZERO).await;
            });
            let _ = ready.send(());
            smol::block_on(EXECUTOR.run(pending::<()>()));
        })
    })?;
    is_ready.recv().map_err(|_| io::Error::other("the network thread ended"))?;
    RUNNING.store(true, Ordering::Release);
    Ok(())
}

/// Runs `future` on the reactor's thread. It is cancelled when the task is dropped; [`Task::detach`] prevents that.
///
/// Starts the thread if need be; where that fails the future is never polled (see [`start`]).
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    if let Err(error) = start() {
        tracing::error!(target: "mqtt", "cannot start the network thread: {error}");
    }
    EXECUTOR.spawn(future)
}

/// Waits until everything that is ready to run now has been polled once. Does not wait on the reactor's own thread.
pub fn settle() {
    if RUNNING.load(Ordering::Acquire) && thread::current().name() != Some(NAME) {
        // Ready tasks stand in one queue, oldest first.
        block_on(EXECUTOR.spawn(async {}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_on_the_thread_and_a_panic_in_it_does_not_end_the_thread() {
        let name = spawn(async { thread::current().name().map(String::from) });
        assert_eq!(block_on(name).as_deref(), Some(NAME));
        spawn(async { panic!("a test's panic, not an error") }).detach();
        assert_eq!(block_on(spawn(async { 7 })), 7);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_signal_is_handled_on_the_thread() {
        let status = spawn(async { std::fs::read_to_string("/proc/thread-self/status") });
        let status = block_on(status).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGUSR1] {
            assert!(blocked & (1 << (signal - 1)) != 0, "signal {signal}");
        }
    }
}
