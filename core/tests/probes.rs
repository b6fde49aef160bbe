//! The probes are in a program built with the feature `probes`, with their arguments, and in no other.
#![cfg(not(any(rtm_loom, rtm_broken, rtm_shuttle)))]

use rtm_core::{AddressFamily, EntityInfo, Limits, Refusal, Registry, Settings, TableKey};
use std::collections::BTreeMap;
use std::process::Command;

/// The places of each probe of ours in this program, by name, each with its number of arguments.
fn probes() -> BTreeMap<String, Vec<usize>> {
    let this = std::env::current_exe().unwrap();
    let mut readelf = Command::new("readelf");
    let notes = readelf.env("LC_ALL", "C").arg("-n").arg(this).output().expect("readelf");
    assert!(notes.status.success());
    let notes = String::from_utf8(notes.stdout).unwrap();
    let mut probes = BTreeMap::<String, Vec<usize>>::new();
    let mut lines = notes.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "Provider: rtm" {
            continue;
        }
        let name = lines.next().and_then(|line| line.strip_prefix("Name: ")).expect("a name");
        let rest = &mut lines;
        let arguments = rest.find_map(|line| line.strip_prefix("Arguments: ")).expect("arguments");
        let count = arguments.split(' ').filter(|argument| !argument.is_empty()).count();
        probes.entry(name.to_owned()).or_default().push(count);
    }
    probes
}

/// Goes through all places that have one, so that they are in the program.
fn use_everything() {
    let limits = Limits { backlog: 0, ..Limits::default() };
    let registry = Registry::<u64>::new(Settings { limits, ..Settings::default() }).unwrap();
    let table = TableKey { instance: 0, family: AddressFamily::Inet };
    let guard = registry.enter();
    drop(registry.register(EntityInfo { table, id: 1 }, 0).unwrap());
    let refused = registry.register(EntityInfo { table, id: 2 }, 0).map(drop).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Backlog);
    drop(guard);
    registry.flush().unwrap();
    assert_eq!(registry.statistics().reclaimed, 1);
}

#[test]
fn probes_are_there_if_asked_for() {
    use_everything();
    let probes = probes();
    if !cfg!(feature = "probes") {
        assert_eq!(probes, BTreeMap::new());
        return;
    }
    let expected = [("backpressure", 4), ("deregister", 4), ("reclaim", 2), ("register", 4)];
    let names: Vec<&str> = probes.keys().map(String::as_str).collect();
    assert_eq!(names, expected.map(|(name, _)| name));
    for (name, arguments) in expected {
        assert!(probes[name].iter().all(|count| *count == arguments), "{name}: {:?}", probes[name]);
    }
}
