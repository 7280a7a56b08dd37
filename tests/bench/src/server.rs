//! The broker's side: the stand-in or mosquitto, each on a free port of 127.0.0.1, ended when it is dropped.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

use crate::machine::on_core;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    Stub,
    Mosquitto,
}

pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    pub fn start(broker: Broker, core: Option<usize>) -> Result<Server, Box<dyn Error>> {
        match broker {
            Broker::Stub => Server::stub(core),
            Broker::Mosquitto => Server::mosquitto(),
        }
    }

    fn stub(core: Option<usize>) -> Result<Server, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        // it ends with its input: also when this program ends in any other way
        command.arg("stub").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = on_core(core, || command.spawn())?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Server { process, port: line.trim().parse()? })
    }

    fn mosquitto() -> Result<Server, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = env::temp_dir().join(format!("bench-{}-{port}.conf", process::id()));
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n\
             max_inflight_messages 0\nmax_queued_messages 0\n"
        );
        fs::write(&path, config)?;
        let mut command = Command::new("mosquitto");
        command.env("PATH", format!("{}:/usr/sbin", env::var("PATH").unwrap_or_default()));
        let process = command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.map_err(|error| format!("mosquitto: {error}"));
        let started = process.and_then(|process| {
            let mut server = Server { process, port };
            // not up when it ended: the port was taken in between
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if server.process.try_wait().map_or(true, |status| status.is_some()) {
                    return Err("mosquitto ended".to_owned());
                }
                thread::sleep(Duration::from_millis(20));
            }
            Ok(server)
        });
        fs::remove_file(&path)?;
        Ok(started?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
