//! A device for the tests: the runner with a script, in a process of its own.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Far longer than anything takes: what is missing then does not come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The runner that `MQTT_LUA` names, or the one that was built with the tests.
pub(crate) fn runner() -> Command {
    let path = std::env::var("MQTT_LUA").unwrap_or_else(|_| env!("CARGO_BIN_EXE_mqtt-lua").into());
    let mut command = Command::new(path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder for one test, empty.
pub(crate) fn folder(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a script from standard input to its end.
pub(crate) fn run(options: &[&str], source: &str) -> Outcome {
    let mut command = runner();
    command.args(options).arg("-");
    finish(command, source)
}

/// Runs the command to its end.
pub(crate) fn finish(command: Command, input: &str) -> Outcome {
    wait(start(command, input))
}

/// Starts the command; the input is all that it gets.
pub(crate) fn start(mut command: Command, input: &str) -> Child {
    let mut child = command.spawn().expect("the runner starts");
    // A runner that ends early does not read.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child
}

/// Waits for its end.
pub(crate) fn wait(child: Child) -> Outcome {
    let output = child.wait_with_output().expect("it was started");
    Outcome {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Does it again until it takes less: waiting that is built in makes every run slow, a busy machine only some.
#[track_caller]
pub(crate) fn can_take_less_than(limit: Duration, mut run: impl FnMut()) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let begun = Instant::now();
        run();
        let took = begun.elapsed();
        if took < limit {
            return;
        }
        assert!(Instant::now() < deadline, "it takes {took:?} again and again");
    }
}

/// The next connection; it is waited for, and what comes on it, as long as anything takes.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit));
    assert!(ready.expect("a socket") > 0, "no connection came");
    let (stream, _) = listener.accept().expect("it is there");
    stream.set_read_timeout(Some(LIMIT)).expect("an open socket");
    stream
}

/// A device that runs; it is unplugged in the end.
pub(crate) struct Device {
    child: Child,
    lines: Receiver<String>,
}

impl Device {
    pub(crate) fn start(mut command: Command) -> Device {
        let mut child = command.spawn().expect("the runner starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Device { child, lines }
    }

    /// The next line that it prints.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(_) => {
                let _ = self.child.kill();
                let mut errors = String::new();
                let _ = self.child.stderr.take().expect("piped").read_to_string(&mut errors);
                panic!("no line came: {errors}");
            }
        }
    }

    /// The next line, if one comes soon.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        self.lines.recv_timeout(Duration::from_millis(20)).ok()
    }

    /// Takes its power, without a word to anybody.
    pub(crate) fn unplug(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unplug();
    }
}
