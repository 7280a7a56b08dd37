//! The one thread that drives the sockets and timers of the process, but for what a caller does itself ([`here`]).
//!
//! It is called `mqtt-reactor` and is started at first use. Signals are blocked in it and in the helper threads that it
//! starts itself (async-io's, the ones that resolve names), so that a signal always reaches the program's own threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use async_task::{Builder, Runnable};
use futures_lite::future::{block_on, yield_now};
use parking_lot::Mutex;
use smol::Task;
use smol::channel::{Receiver, Sender, unbounded};

use super::{clock, shutdown};
use crate::sys;

/// Tasks that something has happened for, oldest first.
static READY: LazyLock<(Sender<Runnable>, Receiver<Runnable>)> = LazyLock::new(unbounded);

/// After so many tasks the thread looks at its sockets, even if there are more.
const ROUND: usize = 200;

/// So many tasks at most run in one call of [`here`]; one does as a rule.
const HERE_AT_MOST: usize = 8;

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { is_open: false, tasks: VecDeque::new() }) };
    /// This is the reactor's thread.
    static IS_REACTOR: Cell<bool> = const { Cell::new(false) };
}

/// What [`here`] does on a thread.
struct Here {
    /// It is at work.
    is_open: bool,
    /// What it is to run; empty unless it is at work, but for its memory.
    tasks: VecDeque<Runnable>,
}

/// Set once the thread runs.
static RUNNING: AtomicBool = AtomicBool::new(false);

const NAME: &str = "mqtt-reactor";

/// Starts the thread unless it runs.
///
/// # Errors
/// The system refuses another thread, or there is no descriptor left.
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
            IS_REACTOR.set(true);
            // With this async-io starts its helper thread: that has to happen here, where signals are blocked.
            let outcome = clock::make_timer();
            let is_started = outcome.is_ok();
            let _ = ready.send(outcome);
            if is_started {
                let (runnable, task) = async_task::spawn(clock::keep_time(), pass);
                runnable.schedule();
                task.detach();
                smol::block_on(run());
            }
        })
    })?;
    is_ready.recv().map_err(|_| io::Error::other("the network thread ended"))??;
    RUNNING.store(true, Ordering::Release);
    Ok(())
}

/// Runs `future` on the reactor's thread, or begins with it in [`here`]. It is cancelled when the task is dropped;
/// [`Task::detach`] prevents that.
///
/// Starts the thread if need be; where that fails the future is never polled (see [`start`]).
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    if let Err(error) = start() {
        tracing::error!(target: "mqtt", "cannot start the network thread: {error}");
    }
    add(future)
}

/// Calls `f` and runs what that makes ready on this thread: for a caller that will wait for the outcome, waking another
/// thread for it takes longer than all that has to be done. What stays to be waited for is the reactor's again, and so is
/// a task that yields. On the reactor's own thread, inside another task, it only calls `f`.
pub fn here<R>(f: impl FnOnce() -> R) -> R {
    /// What is left is the reactor's, also after a panic.
    struct Rest;

    impl Drop for Rest {
        fn drop(&mut self) {
            local(|here| here.is_open = false);
            while let Some(task) = next() {
                pass(task);
            }
        }
    }

    fn next() -> Option<Runnable> {
        local(|here| here.tasks.pop_front()).flatten()
    }

    let begin = |here: &mut Here| !IS_REACTOR.get() && !std::mem::replace(&mut here.is_open, true);
    let Some(_rest) = local(begin).unwrap_or_default().then_some(Rest) else { return f() };
    let result = f();
    for _ in 0..HERE_AT_MOST {
        let Some(task) = next() else { break };
        if task.run() {
            local(|here| here.tasks.pop_back()).flatten().into_iter().for_each(pass);
        }
    }
    result
}

/// Whether this is not the reactor's thread but one that is in [`here`].
pub fn is_elsewhere() -> bool {
    local(|here| here.is_open).unwrap_or_default()
}

/// None when the thread ends.
fn local<R>(f: impl FnOnce(&mut Here) -> R) -> Option<R> {
    HERE.try_with(|here| f(&mut here.borrow_mut())).ok()
}

fn add<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let (runnable, task) = Builder::new().propagate_panic(true).spawn(|()| future, schedule);
    runnable.schedule();
    task
}

fn schedule(task: Runnable) {
    let mut task = Some(task);
    local(|here| here.is_open.then(|| here.tasks.extend(task.take())));
    task.into_iter().for_each(pass);
}

/// Has the thread run a task.
fn pass(task: Runnable) {
    let _ = READY.0.try_send(task); // the channel has no bound and is never closed
}

async fn run() {
    loop {
        for _ in 0..ROUND {
            if let Ok(task) = READY.1.recv().await {
                task.run();
            }
        }
        yield_now().await;
    }
}

/// Waits until everything that is ready to run now has been polled once. Does not wait on the reactor's own thread.
pub fn settle() {
    if RUNNING.load(Ordering::Acquire) && !IS_REACTOR.get() {
        // Ready tasks stand in one queue, oldest first.
        block_on(add(async {}));
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

    #[test]
    fn what_a_call_makes_ready_runs_at_once_on_its_own_thread_and_goes_on_elsewhere_after_a_wait() {
        let (tell, told) = unbounded();
        let name = || thread::current().name().map(String::from);
        let task = here(|| {
            spawn(async move {
                let mut names = vec![name()];
                yield_now().await;
                names.push(name());
                told.recv().await.unwrap();
                names.push(name());
                names
            })
        });
        let caller = name();
        tell.try_send(()).unwrap();
        let names = block_on(task);
        assert_ne!(caller.as_deref(), Some(NAME));
        assert_eq!(names, [caller, Some(NAME.into()), Some(NAME.into())]);
    }

    #[test]
    fn what_a_call_has_made_ready_is_not_lost_when_it_panics() {
        let done = std::sync::Mutex::new(None);
        let outcome = std::panic::catch_unwind(|| {
            here(|| {
                *done.lock().unwrap() = Some(spawn(async { 7 }));
                panic!("a test's panic, not an error");
            })
        });
        assert!(outcome.is_err() && !is_elsewhere());
        assert_eq!(block_on(done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).unwrap()), 7);
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
