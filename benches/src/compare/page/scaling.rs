//! The sections on growth and on many threads.

use super::{RTM, Shown, TABLES, entities, figures_table, short, tail_of, tails};
use crate::compare::{bounds, growth, scaling};
use crate::page::Markup;
use crate::page::chart::{Axes, Curve, curves};

/// Registering one by one, while the index grows.
pub(super) fn growth(out: &mut Markup, shown: &Shown<'_>) {
    for count in shown.grown {
        let curve = |load| tail_of(shown, *count, load, RTM, load.replace("register, ", ""));
        let all: Vec<Curve> = growth::LOADS.into_iter().map(curve).collect();
        if all.iter().all(|curve| !curve.points.is_empty()) {
            out.leaf("h2", &[], &format!("Registering {} one by one", entities(*count)));
            let heading = "single registrations, ns (the clock's own time is taken off)";
            let note = "Growing and large index: into slots that were used before. New registry: memory comes \
                        from the system.";
            tails(out, "share of registrations", heading, note, &all);
        }
    }
}

pub(super) fn threads(out: &mut Markup, shown: &Shown<'_>) {
    let series = |numbers: &[usize], name: fn(usize) -> String| -> Vec<Curve> {
        let of = |table: &'static str| {
            let points = numbers.iter().filter_map(|number| {
                let figure = shown.figures.get(1_000, &name(*number), table)?;
                Some([*number as f64, figure.value])
            });
            Curve { name: short(table), points: points.collect() }
        };
        let all = TABLES.iter().map(|(name, ..)| of(name));
        all.filter(|curve| !curve.points.is_empty()).collect()
    };
    out.leaf("h2", &[], "More threads than cores, and idle members");
    let note = format!(
        "{} cores. Every thread looks up 1,000 of 1,000 entities and replaces 16 of its own, again and again. \
         Idle members are threads that have looked up once and sleep.",
        shown.machine.cores
    );
    out.leaf("p", &[], &note);
    let labels = |numbers: &[usize]| -> Vec<(f64, String)> {
        numbers.iter().map(|number| (*number as f64, number.to_string())).collect()
    };
    let charts = [
        ("million operations per second", "threads", &scaling::THREADS[..], true),
        ("a look-up, ns", "idle members", &scaling::IDLE[..], false),
    ];
    out.element("div", &[("class", &"charts")], |out| {
        for (heading, across, numbers, throughput) in charts {
            let name = if throughput { scaling::throughput } else { scaling::beside };
            let all = series(numbers, name);
            let labels = labels(numbers);
            let places: Vec<(f64, &str)> =
                labels.iter().map(|(at, name)| (*at, name.as_str())).collect();
            let axes = Axes {
                across,
                places: &places,
                across_by_powers: throughput,
                up_by_powers: !throughput,
            };
            curves(out, heading, "", &axes, &all[..all.len().min(6)]);
        }
    });
    let operations = scaling::THREADS.map(scaling::throughput);
    let heads = scaling::THREADS.map(|threads| threads.to_string());
    let columns = operations.iter().map(String::as_str).zip(heads.iter().map(String::as_str));
    out.leaf("h3", &[], "Million operations per second of so many threads");
    figures_table(out, shown, 1_000, &columns.collect::<Vec<_>>());
    let (operations, heads) =
        (scaling::IDLE.map(scaling::beside), scaling::IDLE.map(|n| n.to_string()));
    let columns = operations.iter().map(String::as_str).zip(heads.iter().map(String::as_str));
    out.leaf("h3", &[], "A look-up beside so many idle members, ns");
    figures_table(out, shown, 1_000, &columns.collect::<Vec<_>>());
    let crowd: Vec<(String, String)> = scaling::ALONE
        .into_iter()
        .flat_map(|mix| scaling::CROWD.map(|threads| (mix, threads)))
        .map(|(mix, threads)| (mix.row(threads), mix.row(threads)))
        .collect();
    let columns: Vec<_> = crowd.iter().map(|(row, head)| (row.as_str(), head.as_str())).collect();
    out.leaf("h3", &[], "Each operation alone, of few threads and of a crowd");
    figures_table(out, shown, 1_000, &columns);
}

/// What the simulated coherence events say of more cores.
pub(super) fn bounds(out: &mut Markup) {
    out.leaf("h2", &[], "Scaling");
    out.leaf("p", &[], bounds::NOTE);
    let heads = bounds::heads();
    let rows: Vec<_> = bounds::all().map(|bound| bound.cells().to_vec()).collect();
    out.table(&heads.each_ref().map(String::as_str), &rows);
}
