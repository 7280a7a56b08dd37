//! mosquitto on a free port, with what it keeps on disk, to be stopped and started in order.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Mosquitto {
    port: u16,
    directory: PathBuf,
    child: Option<Child>,
}

impl Mosquitto {
    /// One that forgets nothing at an orderly end. Its limits on queues are off: with them version 2.0 drops messages, or
    /// stops sending at QoS 2 once its window has been full.
    pub(crate) fn start(name: &str) -> Mosquitto {
        let directory = env::temp_dir().join(format!("mqtt-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let user =
            String::from_utf8(Command::new("id").arg("-un").output().expect("id").stdout).expect("a name");
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_dest none\n",
            directory.display()
        );
        fs::write(directory.join("conf"), config).expect("a file");
        let mut mosquitto = Mosquitto { port, directory, child: None };
        mosquitto.up();
        mosquitto
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// An orderly end and a new start.
    pub(crate) fn restart(&mut self) {
        self.down();
        self.up();
    }

    fn up(&mut self) {
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
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not come up");
            thread::sleep(Duration::from_millis(5));
        }
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
