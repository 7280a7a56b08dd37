//! The machine that is measured on: limits, cores, and what other programs take of it.

use std::fs;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Clock ticks per second in /proc, on every Linux of today.
const TICKS: f64 = 100.0;

/// A thousand connections take more descriptors than most programs may have.
pub fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Keeps what `start` starts on one core.
pub fn on_core<R>(core: Option<usize>, start: impl FnOnce() -> R) -> R {
    let Some((core, all)) = core.zip(sched_getaffinity(None).ok()) else { return start() };
    let mut only = CpuSet::new();
    only.set(core);
    let _ = sched_setaffinity(None, &only);
    let result = start();
    let _ = sched_setaffinity(None, &all);
    result
}

/// What others used since this began.
pub struct Others {
    since: Instant,
    busy: f64,
    own: f64,
}

impl Others {
    pub fn start() -> Others {
        Others { since: Instant::now(), busy: busy(), own: own() }
    }

    /// In cores. The processes that were started here have to be waited for before.
    pub fn cores(&self) -> f64 {
        let others = (busy() - self.busy) - (own() - self.own);
        others.max(0.0) / self.since.elapsed().as_secs_f64()
    }
}

/// Seconds that all cores were busy.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    // user, nice, system, idle, waiting for I/O, interrupts, soft interrupts
    [0, 1, 2, 5, 6].iter().filter_map(|field| fields.get(*field)).sum::<f64>() / TICKS
}

/// Seconds that this process and those it has waited for have used.
fn own() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // behind the program's name, which may hold anything
    let fields = stat.rsplit_once(')').map_or("", |parts| parts.1);
    fields.split_whitespace().skip(11).take(4).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / TICKS
}
