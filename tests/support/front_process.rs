//! The example `front` as a process: the embedded broker behind TLS and WebSocket, with certificates made for it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs until it is dropped.
pub(crate) struct Front {
    child: Child,
    ports: HashMap<String, u16>,
    certificates: PathBuf,
}

impl Front {
    /// `name` tells the tests of one process apart.
    pub(crate) fn start(name: &str) -> Front {
        let folder = format!("front-{name}-{}", std::process::id());
        let certificates = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        fs::create_dir_all(&certificates).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates");
        let made = Command::new(script).arg(&certificates).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let tests = std::env::current_exe().unwrap();
        let program =
            tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/front");
        let file = |name| certificates.join(name);
        let mut child = Command::new(&program)
            .args([file("server.pem"), file("server.key"), file("ca.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error} (cargo build --example front)", program.display()));
        let mut ports = HashMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let (name, port) = line.split_once(' ').unwrap();
            ports.insert(name.to_owned(), port.parse().unwrap());
            if name == "wss" {
                break;
            }
        }
        Front { child, ports, certificates }
    }

    /// The port of `mqtt`, `mqtts`, `mutual`, `ws` or `wss`.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports[name]
    }

    /// The path of a certificate or a key.
    pub(crate) fn file(&self, name: &str) -> String {
        self.certificates.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.certificates);
    }
}
