//! Link options that cannot be given in `Cargo.toml`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The library starts a thread and registers exit handlers: it must stay when an interpreter unloads it.
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
        // C modules that a script loads find Lua's symbols in the runner.
        if std::env::var_os("CARGO_FEATURE_RUNNER").is_some() {
            println!("cargo::rustc-link-arg-bin=mqtt-lua=-rdynamic");
        }
    }
}
