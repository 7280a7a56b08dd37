//! MQTT clients side by side, in one run: this project's module from Lua 5.3 and LuaJIT, rumqttc, libmosquitto, luamqtt,
//! and bare sockets (`limit`), which no client can beat.
//!
//! ```sh
//! cargo run --release --manifest-path tests/bench/Cargo.toml -- [--runs N] [--seconds S] [JOB…]
//! cargo run --release --manifest-path tests/bench/Cargo.toml -- list
//! cargo run --release --manifest-path tests/bench/Cargo.toml -- instructions
//! ```
//!
//! A job is meant by the beginning of its name; without one all are run. Every peer is a process of its own, which this
//! program starts, one after the other and N times over, so that what disturbs the machine hits all alike. It is told
//! to do as much as takes about S seconds.

mod codec;
mod contest;
mod instructions;
mod jobs;
mod machine;
mod peers;
mod server;
mod stub;
mod trial;
mod wire;

use std::error::Error;

use peers::Task;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let task = || Task::from_arguments(&arguments[1..]).ok_or("PORT JOB COUNT SIZE");
    match arguments.first().map(String::as_str) {
        Some("list") => jobs::list(),
        Some("instructions") => return instructions::report(),
        // the programs that are started from here
        Some("stub") => stub::serve()?,
        Some("limit") => peers::limit::run(&task()?)?,
        Some("rumqttc") => return peers::rumqttc::run(&task()?),
        Some("codec") => return codec::run(&arguments[1..]),
        _ => return contest::run(&Options::from_arguments(&arguments)?),
    }
    Ok(())
}

/// What the command line asks for.
struct Options {
    runs: usize,
    seconds: f64,
    /// Beginnings of names; none: all jobs.
    jobs: Vec<String>,
}

impl Options {
    fn from_arguments(arguments: &[String]) -> Result<Options, Box<dyn Error>> {
        let mut options = Options { runs: 5, seconds: 0.5, jobs: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a number"));
            match argument.as_str() {
                "--runs" => options.runs = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.seconds = value()?.parse()?,
                _ if argument.starts_with('-') => return Err(format!("unknown option {argument}").into()),
                job if !jobs::JOBS.iter().any(|known| known.name.starts_with(job)) => {
                    return Err(format!("unknown job {job}; `list` names them").into());
                }
                job => options.jobs.push(job.to_owned()),
            }
        }
        Ok(options)
    }
}
