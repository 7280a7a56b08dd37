//! Builds the peer in C where libmosquitto's headers are; the driver says so where they are not.

use std::path::PathBuf;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=c/libmosquitto.c");
    println!("cargo::rerun-if-changed=/usr/include/mosquitto.h");
    let program = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where")).join("libmosquitto");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "c/libmosquitto.c", "-lmosquitto", "-o"]).arg(&program);
    let built = compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if built {
        println!("cargo::rustc-env=LIBMOSQUITTO={}", program.display());
    }
}
