//! Who takes part, the jobs one after the other, and the tables of results.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::jobs::{JOBS, Job, Shows};
use crate::machine::{Others, allow_many_descriptors};
use crate::server::Server;
use crate::trial::{self, Sample};
use crate::{Options, Outcome, codec};

/// The program of a client.
pub struct Peer {
    pub name: &'static str,
    /// Program and first arguments; port, job, count and size follow.
    pub command: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    is_ours: bool,
    /// It holds at most so many in one process.
    connections: usize,
}

/// A peer, and what it keeps idle meanwhile.
pub struct Contestant<'a> {
    pub peer: &'a Peer,
    pub beside: Option<&'static str>,
}

/// Runs what the options ask for.
pub fn run(options: &Options) -> Outcome {
    allow_many_descriptors();
    let peers = peers()?;
    for job in JOBS {
        let wanted = options.jobs.iter().any(|name| job.name.starts_with(name.as_str()));
        if wanted || options.jobs.is_empty() {
            println!("\n{}: {}", job.name, job.about);
            let outcome = match job.shows {
                Shows::Codec => codec::report(options.runs),
                _ => hold(job, &peers, options),
            };
            if let Err(error) = outcome {
                println!("  left out: {error}");
            }
        }
    }
    Ok(())
}

/// Who is there; says who is not, and why.
fn peers() -> Result<Vec<Peer>, Box<dyn Error>> {
    let this = env::current_exe()?.display().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let rust = |name: &'static str| Peer {
        name,
        command: vec![this.clone(), name.to_owned()],
        variables: Vec::new(),
        is_ours: false,
        connections: 1000,
    };
    let mut peers = vec![rust("limit")];
    for (interpreter, feature) in [("lua5.3", "lua53"), ("luajit", "luajit")] {
        match ours(&root, interpreter, feature) {
            Ok(peer) => peers.push(peer),
            Err(why) => println!("left out: {interpreter}, as {why}"),
        }
    }
    peers.push(rust("rumqttc"));
    match option_env!("LIBMOSQUITTO") {
        Some(program) => {
            let command = vec![program.to_owned()];
            // its select() takes descriptors up to 1,023, and each client has three
            peers.push(Peer { command, connections: 300, ..rust("libmosquitto") });
        }
        None => {
            println!("left out: libmosquitto, as its header was not there at build time (libmosquitto-dev)")
        }
    }
    match env::var("LUAMQTT") {
        Ok(folder) => {
            let command = vec!["luajit".to_owned(), lua_file("luamqtt.lua")];
            let variables = vec![("LUA_PATH", format!("{folder}/?.lua;{folder}/?/init.lua;;"))];
            peers.push(Peer { command, variables, ..rust("luamqtt") });
        }
        Err(_) => println!("left out: luamqtt, as LUAMQTT does not name the folder of its sources"),
    }
    Ok(peers)
}

/// This project's module, where it has been built.
pub fn ours(root: &Path, interpreter: &'static str, feature: &str) -> Result<Peer, String> {
    let modules = env::var_os("MODULES").map_or_else(|| root.join("target/modules"), PathBuf::from);
    let folder = modules.join(feature);
    if !folder.join("mqtt.so").exists() {
        let folder = folder.display();
        return Err(format!(
            "{folder}/mqtt.so is not there. To build it:\n  \
             cargo build --release --lib --no-default-features --features module,{feature} &&\n  \
             mkdir -p {folder} && cp target/release/libmqtt.so {folder}/mqtt.so"
        ));
    }
    let mut version = Command::new(interpreter);
    if version.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Err("it is not installed".to_owned());
    }
    let libraries = format!("{}/?.so;;", folder.display());
    let variable = if interpreter == "luajit" { "LUA_CPATH" } else { "LUA_CPATH_5_3" };
    let variables = vec![("LUA_PATH", format!("{}/lua/?.lua;;", root.display())), (variable, libraries)];
    let command = vec![interpreter.to_owned(), lua_file("ours.lua")];
    Ok(Peer { name: interpreter, command, variables, is_ours: true, connections: 1000 })
}

fn lua_file(name: &str) -> String {
    format!("{}/lua/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// All runs of a job, and its table.
fn hold(job: &Job, peers: &[Peer], options: &Options) -> Outcome {
    let contestants = peers.iter().flat_map(|peer| match job.beside {
        Some(idle) if peer.is_ours => idle.map(|idle| Contestant { peer, beside: Some(idle) }).into(),
        Some(_) => vec![],
        None => vec![Contestant { peer, beside: None }],
    });
    let others = Others::start();
    let server = Server::start(job.broker, job.cores.map(|cores| cores[1]))?;
    let mut rows = Vec::new();
    for contestant in contestants {
        match enough(&contestant, job, server.port, options.seconds) {
            Ok(count) => rows.push((contestant, count, Vec::new())),
            Err(error) => println!("  {} left out: {error}", contestant.peer.name),
        }
    }
    for _ in 0..options.runs {
        for (contestant, count, samples) in &mut rows {
            let sample = trial::run(contestant, job, server.port, *count);
            samples.push(sample.map_err(|error| format!("{}: {error}", contestant.peer.name))?);
        }
    }
    drop(server);
    show(job, &rows);
    println!("  (other programs used {:.2} cores meanwhile)", others.cores());
    Ok(())
}

/// How much a peer has to do for about so many seconds.
fn enough(contestant: &Contestant<'_>, job: &Job, port: u16, seconds: f64) -> Result<usize, Box<dyn Error>> {
    if job.shows == Shows::Memory {
        return Ok(contestant.peer.connections);
    }
    let (least, most) = match (job.task, job.size) {
        ("connect", _) => (200, 5_000),
        ("echo", _) => (1_000, 1_000_000),
        (_, size) if size > 1 << 20 => (2, 1_000),
        // more than are held back
        _ if job.beside.is_some() => (100_000, 100_000_000),
        _ => (10_000, 100_000_000),
    };
    let mut count = least;
    loop {
        let sample = trial::run(contestant, job, port, count)?;
        let next = (count as f64 * seconds / sample.seconds.max(1e-6)) as usize;
        // the first steps of a peer are slow: only a long run tells its rate
        let is_known = next < count * 2;
        count = next.min(count * 20).clamp(least, most);
        if is_known || count == most {
            return Ok(count);
        }
    }
}

type Row<'a> = (Contestant<'a>, usize, Vec<Sample>);

fn show(job: &Job, rows: &[Row<'_>]) {
    let against = match job.beside {
        Some(_) => vec![],
        None => vec!["limit", "rumqttc"],
    };
    for (contestant, _, samples) in rows {
        let name = format!("{} {}", contestant.peer.name, contestant.beside.unwrap_or(""));
        let values = Spread::of(samples.iter().map(|sample| sample.value));
        let median = values.middle;
        print!("  {name:28} {:<30}", job.format(values));
        if let Some(p99) = Spread::of_some(samples.iter().map(|sample| sample.p99)) {
            print!("  p99 {:.1} us ({:.1}..{:.1})", p99.middle, p99.least, p99.most);
        }
        for other in &against {
            if let Some(base) = rows.iter().find(|row| row.0.peer.name == *other).map(middle) {
                print!("  {:>6} x {other}", significant(median / base));
            }
        }
        if matches!(job.shows, Shows::Rate | Shows::Latency) {
            print!("  {} of processor each", duration(processor(samples)));
        }
        let idle = job.beside.filter(|[most, _]| contestant.beside == Some(most));
        let without = |(other, ..): &&Row<'_>| {
            other.peer.name == contestant.peer.name
                && idle.is_some_and(|[_, least]| other.beside == Some(least))
        };
        if let Some(base) = rows.iter().find(without) {
            let ratio = median / middle(base);
            let time = if job.shows == Shows::Rate { 1.0 / ratio } else { ratio };
            print!("  {time:.2} x the time, {:.2} x the processor", processor(samples) / processor(&base.2));
        }
        println!();
    }
}

fn processor(samples: &[Sample]) -> f64 {
    Spread::of(samples.iter().map(|sample| sample.processor)).middle
}

fn middle(row: &Row<'_>) -> f64 {
    Spread::of(row.2.iter().map(|sample| sample.value)).middle
}

impl Job {
    /// In a unit that fits the median.
    fn format(&self, Spread { middle, least, most }: Spread) -> String {
        let (unit, one, digits) = match self.shows {
            Shows::Latency => ("us", 1.0, 1),
            Shows::Memory => ("B", 1.0, 0),
            Shows::Calls => ("calls", 1.0, 4),
            _ if middle >= 1e6 => ("M/s", 1e6, 2),
            _ if middle >= 1e3 => ("k/s", 1e3, 1),
            _ => ("/s", 1.0, 1),
        };
        let [middle, least, most] = [middle, least, most].map(|value| value / one);
        format!("{middle:>8.digits$} {unit} ({least:.digits$}..{most:.digits$})")
    }
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        _ if nanoseconds >= 1e6 => format!("{:.1} ms", nanoseconds / 1e6),
        _ if nanoseconds >= 1e4 => format!("{:.1} us", nanoseconds / 1e3),
        _ => format!("{nanoseconds:.0} ns"),
    }
}

/// Two digits at least.
fn significant(ratio: f64) -> String {
    match ratio {
        _ if ratio >= 10.0 => format!("{ratio:.1}"),
        _ if ratio >= 0.1 => format!("{ratio:.2}"),
        _ => format!("{ratio:.4}"),
    }
}

/// Median, least and most.
pub struct Spread {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of one value at least.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let most = values.len() - 1;
        Spread { middle: values[most / 2], least: values[0], most: values[most] }
    }

    fn of_some(values: impl Iterator<Item = Option<f64>>) -> Option<Spread> {
        values.collect::<Option<Vec<_>>>().map(|values| Spread::of(values.into_iter()))
    }
}
