//! Read sections, contexts, reader objects.

use crate::boundary::{call, call_hot, handle, optional, required, required_array, to_c};
use crate::client::Client;
use crate::manager::{self, Manager};
use crate::thread::{self, Section};
use crate::types::*;
use rtm_core::{
    AddressFamily, DropBy, EntityInfo, Guard, Handle, Kind, OutOfMemory, Participant, Registry,
    Settings, TableKey,
};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Enters a read section on this thread: what is looked up inside stays valid until it is left.
/// Nestable; each call needs its RtmxLeave.
///
/// @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY, ERROR_NO_SYSTEM_RESOURCES (only in a thread's first
///   call).
///
/// A thread that stays inside keeps departed entities from being reclaimed and in the end others from
/// registering (RTMX_LIMITS.MaxBacklog): leave, or call RtmxQuiescent, now and then, and do not sleep
/// inside. A thread that ends inside leaves by itself. Any thread, not a signal handler. Wait-free but
/// for the first call, which allocates, and each 128th, which walks all members (lock-free).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxEnter() -> DWORD {
    call_hot(|| {
        thread::record(manager::get()?)?.section.enter();
        Ok(())
    })
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
        record.section.with(|guard| unsafe { context(guard, EntityHandle, Context) })
    })
}

/// Looks up the contexts of many entities at once; several times faster per handle than one by one
/// when there are many entities.
///
/// @param NumEntities    in: number of handles, may be 0.
/// @param EntityHandles  in: the handles; may be NULL if there are none.
/// @param Contexts       out: a context for each handle, NULL where the handle is bad; may be NULL if
///   there are none.
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
        record.section.with(|guard| unsafe { contexts(guard, &arrays) })
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
/// A reader's handle is resolved like an entity's, by a validated copy without a guard; what it gives
/// is the reader's address. The memory of readers is never freed before the manager is, only used
/// again, so that a handle that is used while another thread deletes it reads memory that is there.
pub(crate) struct Readers {
    all: Mutex<Pool>,
    // After the pool, whose participant borrows it.
    registry: Box<Registry<()>>,
}

struct Pool {
    /// Creates and deletes.
    participant: Participant<'static, ()>,
    // Boxed: readers must not move when the vector grows.
    #[allow(clippy::vec_box)]
    readers: Vec<Box<Section>>,
    free: Vec<*const Section>,
}

// SAFETY: sections are used by one thread at a time, as the header asks for; the pool is locked.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Readers {}

const READER_TABLE: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };

impl Readers {
    fn of(manager: &'static Manager) -> Result<&'static Readers, DWORD> {
        if let Some(readers) = manager.readers.get() {
            return Ok(readers);
        }
        let new = Readers::new().map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
        // Failure means that another thread's are there.
        let _ = manager.readers.set(new);
        manager.readers.get().ok_or(ERROR_NOT_ENOUGH_MEMORY)
    }

    fn new() -> Result<Readers, OutOfMemory> {
        let registry = Box::new(Registry::with_kind(Settings::default(), Kind::Reader)?);
        // SAFETY: boxed, so it does not move, and dropped after the participant.
        let participant = unsafe { &*ptr::from_ref(&*registry) }.join()?;
        let pool = Pool { participant, readers: Vec::new(), free: Vec::new() };
        Ok(Readers { all: Mutex::new(pool), registry })
    }

    fn create(&self, manager: &'static Manager) -> Result<Handle, DWORD> {
        let no_memory = |_| ERROR_NOT_ENOUGH_MEMORY;
        let mut pool = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let section = match pool.free.pop() {
            Some(section) => section,
            None => {
                pool.readers.try_reserve(1).map_err(no_memory)?;
                let count = pool.readers.len() + 1;
                pool.free.try_reserve(count).map_err(no_memory)?;
                let section =
                    Section::new(manager).map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
                pool.readers.push(Box::new(section));
                let newest = &pool.readers[count - 1];
                ptr::from_ref(&**newest)
            }
        };
        let info = EntityInfo { table: READER_TABLE, id: section.expose_provenance() as u64 };
        pool.participant.register_handle(info, (), DropBy::Writers).map_err(|_| {
            pool.free.push(section);
            ERROR_NOT_ENOUGH_MEMORY
        })
    }

    fn delete(&self, handle: Handle) -> Result<(), DWORD> {
        let mut pool = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let section = self.find(handle)?;
        if section.is_inside() {
            return Err(ERROR_BUSY);
        }
        pool.participant.deregister(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
        // The room was reserved when the reader was made.
        pool.free.push(section);
        Ok(())
    }

    #[inline(always)]
    fn find(&self, handle: Handle) -> Result<&'static Section, DWORD> {
        let info = self.registry.registered_info(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
        // SAFETY: `create` made the address of a section that lives as long as the manager.
        Ok(unsafe { &*ptr::with_exposed_provenance::<Section>(info.id as usize) })
    }
}

#[inline(always)]
fn reader(token: RTMX_READER_HANDLE) -> Result<&'static Section, DWORD> {
    let readers = manager::of_handle()?.readers.get().ok_or(ERROR_INVALID_HANDLE)?;
    readers.find(handle(token)?)
}

/// Creates a reader object: read sections that are not tied to a thread's own. A reader saves the
/// thread-local access of each call, and lets a worker keep a section of its own beside the thread's.
///
/// @param Reader  out: its handle. Required.
///
/// @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY; ERROR_INVALID_PARAMETER Reader NULL or misaligned.
///
/// A reader is used by one thread at a time; a section of it is left by the thread that entered it.
/// Using one from two threads at once is a defect of the caller with undefined effect. Blocks
/// shortly; allocates about 3 KiB, kept for later readers when this one is deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxCreateReader(Reader: PRTMX_READER_HANDLE) -> DWORD {
    call(|| {
        required(Reader)?;
        let manager = manager::get()?;
        let handle = Readers::of(manager)?.create(manager)?;
        // SAFETY: checked above.
        unsafe { Reader.write(to_c(handle)) };
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
    call(|| {
        let readers = manager::of_handle()?.readers.get().ok_or(ERROR_INVALID_HANDLE)?;
        readers.delete(handle(Reader)?)
    })
}

/// RtmxEnter for a reader object.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a reader.
///
/// Allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxReaderEnter(Reader: RTMX_READER_HANDLE) -> DWORD {
    call_hot(|| {
        reader(Reader)?.enter();
        Ok(())
    })
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
        reader(Reader)?.with(|guard| unsafe { context(guard, EntityHandle, Context) })
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
        reader(Reader)?.with(|guard| unsafe { contexts(guard, &arrays) })
    })
}
