//! Lists of slots: free, spare and retired ones.

use super::*;
use rtm_core::model::Retired;

/// Two members out of slots meet at a third one's spare list.
pub fn two_thieves() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Two>::new());
        let (owner, one, other) = (slab.domain.join(), slab.domain.join(), slab.domain.join());
        let tokens = [slab.add(&owner, 1, ()).unwrap(), slab.add(&owner, 2, ()).unwrap()];
        assert!(tokens.iter().all(|token| slab.remove(&owner, *token)));
        slab.collect(&owner, STEPS);
        let steal = |slab: &Slab<(), Two>, seat: &Seat| {
            [(); 2].map(|()| slab.reserve(seat, 5, ()).map(|reserved| slot_of(reserved.token())))
        };
        let thread = {
            let slab = slab.clone();
            spawn(move || (steal(&slab, &other), other))
        };
        let first = steal(&slab, &one);
        let (second, _other) = thread.join().unwrap();
        let mut slots: Vec<_> = first.into_iter().chain(second).flatten().collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1], "each slot goes to one thief");
    });
}

/// A member takes from another that is just laying a list open.
pub fn share_against_theft() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Two>::new());
        let (owner, thief) = (slab.domain.join(), slab.domain.join());
        let tokens = [slab.add(&owner, 1, ()).unwrap(), slab.add(&owner, 2, ()).unwrap()];
        assert!(tokens.iter().all(|token| slab.remove(&owner, *token)));
        for _ in 0..STEPS {
            owner.nudge();
        }
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                slab.collect(&owner, 0);
                let own = slab.reserve(&owner, 5, ()).map(|reserved| reserved.token());
                (own, owner)
            })
        };
        let stolen = slab.reserve(&thief, 5, ()).map(|reserved| reserved.token());
        let (own, owner) = thread.join().unwrap();
        let named_again = own.into_iter().chain(stolen).find(|token| tokens.contains(token));
        assert_eq!(named_again, None, "an object has the name of one before it");
        let taken: Vec<_> = own.into_iter().chain(stolen).map(slot_of).collect();
        let left =
            all_slots(&slab, &owner, || ()).into_iter().chain(all_slots(&slab, &thief, || ()));
        let mut slots: Vec<_> = taken.into_iter().chain(left).collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1], "a slot was lost or handed out twice");
    });
}

/// A retired list is sealed by its owner and by a flush at the same time: once in all.
pub fn seal_against_seal() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, Pair>::new());
        let (owner, other) = (slab.domain.join(), slab.domain.join());
        let tokens = [1, 2].map(|id| slab.add(&owner, id, ledger.canary(id)).unwrap());
        assert!(slab.remove(&owner, tokens[0]));
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert!(slab.remove(&owner, tokens[1]));
                owner
            })
        };
        slab.seal_all(&other);
        let owner = thread.join().unwrap();
        slab.seal_all(&other);
        slab.collect(&other, STEPS);
        assert_eq!((ledger.drops(1), ledger.drops(2)), (1, 1));
        assert_eq!(slab.domain.backlog(), 0);
        let slots = [&owner, &other].map(|seat| all_slots(&slab, seat, || ledger.canary(3)).len());
        assert_eq!(slots[0] + slots[1], 2, "slots were lost or handed out twice");
    });
}

/// Two take from a member's list while it pushes: each slot is taken once, the newest first.
pub fn two_take_what_is_retired() {
    explore(|| {
        let retired = Arc::new(Retired::default());
        retired.push(0);
        let other = {
            let retired = retired.clone();
            spawn(move || retired.take())
        };
        let owner = {
            let retired = retired.clone();
            spawn(move || {
                retired.push(1);
                retired.push(2);
            })
        };
        let mut all = retired.take();
        all.extend(retired.take());
        assert!(all.len() <= 3 && retired.len() <= 3, "more than there are");
        all.extend(other.join().unwrap());
        owner.join().unwrap();
        all.extend(retired.take());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert!(retired.is_empty());
    });
}

/// A list is sealed by another while its owner pushes to it and never comes to seal it itself.
pub fn retire_against_seal() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, Lazy>::new());
        let (owner, other) = (slab.domain.join(), slab.domain.join());
        let first = slab.add(&owner, 1, ledger.canary(1)).unwrap();
        let second = slab.add(&owner, 2, ledger.canary(2)).unwrap();
        // In this order the link of the first slot names the second.
        assert!(slab.remove(&owner, second));
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert!(slab.remove(&owner, first));
                owner
            })
        };
        slab.seal_all(&other);
        slab.collect(&other, STEPS);
        let owner = thread.join().unwrap();
        slab.seal_all(&other);
        slab.collect(&other, STEPS);
        assert_eq!((ledger.drops(1), ledger.drops(2)), (1, 1));
        let slots = all_slots(&slab, &other, || ledger.canary(3)).len();
        assert_eq!(slots, 4, "slots were lost or handed out twice");
        drop(owner);
    });
}
