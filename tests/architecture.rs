//! The layers, kept by reading the source: who may import whom, where unsafe code stands, how large a file is, and that
//! there is a test for each statement of the standard.

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
const UNSAFE: [&str; 3] = ["src/lua/hot/", "src/sys.rs", "src/bin/mqtt-lua.rs"];

/// A file that wants to be longer has two jobs.
const MAX_LINES: usize = 600;

/// The files below a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
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
    files(&root.join(folder), "rs").into_iter().map(read).collect()
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
fn nodemcu_and_mongoose_do_not_know_of_each_other() {
    for (path, code) in sources("src/lua") {
        assert!(!path.contains("/nodemcu/") || !code.contains("mgos"), "{path}");
        assert!(!path.contains("/mgos/") || !code.contains("nodemcu"), "{path}");
    }
}

#[test]
fn unsafe_code_stands_in_its_places_only() {
    for (path, code) in sources("src") {
        assert!(UNSAFE.iter().any(|place| path.starts_with(place)) || !code.contains("unsafe "), "{path}");
    }
}

#[test]
fn one_file_knows_which_tls_library_it_is() {
    let named = |(path, code): (String, String)| code.contains("async_tls").then_some(path);
    let knowing: Vec<_> = sources("src").into_iter().filter_map(named).collect();
    assert_eq!(knowing, ["src/net/tls.rs"]);
}

#[test]
fn no_file_is_a_giant() {
    for folder in ["src", "tests"] {
        for (path, code) in sources(folder) {
            assert!(code.lines().count() <= MAX_LINES, "{path}: {} lines", code.lines().count());
        }
    }
}

/// A merge has once dropped the calls and kept the functions: nothing failed, and nothing ran.
#[test]
fn every_function_of_tests_run_is_called() {
    let script = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run")).unwrap();
    let code =
        || script.lines().filter(|line| !line.trim_start().starts_with('#') && !line.contains("export -f"));
    let is_called = |name: &str| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let calls =
            |line: &str| line.split(|c| !is_name(c)).any(|word| word == name) && !line.contains("() {");
        code().any(calls)
    };
    let functions: Vec<_> = code().filter_map(|line| line.strip_suffix("() {")).collect();
    assert!(functions.len() > 10);
    let idle: Vec<_> = functions.into_iter().filter(|name| !is_called(name)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        ("src", "rs"),
        ("tests", "rs"),
        ("src", "lua"),
        ("lua", "lua"),
        ("lua_examples", "lua"),
        ("tests", "lua"),
    ];
    for (folder, ending) in folders {
        let comment = if ending == "rs" { "//!" } else { "--" };
        for path in files(&root.join(folder), ending) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(comment), "{}", path.display());
        }
    }
}

/// A path that a text names in backquotes or brackets, from the project's root.
fn is_path(word: &str) -> bool {
    let ours = ["src/", "tests/", "lua_examples/"].iter().any(|folder| word.starts_with(folder));
    // what the fuzzer makes
    ours && word != "tests/fuzz/artifacts" && word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
}

#[test]
fn files_that_texts_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("CHANGELOG.md")];
    for (folder, ending) in
        [("src", "md"), ("src", "rs"), ("lua", "lua"), ("lua_examples", "lua"), ("tests", "lua")]
    {
        texts.extend(files(&root.join(folder), ending));
    }
    let mut missing = Vec::new();
    for path in texts {
        let text = fs::read_to_string(&path).unwrap();
        let named = text.split(['`', '(', ')']).filter(|word| is_path(word) && !root.join(word).exists());
        missing.extend(named.map(|word| format!("{}: {word}", path.display())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The normative statements of MQTT 3.1.1 (OASIS Standard, 29 October 2014, appendix B) that bind a client.
const STATEMENTS: [&str; 84] = [
    "1.5.3-1", "1.5.3-2", "1.5.3-3", "2.2.2-1", "2.2.2-2", "2.3.1-1", "2.3.1-2", "2.3.1-3", "2.3.1-5",
    "2.3.1-6", "3.1.0-1", "3.1.0-2", "3.1.2-1", "3.1.2-2", "3.1.2-3", "3.1.2-4", "3.1.2-6", "3.1.2-9",
    "3.1.2-11", "3.1.2-13", "3.1.2-15", "3.1.2-14", "3.1.2-18", "3.1.2-19", "3.1.2-20", "3.1.2-21",
    "3.1.2-22", "3.1.2-23", "3.1.3-1", "3.1.3-2", "3.1.3-3", "3.1.3-4", "3.1.3-7", "3.1.3-10", "3.1.3-11",
    "3.2.0-1", "3.2.2-5", "3.3.1-1", "3.3.1-2", "3.3.1-3", "3.3.1-4", "3.3.2-1", "3.3.2-2", "3.3.4-1",
    "3.6.1-1", "3.8.1-1", "3.8.3-1", "3.8.3-3", "3.8.3-4", "3.9.3-1", "3.9.3-2", "3.10.1-1", "3.10.3-1",
    "3.10.3-2", "3.14.1-1", "3.14.4-1", "3.14.4-2", "4.1.0-1", "4.1.0-2", "7.1.2-1", "4.3.1-1", "4.3.2-1",
    "4.3.2-2", "4.3.3-1", "4.3.3-2", "4.4.0-1", "4.5.0-2", "4.6.0-1", "4.6.0-2", "4.6.0-3", "4.6.0-4",
    "4.7.1-1", "4.7.1-2", "4.7.1-3", "4.7.3-1", "4.7.3-2", "4.7.3-3", "4.8.0-1", "4.8.0-2", "6.0.0-1",
    "6.0.0-2", "6.0.0-3", "6.0.0-4", "7.0.0-2",
];

/// The names of the functions below `#[test]`.
fn test_names() -> Vec<String> {
    let mut names = Vec::new();
    for (_, code) in sources("src").into_iter().chain(sources("tests")) {
        for rest in code.split("#[test]").skip(1) {
            let name = rest.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_statement_of_the_standard_for_clients_has_a_test_of_its_number() {
    let names = test_names();
    let is_tested = |statement: &&str| {
        let number = format!("mqtt_{}_", statement.replace(['.', '-'], "_"));
        names.iter().any(|name| name.contains(&number))
    };
    let missing: Vec<_> = STATEMENTS.iter().filter(|statement| !is_tested(statement)).collect();
    assert!(missing.is_empty(), "no test named mqtt_… for {missing:?}");
}
