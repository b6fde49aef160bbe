//! Room for many elements at one fixed address, of which a growing part is in use.
//!
//! Address space is reserved for all of them at once and costs nothing; memory becomes accessible
//! when a part is opened and is taken from the system when it is first written. So an element is
//! found by one multiplication, and huge pages serve the whole: from 2 MiB on, parts are opened in
//! steps of that size and the kernel is asked for huge pages.
//!
//! *Roles.* Any thread opens; who uses an element has heard (through an acquire) that it was opened.
//! Memory of open elements can be given back: they read as zero then, until they are written again.
//! *Progress.* Opening is a system call, which may be refused: then nothing has changed. So is giving back.

use crate::alloc::{OutOfMemory, Zero};
use crate::mapping::HUGE_PAGE;
use std::marker::PhantomData;
use std::ops::Range;

/// Elements that are numbered from `FIRST` on where one of them is sought; elsewhere from 0 on.
pub(crate) struct Span<E: Zero, const FIRST: usize> {
    room: Room<E, FIRST>,
    marker: PhantomData<E>,
}

// SAFETY: owns its elements as a boxed slice does.
unsafe impl<E: Zero + Send, const FIRST: usize> Send for Span<E, FIRST> {}
// SAFETY: as above.
unsafe impl<E: Zero + Sync, const FIRST: usize> Sync for Span<E, FIRST> {}

impl<E: Zero, const FIRST: usize> Span<E, FIRST> {
    /// Reserves room for `capacity` elements, of which none is open.
    pub(crate) fn new(capacity: usize) -> Result<Self, OutOfMemory> {
        const { assert!(size_of::<E>() != 0 && align_of::<E>() <= HUGE_PAGE) };
        Ok(Span { room: Room::new(capacity)?, marker: PhantomData })
    }

    /// Makes the elements below `end` usable, `from` of which are already. All zero at first.
    pub(crate) fn open(&self, from: usize, end: usize) -> Result<(), OutOfMemory> {
        self.room.open(from, end)
    }

    /// Gives the memory of these open elements back to the system, which nobody uses just now. Says how many
    /// bytes; `None` if the system does not take them, as when memory is locked. Huge pages of which only some
    /// elements are among them are split, until they are [mended](Span::mend).
    pub(crate) fn give_back(&self, elements: Range<usize>) -> Option<usize> {
        let (page, size) = (page(), size_of::<E>());
        let mut start = (elements.start * size).next_multiple_of(page);
        let end = elements.end * size / page * page;
        let mut given = 0;
        while start < end {
            let first = start / HUGE_PAGE * HUGE_PAGE;
            let huge = first..first + HUGE_PAGE;
            let part = start..end.min(huge.end);
            start = part.end;
            if part != huge {
                self.room.allow_huge(huge, false);
            }
            if !self.room.give_back(part.clone()) {
                return (given != 0).then_some(given);
            }
            given += part.len();
        }
        Some(given)
    }

    /// The elements below `end` that lie in each huge page, also if they do in part.
    pub(crate) fn huge_pages(&self, end: usize) -> impl Iterator<Item = Range<usize>> {
        let size = size_of::<E>();
        let pages = (0..end * size).step_by(HUGE_PAGE);
        pages.map(move |page| page.div_ceil(size)..(page + HUGE_PAGE).div_ceil(size).min(end))
    }

    /// Allows the huge page again in which this is the first element of [`huge_pages`](Span::huge_pages).
    pub(crate) fn mend(&self, element: usize) {
        let page = element * size_of::<E>() / HUGE_PAGE * HUGE_PAGE;
        self.room.allow_huge(page..page + HUGE_PAGE, true);
    }

    /// Where they lie.
    #[inline(always)]
    pub(crate) fn elements(&self) -> Elements<'_, E, FIRST> {
        Elements {
            origin: self.room.origin(),
            #[cfg(rtm_loom)]
            room: &self.room,
            marker: PhantomData,
        }
    }
}

/// Where the elements of a span lie, by value.
pub(crate) struct Elements<'s, E: Zero, const FIRST: usize> {
    /// Where that with the number 0 would lie.
    origin: *const E,
    #[cfg(rtm_loom)]
    room: &'s Room<E, FIRST>,
    marker: PhantomData<&'s [E]>,
}

impl<E: Zero, const FIRST: usize> Clone for Elements<'_, E, FIRST> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Zero, const FIRST: usize> Copy for Elements<'_, E, FIRST> {}

impl<'s, E: Zero, const FIRST: usize> Elements<'s, E, FIRST> {
    /// Where the element of this number lies, if there is one.
    #[inline(always)]
    pub(crate) fn address(self, number: usize) -> *const E {
        self.origin.wrapping_add(number)
    }

    /// The element of this number.
    ///
    /// # Safety
    /// It was opened before, and the caller has seen that.
    #[inline(always)]
    pub(crate) unsafe fn get(self, number: usize) -> &'s E {
        #[cfg(rtm_loom)]
        self.room.assert_open(number);
        let element = self.address(number);
        // What wraps might be null for all that the compiler knows.
        // SAFETY: as the caller says, within the open part.
        unsafe { std::hint::assert_unchecked(!element.is_null()) };
        // SAFETY: as above; initialised (all bytes zero is a value), and not unmapped before the span goes.
        unsafe { &*element }
    }
}

/// Asked seldom, so it need not be kept. Under loom any piece will do.
fn page() -> usize {
    if cfg!(rtm_loom) {
        return 1;
    }
    // SAFETY: no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).unwrap_or(4096)
}

/// Bytes that one span should not reserve more than, so that a process whose address space is limited
/// has some left.
pub(crate) fn decent() -> usize {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: fills in the structure.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    match limit.rlim_cur {
        libc::RLIM_INFINITY => usize::MAX,
        limit => usize::try_from(limit / 8).unwrap_or(usize::MAX),
    }
}

#[cfg(not(rtm_loom))]
use mapped::Room;

#[cfg(not(rtm_loom))]
mod mapped {
    use super::{HUGE_PAGE, OutOfMemory, Range, Zero, page};
    use crate::mapping::{allow, reserve, unmap};
    use std::ptr::NonNull;

    /// A private mapping, inaccessible but for its open part.
    pub(super) struct Room<E, const FIRST: usize> {
        /// Where the element with the number 0 would lie.
        origin: *const E,
        bytes: usize,
    }

    impl<E, const FIRST: usize> Room<E, FIRST> {
        fn base(&self) -> NonNull<E> {
            let base = self.origin.wrapping_add(FIRST).cast_mut();
            // SAFETY: what `reserve` returned.
            unsafe { NonNull::new_unchecked(base) }
        }
    }

    impl<E: Zero, const FIRST: usize> Room<E, FIRST> {
        pub(super) fn new(capacity: usize) -> Result<Self, OutOfMemory> {
            let bytes = capacity.checked_mul(size_of::<E>()).ok_or(OutOfMemory)?;
            let bytes = bytes.checked_next_multiple_of(page()).ok_or(OutOfMemory)?;
            let base = reserve(bytes)?.cast::<E>().as_ptr();
            Ok(Room { origin: base.wrapping_sub(FIRST).cast_const(), bytes })
        }

        pub(super) fn open(&self, from: usize, end: usize) -> Result<(), OutOfMemory> {
            let page = page();
            let first = from * size_of::<E>() / page * page;
            let end = end * size_of::<E>();
            let step = if end > HUGE_PAGE { HUGE_PAGE } else { page };
            let end = end.next_multiple_of(step).min(self.bytes);
            // SAFETY: `first` is within the mapping.
            let first_page = unsafe { self.base().byte_add(first) };
            // SAFETY: whole pages of our own mapping, which nobody has in use with less access.
            unsafe { allow(first_page.cast(), end - first) }
        }

        /// Whether the system took these whole pages.
        pub(super) fn give_back(&self, bytes: Range<usize>) -> bool {
            debug_assert!(bytes.end <= self.bytes);
            // SAFETY: within the mapping.
            let first = unsafe { self.base().byte_add(bytes.start) };
            // SAFETY: whole pages of our own mapping; zero bytes are a value of every element.
            unsafe { libc::madvise(first.as_ptr().cast(), bytes.len(), libc::MADV_DONTNEED) == 0 }
        }

        /// Whether the kernel may put a huge page there.
        pub(super) fn allow_huge(&self, bytes: Range<usize>, allowed: bool) {
            let bytes = bytes.start..bytes.end.min(self.bytes);
            let advice = if allowed { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
            // SAFETY: within the mapping.
            let first = unsafe { self.base().byte_add(bytes.start) };
            // A kernel without huge pages refuses, which is as good.
            // SAFETY: whole pages of our own mapping.
            unsafe { libc::madvise(first.as_ptr().cast(), bytes.len(), advice) };
        }

        #[inline(always)]
        pub(super) fn origin(&self) -> *const E {
            self.origin
        }
    }

    impl<E, const FIRST: usize> Drop for Room<E, FIRST> {
        fn drop(&mut self) {
            // SAFETY: our own mapping; `self` is going.
            unsafe { unmap(self.base().cast(), self.bytes) };
        }
    }
}

/// Under loom: memory for all, and a note for each element whether it is open, so that loom sees
/// whoever uses one without having heard of it.
#[cfg(rtm_loom)]
struct Room<E: Zero, const FIRST: usize> {
    elements: crate::alloc::Zeroed<E>,
    opened: Vec<crate::sync::UnsafeCell<bool>>,
    opening: crate::sync::Mutex<()>,
}

#[cfg(rtm_loom)]
impl<E: Zero, const FIRST: usize> Room<E, FIRST> {
    fn new(capacity: usize) -> Result<Self, OutOfMemory> {
        Ok(Room {
            // (Nothing cannot be allocated.)
            elements: crate::alloc::Zeroed::new(capacity.max(1))?,
            opened: (0..capacity).map(|_| crate::sync::UnsafeCell::new(false)).collect(),
            opening: crate::sync::Mutex::new(()),
        })
    }

    fn open(&self, from: usize, end: usize) -> Result<(), OutOfMemory> {
        let _alone = self.opening.lock();
        for note in &self.opened[from..end] {
            // SAFETY: written only here, under the lock.
            if !note.with(|open| unsafe { *open }) {
                // SAFETY: as above; loom checks that nobody reads it meanwhile.
                note.with_mut(|open| unsafe { *open = true });
            }
        }
        Ok(())
    }

    /// What is read as zero is the slab's affair.
    fn give_back(&self, _: Range<usize>) -> bool {
        true
    }

    fn allow_huge(&self, _: Range<usize>, _: bool) {}

    fn origin(&self) -> *const E {
        self.elements.as_ptr().wrapping_sub(FIRST)
    }

    fn assert_open(&self, number: usize) {
        // SAFETY: written before the caller heard of it; loom checks.
        let open = self.opened[number - FIRST].with(|open| unsafe { *open });
        assert!(open, "an element that is not open");
    }
}
