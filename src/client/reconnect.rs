//! When to try again, and where: pure policy, without a clock or a random source of its own.
//!
//! ```text
//!   attempt ─► wait min ─► attempt ─► wait 2·min ─► … ─► wait max ─► attempt ─► wait max ─► …       one profile
//!                                                                       └──► wait min' ─► attempt    with the next one
//!   └─────────────────── one profile ───────────────────────────────────┘    └── the next one ──…      and round again
//! ```

use std::time::Duration;

use super::options::Policy;

/// The state of a [`Policy`] between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// Of each profile; at least one.
    policies: Vec<Policy>,
    /// Which profile the next attempt uses; an index into `policies`.
    profile: usize,
    /// The next wait, before jitter.
    next: Duration,
    /// The last wait was the longest one.
    at_max: bool,
}

impl Backoff {
    /// At the first of the profiles that have these policies, the next wait being the shortest.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Backoff {
        let mut policies: Vec<_> = policies.into_iter().collect();
        if policies.is_empty() {
            policies.push(Policy::default());
        }
        Backoff { next: policies[0].min, policies, profile: 0, at_max: false }
    }

    /// Which profile the next attempt uses.
    pub fn profile(&self) -> usize {
        self.profile
    }

    /// The connection was good for something: waits start over.
    pub fn progressed(&mut self) {
        self.next = self.policies[self.profile].min;
        self.at_max = false;
    }

    /// An attempt failed or a connection was lost: how long to wait before the next attempt. `random` is drawn from
    /// -1 to 1. May change [`profile`](Backoff::profile).
    pub fn wait(&mut self, random: f64) -> Duration {
        if self.at_max && self.policies.len() > 1 {
            self.profile = (self.profile + 1) % self.policies.len();
            self.progressed();
        }
        let Policy { max, factor, jitter, .. } = self.policies[self.profile];
        let wait = self.next.min(max);
        self.at_max = wait >= max;
        self.next = scaled(wait, factor.max(1.0)).min(max);
        scaled(wait, 1.0 + random.clamp(-1.0, 1.0) * jitter.clamp(0.0, 1.0))
    }
}

/// Leaves it as it is where that makes no duration: `Duration::mul_f64` would panic on overflow and NaN.
fn scaled(duration: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * by).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &mut Backoff, n: usize) -> Vec<f64> {
        (0..n).map(|_| backoff.wait(0.0).as_secs_f64()).collect()
    }

    fn policy(min: f64, max: f64) -> Policy {
        let (min, max) = (Duration::from_secs_f64(min), Duration::from_secs_f64(max));
        Policy { min, max, ..Policy::default() }
    }

    #[test]
    fn waits_double_from_min_to_max_and_stay_there() {
        let mut backoff = Backoff::new([Policy::default()]);
        let expected = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0];
        assert_eq!(seconds(&mut backoff, expected.len()), expected);
    }

    #[test]
    fn waits_start_over_only_after_progress() {
        let mut backoff = Backoff::new([policy(1.0, 60.0)]);
        assert_eq!(seconds(&mut backoff, 3), [1.0, 2.0, 4.0]);
        // accepted and dropped at once, again and again: nobody calls progressed()
        assert_eq!(seconds(&mut backoff, 2), [8.0, 16.0]);
        backoff.progressed();
        assert_eq!(seconds(&mut backoff, 2), [1.0, 2.0]);
    }

    #[test]
    fn jitter_changes_a_wait_by_a_tenth_and_does_not_accumulate() {
        let mut backoff = Backoff::new([policy(1.0, 60.0)]);
        assert_eq!(backoff.wait(1.0), Duration::from_secs_f64(1.1));
        assert_eq!(backoff.wait(-1.0), Duration::from_secs_f64(1.8));
        assert_eq!(backoff.wait(0.0), Duration::from_secs(4));
        assert_eq!(backoff.wait(7.0), Duration::from_secs_f64(8.8), "clamped");
    }

    #[test]
    fn the_other_profile_takes_over_when_the_attempt_after_the_longest_wait_fails() {
        let mut backoff = Backoff::new([policy(2.0, 8.0); 2]);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let wait = backoff.wait(0.0).as_secs();
            seen.push((wait, backoff.profile()));
        }
        let expected = [(2, 0), (4, 0), (8, 0), (2, 1), (4, 1), (8, 1), (2, 0), (4, 0)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_drop_on_the_backup_is_retried_there_first() {
        let mut backoff = Backoff::new([policy(2.0, 4.0); 2]);
        seconds(&mut backoff, 3);
        assert_eq!(backoff.profile(), 1);
        backoff.progressed();
        assert_eq!((backoff.wait(0.0).as_secs(), backoff.profile()), (2, 1));
    }

    #[test]
    fn each_profile_has_its_own_waits_and_they_go_round_for_ever() {
        let mut backoff = Backoff::new([policy(2.0, 60.0), policy(1.0, 4.0)]);
        let mut round = Vec::new();
        for _ in 0..9 {
            round.push((backoff.wait(0.0).as_secs(), backoff.profile()));
        }
        let main = [(2, 0), (4, 0), (8, 0), (16, 0), (32, 0), (60, 0)];
        assert_eq!(round, [&main[..], &[(1, 1), (2, 1), (4, 1)]].concat());
        assert_eq!((backoff.wait(0.0).as_secs(), backoff.profile()), (2, 0));
    }

    #[test]
    fn jitter_at_the_longest_wait_does_not_put_off_the_change() {
        for random in [-1.0, 1.0] {
            let mut backoff = Backoff::new([policy(2.0, 4.0); 2]);
            let waits: Vec<_> = (0..3).map(|_| (backoff.wait(random), backoff.profile())).collect();
            let fuzzed = |seconds: f64| Duration::from_secs_f64(seconds * (1.0 + random / 10.0));
            assert_eq!(waits, [(fuzzed(2.0), 0), (fuzzed(4.0), 0), (fuzzed(2.0), 1)]);
        }
    }

    #[test]
    fn equal_bounds_and_odd_factors_are_harmless() {
        let mut backoff = Backoff::new([policy(3.0, 3.0)]);
        assert_eq!(seconds(&mut backoff, 3), [3.0, 3.0, 3.0]);
        let odd = Policy { factor: f64::NAN, jitter: f64::INFINITY, ..policy(1.0, 2.0) };
        let mut backoff = Backoff::new([odd]);
        assert_eq!(backoff.wait(f64::NAN), Duration::from_secs(1));
        let endless = Policy { min: Duration::MAX, max: Duration::MAX, ..Policy::default() };
        assert_eq!(Backoff::new([endless]).wait(1.0), Duration::MAX);
    }
}
