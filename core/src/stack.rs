//! A lock-free stack that is emptied as a whole.
//!
//! *Roles.* Any thread pushes one node or takes everything.
//! *ABA.* Cannot matter: nobody removes a single node, so no compare-exchange relies on the link of
//! a node it does not own; `push` only needs the head it writes into its own node to be the head it
//! replaces, and `put_back` that there is nothing.
//! *Orderings.* `push` releases the node's content to the `take` that acquires it; the links of
//! earlier nodes are released along with it, since every push is a read-modify-write of the head.
//! *Progress.* `push` lock-free, `take` wait-free. Neither allocates.

use crate::mutant::{Mutant, active, relaxed_if};
use crate::sync::{AtomicPtr, Ordering};
use std::ptr;

/// Something with room for a link.
pub(crate) trait Linked: Sized {
    fn link(&mut self) -> &mut *mut Self;
}

/// Owns its nodes.
pub(crate) struct Stack<N: Linked> {
    head: AtomicPtr<N>,
}

impl<N: Linked> Default for Stack<N> {
    fn default() -> Self {
        Stack { head: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl<N: Linked> Stack<N> {
    pub(crate) fn push(&self, mut node: Box<N>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            *node.link() = head;
            let raw = Box::into_raw(node);
            // Release: `take` sees the node's content and link.
            let order = relaxed_if(Mutant::PushRelaxed, Ordering::Release);
            match self.head.compare_exchange_weak(head, raw, order, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => {
                    head = now;
                    // SAFETY: the exchange failed, so `raw` is still ours alone.
                    node = unsafe { Box::from_raw(raw) };
                }
            }
        }
    }

    /// Pushes what is left of a [`take`](Stack::take): at once, if nobody has pushed anything meanwhile.
    pub(crate) fn put_back(&self, mut chain: Chain<N>) {
        let (nothing, relaxed) = (ptr::null_mut(), Ordering::Relaxed);
        // Relaxed: taking and putting back go on with the release sequences of the pushes, and nothing was written.
        if self.head.compare_exchange(nothing, chain.head, relaxed, relaxed).is_ok() {
            chain.head = nothing;
        }
        chain.for_each(|node| self.push(node));
    }

    /// Whether a [`take`](Stack::take) would have found nothing just now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    pub(crate) fn take(&self) -> Chain<N> {
        if self.is_empty() {
            return Chain { head: ptr::null_mut() };
        }
        if active(Mutant::TakeWithoutSwap) {
            let head = self.head.load(Ordering::Acquire);
            self.head.store(ptr::null_mut(), Ordering::Release);
            return Chain { head };
        }
        // Acquire: pairs with every `push` whose node is in the chain.
        let order = relaxed_if(Mutant::TakeRelaxed, Ordering::Acquire);
        Chain { head: self.head.swap(ptr::null_mut(), order) }
    }
}

impl<N: Linked> Drop for Stack<N> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What a [`Stack::take`] took: owns its nodes, last pushed first.
pub(crate) struct Chain<N: Linked> {
    head: *mut N,
}

// SAFETY: a chain owns its nodes as a `Vec<Box<N>>` would.
unsafe impl<N: Linked + Send> Send for Chain<N> {}

impl<N: Linked> Chain<N> {
    pub(crate) const fn empty() -> Self {
        Chain { head: ptr::null_mut() }
    }

    pub(crate) fn push(&mut self, mut node: Box<N>) {
        *node.link() = self.head;
        self.head = Box::into_raw(node);
    }
}

impl<N: Linked> Iterator for Chain<N> {
    type Item = Box<N>;

    fn next(&mut self) -> Option<Box<N>> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: the chain owns its nodes, each of which came from a `Box`.
        let mut node = unsafe { Box::from_raw(self.head) };
        self.head = std::mem::replace(node.link(), ptr::null_mut());
        Some(node)
    }
}

impl<N: Linked> Drop for Chain<N> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
