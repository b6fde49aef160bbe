//! Members of a registry's domain: the explicit one, and each thread's own.
//!
//! A thread's memberships hang on one thread-local list, one entry for each registry it has used.
//! An entry is dropped when the thread ends, or when the thread joins another registry after this
//! one has gone. A call from a thread-local destructor that runs after the list's makes a
//! membership for that call alone.

use crate::alloc::OutOfMemory;
use crate::code::{Frames, next_stripe};
use crate::limits::{Stocked, Uncharged};
use crate::reclamation::{Domain, Local, Section};
use crate::reserve::{lend, shared};
use crate::slab::{Shard, Sharded};
use crate::sync::{AtomicI64, AtomicPtr, AtomicU64};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

/// What a registry keeps for each member. All but the lists and the stock are written by the owner
/// alone.
pub(crate) struct Member {
    shard: Shard<Member>,
    stock: AtomicI64,
    uncharged: Uncharged,
    pub(crate) registered: AtomicU64,
    pub(crate) deregistered: AtomicU64,
    /// The table this member used last, see `Tables::find_again`.
    pub(crate) table: AtomicPtr<()>,
    pub(crate) frames: Frames,
    /// By way of which it enters methods.
    #[cfg(not(rtm_loom))]
    stripe: usize,
    /// Events handed out, and how often one of them was that some were missed.
    pub(crate) events: AtomicU64,
    pub(crate) missed: AtomicU64,
}

impl Default for Member {
    fn default() -> Self {
        Member {
            shard: Shard::default(),
            stock: AtomicI64::new(0),
            uncharged: Uncharged::default(),
            registered: AtomicU64::new(0),
            deregistered: AtomicU64::new(0),
            table: AtomicPtr::new(ptr::null_mut()),
            frames: Frames::default(),
            #[cfg(not(rtm_loom))]
            stripe: next_stripe(),
            events: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

impl Member {
    #[cfg(not(rtm_loom))]
    pub(crate) fn stripe(&self) -> usize {
        self.stripe
    }

    #[cfg(rtm_loom)]
    pub(crate) fn stripe(&self) -> usize {
        next_stripe()
    }
}

impl Sharded for Member {
    #[inline(always)]
    fn shard(&self) -> &Shard<Member> {
        &self.shard
    }
}

impl Stocked for Member {
    #[inline(always)]
    fn stock(&self) -> &AtomicI64 {
        &self.stock
    }

    #[inline(always)]
    fn uncharged(&self) -> &Uncharged {
        &self.uncharged
    }
}

/// A thread's memberships. Going, it takes back the short cut to one of them.
struct Memberships(Vec<Rc<Local<Member>>>);

impl Memberships {
    fn find(&self, domain: &Domain<Member>) -> Option<&Rc<Local<Member>>> {
        let id = domain.id();
        let found = self.0.iter().find(|local| local.id() == id)?;
        LAST.set((id, Rc::as_ptr(found)));
        Some(found)
    }
}

impl Drop for Memberships {
    fn drop(&mut self) {
        LAST.set((ptr::null(), ptr::null()));
    }
}

std::thread_local! {
    static MEMBERSHIPS: RefCell<Memberships> = const { RefCell::new(Memberships(Vec::new())) };
    /// The membership used last and its domain's id. Has no destructor, so it can be read at any
    /// moment of a thread's life; what it points to is in the list.
    static LAST: Cell<(*const (), *const Local<Member>)> =
        const { Cell::new((ptr::null(), ptr::null())) };
}

/// Enters a section of the calling thread's membership, which must exist; `None` if it does not.
#[inline(always)]
pub(crate) fn enter_existing(domain: &Domain<Member>) -> Option<Section<'_, Member>> {
    let (id, last) = LAST.get();
    if id != domain.id() {
        return None;
    }
    // SAFETY: `LAST` is set to an element of the list and reset when one may go. Entering runs no
    // client code that could drop it meanwhile.
    Some(unsafe { &*last }.enter(domain))
}

/// The calling thread's membership, made if there is none.
pub(crate) fn ambient(domain: &Domain<Member>) -> Result<Rc<Local<Member>>, OutOfMemory> {
    let found = MEMBERSHIPS.try_with(|list| list.try_borrow().ok()?.find(domain).cloned());
    match found {
        Ok(Some(local)) => Ok(local),
        Ok(None) => {
            let local = join(domain)?;
            // A list that is just being destroyed, or has no memory to grow: for this call only.
            let _ = MEMBERSHIPS.try_with(|list| {
                if let Ok(mut list) = list.try_borrow_mut() {
                    LAST.set((ptr::null(), ptr::null()));
                    list.0.retain(|local| !local.is_closed());
                    if list.0.try_reserve(1).is_ok() {
                        list.0.push(local.clone());
                    }
                }
            });
            Ok(local)
        }
        Err(_) => join(domain),
    }
}

fn join(domain: &Domain<Member>) -> Result<Rc<Local<Member>>, OutOfMemory> {
    let local = domain.join()?;
    let _loan = lend(shared::<Local<Member>>())?;
    Ok(Rc::new(local))
}
