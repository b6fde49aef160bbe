//! Who waits for whom inside client code: a wait that would close a cycle is refused.
//!
//! *Roles.* A thread that is about to wait for an entity's code to end, or for an entity's methods to be
//! let go again, notes that here first, if it could be waited for itself: if it is inside client code,
//! if any entity's methods are blocked (it may be the one who blocked them), or if it is about to
//! block some.
//! *States.* A node for each such wait. From a wait for the code of an entity (or for its methods alone)
//! edges lead to the waits of all other threads that are inside it; from a wait for a resumption, to the wait of the
//! thread that blocked (another might resume, but that nobody knows: it counts as a possible deadlock).
//! *Correctness.* A thread that waits enters and leaves no client code, so what a node says stays true.
//! Nodes are added and looked at under one lock: of the waits of a cycle the last one sees all others.
//! *Progress.* Blocking, shortly. The work is quadratic in the number of waits, which are few.

use crate::handle::Token;
use crate::mutant::{Mutant, active};
use crate::sync::{Mutex, thread_serial, thread_token};
use std::sync::PoisonError;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// The end of everything that runs in this entity's code, but for the thread's own frames.
    Code(Token),
    /// The end of its methods alone.
    Methods(Token),
    /// The resumption of methods that the thread with this serial number has blocked.
    Resumption(usize),
}

/// A thread, as its frames are noted, and as it is known for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) token: usize,
    pub(crate) serial: usize,
}

impl Thread {
    pub(crate) fn current() -> Thread {
        Thread { token: thread_token(), serial: thread_serial() }
    }
}

/// The wait would be part of a cycle, or there is no memory to note it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle;

struct Node {
    thread: Thread,
    awaits: For,
    marked: bool,
}

#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<Node>>);

impl Waits {
    /// Notes that `thread` is going to wait. `is_inside(thread, entity, methods)`: whether that thread,
    /// which waits, has a frame in that entity's code, or in its methods alone.
    pub(crate) fn enter(
        &self,
        thread: Thread,
        awaits: For,
        is_inside: impl Fn(usize, Token, bool) -> bool,
    ) -> Result<(), Cycle> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.try_reserve(1).map_err(|_| Cycle)?;
        for node in nodes.iter_mut() {
            node.marked = false;
        }
        let leads_to = |from: For, to: Thread| match from {
            For::Code(entity) => is_inside(to.token, entity, false),
            For::Methods(entity) => is_inside(to.token, entity, true),
            For::Resumption(blocker) => to.serial == blocker,
        };
        // Marks every wait that this one would depend on; `frontier` holds what marked them.
        let mut frontier = awaits;
        let mut next = 0;
        let mut order = Vec::new();
        order.try_reserve(nodes.len()).map_err(|_| Cycle)?;
        loop {
            for (index, node) in nodes.iter_mut().enumerate() {
                if !node.marked && node.thread != thread && leads_to(frontier, node.thread) {
                    node.marked = true;
                    order.push(index);
                }
            }
            let Some(&index) = order.get(next) else { break };
            next += 1;
            frontier = nodes[index].awaits;
            if leads_to(frontier, thread) && !active(Mutant::WaitsBlindly) {
                return Err(Cycle);
            }
        }
        nodes.push(Node { thread, awaits, marked: false });
        Ok(())
    }

    /// The wait is over, or was given up.
    pub(crate) fn leave(&self, thread: Thread) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = nodes.iter().position(|node| node.thread == thread) {
            nodes.swap_remove(index);
        }
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;

    fn entity(number: u32) -> Token {
        Token::new(1, number)
    }

    fn thread(number: usize) -> Thread {
        Thread { token: number, serial: number }
    }

    #[test]
    fn the_wait_that_closes_a_cycle_is_refused() {
        // Thread n is inside entity n.
        let is_inside = |inside: usize, token: Token, _: bool| token == entity(inside as u32);
        for length in 2..6 {
            let waits = Waits::default();
            for number in 1..length {
                let awaits = For::Code(entity(number as u32 + 1));
                assert_eq!(waits.enter(thread(number), awaits, is_inside), Ok(()));
            }
            let last = For::Code(entity(1));
            assert_eq!(waits.enter(thread(length), last, is_inside), Err(Cycle));
            // Whoever is refused has not been noted, and one that goes breaks the cycle.
            waits.leave(thread(length / 2));
            assert_eq!(waits.enter(thread(length), last, is_inside), Ok(()));
        }
    }

    #[test]
    fn a_chain_is_no_cycle() {
        let is_inside = |inside: usize, token: Token, _: bool| token == entity(inside as u32);
        let waits = Waits::default();
        assert_eq!(waits.enter(thread(1), For::Code(entity(2)), is_inside), Ok(()));
        assert_eq!(waits.enter(thread(2), For::Code(entity(3)), is_inside), Ok(()));
        assert_eq!(waits.enter(thread(4), For::Code(entity(1)), is_inside), Ok(()));
        assert_eq!(waits.enter(thread(5), For::Code(entity(5)), is_inside), Ok(()), "own frames");
    }

    #[test]
    fn two_that_wait_for_each_others_resumption() {
        let outside = |_: usize, _: Token, _: bool| false;
        let waits = Waits::default();
        assert_eq!(waits.enter(thread(1), For::Resumption(2), outside), Ok(()));
        assert_eq!(waits.enter(thread(2), For::Resumption(1), outside), Err(Cycle));
        assert_eq!(waits.enter(thread(2), For::Resumption(3), outside), Ok(()));
    }
}
