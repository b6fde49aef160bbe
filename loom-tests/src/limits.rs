//! The credits behind the limit on entities.

use crate::{explore, spawn};
use rtm_core::model::{Credits, Seat};
use std::sync::Arc;

/// Takes all there are.
fn rest(credits: &Credits, seat: &Seat) -> usize {
    (0..9).take_while(|_| credits.take(seat, 1).is_some()).count()
}

/// The last credit goes to one of two.
pub fn two_takers() {
    explore(|| {
        let credits = Arc::new(Credits::new(1));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        let thread = {
            let credits = credits.clone();
            spawn(move || (credits.take(&other, 1).is_some(), other))
        };
        let first = credits.take(&one, 1).is_some();
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one was let in");
    });
}

/// A credit that is given back is there for others, once.
pub fn give_against_take() {
    explore(|| {
        let credits = Arc::new(Credits::new(2));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        assert_eq!([(); 2].map(|()| credits.take(&other, 1)), [Some(true); 2]);
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                credits.give(&other, 1, true);
                credits.give(&other, 1, true);
                other
            })
        };
        let taken = usize::from(credits.take(&one, 1).is_some());
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
        taken.into_iter().flatten().for_each(|charged| credits.give(&one, 1, charged));
        assert_eq!(rest(&credits, &one) + rest(&credits, &other), 1);
    });
}

/// The limit is lowered again just when the debt of the first lowering is paid: it is in debt still, so what is
/// given back goes to the pool, and nobody is let in by way of a stock.
pub fn lower_against_the_end_of_debt() {
    explore(|| {
        let credits = Arc::new(Credits::new(3));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        assert_eq!([(); 3].map(|()| credits.take(&one, 1)), [Some(true); 3]);
        credits.set(&other, 2);
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                credits.set(&other, 1);
                other
            })
        };
        credits.give(&one, 1, true);
        let other = thread.join().unwrap();
        // Two are left, and there may be one.
        credits.give(&one, 1, true);
        assert_eq!(rest(&credits, &one) + rest(&credits, &other), 0, "let in beyond the limit");
    });
}

/// A limit comes while there is none: only a registration that runs at that moment is let in too many,
/// and in the end there are as many as the limit says.
pub fn first_limit_against_take() {
    explore(|| {
        let credits = Arc::new(Credits::new(1 << 28));
        let (one, other) = (credits.domain.join(), credits.domain.join());
        let before = credits.take(&one, 1);
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                credits.set(&other, 2);
                other
            })
        };
        let during = credits.take(&one, 1);
        let other = thread.join().unwrap();
        assert_eq!(before, Some(false));
        let more = rest(&credits, &other);
        assert!(more <= 1, "those from before were forgotten");
        (0..more).for_each(|_| credits.give(&other, 1, true));
        before.into_iter().chain(during).for_each(|charged| credits.give(&one, 1, charged));
        assert_eq!(rest(&credits, &one) + rest(&credits, &other), 2);
    });
}

/// Whoever counts what was not charged counts nothing that has gone but did not come.
pub fn recount_against_departure() {
    explore(|| {
        let credits = Arc::new(Credits::new(1 << 28));
        let seats = [credits.domain.join(), credits.domain.join(), credits.domain.join()];
        let [one, other, third] = seats;
        let thread = {
            let credits = credits.clone();
            spawn(move || {
                if let Some(charged) = credits.take(&one, 1) {
                    credits.give(&other, 1, charged);
                }
                (one, other)
            })
        };
        credits.set(&third, 2);
        assert!(rest(&credits, &third) <= 2, "more than there may be");
        let _seats = thread.join().unwrap();
    });
}
