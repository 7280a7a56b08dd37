//! The layers, kept by reading the source: who may import whom, where unsafe code stands, how large a file is.

use std::fs;
use std::path::{Path, PathBuf};

/// A layer, and the modules of the crate that its files may name.
const LAYERS: [(&str, &[&str]); 6] = [
    ("codec", &["codec"]),
    ("session", &["session", "codec"]),
    ("net", &["net"]),
    ("client", &["client", "session", "codec", "net", "sys"]),
    ("broker", &["broker", "codec", "sys"]),
    ("lua", &["lua", "broker", "client", "session", "codec", "net", "sys"]),
];

/// Layers without I/O, clock, threads and Lua, and what would bring them in.
const PURE: [&str; 2] = ["codec", "session"];
const IMPURE: [&str; 8] =
    ["std::net", "std::io", "std::thread", "std::fs", "Instant::now", "SystemTime", "smol", "mlua"];

/// The only places of unsafe code.
const UNSAFE: [&str; 3] = ["src/lua/hot.rs", "src/sys.rs", "src/bin/mqtt-lua.rs"];

/// A file that wants to be longer has two jobs.
const MAX_LINES: usize = 600;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Path (from the project's root) and code, without comments, of each file below a folder of the project.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().map(|line| line.split("//").next().expect("split")).collect();
        (path.strip_prefix(root).unwrap().display().to_string(), code.join("\n"))
    };
    files(&root.join(folder)).into_iter().map(read).collect()
}

/// The names that follow `crate::` in a text; of `crate::{…}`, which hides them, an empty one.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The code before a file's unit tests.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]").next().expect("split")
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (layer, allowed) in LAYERS {
        for (path, code) in sources(&format!("src/{layer}")) {
            for import in imports(without_tests(&code)) {
                let is_item = import.starts_with(char::is_uppercase);
                if !is_item && !allowed.contains(&import) {
                    wrong.push(format!("{path}: crate::{import}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn codec_and_session_do_no_io_and_read_no_clock() {
    let mut wrong = Vec::new();
    for layer in PURE {
        for (path, code) in sources(&format!("src/{layer}")) {
            let impure = IMPURE.iter().filter(|word| without_tests(&code).contains(**word));
            wrong.extend(impure.map(|word| format!("{path}: {word}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stands_in_its_places_only() {
    for (path, code) in sources("src") {
        assert!(UNSAFE.contains(&path.as_str()) || !code.contains("unsafe "), "{path}");
    }
}

#[test]
fn no_file_is_a_giant() {
    for folder in ["src", "tests"] {
        for (path, code) in sources(folder) {
            assert!(code.lines().count() <= MAX_LINES, "{path}: {} lines", code.lines().count());
        }
    }
}
