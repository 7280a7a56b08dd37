//! A timer of the system's that is a descriptor: readable once it has rung.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Readable, and so waited for like a socket, once it has rung.
#[derive(Debug)]
pub struct SystemTimer(OwnedFd);

impl SystemTimer {
    /// One that is not set.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<SystemTimer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(SystemTimer(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// It rings at this time, at once if that has passed, and at no other. It is not readable until then.
    pub fn set(&self, at: Instant) {
        let wait = at.saturating_duration_since(Instant::now());
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().max(u32::from(wait.is_zero())).into(), // 0 would stop it
        };
        let spec = Itimerspec { it_interval: Timespec::default(), it_value };
        let set = timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec);
        debug_assert!(set.is_ok(), "a timer and a valid time: {set:?}");
    }

    /// It has rung, and is not readable any more.
    ///
    /// # Errors
    /// It has not ([`WouldBlock`](io::ErrorKind::WouldBlock)).
    pub(super) fn take(&self) -> io::Result<()> {
        rustix::io::read(&self.0, &mut [0; 8])?;
        Ok(())
    }
}

impl AsFd for SystemTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
