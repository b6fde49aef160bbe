//! Figures, and how sure they are.
//!
//! A machine that is shared has phases, of seconds to a minute, in which the same code is up to twice as slow.
//! So all tables have a short turn in each of several *rounds*. A round's figure of an operation is the median
//! of its repetitions in that turn; *the figure* is the median over rounds. How far the rounds lie apart, the
//! *spread*, is told by their quartiles, so that one round in a bad phase does not pass for noise of all; with
//! fewer than five rounds by the least and the most.
//!
//! Two tables are compared *round by round* ([`Figure::over`]): the ratio is the median of the ratios of the
//! rounds, and its spread is theirs. A phase that is longer than a round slows both and cancels out. Of two
//! medians, each taken over all rounds, it would not: if half of the rounds were slow, one median could be of
//! a slow round and the other of a fast one. What is measured in one round alone takes its repetitions for
//! rounds, which is right where they were taken in turn.

use std::collections::BTreeMap;

/// With so many rounds the quartiles tell the spread.
const ENOUGH: usize = 5;

/// A figure, and how far its rounds lie apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    /// From `low` to `high`, as a share of the figure.
    pub(super) spread: f64,
    /// The quartiles, or the least and the most of a few.
    pub(super) low: f64,
    pub(super) high: f64,
    rounds: Vec<(u64, f64)>,
}

impl Figure {
    /// Of rounds, which are not none.
    fn of_rounds(rounds: Vec<(u64, f64)>) -> Figure {
        let mut all: Vec<f64> = rounds.iter().map(|(_, figure)| *figure).collect();
        all.sort_unstable_by(f64::total_cmp);
        let value = quantile(&all, 0.5);
        let outer = if all.len() >= ENOUGH { 0.25 } else { 0.0 };
        let (low, high) = (quantile(&all, outer), quantile(&all, 1.0 - outer));
        let spread = if value == 0.0 { 0.0 } else { ((high - low) / value).abs() };
        Figure { value, spread, low, high, rounds }
    }

    /// Of the repetitions of each round; of one round alone each repetition counts as a round.
    fn of_repetitions(rounds: &BTreeMap<u64, Vec<f64>>) -> Figure {
        match rounds.first_key_value() {
            Some((_, only)) if rounds.len() == 1 => Figure::of(only.clone()),
            _ => Figure::of_rounds(
                rounds.iter().map(|(round, all)| (*round, median(all.clone()))).collect(),
            ),
        }
    }

    /// Of several, which are not none, one for each round.
    pub(super) fn of(all: Vec<f64>) -> Figure {
        Figure::of_rounds((0..).zip(all).collect())
    }

    /// Something else that follows from it in each round.
    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Figure {
        Figure::of_rounds(self.rounds.iter().map(|(round, figure)| (*round, f(*figure))).collect())
    }

    /// As a multiple of another, round by round.
    pub(super) fn over(&self, other: &Figure) -> Figure {
        let ratio = |(round, figure): &(u64, f64)| {
            let (_, other) = other.rounds.iter().find(|(known, _)| known == round)?;
            Some((*round, figure / other))
        };
        let both: Vec<_> = self.rounds.iter().filter_map(ratio).collect();
        match both.is_empty() {
            // They never met.
            true => self.map(|figure| figure / other.value),
            false => Figure::of_rounds(both),
        }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    quantile(&all, 0.5)
}

/// Below which a share of them lies, which are sorted; between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// By size, operation and table.
pub(super) type Key = (usize, String, &'static str);

pub(super) struct Figures(pub(super) BTreeMap<Key, Figure>);

impl Figures {
    pub(super) fn get(
        &self,
        count: usize,
        operation: &str,
        table: &'static str,
    ) -> Option<&Figure> {
        self.0.get(&(count, operation.to_owned(), table))
    }
}

/// Rows, while they come in.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<Key, BTreeMap<u64, Vec<f64>>>);

impl Rows {
    pub(super) fn add(&mut self, key: Key, round: u64, figure: f64) {
        self.0.entry(key).or_default().entry(round).or_default().push(figure);
    }

    pub(super) fn figures(&self) -> Figures {
        let all = self.0.iter();
        Figures(all.map(|(key, rounds)| (key.clone(), Figure::of_repetitions(rounds))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rounds: &[&[f64]]) -> Figure {
        let mut rows = Rows::default();
        for (all, round) in rounds.iter().zip(0..) {
            all.iter().for_each(|figure| rows.add((1, String::new(), "a"), round, *figure));
        }
        rows.figures().get(1, "", "a").expect("a figure").clone()
    }

    #[test]
    fn a_figure_is_the_median_of_medians() {
        let all = figures(&[&[1.0, 9.0, 2.0], &[3.0, 3.0, 3.0], &[8.0, 4.0, 0.0]]);
        assert_eq!((all.value, all.low, all.high), (3.0, 2.0, 4.0));
        assert!((all.spread - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn one_round_is_told_by_its_repetitions() {
        let all = figures(&[&[1.0, 9.0, 2.0]]);
        assert_eq!((all.value, all.spread), (2.0, 4.0));
        assert_eq!(all.over(&figures(&[&[1.0, 9.0, 1.0]])).value, 1.0);
    }

    #[test]
    fn one_bad_round_is_no_spread() {
        let all = Figure::of(vec![1.0, 1.0, 1.0, 1.0, 1.8]);
        assert_eq!((all.value, all.spread), (1.0, 0.0));
        assert_eq!(Figure::of(vec![1.0, 1.0, 1.0, 1.8]).spread, 0.8);
    }

    /// Half of the rounds are in a slow phase: the medians of the two fall into different phases, since a
    /// phase began between their turns in one round; the ratios do not notice but in that round.
    #[test]
    fn a_phase_cancels_out() {
        let ours = Figure::of(vec![1.0, 1.0, 1.0, 1.8, 1.8, 1.8, 1.8]);
        let other = Figure::of(vec![2.0, 2.0, 2.0, 2.0, 3.6, 3.6, 3.6]);
        assert_eq!(ours.value / other.value, 0.9);
        let ratio = ours.over(&other);
        assert_eq!((ratio.value, ratio.spread), (0.5, 0.0));
    }

    #[test]
    fn rounds_are_paired_by_number() {
        let ours = Figure::of_rounds(vec![(3, 3.0), (7, 14.0)]);
        let other = Figure::of_rounds(vec![(1, 9.0), (7, 7.0)]);
        assert_eq!(ours.over(&other).value, 2.0);
        assert_eq!(ours.over(&Figure::of(vec![17.0])).value, 0.5);
    }
}
