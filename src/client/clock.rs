//! Now and sleep, real or advanced by hand. Above `net` nothing else reads the time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::reactor;

/// A source of now and sleep. Cheap to clone; clones are the same clock.
#[derive(Clone, Default)]
pub struct Clock {
    /// None: the system's monotonic clock.
    manual: Option<Arc<Manual>>,
}

impl Clock {
    /// The system's monotonic clock.
    pub const fn real() -> Clock {
        Clock { manual: None }
    }

    /// A clock that stands still but for [`ManualClock::advance`].
    pub fn manual() -> (Clock, ManualClock) {
        let now = Instant::now();
        let wall = (now, SystemTime::now());
        let timeline = Timeline { now, wall, sleepers: BTreeMap::new(), next_id: 0, drawn: 0 };
        let manual = Arc::new(Manual { timeline: Mutex::new(timeline), advancing: Mutex::new(()) });
        (Clock { manual: Some(manual.clone()) }, ManualClock { manual })
    }

    /// Whether it is advanced by hand.
    #[inline]
    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// What time it is.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.manual {
            None => Instant::now(),
            Some(manual) => manual.timeline.lock().now,
        }
    }

    /// From -1 to 1, as if drawn, and the same numbers each time; none where chance may have its way.
    pub(super) fn lot(&self) -> Option<f64> {
        let manual = self.manual.as_ref()?;
        let mut timeline = manual.timeline.lock();
        timeline.drawn += 1;
        // multiples of the golden ratio lie evenly between whole numbers
        Some((f64::from(timeline.drawn) * 0.618_033_988_75).fract() * 2.0 - 1.0)
    }

    /// What a clock on the wall shows.
    pub fn wall(&self) -> SystemTime {
        match &self.manual {
            None => SystemTime::now(),
            Some(manual) => {
                let timeline = manual.timeline.lock();
                let (at, shown) = timeline.wall;
                shown + timeline.now.saturating_duration_since(at)
            }
        }
    }

    /// A future that is ready once it is `at`. With the real clock it is to be polled on the reactor's thread, that
    /// is inside [`reactor::spawn`].
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(match &self.manual {
            None => Kind::Real(smol::Timer::at(at)),
            Some(manual) => Kind::Manual { manual: manual.clone(), at, id: None },
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_manual() { "Clock::manual" } else { "Clock::real" })
    }
}

/// The hand that moves a [`Clock::manual`].
#[derive(Clone)]
pub struct ManualClock {
    manual: Arc<Manual>,
}

impl ManualClock {
    /// What time it is there.
    pub fn now(&self) -> Instant {
        self.manual.timeline.lock().now
    }

    /// Sets what [`Clock::wall`] shows now.
    pub fn set_wall(&self, shown: SystemTime) {
        let mut timeline = self.manual.timeline.lock();
        timeline.wall = (timeline.now, shown);
    }

    /// Moves time on by `by`, stopping at each deadline on the way, earliest first: who slept for it is woken, and the
    /// reactor gets to run it, before time goes on. So a sleeper that sleeps anew inside the interval is woken again in
    /// its turn. What a woken task does with a socket may still be under way when this returns.
    ///
    /// Not to be called on the reactor's thread from inside a task that others wait for: there it does not wait.
    pub fn advance(&self, by: Duration) {
        let target = self.now() + by;
        while self.step(target) {}
    }

    /// The next step of [`advance`](Self::advance) on the way to `target`; false: it is there, and nobody was woken.
    pub fn step(&self, target: Instant) -> bool {
        let _one_at_a_time = self.manual.advancing.lock();
        // the lock is given back here: who is woken looks at the clock
        let Some(woken) = self.manual.timeline.lock().step(target) else { return false };
        for waker in woken {
            waker.wake();
        }
        reactor::settle();
        true
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManualClock")
    }
}

struct Manual {
    timeline: Mutex<Timeline>,
    /// Held by the one call of `advance` that is under way.
    advancing: Mutex<()>,
}

struct Timeline {
    now: Instant,
    /// What the wall clock showed at some time.
    wall: (Instant, SystemTime),
    /// By deadline, then by age.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    /// How often [`Clock::lot`] was asked.
    drawn: u32,
}

impl Timeline {
    /// Goes to the next deadline that is not after `target` and gives who sleeps for it, or goes to `target` and
    /// gives none.
    fn step(&mut self, target: Instant) -> Option<Vec<Waker>> {
        let due = self.sleepers.first_key_value().map(|(&(at, _), _)| at).filter(|at| *at <= target);
        let Some(due) = due else {
            self.now = self.now.max(target);
            return None;
        };
        self.now = self.now.max(due);
        let later = self.sleepers.split_off(&(due, u64::MAX));
        Some(std::mem::replace(&mut self.sleepers, later).into_values().collect())
    }
}

/// What [`Clock::sleep_until`] gives.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless polled"]
pub struct Sleep(Kind);

enum Kind {
    Real(smol::Timer),
    Manual {
        manual: Arc<Manual>,
        at: Instant,
        /// Its place among the sleepers, once polled.
        id: Option<u64>,
    },
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Real(timer) => Pin::new(timer).poll(cx).map(|_| ()),
            Kind::Manual { manual, at, id } => {
                let mut timeline = manual.timeline.lock();
                if timeline.now >= *at {
                    return Poll::Ready(());
                }
                let id = *id.get_or_insert_with(|| {
                    timeline.next_id += 1;
                    timeline.next_id
                });
                timeline.sleepers.insert((*at, id), cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Kind::Manual { manual, at, id: Some(id) } = &self.0 {
            manual.timeline.lock().sleepers.remove(&(*at, *id));
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Real(_) => f.write_str("Real"),
            Kind::Manual { at, .. } => write!(f, "Manual({at:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    /// Writes its name down when woken.
    struct Note(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }

    fn poll(sleep: &mut Sleep, waker: &Waker) -> bool {
        Pin::new(sleep).poll(&mut Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn sleepers_are_woken_in_the_order_of_their_deadlines() {
        let (clock, hand) = Clock::manual();
        let start = clock.now();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut sleeps: Vec<_> = [("c", 3), ("a", 1), ("b", 2), ("never", 9)]
            .map(|(name, at)| {
                let mut sleep = clock.sleep_until(start + Duration::from_secs(at));
                let waker = Waker::from(Arc::new(Note(name, woken.clone())));
                assert!(!poll(&mut sleep, &waker));
                (sleep, waker)
            })
            .into();
        hand.advance(Duration::from_secs(5));
        assert_eq!(*woken.lock(), ["a", "b", "c"]);
        assert_eq!(clock.now(), start + Duration::from_secs(5));
        let ready: Vec<bool> = sleeps.iter_mut().map(|(sleep, waker)| poll(sleep, waker)).collect();
        assert_eq!(ready, [true, true, true, false]);
    }

    #[test]
    fn the_wall_clock_is_set_and_moves_with_time() {
        let (clock, hand) = Clock::manual();
        hand.set_wall(SystemTime::UNIX_EPOCH);
        hand.advance(Duration::from_secs(5));
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert!(Clock::real().wall() > SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let (clock, hand) = Clock::manual();
        let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
        assert!(!poll(&mut sleep, Waker::noop()));
        drop(sleep);
        assert!(hand.manual.timeline.lock().sleepers.is_empty());
    }

    #[test]
    fn advance_lets_a_task_sleep_again_within_the_interval() {
        let (clock, hand) = Clock::manual();
        let start = clock.now();
        let times = Arc::new(Mutex::new(Vec::new()));
        let task = reactor::spawn({
            let (clock, times) = (clock.clone(), times.clone());
            async move {
                for second in 1..=3 {
                    clock.sleep_until(start + Duration::from_secs(second)).await;
                    times.lock().push((clock.now() - start).as_secs());
                }
            }
        });
        reactor::settle();
        hand.advance(Duration::from_secs(10));
        smol::block_on(task);
        assert_eq!(*times.lock(), [1, 2, 3]);
    }
}
