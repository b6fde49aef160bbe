//! Charts: horizontal bars with whiskers, and curves. Drawn for a narrow column, so that a telephone shows
//! them readably; two stand side by side on a wide page.

use super::{Attributes, Length, Markup, figure};

/// Of a chart in a page.
const WIDTH: f64 = 460.0;

/// Maps values to places.
struct Scale {
    values: [f64; 2],
    places: [f64; 2],
    logarithmic: bool,
}

impl Scale {
    /// One that holds these values; linear ones begin at 0.
    fn new(all: impl Iterator<Item = f64>, places: [f64; 2], logarithmic: bool) -> Scale {
        let all: Vec<f64> = all.filter(|value| value.is_finite()).collect();
        let most = all.iter().copied().fold(0.0, f64::max);
        let values = if logarithmic {
            let positive = all.iter().copied().filter(|value| *value > 0.0);
            let least = positive.fold(f64::INFINITY, f64::min).min(most);
            let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 1.0) };
            let from = round_number(least, f64::floor);
            [from, round_number(most, f64::ceil).max(from * 2.0)]
        } else {
            [0.0, if most > 0.0 { most } else { 1.0 }]
        };
        Scale { values, places, logarithmic }
    }

    fn at(&self, value: f64) -> f64 {
        let [from, to] = self.values;
        let share = match self.logarithmic {
            true => (value.max(from) / from).ln() / (to / from).ln(),
            false => value / to,
        };
        self.places[0] + share.clamp(0.0, 1.0) * (self.places[1] - self.places[0])
    }

    /// Some round numbers on it.
    fn ticks(&self) -> Vec<f64> {
        let [from, to] = self.values;
        if !self.logarithmic {
            let raw = to / 4.0;
            let power = 10_f64.powf(raw.log10().floor());
            let step =
                [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|n| *n >= raw * 0.8);
            let step = step.unwrap_or(raw);
            return (0..=8)
                .map(|n| f64::from(n) * step)
                .take_while(|n| *n <= to * 1.0001)
                .collect();
        }
        let decades = (to / from).log10();
        let steps: &[f64] = match decades {
            d if d < 1.2 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let first = from.log10().floor() as i32;
        let stride = 1.max((decades / 6.0).ceil() as i32) as usize;
        let powers =
            (first..=to.log10().ceil() as i32).step_by(stride).map(|power| 10_f64.powi(power));
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * power));
        all.filter(|tick| (from * 0.999..=to * 1.001).contains(tick)).collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_number(value: f64, direction: fn(f64) -> f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let (upwards, share) = (direction(0.5) > 0.5, value / power);
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = match upwards {
        true => steps.into_iter().find(|step| *step >= share * 0.9999),
        false => steps.into_iter().rfind(|step| *step <= share * 1.0001),
    };
    step.unwrap_or(1.0) * power
}

/// A tick as people read it: 0.5, 20, 5k, 3M.
fn tick(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn line(out: &mut Markup, class: &str, from: [f64; 2], to: [f64; 2]) {
    let attributes: Attributes<'_> = &[
        ("class", &class),
        ("x1", &Length(from[0])),
        ("y1", &Length(from[1])),
        ("x2", &Length(to[0])),
        ("y2", &Length(to[1])),
    ];
    out.empty("line", attributes);
}

/// Text at a place in a drawing.
pub fn text(out: &mut Markup, class: &str, at: [f64; 2], text: &str) {
    let attributes: Attributes<'_> =
        &[("class", &class), ("x", &Length(at[0])), ("y", &Length(at[1]))];
    out.leaf("text", attributes, text);
}

/// Draws at another place.
pub fn moved(out: &mut Markup, by: [f64; 2], inside: impl FnOnce(&mut Markup)) {
    let by = format!("translate({} {})", Length(by[0]), Length(by[1]));
    out.element("g", &[("transform", &by)], inside);
}

/// A chart in a page, under its heading.
fn chart(
    out: &mut Markup,
    heading: &str,
    note: &str,
    height: f64,
    inside: impl FnOnce(&mut Markup),
) {
    out.element("figure", &[], |out| {
        let view = format!("0 0 {} {}", Length(WIDTH), Length(height));
        let attributes: Attributes<'_> =
            &[("viewBox", &view), ("role", &"img"), ("aria-label", &heading)];
        out.element("svg", attributes, |out| {
            text(out, "heading", [0.0, 14.0], heading);
            moved(out, [0.0, 24.0], inside);
        });
        if !note.is_empty() {
            out.leaf("figcaption", &[], note);
        }
    });
}

/// Whose a bar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The registry's.
    Ours,
    /// Another table's.
    Peer,
    /// Of the least that the machine needs.
    Floor,
    /// Another's that gives wrong answers.
    Wrong,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Peer => "peer",
            Kind::Floor => "floor",
            Kind::Wrong => "wrong",
        }
    }
}

/// One bar; the whisker goes from the least to the most.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What stands before it.
    pub name: String,
    /// Its length.
    pub value: f64,
    /// Of all that were measured.
    pub least: f64,
    /// Of all that were measured.
    pub most: f64,
    /// Whose it is.
    pub kind: Kind,
}

const ROW: f64 = 18.0;
const THICK: f64 = 11.0;
/// Above this ratio of the longest to the shortest bar their scale is logarithmic.
const WIDE: f64 = 25.0;

/// The height of a drawing of so many bars.
pub fn bars_height(count: usize) -> f64 {
    count as f64 * ROW + 18.0
}

/// Draws bars, `width` wide, without heading.
pub fn draw_bars(out: &mut Markup, width: f64, bars: &[Bar]) {
    let names = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0) as f64;
    let begin = (names * 6.9 + 8.0).min(width * 0.45);
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let least = bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0).fold(most, f64::min);
    let values = bars.iter().flat_map(|bar| [bar.value, bar.most.min(bar.value * 2.0)]);
    let scale = Scale::new(values, [begin, width - 58.0], most > WIDE * least);
    let bottom = bars.len() as f64 * ROW;
    for value in scale.ticks() {
        let x = scale.at(value);
        line(out, "grid", [x, 0.0], [x, bottom]);
        text(out, "faint small middle", [x, bottom + 13.0], &tick(value));
    }
    for (number, bar) in bars.iter().enumerate() {
        let top = number as f64 * ROW + (ROW - THICK) / 2.0;
        let (baseline, middle) = (top + THICK - 1.0, top + THICK / 2.0);
        let ours = if bar.kind == Kind::Ours { " ours" } else { "" };
        text(out, &format!("end{ours}"), [begin - 6.0, baseline], &bar.name);
        let attributes: Attributes<'_> = &[
            ("class", &bar.kind.class()),
            ("x", &Length(begin)),
            ("y", &Length(top)),
            ("width", &Length((scale.at(bar.value) - begin).max(1.0))),
            ("height", &Length(THICK)),
        ];
        out.empty("rect", attributes);
        let [from, to] = [bar.least, bar.most].map(|value| scale.at(value));
        if to - from > 1.5 {
            line(out, "whisker", [from, middle], [to, middle]);
            // What is longer than the scale has no end.
            let ends = [(from, true), (to, bar.most <= scale.values[1])];
            for (x, _) in ends.into_iter().filter(|(_, shown)| *shown) {
                line(out, "whisker", [x, middle - 3.0], [x, middle + 3.0]);
            }
        }
        text(out, &format!("end{ours}"), [width, baseline], &figure(bar.value));
    }
    line(out, "axis", [begin, 0.0], [begin, bottom]);
}

/// A chart of bars.
pub fn bars(out: &mut Markup, heading: &str, note: &str, bars: &[Bar]) {
    chart(out, heading, note, bars_height(bars.len()) + 26.0, |out| draw_bars(out, WIDTH, bars));
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What stands at its end.
    pub name: String,
    /// From left to right.
    pub points: Vec<[f64; 2]>,
}

/// How curves are shown.
#[derive(Clone, Debug)]
pub struct Axes<'a> {
    /// What goes to the right.
    pub across: &'a str,
    /// Names of places on that way, if not numbers.
    pub places: &'a [(f64, &'a str)],
    /// Whether it goes by powers.
    pub across_by_powers: bool,
    /// Whether upwards goes by powers.
    pub up_by_powers: bool,
}

const COLOURS: usize = 6;

/// A chart of at most six curves (more share colours).
pub fn curves(out: &mut Markup, heading: &str, note: &str, axes: &Axes<'_>, curves: &[Curve]) {
    let height = 220.0;
    let names = curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0) as f64;
    let right = WIDTH - (names * 6.9 + 10.0).min(WIDTH * 0.36);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let across = |places: [f64; 2]| {
        let all = points().map(|point| point[0]).chain(axes.places.iter().map(|place| place.0));
        Scale::new(all, places, axes.across_by_powers)
    };
    let (x, top, bottom) = (across([38.0, right]), 8.0, height - 34.0);
    let y = Scale::new(points().map(|point| point[1]), [bottom, top], axes.up_by_powers);
    chart(out, heading, note, height + 24.0, |out| {
        for value in y.ticks() {
            let at = y.at(value);
            line(out, "grid", [38.0, at], [right, at]);
            text(out, "faint small end", [33.0, at + 4.0], &tick(value));
        }
        let ticks = || x.ticks().into_iter().map(|value| (value, tick(value)));
        let named = || axes.places.iter().map(|(value, name)| (*value, (*name).to_owned()));
        let ticks: Vec<_> =
            if axes.places.is_empty() { ticks().collect() } else { named().collect() };
        for (value, name) in ticks {
            let at = x.at(value);
            line(out, "axis", [at, bottom], [at, bottom + 4.0]);
            text(out, "faint small middle", [at, bottom + 16.0], &name);
        }
        line(out, "axis", [38.0, bottom], [right, bottom]);
        text(out, "faint small end", [right, bottom + 31.0], axes.across);
        let ends =
            curves.iter().map(|curve| curve.points.last().map_or(bottom, |end| y.at(end[1])));
        let places = apart(&ends.collect::<Vec<_>>(), 13.5, [top, bottom]);
        for (number, curve) in curves.iter().enumerate() {
            let colour = format!("s{}", number % COLOURS);
            let points = curve.points.iter().map(|point| [x.at(point[0]), y.at(point[1])]);
            let points: Vec<[f64; 2]> = points.collect();
            let text_of = |point: &[f64; 2]| format!("{},{}", Length(point[0]), Length(point[1]));
            let all: Vec<String> = points.iter().map(text_of).collect();
            let class = format!("curve {colour}");
            out.empty("polyline", &[("class", &class), ("points", &all.join(" "))]);
            if points.len() <= 12 {
                for point in points {
                    let [x, y] = point.map(Length);
                    out.empty("circle", &[("class", &colour), ("cx", &x), ("cy", &y), ("r", &2.2)]);
                }
            }
            text(out, &colour, [right + 7.0, places[number] + 4.0], &curve.name);
        }
    });
}

/// The places nearest to these that are so far apart, inside bounds if there is room.
fn apart(places: &[f64], distance: f64, [top, bottom]: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|one, other| places[*one].total_cmp(&places[*other]));
    let mut found = places.to_vec();
    let mut least = top;
    for index in &order {
        found[*index] = found[*index].max(least);
        least = found[*index] + distance;
    }
    let mut most = bottom;
    for index in order.iter().rev() {
        found[*index] = found[*index].min(most);
        most = found[*index] - distance;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values() {
        for (values, logarithmic) in [
            (&[0.8, 1700.0][..], true),
            (&[1.0, 1.0], true),
            (&[0.0, 3.0], true),
            (&[0.0], true),
            (&[], true),
            (&[0.0, 3.0], false),
            (&[], false),
        ] {
            let scale = Scale::new(values.iter().copied(), [10.0, 110.0], logarithmic);
            for value in values {
                let at = scale.at(*value);
                assert!((10.0..=110.0).contains(&at), "{values:?}: {value} at {at}");
            }
            let ticks = scale.ticks();
            assert!((1..=9).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (10.0..=110.0).contains(&scale.at(*tick))));
        }
        let scale = Scale::new([0.8, 1700.0].into_iter(), [0.0, 100.0], true);
        assert!((scale.at(1.0) + scale.at(1000.0) - 2.0 * scale.at(10_f64.powf(1.5))).abs() < 1e-9);
        assert_eq!(
            [0.83, 1.0, 19.0, 50.0].map(|n| round_number(n, f64::floor)),
            [0.5, 1.0, 10.0, 50.0]
        );
        assert_eq!(
            [0.83, 1.0, 19.0, 51.0].map(|n| round_number(n, f64::ceil)),
            [1.0, 1.0, 20.0, 100.0]
        );
    }

    #[test]
    fn ticks_are_short() {
        let texts = ["0", "0.5", "20", "5000", "50k", "2.5M", "3G"];
        assert_eq!([0.0, 0.5, 20.0, 5e3, 5e4, 2.5e6, 3e9].map(tick), texts);
    }

    #[test]
    fn labels_keep_apart() {
        let found = apart(&[50.0, 10.0, 52.0, 99.0, 100.0], 10.0, [0.0, 100.0]);
        let mut sorted = found.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 10.0 - 1e-9), "{found:?}");
        assert!(sorted[0] >= 0.0 && sorted[4] <= 100.0);
        assert!(found[0] < found[2] && found[3] < found[4]);
    }
}
