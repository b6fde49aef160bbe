//! Compiles the C workers of rtm-load, once against the library linked in and once against a table.
//! Tells the programs by which compiler they were built.

fn main() {
    for (name, via_table) in [("rtm_load_direct", false), ("rtm_load_table", true)] {
        let mut build = cc::Build::new();
        build
            .files(["c/load.c", "c/client.c", "c/listen.c"])
            .include("../include")
            .std("c11")
            .opt_level(2)
            .warnings(true);
        if via_table {
            build.define("LOAD_VIA_TABLE", None);
        }
        build.compile(name);
    }
    let compiler = std::env::var_os("RUSTC").expect("set by cargo");
    let version = std::process::Command::new(compiler).arg("--version").output();
    let version = String::from_utf8(version.expect("a compiler").stdout).expect("text");
    println!("cargo::rustc-env=RTM_COMPILER={}", version.trim());
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../include/rtmv2.h");
}
