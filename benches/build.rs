//! Compiles the C workers of rtm-load, once against the library linked in and once against a table, and,
//! with the feature `c-peers`, rtm-compare's peers in C and C++.
//! Tells the programs by which compiler they were built.

fn main() {
    for (name, via_table) in [("rtm_load_direct", false), ("rtm_load_table", true)] {
        let mut build = cc::Build::new();
        build
            .files(["c/load.c", "c/client.c", "c/listen.c", "c/soak.c"])
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
    if std::env::var_os("CARGO_FEATURE_C_PEERS").is_some() {
        c_peers();
    }
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../include/rtmv2.h");
}

/// The header of each library, and the Debian package that brings it.
const PACKAGES: [(&str, &str); 3] = [
    ("urcu/rculfhash.h", "liburcu-dev"),
    ("ck_epoch.h", "libck-dev"),
    ("tbb/concurrent_hash_map.h", "libtbb-dev"),
];

/// Each library, its name for pkg-config, and its Debian package.
const LIBRARIES: [(&str, &str, &str); 3] = [
    ("liburcu", "liburcu", "liburcu-dev"),
    ("ConcurrencyKit", "ck", "libck-dev"),
    ("oneTBB", "tbb", "libtbb-dev"),
];

fn c_peers() {
    let build = || {
        let mut build = cc::Build::new();
        build.opt_level(3).define("NDEBUG", None).warnings(true).extra_warnings(true);
        build
    };
    let folder = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(header, _)| {
            let probe = folder.join("probe.cc");
            std::fs::write(&probe, format!("#include <{header}>\n")).expect("room for a file");
            build().cpp(true).std("c++17").cargo_output(false).file(probe).try_expand().is_err()
        })
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        println!(
            "cargo::error=the feature `c-peers` needs Debian packages that are not installed: \
             apt-get install {}",
            missing.join(" ")
        );
        return;
    }
    let compile = |build: &mut cc::Build, file: &str| build.file(file).compile_intermediates();
    let other = folder.join("qsbr");
    std::fs::create_dir_all(&other).expect("room for a folder");
    let objects = [
        compile(build().std("gnu11"), "c/peer_urcu.c"),
        compile(build().std("gnu11").define("QSBR", None).out_dir(other), "c/peer_urcu.c"),
        compile(build().std("gnu11"), "c/peer_ck.c"),
        compile(build().cpp(true).std("c++17"), "c/peer_tbb.cc"),
    ];
    let versions =
        LIBRARIES.map(|(name, module, package)| format!("{name} {}", version(module, package)));
    println!("cargo::rustc-env=RTM_C_PEERS={}", versions.join(", "));
    build().cpp(true).objects(objects.iter().flatten()).compile("rtm_peers");
    for library in ["urcu-cds", "urcu-memb", "urcu-qsbr", "urcu-common", "ck", "tbb"] {
        println!("cargo::rustc-link-lib={library}");
    }
}

/// The version of a library, as far as the system can tell.
fn version(module: &str, package: &str) -> String {
    let ask = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    ask("pkg-config", &["--modversion", module])
        .or_else(|| ask("dpkg-query", &["--show", "--showformat=${Version}", package]))
        .unwrap_or_else(|| "of an unknown version".to_owned())
}
