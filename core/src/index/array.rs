//! One array of an index: open addressing over cells of (key, value), four to a cache line.
//!
//! *States of a cell's key.* unclaimed → an id (for ever), or unclaimed → sealed (the array is
//! moving; nothing can be claimed any more).
//!
//! *States of a cell's value.* A number with three flags:
//!
//! ```text
//!  never (0) ----> present|token <----> gone
//!     |                  |                |        freeze: no operation changes it any more
//!     v                  v                v
//!  frozen        frozen|present|token   frozen|gone
//!     |                  | copied to the new array, if the value there was never written
//!     v                  v                v
//!  frozen|moved  frozen|moved|present|token  frozen|moved|gone
//! ```
//!
//! The token stays readable in a moved cell, so that a walk that began here ends here.
//!
//! *Orderings.* Values are written with release and read with acquire: an insertion that finds an
//! id free has seen its removal; whoever finds a frozen value or a sealed key has seen `next`.
//! Keys: a claim needs no more than atomicity, but is read with acquire for sealing.

use crate::alloc::{OutOfMemory, Zero, Zeroed, try_box};
use crate::handle::Token;
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::Protects;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Backoff, Ordering};
use std::ptr;

const CELLS_PER_LINE: usize = 4;
/// Lines that are moved together.
const GROUP_LINES: usize = if cfg!(rtm_loom) { 1 } else { 4 };

const UNCLAIMED: u64 = 0;
const SEALED: u64 = 1;
const FIRST_KEY: u64 = 2;

const NEVER: u64 = 0;
const GONE: u64 = 1 << 60;
const PRESENT: u64 = 1 << 61;
const FROZEN: u64 = 1 << 62;
const MOVED: u64 = 1 << 63;

/// The value of a cell that holds `token`.
pub(super) fn present(token: Token) -> u64 {
    PRESENT | token.bits()
}

/// The token a value holds.
pub(super) fn token(value: u64) -> Option<Token> {
    (value & PRESENT != 0).then(|| Token::from_bits(value))
}

struct Cell {
    key: AtomicU64,
    value: AtomicU64,
}

#[repr(align(64))]
struct Line([Cell; CELLS_PER_LINE]);

// SAFETY: a line is atomics of which all bytes zero is 0.
unsafe impl Zero for Line {
    fn zero() -> Line {
        Line(std::array::from_fn(|_| Cell { key: Zero::zero(), value: Zero::zero() }))
    }
}

pub(super) enum Inserted {
    Yes { probed: usize },
    Exists,
    Moving,
    Full,
}

pub(super) enum Removed {
    Yes,
    Moving,
}

/// How many cells a sample saw, how many of them had been claimed, and how many held an entry.
pub(super) struct Sample {
    pub(super) seen: usize,
    pub(super) claimed: usize,
    pub(super) live: usize,
}

enum Adopted {
    Yes,
    /// This array is itself moving, and the key's place in it is frozen: try the next one.
    Elsewhere,
    NoRoom,
}

pub(super) struct Array {
    lines: Zeroed<Line>,
    next: AtomicPtr<Array>,
    /// One bit for each group that has been moved.
    groups: Zeroed<AtomicU64>,
    groups_moved: AtomicUsize,
    /// The group that the next helper looks at, modulo their number.
    cursor: AtomicUsize,
    /// Read by whoever looks at the cells, written when the array is freed: loom sees a read after.
    #[cfg(rtm_loom)]
    canary: crate::sync::UnsafeCell<()>,
}

#[cfg(rtm_loom)]
impl Drop for Array {
    fn drop(&mut self) {
        self.canary.with_mut(|_| ());
    }
}

impl Array {
    pub(super) fn new(cells: usize) -> Result<Array, OutOfMemory> {
        let lines = cells.div_ceil(CELLS_PER_LINE).max(1);
        let groups = lines.div_ceil(GROUP_LINES);
        Ok(Array {
            lines: Zeroed::new(lines)?,
            next: AtomicPtr::new(ptr::null_mut()),
            groups: Zeroed::new(groups.div_ceil(64))?,
            groups_moved: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            #[cfg(rtm_loom)]
            canary: crate::sync::UnsafeCell::new(()),
        })
    }

    pub(super) fn cells(&self) -> usize {
        self.lines.len() * CELLS_PER_LINE
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Array>() + self.lines.bytes() + self.groups.bytes()
    }

    fn group_count(&self) -> usize {
        self.lines.len().div_ceil(GROUP_LINES)
    }

    /// Where entries go from here, once a growth has begun.
    pub(super) fn next<'g>(&self, _guard: &'g impl Protects) -> Option<&'g Array> {
        // Acquire: pairs with `begin_move`.
        let next = self.next.load(relaxed_if(Mutant::NextFoundRelaxed, Ordering::Acquire));
        // SAFETY: an array is retired only after the one before it, which the guard's owner still
        // has.
        unsafe { next.as_ref() }
    }

    fn next_unguarded(&self) -> Option<&Array> {
        // Acquire: pairs with `begin_move`.
        let next = self.next.load(relaxed_if(Mutant::NextFoundRelaxed, Ordering::Acquire));
        // SAFETY: as in `next`; the caller's borrow of `self` comes from a guard.
        unsafe { next.as_ref() }
    }

    /// Takes the link out, for whoever owns the arrays.
    pub(super) fn take_next(&mut self) -> *mut Array {
        // Acquire: pairs with `begin_move`.
        self.next.load(Ordering::Acquire)
    }

    pub(super) fn begin_move(&self, next: Box<Array>) {
        let raw = Box::into_raw(next);
        // Release: partner is `next`; the array is seen zeroed.
        let order = relaxed_if(Mutant::NextRelaxed, Ordering::Release);
        if self.next.compare_exchange(ptr::null_mut(), raw, order, Ordering::Relaxed).is_err() {
            // SAFETY: somebody else's array won; ours was never seen.
            drop(unsafe { Box::from_raw(raw) });
        }
    }

    /// Every cell once, in the probe order of `hash`.
    fn probe(&self, hash: u64) -> impl Iterator<Item = &Cell> {
        #[cfg(rtm_loom)]
        self.canary.with(|_| ());
        // The high half of a multiplication spreads the hash over any number of lines.
        let home = ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize;
        self.lines[home..].iter().chain(&self.lines[..home]).flat_map(|line| &line.0)
    }

    pub(super) fn insert(&self, hash: u64, id: u64, token: Token) -> Inserted {
        let key = id + FIRST_KEY;
        let mut probed = 0;
        for cell in self.probe(hash) {
            probed += 1;
            let mut found = cell.key.load(relaxed_if(Mutant::KeyFoundRelaxed, Ordering::Acquire));
            if found == UNCLAIMED {
                found = if active(Mutant::IndexClaimBlindly) {
                    cell.key.store(key, Ordering::Release);
                    key
                } else {
                    // Acquire on failure: a sealed cell is seen together with `next`.
                    (cell.key)
                        .compare_exchange(UNCLAIMED, key, Ordering::Relaxed, Ordering::Acquire)
                        .map_or_else(|now| now, |_| key)
                };
            }
            if found == SEALED {
                return Inserted::Moving;
            }
            if found == key {
                return cell.insert(token, probed);
            }
        }
        Inserted::Full
    }

    pub(super) fn remove(&self, hash: u64, id: u64, token: Token) -> Removed {
        let key = id + FIRST_KEY;
        for cell in self.probe(hash) {
            // Acquire: a sealed cell is seen together with `next`.
            let found = cell.key.load(relaxed_if(Mutant::KeyFoundRelaxed, Ordering::Acquire));
            if found == key {
                return cell.remove(token);
            }
            if found == SEALED || found == UNCLAIMED {
                break;
            }
        }
        // The key is not here: it is in an array that this one is moving to.
        Removed::Moving
    }

    /// Moves the cells of one probe sequence and seals its end. Says how many entries it moved.
    pub(super) fn move_probe(&self, hash: u64, rehash: impl Fn(u64) -> u64) -> usize {
        let mut moved = 0;
        for cell in self.probe(hash) {
            match self.move_cell(cell, &rehash) {
                None => break,
                Some(one) => moved += one,
            }
        }
        moved
    }

    /// Moves one group that has not been moved, if the cursor meets one.
    pub(super) fn move_group(&self, rehash: impl Fn(u64) -> u64) -> usize {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        if turn >= 2 * self.group_count() {
            // Everything has been given out twice: somebody sleeps between moving and counting.
            return self.move_all(rehash);
        }
        self.move_this_group(turn % self.group_count(), &rehash)
    }

    /// Moves whatever has not been moved.
    pub(super) fn move_all(&self, rehash: impl Fn(u64) -> u64) -> usize {
        if self.is_moved() {
            return 0;
        }
        let moved = (0..self.group_count()).map(|group| self.move_this_group(group, &rehash)).sum();
        // Every bit is set, whoever set it and has not counted it yet. Release: as there.
        self.groups_moved.fetch_max(self.group_count(), Ordering::AcqRel);
        moved
    }

    pub(super) fn is_moved(&self) -> bool {
        // Acquire: pairs with `move_this_group`; everything is in the new array.
        self.groups_moved.load(Ordering::Acquire) >= self.group_count()
    }

    fn move_this_group(&self, group: usize, rehash: &impl Fn(u64) -> u64) -> usize {
        let (word, bit) = (&self.groups[group / 64], 1 << (group % 64));
        // Acquire: the entries of the group are in the new array.
        if word.load(Ordering::Acquire) & bit != 0 {
            return 0;
        }
        let first = group * GROUP_LINES;
        let last = (first + GROUP_LINES).min(self.lines.len());
        let cells = self.lines[first..last].iter().flat_map(|line| &line.0);
        let moved = cells.filter_map(|cell| self.move_cell(cell, rehash)).sum();
        // Release: partner is the acquire above and in `is_moved`.
        let order = relaxed_if(Mutant::GroupRelaxed, Ordering::AcqRel);
        if word.fetch_or(bit, order) & bit == 0 {
            self.groups_moved.fetch_add(1, order);
        }
        moved
    }

    /// Sees to it that nothing changes in this cell any more and that its entry, if it has one, is
    /// in the new array. `None`: it was not claimed and never will be. Anyone may do it at any
    /// time, any number of times.
    fn move_cell(&self, cell: &Cell, rehash: &impl Fn(u64) -> u64) -> Option<usize> {
        let next = self.next_unguarded()?;
        let mut key = cell.key.load(Ordering::Acquire);
        if key == UNCLAIMED && !active(Mutant::IndexSkipSeal) {
            // Release: whoever finds the seal sees `next`.
            match cell.key.compare_exchange(key, SEALED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return None,
                Err(now) => key = now,
            }
        }
        if key < FIRST_KEY {
            return None;
        }
        let value = cell.freeze();
        if value & MOVED != 0 {
            return Some(0);
        }
        if let Some(token) = token(value) {
            let id = key - FIRST_KEY;
            next.adopt(rehash(id), id, token);
        }
        // Release: whoever finds the mark (or the group's) sees the entry in the new array.
        cell.value.fetch_or(MOVED, relaxed_if(Mutant::MovedRelaxed, Ordering::Release));
        Some(usize::from(value & PRESENT != 0))
    }

    /// Takes over an entry, unless somebody has brought it before (and perhaps removed it since): here,
    /// or in an array that this one is moving to.
    fn adopt(&self, hash: u64, id: u64, token: Token) {
        let mut array = self;
        let mut backoff = Backoff::default();
        loop {
            match array.try_adopt(hash, id, token) {
                Adopted::Yes => return,
                Adopted::Elsewhere => {}
                Adopted::NoRoom => {
                    // More keys came back to life than the size was chosen for.
                    match Array::new(2 * array.cells()).and_then(try_box) {
                        Ok(larger) => array.begin_move(larger),
                        // The entry must not be lost, and the array it is in is frozen.
                        Err(OutOfMemory) => backoff.snooze(),
                    }
                }
            }
            array = array.next_unguarded().unwrap_or(array);
        }
    }

    fn try_adopt(&self, hash: u64, id: u64, token: Token) -> Adopted {
        let key = id + FIRST_KEY;
        for cell in self.probe(hash) {
            let mut found = cell.key.load(Ordering::Acquire);
            if found == UNCLAIMED {
                found = (cell.key)
                    .compare_exchange(UNCLAIMED, key, Ordering::Relaxed, Ordering::Acquire)
                    .map_or_else(|now| now, |_| key);
            }
            if found == SEALED {
                return Adopted::Elsewhere;
            }
            if found == key {
                // Release: partner is the acquire of whoever works on this id next. Acquire on
                // failure: if it is frozen, `next` is seen.
                return match cell.value.compare_exchange(
                    NEVER,
                    present(token),
                    Ordering::Release,
                    Ordering::Acquire,
                ) {
                    Err(now) if now & (PRESENT | GONE) == 0 => Adopted::Elsewhere,
                    _ => Adopted::Yes,
                };
            }
        }
        if self.next_unguarded().is_some() { Adopted::Elsewhere } else { Adopted::NoRoom }
    }

    /// Entries in cell order from cell `at` on, also from moved cells: as many as there are room for.
    /// Moves `at` behind the last cell looked at, and says how many there were; 0 at the end.
    pub(super) fn entries(&self, at: &mut usize, room: &mut [(u64, Token)]) -> usize {
        let mut found = 0;
        while found < room.len() && *at < self.cells() {
            #[cfg(rtm_loom)]
            self.canary.with(|_| ());
            let cell = &self.lines[*at / CELLS_PER_LINE].0[*at % CELLS_PER_LINE];
            *at += 1;
            let key = cell.key.load(Ordering::Relaxed);
            // Acquire: the object was filled before it was inserted.
            if key >= FIRST_KEY
                && let Some(token) = token(cell.value.load(Ordering::Acquire))
            {
                room[found] = (key - FIRST_KEY, token);
                found += 1;
            }
        }
        found
    }

    /// Looks at so many cells, spread evenly.
    pub(super) fn sample(&self, cells: usize) -> Sample {
        let lines = self.lines.len();
        let wanted = (cells / CELLS_PER_LINE).min(lines);
        let mut sample = Sample { seen: wanted * CELLS_PER_LINE, claimed: 0, live: 0 };
        for cell in (0..wanted).flat_map(|n| &self.lines[n * lines / wanted].0) {
            sample.claimed += usize::from(cell.key.load(Ordering::Relaxed) >= FIRST_KEY);
            sample.live += usize::from(cell.value.load(Ordering::Relaxed) & PRESENT != 0);
        }
        sample
    }
}

impl Cell {
    fn insert(&self, token: Token, probed: usize) -> Inserted {
        let mut now = self.value.load(Ordering::Acquire);
        loop {
            if now & FROZEN != 0 {
                return Inserted::Moving;
            }
            if now & PRESENT != 0 {
                return Inserted::Exists;
            }
            // AcqRel: the removal of the id's last holder comes before us, we before the next.
            match self.value.compare_exchange_weak(
                now,
                present(token),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Inserted::Yes { probed },
                Err(seen) => now = seen,
            }
        }
    }

    fn remove(&self, token: Token) -> Removed {
        let gone = if active(Mutant::IndexRemoveToNull) { NEVER } else { GONE };
        // Release: partner is the acquire in `insert`. Acquire on failure: frozen, so `next`.
        let order = relaxed_if(Mutant::RemoveRelaxed, Ordering::AcqRel);
        match self.value.compare_exchange(present(token), gone, order, Ordering::Acquire) {
            Ok(_) => Removed::Yes,
            Err(_) => Removed::Moving,
        }
    }

    fn freeze(&self) -> u64 {
        if active(Mutant::IndexCopyUnfrozen) {
            return self.value.load(Ordering::Acquire);
        }
        // Release: whoever finds it frozen sees `next`.
        let order = relaxed_if(Mutant::FreezeRelaxed, Ordering::AcqRel);
        self.value.fetch_or(FROZEN, order) | FROZEN
    }
}
