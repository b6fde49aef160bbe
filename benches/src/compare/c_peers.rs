//! The peers written in C and C++ (feature `c-peers`): liburcu's cds_lfht, ConcurrencyKit's ck_hs with
//! ck_epoch, oneTBB's concurrent_hash_map. How each is used stands at the head of its file in `c`.
//!
//! *Calls.* What the others have inlined into the timed loops must not be a call here: each timed operation on
//! many keys is one call of a loop in C (`c/peers_loops.h`), into which the peer is compiled as far as its
//! authors let it be. Single calls are left in "fill" and in the latency tail, where one is about 1 ns in 20
//! and more.
//!
//! *Keys.* All are maps with unique keys. The key is a number that is given out once, as with the other
//! maps (`peers.rs`), so that a stale key is refused; they keep no ids unique and are no "indexed" peers.
//! Keyed by id, with a generation in the entity to refuse stale keys, they would be; but then a key is the
//! 64 bits of an id and those of a generation, and the registry gives out handles of 64 bits in all.
//!
//! *Threads.* liburcu and ck know each thread that calls them. A thread makes itself known in its first call
//! and is forgotten when it ends, so a seat may be used in any thread.

use super::table::{Seat, Table, Traits};
use std::marker::PhantomData;

/// Functions of a peer, in the order of `c/peers.h`. There is one table in a process.
#[repr(C)]
pub(crate) struct Calls {
    open: unsafe extern "C" fn(usize),
    insert: unsafe extern "C" fn(u64) -> u64,
    remove: unsafe extern "C" fn(u64) -> i32,
    get: unsafe extern "C" fn(u64) -> u64,
    enter: unsafe extern "C" fn(),
    leave: unsafe extern "C" fn(),
    get_held: unsafe extern "C" fn(u64) -> u64,
    look_up: unsafe extern "C" fn(*const u64, usize) -> u64,
    look_up_dependent: unsafe extern "C" fn(*const u64, usize) -> u64,
    look_up_held: unsafe extern "C" fn(*const u64, usize) -> u64,
    renew: unsafe extern "C" fn(*mut u64, usize, u64) -> i32,
    pairs: unsafe extern "C" fn(usize, u64) -> i32,
    replace: unsafe extern "C" fn(*mut u64, *const usize, usize) -> i32,
    count: unsafe extern "C" fn(*mut u64) -> u64,
    settle: unsafe extern "C" fn(),
    rest: unsafe extern "C" fn(),
}

#[link(name = "rtm_peers", kind = "static")]
unsafe extern "C" {
    static rtm_peer_urcu_memb: Calls;
    static rtm_peer_urcu_qsbr: Calls;
    static rtm_peer_ck: Calls;
    static rtm_peer_tbb: Calls;
}

/// Says which peer it is.
pub(crate) trait Which: Sync + Sized {
    const NAME: &'static str;
    const TRAITS: Traits;

    fn calls() -> &'static Calls;
}

macro_rules! which {
    ($type:ident, $name:literal, $calls:ident, $traits:expr) => {
        pub(crate) struct $type;

        impl Which for $type {
            const NAME: &'static str = $name;
            const TRAITS: Traits = $traits;

            #[inline(always)]
            fn calls() -> &'static Calls {
                // SAFETY: a constant of the C code, laid out alike.
                unsafe { &$calls }
            }
        }
    };
}

/// liburcu's table has a fixed number of buckets, and ck's is rebuilt after as many removals as suit the size
/// it was made for.
const FULL: Traits = Traits {
    churns: true,
    holds: true,
    indexed: false,
    enumerates: true,
    grows: false,
    ours: false,
};

which!(UrcuMemb, "liburcu lfht, memb", rtm_peer_urcu_memb, FULL);
which!(UrcuQsbr, "liburcu lfht, qsbr", rtm_peer_urcu_qsbr, FULL);
which!(Ck, "ConcurrencyKit ck_hs", rtm_peer_ck, FULL);
which!(
    Tbb,
    "oneTBB concurrent_hash_map",
    rtm_peer_tbb,
    Traits { holds: false, enumerates: false, grows: true, ..FULL }
);

/// The table of a peer.
pub(crate) struct CPeer<W>(PhantomData<W>);

impl<W: Which> Table for CPeer<W> {
    const NAME: &'static str = W::NAME;
    const TRAITS: Traits = W::TRAITS;
    type Key = u64;
    type Seat<'t>
        = &'t Self
    where
        W: 't;

    fn new(expected: usize) -> Self {
        // SAFETY: the process's only table of this peer.
        unsafe { (W::calls().open)(expected) };
        CPeer(PhantomData)
    }

    fn seat(&self) -> &Self {
        self
    }

    fn rest(&self) {
        // SAFETY: there is a table, and the thread is outside.
        unsafe { (W::calls().rest)() };
    }
}

/// Covers the look-ups made with it.
pub(crate) struct Inside(&'static Calls);

impl Drop for Inside {
    fn drop(&mut self) {
        // SAFETY: entered in this thread: guards do not leave the seat's user.
        unsafe { (self.0.leave)() };
    }
}

fn found(id: u64) -> Option<u64> {
    (id != u64::MAX).then_some(id)
}

// SAFETY of all calls: there is a table, and arrays are as long as they are said to be. The functions of a
// peer may be called from any thread at any time.
impl<W: Which> Seat for &CPeer<W> {
    type Key = u64;
    type Guard<'s>
        = Inside
    where
        Self: 's;

    fn insert(&self, id: u64) -> u64 {
        // SAFETY: as above.
        unsafe { (W::calls().insert)(id) }
    }

    fn remove(&self, key: u64) -> bool {
        // SAFETY: as above.
        unsafe { (W::calls().remove)(key) != 0 }
    }

    fn get(&self, key: u64) -> Option<u64> {
        // SAFETY: as above.
        found(unsafe { (W::calls().get)(key) })
    }

    fn guard(&self) -> Inside {
        // SAFETY: as above.
        unsafe { (W::calls().enter)() };
        Inside(W::calls())
    }

    fn get_held(&self, _: &Inside, key: u64) -> Option<u64> {
        // SAFETY: as above, and the thread is inside.
        found(unsafe { (W::calls().get_held)(key) })
    }

    fn look_up(&self, keys: &[u64]) -> u64 {
        // SAFETY: as above.
        unsafe { (W::calls().look_up)(keys.as_ptr(), keys.len()) }
    }

    fn look_up_dependent(&self, keys: &[u64]) -> u64 {
        // SAFETY: as above.
        unsafe { (W::calls().look_up_dependent)(keys.as_ptr(), keys.len()) }
    }

    fn look_up_held(&self, keys: &[u64]) -> u64 {
        // SAFETY: as above.
        unsafe { (W::calls().look_up_held)(keys.as_ptr(), keys.len()) }
    }

    fn renew(&self, keys: &mut [u64], next: u64) {
        // SAFETY: as above.
        assert_ne!(unsafe { (W::calls().renew)(keys.as_mut_ptr(), keys.len(), next) }, 0);
    }

    fn pairs(&self, count: usize, first: u64) {
        // SAFETY: as above.
        assert_ne!(unsafe { (W::calls().pairs)(count, first) }, 0);
    }

    fn replace(&self, keys: &mut [u64], places: &[usize]) {
        assert!(places.iter().all(|place| *place < keys.len()));
        let (count, places) = (places.len(), places.as_ptr());
        // SAFETY: as above, and the places are places of the keys.
        assert_ne!(unsafe { (W::calls().replace)(keys.as_mut_ptr(), places, count) }, 0);
    }

    fn count(&self) -> (u64, u64) {
        let mut sum = 0;
        // SAFETY: as above.
        let count = unsafe { (W::calls().count)(&mut sum) };
        (count, sum)
    }

    fn settle(&self) {
        // SAFETY: as above, and the thread is outside.
        unsafe { (W::calls().settle)() };
    }
}
