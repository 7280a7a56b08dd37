//! Everything that can wake Lua, in one queue per Lua state: any thread pushes, the Lua thread takes.
//!
//! An entry only says where to look; the events themselves stay in the client's arena until Lua swaps it out. The
//! descriptor beside the queue is written to only while somebody may be looking at it: Lua waiting in `run`, `poll` or
//! `wait`, or a foreign loop that asked for `fileno()`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::event::EventfdFlags;

use crate::client::Sink;

/// Log and trace lines that wait to be delivered; more are counted and dropped.
const MAX_LINES: usize = 10_000;

/// A reason to look.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The client of this key has events.
    Client(u32),
    /// The earliest deadline among the timers, this one, has passed.
    Timer(Instant),
    /// The lookup of this key has come to its end.
    Resolved {
        /// Its callback's.
        key: u32,
        /// None: there is no such name.
        address: Option<String>,
    },
    /// A line for `mqtt.log`.
    Log {
        /// `error`, `warn` or `info`.
        level: &'static str,
        /// For people.
        text: String,
    },
    /// A line for `mqtt.trace`.
    Trace(String),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct EventQueue(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    entries: VecDeque<Entry>,
    /// Readable while `signalled`.
    fd: Arc<OwnedFd>,
    /// The process that made it.
    process: u32,
    /// How many of the entries are lines, and how many lines found no place.
    lines: usize,
    lost: usize,
    /// Lua waits on the descriptor.
    waiting: bool,
    /// A foreign loop may wait on it at any time.
    exported: bool,
    signalled: bool,
}

impl EventQueue {
    /// An empty queue with its descriptor.
    pub(crate) fn new() -> io::Result<EventQueue> {
        Ok(EventQueue(Mutex::new(Inner {
            entries: VecDeque::new(),
            fd: descriptor()?,
            process: process::id(),
            lines: 0,
            lost: 0,
            waiting: false,
            exported: false,
            signalled: false,
        })))
    }

    /// The descriptor.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        self.0.lock().fd.clone()
    }

    /// To be called before something is made that will push, and before a wait. In a child of a fork that came before that
    /// (after it the child is refused altogether) the descriptor is shared with the parent: the child gets one of its own, and
    /// what else it is to wait with is made of that by `make`.
    pub(crate) fn own_descriptors(
        &self,
        make: impl FnOnce(&Arc<OwnedFd>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut inner = self.0.lock();
        if inner.process != process::id() {
            let fd = descriptor()?;
            make(&fd)?;
            inner.fd = fd;
            inner.process = process::id();
            (inner.exported, inner.signalled) = (false, false);
        }
        Ok(())
    }

    /// Appends an entry and wakes whoever waits.
    pub(crate) fn push(&self, entry: Entry) {
        let mut inner = self.0.lock();
        if matches!(entry, Entry::Log { .. } | Entry::Trace(_)) {
            if inner.lines == MAX_LINES {
                inner.lost += 1;
                return;
            }
            inner.lines += 1;
        }
        inner.entries.push_back(entry);
        if (inner.waiting || inner.exported) && !inner.signalled {
            inner.signal();
        }
    }

    /// Takes the oldest entry.
    pub(crate) fn pop(&self) -> Option<Entry> {
        let mut inner = self.0.lock();
        if inner.lines == 0 && inner.lost > 0 {
            let text =
                format!("{} lines were dropped: nothing ran the loop", std::mem::take(&mut inner.lost));
            return Some(Entry::Log { level: "warn", text });
        }
        let entry = inner.entries.pop_front()?;
        if matches!(entry, Entry::Log { .. } | Entry::Trace(_)) {
            inner.lines -= 1;
        }
        Some(entry)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        let inner = self.0.lock();
        inner.entries.len() + usize::from(inner.lost > 0)
    }

    /// The descriptor, from now on readable while anything is pending: `pending` says whether Lua itself still holds
    /// something that it took from here.
    pub(crate) fn export(&self, pending: bool) -> RawFd {
        let mut inner = self.0.lock();
        if !inner.exported {
            inner.exported = true;
            if (pending || !inner.entries.is_empty()) && !inner.signalled {
                inner.signal();
            }
        }
        inner.fd.as_raw_fd()
    }

    /// Lua has done all that was pending: unless more came meanwhile, the descriptor is no longer readable. When an
    /// error leaves the loop this is not called, so the descriptor stays readable and the loop is entered again.
    pub(crate) fn settle(&self) {
        let mut inner = self.0.lock();
        if inner.signalled && inner.entries.is_empty() {
            inner.unsignal();
        }
    }

    /// Lua holds something that it took from the queue and leaves the loop: a foreign loop has to come back.
    pub(crate) fn unsettle(&self) {
        let mut inner = self.0.lock();
        if inner.exported && !inner.signalled {
            inner.signal();
        }
    }

    /// Whether there are no entries; then from now on the descriptor is readable as soon as there are, up to
    /// [`end_wait`](Self::end_wait).
    pub(crate) fn begin_wait(&self) -> bool {
        let mut inner = self.0.lock();
        if !inner.entries.is_empty() || inner.lost > 0 {
            return false;
        }
        if inner.signalled {
            inner.unsignal();
        }
        inner.waiting = true;
        true
    }

    /// Ends what [`begin_wait`](Self::begin_wait) began; whether there are still no entries.
    pub(crate) fn end_wait(&self) -> bool {
        let mut inner = self.0.lock();
        inner.waiting = false;
        inner.entries.is_empty()
    }
}

impl Inner {
    fn signal(&mut self) {
        // cannot fail: the counter is 0 before
        let written = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
        debug_assert_eq!(written, Ok(8));
        self.signalled = true;
    }

    fn unsignal(&mut self) {
        let mut counter = [0; 8];
        let read = rustix::io::read(&*self.fd, &mut counter);
        debug_assert_eq!(read, Ok(8));
        self.signalled = false;
    }
}

fn descriptor() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

impl Sink for EventQueue {
    fn ready(&self, key: u32) {
        self.push(Entry::Client(key));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec};

    use super::*;

    fn readable(number: RawFd, queue: &EventQueue) -> bool {
        let fd = queue.0.lock().fd.clone();
        assert_eq!(number, fd.as_raw_fd());
        let mut fds = [PollFd::from_borrowed_fd((*fd).as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    #[test]
    fn an_exported_descriptor_is_readable_exactly_while_something_is_pending() {
        let queue = EventQueue::new().expect("a descriptor");
        queue.push(Entry::Timer(Instant::now()));
        let fd = queue.export(false);
        assert!(readable(fd, &queue), "what was there before");
        assert!(queue.pop().is_some());
        queue.settle();
        assert!(!readable(fd, &queue));
        queue.push(Entry::Client(1));
        queue.push(Entry::Client(2));
        assert!(readable(fd, &queue));
        assert!(queue.pop().is_some());
        queue.settle();
        assert!(readable(fd, &queue), "one is left");
        assert!(queue.pop().is_some());
        queue.settle();
        assert!(!readable(fd, &queue));
        queue.unsettle();
        assert!(readable(fd, &queue));
    }

    #[test]
    fn the_descriptor_is_only_written_to_while_somebody_waits() {
        let queue = EventQueue::new().expect("a descriptor");
        let fd = queue.descriptor().as_raw_fd();
        queue.push(Entry::Client(1));
        assert!(!readable(fd, &queue));
        assert!(!queue.begin_wait(), "there is an entry");
        assert!(queue.pop().is_some());
        for _ in 0..2 {
            assert!(queue.begin_wait());
            assert!(!readable(fd, &queue));
            std::thread::scope(|scope| {
                scope.spawn(|| queue.push(Entry::Client(7)));
            });
            assert!(readable(fd, &queue));
            assert!(!queue.end_wait());
            queue.push(Entry::Client(8));
            assert!(matches!(queue.pop(), Some(Entry::Client(7))));
            assert!(matches!(queue.pop(), Some(Entry::Client(8))));
        }
        assert!(queue.begin_wait());
        assert!(!readable(fd, &queue), "what is left of the wait before does not end this one");
        assert!(queue.end_wait());
        queue.push(Entry::Client(9));
        assert!(!readable(fd, &queue));
    }

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let queue = EventQueue::new().expect("a descriptor");
        for _ in 0..MAX_LINES + 3 {
            queue.push(Entry::Trace(String::new()));
        }
        for _ in 0..MAX_LINES {
            assert!(matches!(queue.pop(), Some(Entry::Trace(_))));
        }
        let Some(Entry::Log { text, .. }) = queue.pop() else { panic!("no word of the loss") };
        assert!(text.starts_with("3 lines"), "{text}");
        assert!(queue.pop().is_none());
    }
}
