//! One run of one peer.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs, process, thread};

use crate::contest::Contestant;
use crate::jobs::{Job, Shows};
use crate::machine::on_core;
use crate::server::Broker;

/// Nobody hears of a peer for so long when it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What one run told.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub seconds: f64,
    /// What the job is about: a rate, microseconds, bytes or calls.
    pub value: f64,
    /// Microseconds that one in a hundred takes longer than.
    pub p99: Option<f64>,
    /// Nanoseconds of processor time per message.
    pub processor: f64,
}

/// Has a peer do a job, `count` times.
pub fn run(
    contestant: &Contestant<'_>,
    job: &Job,
    port: u16,
    count: usize,
) -> Result<Sample, Box<dyn Error>> {
    let mut words = contestant.peer.command.clone();
    words.extend([port.to_string(), job.task.to_owned(), count.to_string(), job.size.to_string()]);
    words.extend(contestant.beside.map(str::to_owned));
    let counter = if job.shows == Shows::Calls { Some(Counter::new()?) } else { None };
    if let Some(counter) = &counter {
        words.splice(0..0, counter.words());
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(contestant.peer.variables.iter().map(|(name, value)| (name, value)));
    let feed = (job.broker == Broker::Mosquitto && job.task.starts_with("receive")).then(|| {
        let task = job.task.replace("receive", "feed");
        [String::from("limit"), port.to_string(), task, count.to_string(), job.size.to_string()]
    });
    let told = converse(command, job.cores.map(|cores| cores[0]), feed)?;
    let tell = |name: &str| told.get(name).copied().ok_or(format!("it did not tell {name}"));
    let (seconds, messages) = (tell("seconds")?, count as f64);
    let value = match job.shows {
        Shows::Rate | Shows::Codec => messages / seconds,
        Shows::Latency => tell("p50")?,
        Shows::Memory => tell("memory")?,
        Shows::Calls => counter.ok_or("no counter")?.calls()? / messages,
    };
    let p99 = told.get("p99").copied();
    Ok(Sample { seconds, value, p99, processor: tell("processor")? * 1e9 / messages })
}

/// Runs a peer to its end; what it told. `feed` is started when it is ready to receive.
fn converse(
    mut command: Command,
    core: Option<usize>,
    feed: Option<[String; 5]>,
) -> Result<HashMap<String, f64>, Box<dyn Error>> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut peer = Guard(on_core(core, || command.spawn())?);
    let output = peer.0.stdout.take().ok_or("no output")?;
    let (say, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = say.send(line);
        }
    });
    let (mut told, mut feeder) = (HashMap::new(), None);
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line == "subscribed" => {
                if let Some(arguments) = &feed {
                    feeder = Some(Guard(Command::new(env::current_exe()?).args(arguments).spawn()?));
                }
            }
            Ok(line) => told.extend(line.split_whitespace().filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                Some((name.to_owned(), value.parse().ok()?))
            })),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err("no end after a minute".into()),
        }
    }
    drop(feeder);
    let mut complaint = String::new();
    peer.0.stderr.take().ok_or("no output")?.read_to_string(&mut complaint)?;
    let status = peer.0.wait()?;
    if status.success() {
        return Ok(told);
    }
    Err(format!("{status}, {}", complaint.lines().next().unwrap_or("without a word")).into())
}

/// A process that does not outlive the trial.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts the system calls of a process and its threads.
struct Counter {
    tool: &'static str,
    file: String,
}

const PERF: &str = "perf stat -x , -e raw_syscalls:sys_enter -o";
const STRACE: &str = "strace -f -c -U calls,name -o";

impl Counter {
    /// perf where it may, or strace, which makes everything far slower.
    fn new() -> Result<Counter, String> {
        let file = env::temp_dir().join(format!("bench-{}-calls", process::id())).display().to_string();
        for tool in [PERF, STRACE] {
            let counter = Counter { tool, file: file.clone() };
            let words = counter.words();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|status| status.success()) && counter.calls().is_ok() {
                return Ok(counter);
            }
        }
        Err("neither perf nor strace may count system calls here".to_owned())
    }

    fn words(&self) -> Vec<String> {
        self.tool.split(' ').chain([&*self.file]).map(str::to_owned).collect()
    }

    /// What the tool has written: a line with the number and the name of the event, or with the number and `total`.
    fn calls(&self) -> Result<f64, Box<dyn Error>> {
        let text = fs::read_to_string(&self.file)?;
        let line = text.lines().find(|line| line.contains("raw_syscalls") || line.ends_with("total"));
        let number = line.and_then(|line| line.split([',', ' ']).find(|word| !word.is_empty()));
        Ok(number.ok_or("no count")?.parse()?)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}
