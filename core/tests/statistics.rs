//! Statistics as text, as JSON and for Prometheus.
#![cfg(not(any(rtm_loom, rtm_broken, rtm_shuttle)))]

use rtm_core::{
    AddressFamily, DropBy, EntityInfo, Figure, FigureKind, Format, Registry, Settings, Statistics,
    TableKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// Statistics in which no two figures that matter are equal.
fn some() -> Statistics {
    let registry = Registry::<u32>::new(Settings::default()).unwrap();
    let table = TableKey { instance: 0, family: AddressFamily::Inet };
    let kept: Vec<_> =
        (0..7).map(|id| registry.register(EntityInfo { table, id }, 0).unwrap()).collect();
    for id in 10..13 {
        drop(registry.register(EntityInfo { table, id }, 0).unwrap());
    }
    let _guard = registry.enter();
    let statistics = registry.statistics();
    drop(kept);
    assert_eq!(
        (statistics.live, statistics.registered, statistics.deregistered, statistics.inside),
        (7, 10, 3, 1)
    );
    statistics
}

fn by_name(statistics: Statistics) -> BTreeMap<&'static str, Figure> {
    let figures: Vec<Figure> = statistics.figures().collect();
    let by_name: BTreeMap<_, _> = figures.iter().map(|figure| (figure.name, *figure)).collect();
    assert_eq!(by_name.len(), figures.len(), "a name stands twice");
    // Each field is there.
    assert_eq!(size_of::<Statistics>(), figures.len() * size_of::<u64>());
    by_name
}

#[test]
fn members_have_their_parts() {
    let registry = Registry::<u32>::new(Settings::default()).unwrap();
    let table = TableKey { instance: 0, family: AddressFamily::Inet };
    let one = registry.join().unwrap();
    let other = registry.join().unwrap();
    let handles: Vec<_> = (0..5)
        .map(|id| one.register_handle(EntityInfo { table, id }, 0, DropBy::Writers).unwrap())
        .collect();
    handles[..3].iter().for_each(|handle| other.deregister(*handle).unwrap());
    let guard = other.enter();
    let [of_other, of_one]: [_; 2] =
        registry.member_figures().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((of_one.registered, of_one.deregistered, of_one.retired), (5, 0, 0));
    assert_eq!((of_other.registered, of_other.deregistered, of_other.retired), (0, 3, 3));
    // The rest of the chunk of 512.
    assert_eq!((of_one.free, of_other.free), (507, 0));
    assert!(of_one.in_use && of_one.inside.is_none() && of_other.inside.is_some());
    drop(guard);
    drop(other);
    let of_other = || registry.member_figures().find(|member| member.deregistered == 3).unwrap();
    assert!(!of_other().in_use && of_other().inside.is_none());
    registry.flush().unwrap();
    // The calling thread is a member now, at the place that was free.
    assert!(of_other().in_use && of_other().retired == 0);
}

#[test]
fn text_has_a_line_for_each() {
    let statistics = some();
    let text = statistics.render(Format::Text);
    let read: BTreeMap<&str, u64> = text
        .lines()
        .map(|line| line.split_once(' ').expect("a name and a value"))
        .map(|(name, value)| (name, value.trim_start().parse().expect("a number")))
        .collect();
    let expected: BTreeMap<&str, u64> =
        by_name(statistics).into_iter().map(|(name, figure)| (name, figure.value)).collect();
    assert_eq!(read, expected);
    assert!(text.starts_with("live             7\n"), "{text}");
}

#[test]
fn json_is_json() {
    let statistics = some();
    let text = statistics.render(Format::Json);
    assert_eq!(text.matches('\n').count(), 1);
    let read: BTreeMap<String, u64> = serde_json::from_str(&text).expect("an object of numbers");
    let expected: BTreeMap<String, u64> = by_name(statistics)
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure.value))
        .collect();
    assert_eq!(read, expected);
    // Numbers that a float does not hold are written in full.
    let mut largest = Statistics::default();
    largest.bytes = u64::MAX;
    let read: BTreeMap<String, u64> = serde_json::from_str(&largest.render(Format::Json)).unwrap();
    assert_eq!(read["bytes"], u64::MAX);
}

/// The lines of an exposition, checked against its grammar: for each metric its help, its type, and one sample.
fn exposed(text: &str) -> BTreeMap<String, (String, BTreeMap<String, String>, u64)> {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|letter| letter == '_' || letter.is_ascii_alphabetic())
            && letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
    };
    assert!(text.ends_with('\n'));
    let lines: Vec<&str> = text.lines().collect();
    let mut metrics = BTreeMap::new();
    for three in lines.chunks(3) {
        let [help, kind, sample] = three else { panic!("{three:?}") };
        let (name, help) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(is_name(name) && !help.is_empty(), "{name} {help}");
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        let rest = sample.strip_prefix(name).unwrap();
        let (labels, value) = rest.rsplit_once(' ').unwrap();
        let mut read = BTreeMap::new();
        if let Some(labels) = labels.strip_prefix('{') {
            let mut rest = labels.strip_suffix('}').unwrap();
            while !rest.is_empty() {
                let (label, after) = rest.split_once("=\"").unwrap();
                assert!(is_name(label), "{label}");
                let (mut of, mut letters) = (String::new(), after.char_indices());
                let end = loop {
                    match letters.next().expect("a closing quote") {
                        (at, '"') => break at,
                        (_, '\\') => match letters.next().unwrap().1 {
                            'n' => of.push('\n'),
                            letter @ ('\\' | '"') => of.push(letter),
                            other => panic!("\\{other}"),
                        },
                        (_, letter) => of.push(letter),
                    }
                };
                read.insert(label.to_owned(), of);
                rest = after[end + 1..].trim_start_matches(',');
            }
        }
        let before =
            metrics.insert(name.to_owned(), (kind.to_owned(), read, value.parse().unwrap()));
        assert!(before.is_none(), "{name} stands twice");
    }
    metrics
}

#[test]
fn prometheus_reads_names_types_and_labels() {
    let statistics = some();
    let plain = exposed(&statistics.render(Format::Prometheus(&[])));
    let names: BTreeSet<String> = by_name(statistics)
        .values()
        .map(|figure| match figure.kind {
            FigureKind::Counter => format!("rtm_{}_total", figure.name),
            FigureKind::Gauge => format!("rtm_{}", figure.name),
        })
        .collect();
    assert_eq!(plain.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, (kind, labels, _)) in &plain {
        assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" });
        assert!(labels.is_empty());
    }
    assert_eq!((plain["rtm_live"].2, plain["rtm_registered_total"].2), (7, 10));

    let (bad, quoted) = ("9 lives", "a \"b\" \\ c\nd, e=\"f\"}");
    let labels = [("registry", quoted), (bad, "ü")];
    let labelled = exposed(&statistics.render(Format::Prometheus(&labels)));
    assert_eq!(labelled.len(), plain.len());
    for (name, (_, labels, value)) in &labelled {
        assert_eq!((labels["registry"].as_str(), labels["__lives"].as_str()), (quoted, "ü"));
        assert_eq!(*value, plain[name].2);
    }
}

/// Who reads the help of one figure does not see the others.
#[test]
fn help_stands_alone() {
    for Figure { name, help, .. } in Statistics::default().figures() {
        assert!(help.ends_with('.') && help.starts_with(char::is_uppercase), "{name}: {help}");
        let names_what_it_counts =
            ["ntities", "Members", "Slots", "Chunks", "Bytes", "tables", "members", "Events"]
                .iter()
                .any(|what| help.contains(what));
        assert!(names_what_it_counts, "{name}: {help}");
        for elsewhere in ["`", "[", "Those", "of them", "alone", "above"] {
            assert!(!help.contains(elsewhere), "{name}: {help}");
        }
    }
}

#[test]
fn help_is_one_line() {
    let figure = Figure { name: "x", help: "a\\b\nc", kind: FigureKind::Gauge, value: 1 };
    let mut text = String::new();
    Format::Prometheus(&[]).write([figure], &mut text).unwrap();
    assert_eq!(text, "# HELP rtm_x a\\\\b\\nc\n# TYPE rtm_x gauge\nrtm_x 1\n");
}

#[test]
fn nothing_and_no_name_are_written_rightly() {
    let mut text = String::new();
    Format::Json.write([], &mut text).unwrap();
    assert_eq!(text, "{}\n");
    text.clear();
    let figure = Figure { name: "x", help: "", kind: FigureKind::Gauge, value: 1 };
    Format::Prometheus(&[("", "v")]).write([figure], &mut text).unwrap();
    assert!(text.ends_with("\nrtm_x{_=\"v\"} 1\n"), "{text}");
}
