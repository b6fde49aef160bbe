//! The credits behind the limit on entities.

use crate::{explore, spawn};
use rtm_core::model::{Credits, Seat};
use std::sync::Arc;

/// Takes all there are.
fn rest(credits: &Credits, seat: &Seat) -> usize {
    (0..9).take_while(|_| credits.take(seat, 1)).count()
}

/// The last credit goes to one of two.
pub fn two_takers() {
    explore(|| {
        let credits = Arc::new(Credits::new(1));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        let thread = {
            let credits = credits.clone();
            spawn(move || (credits.take(&other, 1), other))
        };
        let first = credits.take(&one, 1);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one was let in");
    });
}

/// A credit that is given back is there for others, once.
pub fn give_against_take() {
    explore(|| {
        let credits = Arc::new(Credits::new(2));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        assert!(credits.take(&other, 1) && credits.take(&other, 1));
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                credits.give(&other, 1);
                credits.give(&other, 1);
                other
            })
        };
        let taken = usize::from(credits.take(&one, 1));
        let other = thread.join().unwrap();
        assert_eq!(taken + rest(&credits, &one) + rest(&credits, &other), 2);
    });
}

/// The limit is lowered while credits are taken: in the end there are as many as it says.
pub fn lower_against_take() {
    explore(|| {
        let credits = Arc::new(Credits::new(2));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                credits.set(&other, 1);
                other
            })
        };
        let taken = [(); 2].map(|()| credits.take(&one, 1));
        let other = thread.join().unwrap();
        taken.into_iter().filter(|taken| *taken).for_each(|_| credits.give(&one, 1));
        assert_eq!(rest(&credits, &one) + rest(&credits, &other), 1);
    });
}
