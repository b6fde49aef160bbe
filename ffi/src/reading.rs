//! Read sections, contexts, reader objects.

use crate::boundary::{call, call_hot, handle, optional, required, required_array, try_box};
use crate::client::Client;
use crate::manager::{self, Manager};
use crate::reserve;
use crate::sync::Mutex;
use crate::thread::{self, Section};
use crate::tokens::{PLACE_BITS, Serials};
use crate::types::*;
use rtm_core::Guard;
use std::ptr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Enters a read section on this thread: what is looked up inside stays valid until it is left.
/// Nestable; each call needs its RtmxLeave.
///
/// @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call);
///   ERROR_NO_SYSTEM_RESOURCES (in a thread's first call: the process has no pthread key left; or the
///   thread has entered 2^32 times).
///
/// A thread that stays inside keeps departed entities from being reclaimed and in the end others from
/// registering (RTMX_LIMITS.MaxBacklog): leave, or call RtmxQuiescent, now and then, and do not sleep
/// inside. A thread that ends inside leaves by itself (unless it enters in the last round of its pthread
/// destructors). Any thread, not a signal handler. Wait-free but
/// for the first call, which allocates, and each 128th, which walks all members (lock-free).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxEnter() -> DWORD {
    call_hot(|| thread::record(manager::get()?)?.section.enter())
}

/// Leaves a read section of this thread.
///
/// @return NO_ERROR; ERROR_NOT_LOCKED the thread is not inside.
///
/// Wait-free, allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxLeave() -> DWORD {
    call_hot(|| thread::inside().ok_or(ERROR_NOT_LOCKED)?.section.leave())
}

/// Lets go of everything this thread has looked up and stays inside: for loops that never leave.
///
/// @return NO_ERROR; ERROR_NOT_LOCKED the thread is not inside; ERROR_POSSIBLE_DEADLOCK the section is
///   nested in another one, whose pointers would be lost.
///
/// Wait-free, allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxQuiescent() -> DWORD {
    call_hot(|| thread::inside().ok_or(ERROR_NOT_LOCKED)?.section.quiesce())
}

/// Looks up the context pointer of an entity. Valid until the read section ends.
///
/// @param EntityHandle  in: an entity of any table.
/// @param Context       out: the pointer given to RtmxRegisterEntity (NULL for an entity that was
///   registered without one). Required.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not registered (any more), whatever references there are;
///   ERROR_NOT_LOCKED the thread is not inside a read section; ERROR_INVALID_PARAMETER Context NULL or
///   misaligned.
///
/// Wait-free, writes no shared memory, allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetContext(
    EntityHandle: RTM_ENTITY_HANDLE,
    Context: *mut PVOID,
) -> DWORD {
    call_hot(|| {
        let record = thread::inside().ok_or(ERROR_NOT_LOCKED)?;
        // SAFETY: the caller's pointer, checked inside.
        unsafe { context(record.section.guard()?, EntityHandle, Context) }
    })
}

/// Looks up the contexts of many entities at once; several times faster per handle than one by one
/// when there are many entities.
///
/// @param NumEntities    in: number of handles, may be 0.
/// @param EntityHandles  in: the handles; may be NULL if there are none.
/// @param Contexts       out: a context for each handle, NULL where the handle is bad; may be NULL if
///   there are none. May be the array of the handles itself; else the two must not overlap.
/// @param NumFound       out: how many handles were good; or NULL.
///
/// @return NO_ERROR all were good; ERROR_INVALID_HANDLE at least one was bad (the others are looked
///   up); ERROR_NOT_LOCKED, ERROR_INVALID_PARAMETER as RtmxGetContext, nothing is written.
///
/// Wait-free, writes no shared memory, allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetContexts(
    NumEntities: UINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
    Contexts: *mut PVOID,
    NumFound: PUINT,
) -> DWORD {
    call_hot(|| {
        let record = thread::inside().ok_or(ERROR_NOT_LOCKED)?;
        let arrays = Arrays { NumEntities, EntityHandles, Contexts, NumFound };
        // SAFETY: the caller's arrays, checked inside.
        unsafe { contexts(record.section.guard()?, &arrays) }
    })
}

/// # Safety
/// `place` is NULL or leads to a pointer.
#[inline(always)]
unsafe fn context(
    guard: &Guard<'static, Client>,
    entity: RTM_ENTITY_HANDLE,
    place: *mut PVOID,
) -> Result<(), DWORD> {
    required(place)?;
    let client = guard.get(handle(entity)?).map_err(|_| ERROR_INVALID_HANDLE)?;
    // SAFETY: checked above.
    unsafe { place.write(client.context()) };
    Ok(())
}

struct Arrays {
    NumEntities: UINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
    Contexts: *mut PVOID,
    NumFound: PUINT,
}

/// # Safety
/// The arrays are NULL or as long as they say.
#[inline(always)]
unsafe fn contexts(guard: &Guard<'static, Client>, arrays: &Arrays) -> Result<(), DWORD> {
    let &Arrays { NumEntities: count, EntityHandles, Contexts, NumFound } = arrays;
    required_array(EntityHandles, count)?;
    required_array(Contexts, count)?;
    optional(NumFound)?;
    let mut found = 0;
    let element = |index| {
        // SAFETY: the caller says that there are as many.
        let place = unsafe { EntityHandles.add(index) };
        // SAFETY: as above.
        handle(unsafe { place.read() }).ok()
    };
    guard.get_each_by(count as usize, element, |index, client| {
        let context = match client {
            Ok(client) => {
                found += 1;
                client.context()
            }
            Err(_) => ptr::null_mut(),
        };
        // SAFETY: the caller says that there are as many.
        let place = unsafe { Contexts.add(index) };
        // SAFETY: as above.
        unsafe { place.write(context) };
    });
    if !NumFound.is_null() {
        // SAFETY: checked above.
        unsafe { NumFound.write(found) };
    }
    if found == count { Ok(()) } else { Err(ERROR_INVALID_HANDLE) }
}

/// All reader objects of a manager.
///
/// Finding one is two loads and a comparison. The memory of readers is never freed before the manager
/// is, only used again, so that a handle that is used while another thread deletes it reads memory that
/// is there.
pub(crate) struct Readers {
    pages: [AtomicPtr<[Place; PLACES]>; PAGES],
    serials: Serials,
    pool: Mutex<Pool>,
}

const PLACES: usize = 256;
const PAGES: usize = 256;
const READER_KIND: u64 = 15;
const _: () = assert!(PLACES * PAGES == 1 << PLACE_BITS);

struct Place {
    /// The handle of the reader that is here, else 0.
    handle: AtomicU64,
    /// Its section; stays when it is deleted.
    section: AtomicPtr<Section>,
}

#[derive(Default)]
struct Pool {
    /// Places that have been used, and those of them that are free.
    used: usize,
    free: Vec<u16>,
}

// SAFETY: sections are used by one thread at a time, as the header asks for; all else is atomic or
// locked.
unsafe impl Sync for Readers {}
// SAFETY: as above.
unsafe impl Send for Readers {}

impl Default for Readers {
    fn default() -> Self {
        Readers {
            pages: [const { AtomicPtr::new(ptr::null_mut()) }; PAGES],
            serials: Serials::new(READER_KIND),
            pool: Mutex::default(),
        }
    }
}

impl Readers {
    #[inline(always)]
    fn place(&self, number: u64) -> Option<&Place> {
        let number = number as usize & ((1 << PLACE_BITS) - 1);
        // Acquire: pairs with the store in `create`.
        let page = self.pages[number / PLACES].load(Ordering::Acquire);
        // SAFETY: null, or a page that lives as long as `self`.
        Some(&unsafe { page.as_ref() }?[number % PLACES])
    }

    #[inline(always)]
    fn find(&self, handle: RTMX_READER_HANDLE) -> Result<&Section, DWORD> {
        let bits = handle.addr() as u64;
        let place = self.place(bits).ok_or(ERROR_INVALID_HANDLE)?;
        // Acquire: pairs with the store in `create`. No place holds 0's handle: a free place holds 0
        // and the handle of place 0 is never 0.
        if bits == 0 || place.handle.load(Ordering::Acquire) != bits {
            return Err(ERROR_INVALID_HANDLE);
        }
        // SAFETY: set before the handle; sections live as long as `self`.
        Ok(unsafe { &*place.section.load(Ordering::Relaxed) })
    }

    fn create(&self, manager: &'static Manager) -> Result<RTMX_READER_HANDLE, DWORD> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match pool.free.pop() {
            Some(number) => number,
            None => {
                let number = u16::try_from(pool.used).map_err(|_| ERROR_NO_SYSTEM_RESOURCES)?;
                let count = pool.used + 1;
                // Room for its return, so that deleting needs no memory.
                pool.free.try_reserve(count).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
                let section = try_box(Section::new(manager)?)?;
                let page = &self.pages[usize::from(number) / PLACES];
                if page.load(Ordering::Relaxed).is_null() {
                    let empty = || Place {
                        handle: AtomicU64::new(0),
                        section: AtomicPtr::new(ptr::null_mut()),
                    };
                    let new = try_box(std::array::from_fn(|_| empty()))?;
                    // Release: partner is `place`.
                    page.store(Box::into_raw(new), Ordering::Release);
                }
                let place = self.place(number.into()).ok_or(ERROR_INTERNAL_ERROR)?;
                place.section.store(Box::into_raw(section), Ordering::Relaxed);
                pool.used = count;
                number
            }
        };
        let bits = self.serials.next(number);
        let place = self.place(number.into()).ok_or(ERROR_INTERNAL_ERROR)?;
        // Release: partner is `find`.
        place.handle.store(bits, Ordering::Release);
        Ok(ptr::without_provenance_mut(bits as usize))
    }

    fn delete(&self, handle: RTMX_READER_HANDLE) -> Result<(), DWORD> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(handle)?.is_inside() {
            return Err(ERROR_BUSY);
        }
        let number = handle.addr() as u16;
        let place = self.place(number.into()).ok_or(ERROR_INTERNAL_ERROR)?;
        place.handle.store(0, Ordering::Relaxed);
        pool.free.push(number);
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for page in &self.pages {
            let page = page.load(Ordering::Relaxed);
            if page.is_null() {
                continue;
            }
            // SAFETY: made from a box by `create`; `self` is going.
            for place in &*unsafe { Box::from_raw(page) } {
                let section = place.section.load(Ordering::Relaxed);
                if !section.is_null() {
                    // SAFETY: as above.
                    drop(unsafe { Box::from_raw(section) });
                }
            }
        }
    }
}

#[inline(always)]
fn reader(handle: RTMX_READER_HANDLE) -> Result<&'static Section, DWORD> {
    manager::of_handle()?.readers.find(handle)
}

/// Creates a reader object: read sections that are not tied to a thread's own. A reader saves the
/// thread-local access of each call, and lets a worker keep a section of its own beside the thread's.
///
/// @param Reader  out: its handle. Required.
///
/// @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY; ERROR_NO_SYSTEM_RESOURCES there are 65,536 readers;
///   ERROR_INVALID_PARAMETER Reader NULL or misaligned.
///
/// A reader is used by one thread at a time; a section of it is left by the thread that entered it.
/// Using one from two threads at once is a defect of the caller with undefined effect. Blocks
/// shortly; allocates about 5 KiB, kept for later readers when this one is deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxCreateReader(Reader: PRTMX_READER_HANDLE) -> DWORD {
    call(|| {
        required(Reader)?;
        let manager = manager::get()?;
        reserve::top_up()?;
        let handle = manager.readers.create(manager)?;
        // SAFETY: checked above.
        unsafe { Reader.write(handle) };
        Ok(())
    })
}

/// Deletes a reader object.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_BUSY inside a read section.
///
/// Blocks shortly.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxDeleteReader(Reader: RTMX_READER_HANDLE) -> DWORD {
    call(|| manager::of_handle()?.readers.delete(Reader))
}

/// RtmxEnter for a reader object.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NO_SYSTEM_RESOURCES entered 2^32 times.
///
/// Allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderEnter(Reader: RTMX_READER_HANDLE) -> DWORD {
    call_hot(|| reader(Reader)?.enter())
}

/// RtmxLeave for a reader object.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NOT_LOCKED not inside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderLeave(Reader: RTMX_READER_HANDLE) -> DWORD {
    call_hot(|| reader(Reader)?.leave())
}

/// RtmxQuiescent for a reader object.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NOT_LOCKED not inside;
///   ERROR_POSSIBLE_DEADLOCK nested.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderQuiescent(Reader: RTMX_READER_HANDLE) -> DWORD {
    call_hot(|| reader(Reader)?.quiesce())
}

/// RtmxGetContext inside a reader object's section.
///
/// @return as RtmxGetContext; ERROR_INVALID_HANDLE also if Reader is not a reader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderGetContext(
    Reader: RTMX_READER_HANDLE,
    EntityHandle: RTM_ENTITY_HANDLE,
    Context: *mut PVOID,
) -> DWORD {
    call_hot(|| {
        // SAFETY: the caller's pointer, checked inside.
        unsafe { context(reader(Reader)?.guard()?, EntityHandle, Context) }
    })
}

/// RtmxGetContexts inside a reader object's section.
///
/// @return as RtmxGetContexts; ERROR_INVALID_HANDLE also if Reader is not a reader, then nothing is
///   written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderGetContexts(
    Reader: RTMX_READER_HANDLE,
    NumEntities: UINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
    Contexts: *mut PVOID,
    NumFound: PUINT,
) -> DWORD {
    call_hot(|| {
        let arrays = Arrays { NumEntities, EntityHandles, Contexts, NumFound };
        // SAFETY: the caller's arrays, checked inside.
        unsafe { contexts(reader(Reader)?.guard()?, &arrays) }
    })
}
