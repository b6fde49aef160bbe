//! Memory that is put by before somebody else's code allocates it.
//!
//! crossbeam-epoch and std's `Arc` end the process when they find no memory. Before each call of ours that
//! makes them allocate, a block of that layout is put by, which may fail; then nothing has been done yet.
//!
//! *With a [`Lender`]*, that is, an allocator that is told of the block, the allocation gets the block if there
//! is nothing else. *Without*, the block is given back at once, and is what the allocation most likely gets.

use crate::alloc::OutOfMemory;
#[cfg(not(rtm_loom))]
use crate::sync::{AtomicPtr, Ordering};
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

/// What crossbeam-epoch allocates to push a thread's garbage out: each time something is pushed, when a thread
/// has 64 pieces of it, and when a member goes.
pub const BAG: Layout = layout(2072, 8);
/// ... for each member.
pub(crate) const PARTICIPANT: Layout = layout(2304, 128);
/// ... for a registry, beside a bag.
pub(crate) const COLLECTOR: Layout = layout(640, 128);

/// A lender may keep its notes in a block.
const LEAST: usize = 32;

const fn layout(size: usize, align: usize) -> Layout {
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        Err(_) => panic!("no layout"),
    }
}

/// A global allocator that can set blocks aside, each for the thread that lends it.
pub struct Lender {
    /// From now on an allocation of the calling thread that the block is large and aligned enough for gets it,
    /// if there is no other memory. It has at least 32 bytes, which may be used meanwhile.
    pub lend: unsafe fn(NonNull<u8>, Layout),
    /// Ends that, in the same thread. Whether the block has not been used.
    pub end: unsafe fn(NonNull<u8>) -> bool,
    /// A [`BAG`] like one of the global allocator, maybe from a store for bad times; null if there is none.
    pub bag: fn() -> *mut u8,
}

#[cfg(not(rtm_loom))]
static LENDER: AtomicPtr<Lender> = AtomicPtr::new(std::ptr::null_mut());

/// Says that the program's global allocator is one. For good.
///
/// # Safety
/// Its functions do what [`Lender`] says. They are called with blocks of the global allocator, each lent once
/// before it is ended.
#[cfg(not(rtm_loom))]
pub unsafe fn set_lender(lender: &'static Lender) {
    // Release: partner is `lender`.
    LENDER.store(std::ptr::from_ref(lender).cast_mut(), Ordering::Release);
}

fn lender() -> Option<&'static Lender> {
    #[cfg(rtm_loom)]
    return None;
    #[cfg(not(rtm_loom))]
    // Acquire: partner is `set_lender`.
    // SAFETY: null, or what `set_lender` was given.
    unsafe {
        LENDER.load(Ordering::Acquire).as_ref()
    }
}

/// Memory put by.
pub(crate) struct Block {
    place: NonNull<u8>,
    layout: Layout,
}

// SAFETY: owns its memory, which nobody else knows of.
unsafe impl Send for Block {}

impl Block {
    fn new(layout: Layout) -> Result<Block, OutOfMemory> {
        let size = layout.size().max(LEAST);
        let layout = Layout::from_size_align(size, layout.align()).map_err(|_| OutOfMemory)?;
        // SAFETY: not empty.
        let place = NonNull::new(unsafe { alloc(layout) }).ok_or(OutOfMemory)?;
        Ok(Block { place, layout })
    }

    /// A bag, to be lent now or at a time when nothing may fail. `None`: there is nobody to lend it to.
    pub(crate) fn bag() -> Result<Option<Block>, OutOfMemory> {
        let Some(lender) = lender() else { return Ok(None) };
        let place = NonNull::new((lender.bag)()).ok_or(OutOfMemory)?;
        Ok(Some(Block { place, layout: BAG }))
    }

    pub(crate) fn lend(self) -> Loan {
        let Some(lender) = lender() else { return Loan(None) };
        let block = std::mem::ManuallyDrop::new(self);
        // SAFETY: a block of the global allocator, lent once.
        unsafe { (lender.lend)(block.place, block.layout) };
        Loan(Some((lender, block.place, block.layout)))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made in `new` with this layout.
        unsafe { dealloc(self.place.as_ptr(), self.layout) };
    }
}

/// While it exists, one allocation of the calling thread finds memory.
#[must_use]
pub struct Loan(Option<(&'static Lender, NonNull<u8>, Layout)>);

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some((lender, place, layout)) = self.0 {
            // SAFETY: lent in `Block::lend`, by this thread (a loan is not Send), ended once.
            if unsafe { (lender.end)(place) } {
                drop(Block { place, layout });
            }
        }
    }
}

/// Sees to it that one allocation of `layout` by the calling thread finds memory while the result exists.
///
/// # Errors
/// [`OutOfMemory`].
pub fn lend(layout: Layout) -> Result<Loan, OutOfMemory> {
    if cfg!(rtm_loom) {
        return Ok(Loan(None));
    }
    Ok(Block::new(layout)?.lend())
}

/// As [`lend`], for one allocation of each layout. All blocks are put by before the first is lent: memory for
/// a block might else be found in another one.
pub(crate) fn lend_each<const N: usize>(layouts: [Layout; N]) -> Result<[Loan; N], OutOfMemory> {
    if cfg!(rtm_loom) {
        return Ok(layouts.map(|_| Loan(None)));
    }
    let mut blocks = [const { None }; N];
    for (block, layout) in blocks.iter_mut().zip(layouts) {
        *block = Some(Block::new(layout)?);
    }
    Ok(blocks.map(|block| block.map_or(Loan(None), Block::lend)))
}

/// As [`lend`] for a bag with a lender; without, nothing.
pub(crate) fn lend_bag() -> Result<Option<Loan>, OutOfMemory> {
    Ok(Block::bag()?.map(Block::lend))
}

/// What std allocates for an `Arc<T>` or `Rc<T>`.
pub fn shared<T>() -> Layout {
    let counts = Layout::new::<[usize; 2]>();
    counts.extend(Layout::new::<T>()).expect("a type's size is limited").0.pad_to_align()
}

/// `Arc::new` that reports failure.
pub(crate) fn try_arc<T>(value: T) -> Result<std::sync::Arc<T>, OutOfMemory> {
    let _loan = lend(shared::<T>())?;
    Ok(std::sync::Arc::new(value))
}
