//! Instructions per operation, counted by callgrind: those of the codec are the same on every run, those of a publish in
//! a callback within one in a thousand, the others within three per cent, as what threads find depends on their turns.
//! Nothing depends on the figures.
//!
//! A count is the difference of a run with so many operations and one with twice as many. What is counted of the
//! module are the functions named here, with all that they call.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{self, Command, Stdio};

use crate::Outcome;
use crate::codec::OPERATIONS;
use crate::contest::ours;
use crate::server::{Broker, Server};

/// What is done how often, the function of the release build that it runs through, and what it is to a reader.
const STEPS: [(&str, usize, &str, &str); 8] = [
    ("callback0", IN_CALLBACK, "*hot::publish::publish", "client:publish, QoS 0, in a callback"),
    ("callback1", IN_CALLBACK, "*hot::publish::publish", "client:publish, QoS 1, in a callback, new memory"),
    ("publish0", MESSAGES, "*hot::publish::publish", "client:publish, QoS 0, in a loop, with what it sends"),
    ("publish1", MESSAGES, "*hot::publish::publish", "client:publish, QoS 1, in a loop, with what it sends"),
    ("receive0", MESSAGES, "*Session>::handle_frames", "a message of QoS 0 into the session"),
    ("receive1", MESSAGES, "*Session>::handle_frames", "a message of QoS 1 into the session"),
    ("receive0", MESSAGES, "*hot::loops::dispatch", "a message of QoS 0 to its callback, which is included"),
    ("receive1", MESSAGES, "*hot::loops::dispatch", "a message of QoS 1 to its callback, which is included"),
];

const OPERATIONS_OF_CODEC: usize = 50_000;
const MESSAGES: usize = 20_000;
/// Twice as many do not wake the writer.
const IN_CALLBACK: usize = 300;

/// Prints all counts.
pub fn report() -> Outcome {
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    valgrind.map_err(|error| format!("valgrind: {error}"))?;
    println!("instructions per operation, 64 B");
    let this = env::current_exe()?.display().to_string();
    for (operation, _) in OPERATIONS {
        let count = |many: usize| -> Result<f64, Box<dyn Error>> {
            let mut command = callgrind(None);
            count(command.args([&this, "codec", operation, &many.to_string()]))
        };
        let more = count(2 * OPERATIONS_OF_CODEC)? - count(OPERATIONS_OF_CODEC)?;
        println!("  {:62} {:7.1}", format!("codec, {operation}"), more / OPERATIONS_OF_CODEC as f64);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let server = Server::start(Broker::Stub, None)?;
    for (interpreter, feature) in [("lua5.3", "lua53"), ("luajit", "luajit")] {
        let peer = match ours(&root, interpreter, feature) {
            Ok(peer) => peer,
            Err(why) => {
                println!("  {interpreter} left out, as {why}");
                continue;
            }
        };
        for (task, many, function, about) in STEPS {
            let count = |many: usize| {
                let mut command = callgrind(Some(function));
                command.args(&peer.command).args([&server.port.to_string(), task, &many.to_string(), "64"]);
                command.envs(peer.variables.iter().map(|(name, value)| (name, value)));
                count(&mut command)
            };
            let more = count(2 * many)? - count(many)?;
            println!("  {:62} {:7.1}", format!("{interpreter}, {about}"), more / many as f64);
        }
    }
    Ok(())
}

/// Counts everything, or what happens inside of a function.
fn callgrind(function: Option<&str>) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", file()));
    command.args(function.map(|name| format!("--toggle-collect={name}")));
    command
}

fn file() -> String {
    env::temp_dir().join(format!("bench-{}-callgrind", process::id())).display().to_string()
}

fn count(command: &mut Command) -> Result<f64, Box<dyn Error>> {
    let status = command.stdout(Stdio::null()).status()?;
    let text = fs::read_to_string(file())?;
    fs::remove_file(file())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.ok_or("callgrind told no total")?.trim().parse()? {
        _ if !status.success() => Err(format!("{command:?} ended with {status}").into()),
        0.0 => Err(format!("no such function in this build: {command:?}").into()),
        total => Ok(total),
    }
}
