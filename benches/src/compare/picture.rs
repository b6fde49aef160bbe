//! One picture of what matters most.

use super::page::{Shown, entities, other_ways};
use super::table::Traits;
use crate::page::chart::{Kind, bars_height, draw_bars, moved, text};
use crate::page::machine::Machine;
use crate::page::picture;

/// The width of a panel.
const HALF: f64 = 450.0;

/// What matters most: operation, its title, and whether the peers keep ids unique as well.
const PANELS: [(&str, &str, bool); 6] = [
    ("look up", "look up an entity, ns", false),
    ("stale", "refuse a stale handle, ns", false),
    ("reader beside churner", "look up while another thread churns, ns", false),
    ("pair, hot", "register and deregister, unique ids, ns", true),
    ("two churners", "register and deregister, two threads, ns", true),
    ("bytes", "bytes for an entity of 128, with unique ids", true),
];
/// Peers in a panel.
const BEST: usize = 3;

/// The picture, of the largest size measured.
pub(super) fn svg(shown: &Shown<'_>) -> String {
    let count = shown.sizes.last().copied().unwrap_or_default();
    let panels = PANELS.map(|(operation, title, indexed)| {
        let chosen = |traits: &Traits| !traits.ours && traits.indexed == indexed;
        let mut all = shown.bars(count, operation, other_ways(operation), chosen);
        let mut peers = 0;
        all.retain(|bar| match bar.kind {
            Kind::Peer => {
                peers += 1;
                peers <= BEST
            }
            Kind::Wrong => false,
            Kind::Ours | Kind::Floor => true,
        });
        (title, all)
    });
    let rows: Vec<f64> = panels
        .chunks(2)
        .map(|pair| 40.0 + pair.iter().map(|(_, all)| bars_height(all.len())).fold(0.0, f64::max))
        .collect();
    let (margin, top) = (20.0, 62.0);
    let (width, height) = (2.0 * HALF + 3.0 * margin, top + rows.iter().sum::<f64>() + 30.0);
    let title = format!("rtm beside the best peers, {}", entities(count));
    picture(width, height, &title, |out| {
        text(out, "top", [margin, 32.0], &title);
        text(
            out,
            "faint",
            [margin, 51.0],
            "less is better; whiskers show the spread; scales differ",
        );
        let mut y = top;
        for (pair, height) in panels.chunks(2).zip(&rows) {
            for ((title, all), x) in pair.iter().zip([margin, 2.0 * margin + HALF]) {
                moved(out, [x, y], |out| {
                    text(out, "heading", [0.0, 18.0], title);
                    moved(out, [0.0, 26.0], |out| draw_bars(out, HALF, all));
                });
            }
            y += height;
        }
        let Machine { processor, cores, compiler, .. } = shown.machine;
        let compiler = compiler.split(" (").next().unwrap_or_default();
        let day = shown.machine.day();
        let rounds = match shown.often.last().map_or(0, |often| often.all_rounds()) {
            1 => "1 round".to_owned(),
            n => format!("{n} rounds"),
        };
        let quick = if shown.quick { " --quick" } else { "" };
        let line = format!(
            "{processor}, {cores} cores · {compiler} · {day} · rtm-compare{quick}, {rounds}"
        );
        text(out, "faint small", [margin, y + 14.0], &line);
    })
}

#[cfg(test)]
mod tests {
    use super::super::RTM;
    use super::super::page::tests::shown;
    use super::*;
    use crate::page::figure;
    use crate::page::tests::Read;

    #[test]
    fn a_picture_has_the_best() {
        shown(|shown| {
            let read = Read::new(&svg(shown));
            for (operation, title, _) in PANELS {
                let ours = shown.figures.get(1_000_000, operation, RTM).expect("measured");
                assert!(read.says(title) && read.says(&figure(ours.value)), "{title}");
            }
            assert!(read.says("concurrent-slotmap") && !read.says("scc HashIndex"));
            assert!(!read.says("sharded-slab †"), "who is wrong is not best");
            assert!(read.says(shown.machine.day()) && read.says("Sun & <Moon>"));
        });
    }
}
