//! mosquitto on free ports, with what it keeps on disk, to be stopped and started in order.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Mosquitto {
    ports: Vec<u16>,
    directory: PathBuf,
    child: Option<Child>,
}

impl Mosquitto {
    /// With these lines in its configuration, and a listener for each of these parts of one.
    pub(crate) fn start(settings: &str, listeners: &[String]) -> Mosquitto {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("mqtt-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let user =
            String::from_utf8(Command::new("id").arg("-un").output().expect("id").stdout).expect("a name");
        let mut mosquitto = Mosquitto { ports: Vec::new(), directory, child: None };
        // It cannot choose ports by itself, so others may be quicker.
        for _ in 0..5 {
            mosquitto.ports = free_ports(listeners.len());
            // what is in the temporary directory is ours: it shall not become another user to read it
            let mut config = format!(
                "{settings}\nuser {user}\nlog_dest none\npersistence_location {}/\n",
                mosquitto.directory.display()
            );
            for (port, listener) in mosquitto.ports.iter().zip(listeners) {
                config.push_str(&format!("listener {port} 127.0.0.1\nallow_anonymous true\n{listener}\n"));
            }
            fs::write(mosquitto.directory.join("conf"), config).expect("a file");
            if mosquitto.up() {
                return mosquitto;
            }
        }
        panic!("mosquitto does not start");
    }

    /// The port of the first listener.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// An orderly end and a new start, at the same ports.
    pub(crate) fn restart(&mut self) {
        self.down();
        assert!(self.up(), "mosquitto does not start again");
    }

    /// Starts it and waits until it accepts everywhere. False when it ended: a port was taken in between.
    fn up(&mut self) -> bool {
        let path = format!("{}:/usr/sbin", env::var("PATH").unwrap_or_default());
        let child = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(self.directory.join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto, of Debian's package `mosquitto`");
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().expect("our child").is_none() {
            if self.ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return true;
            }
            assert!(Instant::now() < deadline, "mosquitto does not come up");
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
            assert!(killed.success());
            child.wait().expect("our child");
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_ports(n: usize) -> Vec<u16> {
    // all at once, or one could come twice
    let free: Vec<_> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    free.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}
