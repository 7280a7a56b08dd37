//! Points in time that take half of an [`Instant`]'s memory: every idle connection has some.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// An [`Instant`], good for 584 years; an optional one is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU64);

/// The first [`Moment`] there is. What is before it has passed, so no clock may stand there.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// This instant.
    pub(super) fn new(at: Instant) -> Moment {
        let since = at.saturating_duration_since(*BEGINNING).as_nanos();
        Moment(NonZeroU64::MIN.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    /// As an instant.
    pub(super) fn instant(self) -> Instant {
        *BEGINNING + Duration::from_nanos(self.0.get() - 1)
    }

    /// Sees to it that clocks which are read from now on show no time before the first moment.
    pub(super) fn begin() {
        LazyLock::force(&BEGINNING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        Moment::begin();
        let now = Instant::now();
        for since in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1 << 33)] {
            assert_eq!(Moment::new(now + since).instant(), now + since);
        }
        assert!(Moment::new(now) < Moment::new(now + Duration::from_nanos(1)));
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }

    #[test]
    fn what_is_out_of_reach_is_the_first_moment_or_the_last() {
        Moment::begin();
        let now = Instant::now();
        let past = now.checked_sub(Duration::from_secs(3600)).unwrap_or(now);
        assert_eq!(Moment::new(past), Moment(NonZeroU64::MIN));
        let far = Moment::new(now + Duration::from_secs(1 << 40));
        assert!(far.instant() - now > Duration::from_secs(500 * 365 * 86400));
        assert_eq!(far, Moment::new(far.instant() + Duration::from_secs(1)));
    }
}
