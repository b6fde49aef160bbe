//! The committed header and export list are what the sources say.
//!
//! `RTM_BLESS=1 cargo test -p rtm-ffi --test header` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn generate() -> String {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).unwrap();
    // cbindgen opens `extern "C"` itself, which the preamble needs to have done.
    config.cpp_compat = false;
    let mut out = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(ffi.join("src/types.rs"))
        .with_src(ffi.join("src/registration.rs"))
        .with_src(ffi.join("src/entities.rs"))
        .with_src(ffi.join("src/methods.rs"))
        .with_src(ffi.join("src/events.rs"))
        .with_src(ffi.join("src/reading.rs"))
        .with_src(ffi.join("src/reclaimer.rs"))
        .with_src(ffi.join("src/tuning.rs"))
        .with_src(ffi.join("src/formats.rs"))
        .generate()
        .expect("cbindgen understands the sources")
        .write(&mut out);
    let functions = String::from_utf8(out).unwrap();
    let preamble = std::fs::read_to_string(ffi.join("preamble.h")).unwrap();
    let mut text = preamble.trim_end().to_owned();
    write!(text, "\n\n{}\n", comments(functions.trim())).unwrap();
    text.push_str("\n#ifdef __cplusplus\n}\n#endif\n\n#endif /* RTMV2_H */\n");
    text
}

/// Turns runs of `//` lines into C90 comments, so that the header suits any C and C++, and puts the
/// prefix of each function on its line.
fn comments(text: &str) -> String {
    let mut out = String::new();
    let (mut inside, mut indent) = (false, "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("//") {
            out.push_str(if inside { " *" } else { "/*\n *" });
            out.push_str(rest.trim_end());
            inside = true;
        } else {
            if std::mem::take(&mut inside) {
                out.push_str(" */\n");
            }
            if line == "RTM_API" {
                out.push_str("RTM_API ");
                indent = "        ";
                continue;
            }
            if line.starts_with(' ') {
                out.push_str(indent);
            }
            out.push_str(line);
            if line.ends_with(';') {
                indent = "";
            }
        }
        out.push('\n');
    }
    out
}

/// The functions the header declares, in its order.
fn declared(header: &str) -> Vec<&str> {
    let lines = header.lines().filter(|line| line.starts_with("RTM_API"));
    lines.map(|line| line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap()).collect()
}

fn compare(path: &Path, expected: &str) {
    if std::env::var_os("RTM_BLESS").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == expected,
        "{} is not what the sources make; run RTM_BLESS=1 cargo test -p rtm-ffi --test header",
        path.display(),
    );
}

#[test]
fn header_is_up_to_date() {
    compare(&root().join("include/rtmv2.h"), &generate());
}

#[test]
fn symbols_are_up_to_date() {
    let header = generate();
    let mut names = declared(&header);
    names.sort_unstable();
    assert!(names.len() >= 20, "{names:?}");
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    compare(&root().join("include/rtm.symbols"), &list);
}

/// The versions in which symbols came are the packager's; their names are the header's.
#[test]
fn debian_knows_the_symbols() {
    let file = std::fs::read_to_string(root().join("debian/librtm1.symbols")).unwrap();
    let names = file.lines().filter_map(|line| line.strip_prefix(" Rtm")?.split('@').next());
    let names: Vec<_> = names.map(|name| format!("Rtm{name}")).collect();
    let header = generate();
    let mut declared = declared(&header);
    declared.sort_unstable();
    assert_eq!(names, declared);
}

#[test]
fn the_comparison_notices_an_edit() {
    let header = generate();
    let edited = header.replacen("RtmRegisterEntity", "RtmRegisterEntitx", 1);
    assert_ne!(header, edited);
    let file = std::env::temp_dir().join(format!("rtmv2-{}.h", std::process::id()));
    std::fs::write(&file, edited).unwrap();
    let noticed = std::panic::catch_unwind(|| {
        let committed = std::fs::read_to_string(&file).unwrap();
        assert!(committed == header);
    });
    std::fs::remove_file(&file).unwrap();
    assert!(noticed.is_err());
}

#[test]
fn every_function_is_documented() {
    let header = generate();
    for name in declared(&header) {
        let line = |line: &&str| line.starts_with("RTM_API") && line.contains(&format!("{name}("));
        let declaration = header.lines().find(line).unwrap();
        let before = &header[..header.find(declaration).unwrap()];
        let comment = &before[before.rfind("/*").unwrap()..];
        assert!(comment.contains("@return"), "{name} does not say what it returns");
    }
}
