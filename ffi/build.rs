//! Link arguments of the shared library.

fn main() {
    // Thread-local and pthread-key destructors, fork and exit handlers point into the library: it
    // must stay when a plugin that brought it in is unloaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Built for a fuzzer, it lacks what the instrumentation calls, and is not used.
    if std::env::var_os("CARGO_CFG_FUZZING").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
