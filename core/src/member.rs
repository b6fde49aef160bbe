//! Members of a registry's domain: the explicit one, and each thread's own.
//!
//! A thread's memberships hang on one thread-local list, one entry for each registry it has used.
//! An entry is dropped when the thread ends, or when the thread joins another registry after this
//! one has gone. A call from a thread-local destructor that runs after the list's makes a
//! membership for that call alone.

use crate::alloc::OutOfMemory;
use crate::limits::Stocked;
use crate::reclamation::{Domain, Local};
use crate::slab::{Shard, Sharded};
use crate::sync::{AtomicI64, AtomicU64};
use std::cell::RefCell;
use std::rc::Rc;

/// What a registry keeps for each member. All but the lists and the stock are written by the owner
/// alone.
#[derive(Default)]
pub(crate) struct Member {
    shard: Shard<Member>,
    stock: AtomicI64,
    pub(crate) registered: AtomicU64,
    pub(crate) deregistered: AtomicU64,
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
}

std::thread_local! {
    static MEMBERSHIPS: RefCell<Vec<Rc<Local<Member>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with the calling thread's membership, which must exist; `None` if it does not.
#[inline(always)]
pub(crate) fn with_existing<R>(
    domain: &Domain<Member>,
    f: impl FnOnce(&Local<Member>) -> R,
) -> Option<R> {
    // `f` does not come back here: it must not run client code.
    MEMBERSHIPS
        .try_with(|list| {
            let list = list.try_borrow().ok()?;
            let id = domain.id();
            list.iter().find(|local| local.id() == id).map(|local| f(local))
        })
        .ok()
        .flatten()
}

/// The calling thread's membership, made if there is none.
pub(crate) fn ambient(domain: &Domain<Member>) -> Result<Rc<Local<Member>>, OutOfMemory> {
    let found = MEMBERSHIPS.try_with(|list| {
        let list = list.try_borrow().ok()?;
        let id = domain.id();
        list.iter().find(|local| local.id() == id).cloned()
    });
    match found {
        Ok(Some(local)) => Ok(local),
        Ok(None) => {
            let local = Rc::new(domain.join()?);
            // A list that is just being destroyed, or has no memory to grow: for this call only.
            let _ = MEMBERSHIPS.try_with(|list| {
                if let Ok(mut list) = list.try_borrow_mut() {
                    list.retain(|local| !local.is_closed());
                    if list.try_reserve(1).is_ok() {
                        list.push(local.clone());
                    }
                }
            });
            Ok(local)
        }
        Err(_) => Ok(Rc::new(domain.join()?)),
    }
}
