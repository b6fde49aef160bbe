//! The buckets of an index: where in the list the search for a key begins.
//!
//! A bucket of level `l` stands for the keys that begin with the same `l` bits. It is a node of the list that
//! is never removed, and this array is where those nodes lie. A bucket whose bits end in 0 is the same node
//! as that of the level above, so level `l` adds only those that end in 1: a bucket's place is
//! its bits behind a 1, shifted right until the last 1 among them has gone.
//!
//! *Growth* adds a row with the buckets of one more level. Nothing is moved: a bucket that is not in the list
//! yet is passed over in favour of one before it. Rows are never given back before the index. Those of a huge page and
//! more are mapped by themselves, in huge pages if the system has them, as operations go to places all over them.
//!
//! *Orderings.* A row is installed before the level is raised (release), and whoever computes a place has
//! read the level, or a link that leads to it (acquire).
//! *Progress.* Wait-free; growing is lock-free and may fail.

use super::link::ORDER_BITS;
use crate::alloc::{OutOfMemory, Zeroed};
use crate::handle::SLOT_BITS;
use crate::mapping::{self, HUGE_PAGE};
use crate::mutant::{Mutant, relaxed_if};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::ptr::{self, NonNull};

/// There are at most 2^27 buckets; less in models, as a bucket's order must show all its bits.
pub(super) const MAX_LEVEL: u32 =
    if ORDER_BITS <= SLOT_BITS { ORDER_BITS - 1 } else { SLOT_BITS - 1 };
/// More than there are levels: a power of two.
const ROWS: usize = 32;
const _: () = assert!(MAX_LEVEL < ROWS as u32);

pub(super) struct Buckets {
    level: AtomicU32,
    /// Row `l` holds the places from 2^(l-1) to 2^l; row 0 the place 0. The rows up to `first` lie in
    /// one piece that begins with row 0.
    rows: [AtomicPtr<AtomicU64>; ROWS],
    first: u32,
}

/// The bucket from which this one is split.
fn parent(place: u32) -> u32 {
    place >> (place.trailing_zeros() + 1)
}

/// The place of a row's first bucket, and how many buckets it has but for row 0.
fn row_start(level: u32) -> u32 {
    1 << level >> 1
}

fn level_of(place: u32) -> u32 {
    u32::BITS - place.leading_zeros()
}

/// The least key that belongs into the bucket.
pub(super) fn least_key(place: u32) -> u64 {
    match level_of(place) {
        0 => 0,
        level => u64::from((place - row_start(level)) << 1 | 1) << (u64::BITS - level),
    }
}

/// Whether a row of so many buckets is mapped.
fn is_mapped(count: usize) -> bool {
    !cfg!(rtm_loom) && count >= HUGE_PAGE / size_of::<AtomicU64>()
}

/// So many buckets, a power of two, all zero.
fn new_row(count: usize) -> Result<*mut AtomicU64, OutOfMemory> {
    if is_mapped(count) {
        return Ok(mapping::map(count * size_of::<AtomicU64>())?.cast().as_ptr());
    }
    Ok(Zeroed::new(count)?.into_raw())
}

/// # Safety
/// [`new_row`] made it of so many buckets, nobody uses it any more, and it is freed once.
unsafe fn free_row(row: *mut AtomicU64, count: usize) {
    if let Some(row) = NonNull::new(row).filter(|_| is_mapped(count)) {
        // SAFETY: as the caller says; the length is that of `new_row`.
        return unsafe { mapping::unmap(row.cast(), count * size_of::<AtomicU64>()) };
    }
    // SAFETY: as above.
    drop(unsafe { Zeroed::from_raw(row, count) });
}

impl Buckets {
    /// 2^level buckets, all zero.
    pub(super) fn new(level: u32) -> Result<Self, OutOfMemory> {
        let base = new_row(1 << level)?;
        let row = |l: u32| match l {
            // SAFETY: the start of a row up to `level` is less than 2^level.
            l if l <= level => unsafe { base.add(row_start(l) as usize) },
            _ => ptr::null_mut(),
        };
        let rows = std::array::from_fn(|l| AtomicPtr::new(row(l as u32)));
        Ok(Buckets { level: AtomicU32::new(level), rows, first: level })
    }

    pub(super) fn level(&self) -> u32 {
        // Acquire: partner is `grow`.
        self.level.load(relaxed_if(Mutant::LevelFoundRelaxed, Ordering::Acquire))
    }

    /// The bucket of the present level that `key` belongs into, and its place.
    #[inline(always)]
    pub(super) fn of(&self, key: u64) -> (u32, &AtomicU64) {
        let level = self.level();
        let bits = (key >> 1 >> (u64::BITS - 1 - level)) as u32;
        let zeros = (1 << level | bits).trailing_zeros();
        let (row, column) = (level.wrapping_sub(zeros), bits >> zeros >> 1);
        // Relaxed: whoever has the level has seen the row.
        let start = self.rows[row as usize % ROWS].load(Ordering::Relaxed);
        debug_assert!(!start.is_null());
        // SAFETY: the row has the column.
        let bucket = unsafe { start.add(column as usize) };
        // SAFETY: the row is installed, until `self` goes.
        (row_start(row) + column, unsafe { &*bucket })
    }

    /// The place of the bucket of this level that `key` belongs into.
    #[inline(always)]
    pub(super) fn place(level: u32, key: u64) -> u32 {
        parent(1 << level | (key >> 1 >> (u64::BITS - 1 - level)) as u32)
    }

    /// The bucket of the present level next before this one, which is not at 0.
    pub(super) fn before(&self, place: u32) -> u32 {
        let level = self.level();
        Buckets::place(level, least_key(place) - (1 << (u64::BITS - level)))
    }

    /// The bucket at a place that was computed for a level, or read from a link.
    #[inline(always)]
    pub(super) fn at(&self, place: u32) -> &AtomicU64 {
        let level = level_of(place);
        // Relaxed: whoever has the place has seen the row.
        let row = self.rows[level as usize].load(Ordering::Relaxed);
        debug_assert!(!row.is_null());
        // SAFETY: the row has the place.
        let bucket = unsafe { row.add((place - row_start(level)) as usize) };
        // SAFETY: the row is installed, until `self` goes.
        unsafe { &*bucket }
    }

    /// Goes from `level` to the next, unless somebody has, or there is none, or no memory.
    #[cold]
    pub(super) fn grow(&self, level: u32) {
        if level >= MAX_LEVEL {
            return;
        }
        let next = level + 1;
        let place = &self.rows[next as usize];
        if place.load(Ordering::Relaxed).is_null() {
            let count = row_start(next) as usize;
            let Ok(row) = new_row(count) else { return };
            let relaxed = Ordering::Relaxed;
            if place.compare_exchange(ptr::null_mut(), row, Ordering::Release, relaxed).is_err() {
                // SAFETY: just made, and nobody has seen it.
                unsafe { free_row(row, count) };
            }
        }
        // Acquire: the row may be another thread's. Release: partner is `level`.
        place.load(relaxed_if(Mutant::RowFoundRelaxed, Ordering::Acquire));
        let order = relaxed_if(Mutant::LevelRelaxed, Ordering::Release);
        let _ = self.level.compare_exchange(level, next, order, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<AtomicU64>() << self.level.load(Ordering::Relaxed)
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        for level in 0..ROWS as u32 {
            // Relaxed: `&mut self` orders us behind everything.
            let row = self.rows[level as usize].load(Ordering::Relaxed);
            let count = match level {
                0 => 1 << self.first,
                level if level <= self.first => continue,
                level => row_start(level) as usize,
            };
            if !row.is_null() {
                // SAFETY: made in `new` or `grow` with this count, freed once.
                unsafe { free_row(row, count) };
            }
        }
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_bucket_has_a_place_and_is_found_again() {
        let buckets = Buckets::new(3).unwrap();
        for level in 3..=10 {
            assert_eq!(buckets.level(), level);
            let mut places = HashSet::new();
            for bits in 0..1_u64 << level {
                let key = if level == 0 { 0 } else { bits << (64 - level) };
                let place = Buckets::place(level, key);
                assert!(place < 1 << level && places.insert(place));
                let (found, bucket) = buckets.of(key);
                assert_eq!(found, place);
                assert!(std::ptr::eq(bucket, buckets.at(place)));
                assert_eq!(least_key(place), key);
                assert_eq!(Buckets::place(level, key | u64::MAX >> level >> 1), place);
                if place != 0 {
                    assert!(parent(place) < place && least_key(parent(place)) < key);
                    assert_eq!(Buckets::place(level_of(place) - 1, key), parent(place));
                }
            }
            buckets.grow(level);
        }
    }

    #[test]
    fn rows_are_zero_and_stay_where_they_are() {
        let buckets = Buckets::new(3).unwrap();
        for place in 0..8 {
            buckets.at(place).fetch_add(u64::from(place), Ordering::Relaxed);
        }
        buckets.grow(3);
        buckets.grow(3);
        buckets.grow(4);
        assert_eq!((buckets.level(), buckets.bytes()), (5, 8 * 32));
        for place in 0..32 {
            let expected = if place < 8 { u64::from(place) } else { 0 };
            assert_eq!(buckets.at(place).load(Ordering::Relaxed), expected);
        }
    }
}
