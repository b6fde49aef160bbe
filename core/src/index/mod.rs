//! The id index of one table: which ids are taken, and by which object.
//!
//! *Roles.* Registrations insert, deregistrations remove, enumerations walk; all are pinned.
//!
//! *States.* An index is one array (`array.rs`), or two while entries move from the first to the
//! second. Array: current → moving (it has a `next`) → moved (every group of cells is done) →
//! replaced as the root, retired, freed after its grace period. As a rule one array moves at a time;
//! operations follow the chain however long it is.
//!
//! *Paths.* No growth: one probe sequence, usually one cache line. During growth every operation
//! first moves the cells of its own key's probe sequence and seals its end, so that its key can
//! only be in the new array from then on; then it moves one more group, so that the growth ends;
//! then it works on the new array. A growth is begun when an insertion probes past
//! `INDEX_WINDOW` cells in an array that is crowded (three quarters claimed, by a sample), or finds no
//! cell at all; the new size follows from a sample, so a table
//! full of abandoned keys is rewritten at its old size, once that is [`ROOMY`] (it never shrinks: abandoned keys may all come
//! back while it moves). Arrays of up to [`SMALL`] cells move as a whole, before anything else enters
//! the new one. An insertion into a crowded new array first ends the move into it. Should a move find
//! no room all the same, it begins the next growth itself and takes its entry there.
//!
//! *Uniqueness.* A key's cell, once claimed, is that key's for the life of the array, and a key is
//! always claimed in the first unclaimed cell of its probe sequence: two insertions of one id meet
//! in one cell, and one compare-exchange of its value decides.
//!
//! *Ids.* A cell stores id + 2, because 0 and 1 mean unclaimed and sealed. The two ids for which
//! that overflows have cells of their own, outside the arrays.
//!
//! *ABA.* Values carry generations. A late mover can only fill a value that was never written, and
//! an operation on the key is let into the new array only after the value was written there.
//!
//! *Orderings.* At their sites in `array.rs`. The root is published with release and acquired.
//!
//! *Progress.* Insert and remove are lock-free and move at most a probe sequence, a group and (in a
//! small array) the array. Allocation failure refuses an insertion only if there is no free cell.

mod array;

use crate::alloc::{OutOfMemory, try_box};
use crate::handle::{Config, Token, mix};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::{Batch, Garbage, Local, Pinned, Protects};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use array::{Array, Inserted, Removed, Sample};
use std::marker::PhantomData;

/// Cells up to which an array is moved in one go.
const SMALL: usize = 256;
/// Cells up to which an array full of abandoned keys is doubled rather than rewritten at its size, as long
/// as one in 16 is in use: a small table whose ids keep changing is then rewritten rarely.
const ROOMY: usize = 1 << 14;
/// Cells looked at to guess how many are in use, for a decision that can be taken again soon and for one
/// that cannot.
const GLANCE: usize = 256;
const SAMPLE: usize = 1024;

/// Why an id was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Exists,
    OutOfMemory,
}

/// The ids that id + 2 cannot represent.
const SIDE_IDS: [u64; 2] = [u64::MAX - 1, u64::MAX];

pub(crate) struct Index<C: Config> {
    root: AtomicPtr<Array>,
    /// Values of [`SIDE_IDS`]: 0 or a present value.
    side: [AtomicU64; 2],
    seed: u64,
    /// Cells moved by growth, and the most that one operation moved.
    moved: AtomicU64,
    most_moved: AtomicU64,
    marker: PhantomData<C>,
}

impl<C: Config> Index<C> {
    pub(crate) fn new(seed: u64) -> Result<Self, OutOfMemory> {
        let root = Box::into_raw(try_box(Array::new(C::INDEX_CELLS)?)?);
        Ok(Index {
            root: AtomicPtr::new(root),
            side: [AtomicU64::new(0), AtomicU64::new(0)],
            seed,
            moved: AtomicU64::new(0),
            most_moved: AtomicU64::new(0),
            marker: PhantomData,
        })
    }

    fn root<'g>(&'g self, _guard: &'g impl Protects) -> &'g Array {
        // Acquire: pairs with the exchange in `advance`.
        let root = self.root.load(relaxed_if(Mutant::RootFoundRelaxed, Ordering::Acquire));
        // SAFETY: never null; a replaced root is retired, and the guard keeps it until it goes.
        unsafe { &*root }
    }

    fn side(&self, id: u64) -> Option<&AtomicU64> {
        SIDE_IDS.iter().position(|side| *side == id).map(|index| &self.side[index])
    }

    fn hash(&self, id: u64) -> u64 {
        mix(id ^ self.seed)
    }

    /// Takes the id for the object, unless it is taken.
    pub(crate) fn insert<S: Send + Sync + 'static>(
        &self,
        local: &Local<S>,
        pin: &Pinned,
        id: u64,
        token: Token,
    ) -> Result<(), Taken> {
        if let Some(side) = self.side(id) {
            return side
                .compare_exchange(0, array::present(token), Ordering::AcqRel, Ordering::Relaxed)
                .map(drop)
                .map_err(|_| Taken::Exists);
        }
        let hash = self.hash(id);
        let mut array = self.root(pin);
        loop {
            if let Some(next) = array.next(pin) {
                self.help(local, pin, array, hash);
                array = next;
                continue;
            }
            match array.insert(hash, id, token) {
                Inserted::Yes { probed } => {
                    if probed > C::INDEX_WINDOW && Self::is_crowded(array) {
                        // Without memory the array just stays crowded.
                        let _ = self.grow(local, pin, array);
                    }
                    return Ok(());
                }
                Inserted::Exists => return Err(Taken::Exists),
                Inserted::Moving => {}
                Inserted::Full => {
                    self.grow(local, pin, array).map_err(|OutOfMemory| Taken::OutOfMemory)?;
                }
            }
        }
    }

    /// Frees the id, which the object must hold. The caller has seen its insertion (`unpublish`
    /// acquires what `publish` released), or it would look for a key that is not there yet.
    pub(crate) fn remove<S: Send + Sync + 'static>(
        &self,
        local: &Local<S>,
        pin: &Pinned,
        id: u64,
        token: Token,
    ) {
        if let Some(side) = self.side(id) {
            // Release: partner is the exchange in `insert`.
            side.store(0, Ordering::Release);
            return;
        }
        let hash = self.hash(id);
        let mut array = self.root(pin);
        loop {
            if let Some(next) = array.next(pin) {
                self.help(local, pin, array, hash);
                array = next;
                continue;
            }
            match array.remove(hash, id, token) {
                Removed::Yes => return,
                Removed::Moving => {}
            }
        }
    }

    /// Walks everything that is in the index during the whole walk, and perhaps more, each object
    /// at most once. Objects may have gone when they are shown: ask the slab.
    pub(crate) fn walk<'g>(&'g self, guard: &'g impl Protects) -> Walk<'g> {
        let mut array = self.root(guard);
        while let Some(next) = array.next(guard) {
            // Everything still in the old array, or on its way, is in the new one after this.
            if !active(Mutant::IndexWalkWithoutMove) {
                self.count_moved(array.move_all(|id| self.hash(id)));
            }
            array = next;
        }
        Walk { array, at: 0, side: &self.side, side_at: 0 }
    }

    /// Takes part in the growth from `array`: the own key's cells, then one group.
    fn help<S: Send + Sync + 'static>(
        &self,
        local: &Local<S>,
        pin: &Pinned,
        array: &Array,
        hash: u64,
    ) {
        let rehash = |id| self.hash(id);
        let moved = if array.cells() <= SMALL {
            array.move_all(rehash)
        } else {
            array.move_probe(hash, rehash) + array.move_group(rehash)
        };
        self.count_moved(moved);
        self.advance(local, pin, array);
    }

    fn count_moved(&self, moved: usize) {
        if moved != 0 {
            self.moved.fetch_add(moved as u64, Ordering::Relaxed);
            self.most_moved.fetch_max(moved as u64, Ordering::Relaxed);
        }
    }

    /// Replaces the root if all of it has been moved.
    fn advance<S: Send + Sync + 'static>(&self, local: &Local<S>, pin: &Pinned, array: &Array) {
        if !array.is_moved() {
            return;
        }
        let Some(next) = array.next(pin) else { return };
        let old = std::ptr::from_ref(array).cast_mut();
        if self.root.load(Ordering::Relaxed) != old {
            return;
        }
        // Without memory to retire it the old root stays; operations go through it to the new one.
        let Ok(batch) = Batch::new() else { return };
        let new = std::ptr::from_ref(next).cast_mut();
        // Release: partner is `root`.
        let order = relaxed_if(Mutant::RootRelaxed, Ordering::Release);
        if self.root.compare_exchange(old, new, order, Ordering::Relaxed).is_ok() {
            // SAFETY: every array came from a box; nobody finds this one any more, and those who
            // have it are pinned.
            let old = unsafe { Box::from_raw(old) };
            if active(Mutant::IndexFreesAtOnce) {
                return;
            }
            local.seal(batch, || Some(Garbage::Memory(old)));
        }
    }

    /// Whether a long probe in this array is no accident. A small one is not worth the question.
    fn is_crowded(array: &Array) -> bool {
        if array.cells() <= SMALL {
            return true;
        }
        let Sample { seen, claimed, .. } = array.sample(GLANCE);
        claimed * 4 >= seen * 3
    }

    /// Begins to move `array` to a new one. Done if somebody else has.
    fn grow<S: Send + Sync + 'static>(
        &self,
        local: &Local<S>,
        pin: &Pinned,
        array: &Array,
    ) -> Result<(), OutOfMemory> {
        // End the moves into `array` first, so that as a rule one array moves at a time.
        if array.next(pin).is_some() {
            return Ok(());
        }
        self.finish(local, pin);
        let Sample { seen, claimed, live } = array.sample(SAMPLE);
        let cells = array.cells();
        let wanted = if live * 5 > seen * 2 {
            cells + cells * 2 / 5
        } else if cells < ROOMY && live * 16 > seen {
            2 * cells
        } else if cells <= SMALL {
            // Nothing but what is moved enters before the move is over.
            cells
        } else {
            // Every claimed key may come back to life before its cell is frozen.
            cells.max(cells * claimed / seen * 5 / 4)
        };
        let next = try_box(Array::new(wanted.next_multiple_of(4))?)?;
        array.begin_move(next);
        Ok(())
    }

    /// Ends a growth that is under way, so that the old array can go.
    pub(crate) fn finish<S: Send + Sync + 'static>(&self, local: &Local<S>, pin: &Pinned) {
        let mut array = self.root(pin);
        while let Some(next) = array.next(pin) {
            self.count_moved(array.move_all(|id| self.hash(id)));
            self.advance(local, pin, array);
            array = next;
        }
    }

    /// Bytes held, cells moved in all, and the most moved by one operation.
    pub(crate) fn footprint(&self, guard: &impl Protects) -> (usize, u64, u64) {
        let mut bytes = 0;
        let mut array = Some(self.root(guard));
        while let Some(at) = array {
            bytes += at.bytes();
            array = at.next(guard);
        }
        (bytes, self.moved.load(Ordering::Relaxed), self.most_moved.load(Ordering::Relaxed))
    }
}

/// A walk over an index. See [`Index::walk`].
pub(crate) struct Walk<'g> {
    array: &'g Array,
    at: usize,
    side: &'g [AtomicU64; 2],
    side_at: usize,
}

impl Walk<'_> {
    /// The next objects, as many as there is room for. 0: that was all.
    pub(crate) fn fill(&mut self, room: &mut [(u64, Token)]) -> usize {
        let found = self.array.entries(&mut self.at, room);
        if found != 0 {
            return found;
        }
        while self.side_at < SIDE_IDS.len() {
            // Acquire: pairs with the exchange in `insert`.
            let value = self.side[self.side_at].load(Ordering::Acquire);
            let id = SIDE_IDS[self.side_at];
            self.side_at += 1;
            if let Some(token) = array::token(value) {
                room[0] = (id, token);
                return 1;
            }
        }
        0
    }
}

impl<C: Config> Drop for Index<C> {
    fn drop(&mut self) {
        // Acquire: pairs with `advance`.
        let mut array = self.root.load(Ordering::Acquire);
        while !array.is_null() {
            // SAFETY: every array came from a box, and `self` is going.
            let mut this = unsafe { Box::from_raw(array) };
            array = this.take_next();
        }
    }
}
