//! The bytes that say what is called, and the memory that calls are given.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::marker::PhantomData;

/// Bytes, read from the first to the last; then 0 for ever.
pub(super) struct Program {
    bytes: Vec<u8>,
    at: Cell<usize>,
}

impl Program {
    pub(super) fn new(bytes: &[u8]) -> Program {
        Program { bytes: bytes.to_vec(), at: Cell::new(0) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at.get() >= self.bytes.len()
    }

    pub(super) fn byte(&self) -> u8 {
        let at = self.at.get();
        self.at.set(at + 1);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(super) fn word(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// An element of a list that is not empty; small bytes mean the last ones.
    pub(super) fn one_of<T: Copy>(&self, list: &[T]) -> T {
        list[list.len() - 1 - usize::from(self.byte()) % list.len()]
    }

    /// What is wrong with the pointers of a call: mostly nothing.
    pub(super) fn faults(&self) -> Faults {
        let wrong = self.byte() >= 0xe0;
        Faults(Cell::new(if wrong { self.byte() } else { 0 }))
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None,
    Null,
    /// One byte off.
    Odd,
}

/// For each pointer of a call in turn.
pub(super) struct Faults(Cell<u8>);

impl Faults {
    pub(super) fn none() -> Faults {
        Faults(Cell::new(0))
    }

    pub(super) fn next(&self) -> Fault {
        let bits = self.0.get();
        self.0.set(bits >> 2);
        match bits & 3 {
            1 => Fault::Null,
            2 => Fault::Odd,
            _ => Fault::None,
        }
    }
}

/// What memory holds that nobody has written.
const BLANK: u8 = 0xa5;

/// Memory of exactly so many elements, for a call to read and write.
pub(super) struct Place<T> {
    memory: *mut u8,
    layout: Layout,
    before: Vec<u8>,
    fault: Fault,
    marker: PhantomData<T>,
}

impl<T> Place<T> {
    /// Blank.
    pub(super) fn new(count: usize, fault: Fault) -> Place<T> {
        Self::of_bytes(vec![BLANK; count * size_of::<T>()], fault)
    }

    /// With these elements.
    pub(super) fn holding(elements: &[T], fault: Fault) -> Place<T>
    where
        T: Copy,
    {
        let mut place = Self::new(elements.len(), fault);
        // SAFETY: as many elements as there are.
        unsafe { place.memory.cast::<T>().copy_from(elements.as_ptr(), elements.len()) };
        place.before = place.bytes().to_vec();
        place
    }

    /// With these bytes, which need not make whole elements.
    pub(super) fn of_bytes(bytes: Vec<u8>, fault: Fault) -> Place<T> {
        let layout = Layout::from_size_align(bytes.len().max(1), 8).expect("small");
        // SAFETY: not empty.
        let memory = unsafe { alloc(layout) };
        assert!(!memory.is_null());
        // SAFETY: as long as the bytes.
        unsafe { memory.copy_from(bytes.as_ptr(), bytes.len()) };
        Place { memory, layout, before: bytes, fault, marker: PhantomData }
    }

    /// What the call is given.
    pub(super) fn pointer(&self) -> *mut T {
        match self.fault {
            Fault::None => self.memory.cast(),
            Fault::Null => std::ptr::null_mut(),
            Fault::Odd => self.memory.wrapping_add(1).cast(),
        }
    }

    pub(super) fn is_bad(&self) -> bool {
        self.fault != Fault::None
    }

    pub(super) fn is_odd(&self) -> bool {
        self.fault == Fault::Odd
    }

    pub(super) fn is_null(&self) -> bool {
        self.fault == Fault::Null
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: made and written with that length.
        unsafe { std::slice::from_raw_parts(self.memory, self.before.len()) }
    }

    pub(super) fn get(&self, index: usize) -> T {
        assert!((index + 1) * size_of::<T>() <= self.before.len());
        // SAFETY: within the memory; of a type that takes any bits.
        unsafe { self.memory.cast::<T>().add(index).read() }
    }

    /// That nothing has changed from the element on.
    #[track_caller]
    pub(super) fn assert_untouched_from(&self, first: usize) {
        let first = first * size_of::<T>();
        assert!(
            self.bytes()[first..] == self.before[first..],
            "DIVERGENCE: written beyond its result"
        );
    }

    #[track_caller]
    pub(super) fn assert_untouched(&self) {
        self.assert_untouched_from(0);
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        // SAFETY: from `alloc` with this layout.
        unsafe { dealloc(self.memory, self.layout) };
    }
}
