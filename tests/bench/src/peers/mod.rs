//! The clients that are measured and written in Rust, as programs of their own: `bench limit|rumqttc PORT JOB COUNT SIZE`.
//!
//! What all peers print when they are done, whatever they are written in: a line of `name=value` words. Before
//! it comes the line `subscribed`, when a peer is ready to receive.

pub mod limit;
pub mod rumqttc;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What a peer is to do.
pub struct Task {
    pub port: u16,
    pub job: String,
    pub count: usize,
    pub size: usize,
}

impl Task {
    /// From the arguments of a peer's program.
    pub fn from_arguments(arguments: &[String]) -> Option<Task> {
        let [port, job, count, size, ..] = arguments else { return None };
        let (port, count, size) = (port.parse().ok()?, count.parse().ok()?, size.parse().ok()?);
        Some(Task { port, job: job.clone(), count, size })
    }

    /// The QoS that the job's name ends with.
    pub fn qos(&self) -> u8 {
        self.job.as_bytes().last().map_or(0, |digit| digit.saturating_sub(b'0'))
    }
}

/// Time and processor time since its beginning.
pub struct Watch(Instant, Duration);

impl Watch {
    pub fn start() -> Watch {
        Watch(Instant::now(), processor())
    }

    /// Ends the measurement; `more` follows on the line.
    pub fn report(self, more: &str) {
        let (time, processor) = (self.0.elapsed(), processor() - self.1);
        println!("seconds={:.6} processor={:.6} {more}", time.as_secs_f64(), processor.as_secs_f64());
    }
}

/// What all threads of this process have used.
pub fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Times of single round trips.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// How many go first that do not count.
    pub const WARM_UP: usize = 200;

    pub fn add(&mut self, since: Instant) {
        self.0.push(since.elapsed());
    }

    pub fn report(mut self) -> String {
        let times = &mut self.0[Latencies::WARM_UP..];
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
        format!("p50={:.2} p99={:.2}", at(0.5), at(0.99))
    }
}

/// Bytes of memory that this process has resident.
pub fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// What a connection costs of it.
pub fn report_memory(before: usize, connections: usize) -> String {
    format!("memory={}", resident().saturating_sub(before) / connections)
}
