//! Now and sleep, real or advanced by hand. Above `net` nothing else reads the time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use smol::Async;

use super::moment::Moment;
use super::reactor;
use super::system_timer::SystemTimer;

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
        Moment::begin(); // this clock may stand still at what is now
        let now = Instant::now();
        let wall = (now, SystemTime::now());
        let timeline = Timeline { now, wall, sleepers: Sleepers::new(), drawn: 0 };
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

    /// A future that is ready once it is `at`. With the real clock somebody has to have started the
    /// [reactor](reactor::start), which wakes it.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { manual: self.manual.clone(), at: Moment::new(at), id: 0 }
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
    sleepers: Sleepers,
    /// How often [`Clock::lot`] was asked.
    drawn: u32,
}

impl Timeline {
    /// Goes to the next deadline that is not after `target` and gives who sleeps for it, or goes to `target` and
    /// gives none.
    fn step(&mut self, target: Instant) -> Option<Vec<Waker>> {
        let due = self.sleepers.first().map(Moment::instant).filter(|at| *at <= target);
        self.now = self.now.max(due.unwrap_or(target));
        due.map(|due| self.sleepers.take_until(due))
    }
}

/// Who sleeps until when.
struct Sleepers {
    /// By deadline, then by age.
    by_deadline: BTreeMap<(Moment, u64), Waker>,
    last_id: u64,
}

impl Sleepers {
    const fn new() -> Sleepers {
        Sleepers { by_deadline: BTreeMap::new(), last_id: 0 }
    }

    /// The next deadline.
    fn first(&self) -> Option<Moment> {
        self.by_deadline.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Adds a sleeper, which has no `id` yet, or wakes another waker for it.
    fn put(&mut self, at: Moment, id: &mut u64, waker: &Waker) {
        if *id == 0 {
            self.last_id += 1;
            *id = self.last_id;
        }
        self.by_deadline.insert((at, *id), waker.clone());
    }

    /// Those whose deadline is not after `now`.
    fn take_until(&mut self, now: Instant) -> Vec<Waker> {
        let later = self.by_deadline.split_off(&(Moment::new(now), u64::MAX));
        std::mem::replace(&mut self.by_deadline, later).into_values().collect()
    }
}

/// The sleepers of the real clock. All share one timer of the system's: most deadlines are far off and never come to pass.
static REAL: Mutex<Real> = Mutex::new(Real { sleepers: Sleepers::new(), rings: None });

/// The timer: a descriptor, which any thread can set without waking the reactor. There from the reactor's start on.
static TIMER: OnceLock<Async<SystemTimer>> = OnceLock::new();

struct Real {
    sleepers: Sleepers,
    /// When the timer rings. That is not put off when nobody sleeps until then any more.
    rings: Option<Moment>,
}

impl Real {
    /// Has the timer ring for the next sleeper.
    fn set_timer(&mut self) {
        self.rings = TIMER.get().zip(self.sleepers.first()).map(|(timer, at)| {
            timer.get_ref().set(at.instant());
            at
        });
    }
}

/// Makes the timer; on the reactor's thread, once.
///
/// # Errors
/// There is no descriptor left.
pub(super) fn make_timer() -> io::Result<()> {
    let new = SystemTimer::new;
    if TIMER.get().is_none() {
        // To register one is the first use of async-io, which then takes three descriptors and panics without them.
        let [timer, ..] = [new()?, new()?, new()?, new()?];
        let _ = TIMER.set(Async::new_nonblocking(timer)?);
    }
    Ok(())
}

/// Wakes the sleepers of the real clock; one task of the reactor's does that, after [`make_timer`].
pub(super) async fn keep_time() {
    let Some(timer) = TIMER.get() else { return };
    loop {
        let woken = {
            let mut real = REAL.lock();
            let woken = real.sleepers.take_until(Instant::now());
            real.set_timer();
            woken
        };
        woken.into_iter().for_each(Waker::wake);
        let rang = timer.read_with(SystemTimer::take).await;
        debug_assert!(rang.is_ok(), "nothing else can be read there: {rang:?}");
    }
}

/// What [`Clock::sleep_until`] gives.
#[must_use = "a sleep does nothing unless polled"]
pub struct Sleep {
    manual: Option<Arc<Manual>>,
    at: Moment,
    /// Its place among the sleepers; 0 before it was polled.
    id: u64,
}

impl Sleep {
    /// Until when.
    pub(super) fn deadline(&self) -> Instant {
        self.at.instant()
    }

    /// Whether somebody is to be woken, or has been.
    pub(super) fn is_set(&self) -> bool {
        self.id != 0
    }

    /// Sleeps until `at` instead, and `waker` is woken then. The timer of the system's is put off too, which is a call of it:
    /// it would ring for nothing.
    pub(super) fn put_off(&mut self, at: Instant, waker: &Waker) {
        let before = (self.at, self.id);
        self.at = Moment::new(at);
        // dropped without the lock
        let _old = if let Some(manual) = &self.manual {
            let mut timeline = manual.timeline.lock();
            let old = timeline.sleepers.by_deadline.remove(&before);
            timeline.sleepers.put(self.at, &mut self.id, waker);
            old
        } else {
            let mut real = REAL.lock();
            let old = real.sleepers.by_deadline.remove(&before);
            real.sleepers.put(self.at, &mut self.id, waker);
            if real.rings.is_none_or(|rings| rings == before.0 || self.at < rings) {
                real.set_timer();
            }
            old
        };
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep({:?})", self.deadline())
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Sleep { manual, at, id } = self.get_mut();
        if let Some(manual) = manual {
            let mut timeline = manual.timeline.lock();
            if Moment::new(timeline.now) >= *at {
                return Poll::Ready(());
            }
            timeline.sleepers.put(*at, id, cx.waker());
            return Poll::Pending;
        }
        if Moment::new(Instant::now()) >= *at {
            return Poll::Ready(());
        }
        let mut real = REAL.lock();
        real.sleepers.put(*at, id, cx.waker());
        if real.rings.is_none_or(|rings| *at < rings) {
            real.set_timer();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.id == 0 {
            return;
        }
        let key = (self.at, self.id);
        // dropped without the lock
        let _waker = match &self.manual {
            None => REAL.lock().sleepers.by_deadline.remove(&key),
            Some(manual) => manual.timeline.lock().sleepers.by_deadline.remove(&key),
        };
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
        assert!(hand.manual.timeline.lock().sleepers.first().is_none());
    }

    #[test]
    fn the_one_timer_of_the_real_clock_rings_for_the_nearest_whatever_was_set_before_or_is_dropped() {
        let clock = Clock::real();
        let (tell, told) = std::sync::mpsc::channel();
        let sleep = |at: Instant, name: &'static str| {
            let (clock, tell) = (clock.clone(), tell.clone());
            let task = reactor::spawn(async move {
                clock.sleep_until(at).await;
                let _ = tell.send((name, Instant::now() >= at));
            });
            reactor::settle();
            task
        };
        let start = Instant::now();
        let far = sleep(start + Duration::from_secs(3600), "far");
        let near = sleep(start + Duration::from_millis(40), "near");
        drop(sleep(start + Duration::from_millis(20), "dropped"));
        let nearest = sleep(start + Duration::from_millis(10), "nearest");
        let next = || told.recv_timeout(Duration::from_secs(20)).expect("it rings");
        let mut two = [next(), next()];
        two.sort_unstable(); // on a machine that stood still both were due
        assert_eq!(two, [("near", true), ("nearest", true)]);
        let after = sleep(Instant::now() + Duration::from_millis(5), "after");
        assert_eq!(next(), ("after", true));
        std::thread::spawn({
            let (clock, tell) = (clock.clone(), tell.clone());
            move || {
                let at = Instant::now() + Duration::from_millis(5);
                smol::future::block_on(clock.sleep_until(at)); // which sets the timer on this thread
                let _ = tell.send(("elsewhere", Instant::now() >= at));
            }
        });
        assert_eq!(next(), ("elsewhere", true));
        drop((far, near, nearest, after));
        assert!(told.try_recv().is_err());
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
