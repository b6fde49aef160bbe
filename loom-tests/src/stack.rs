//! The stack that is emptied as a whole.

use crate::{explore, spawn};
use rtm_core::model::Stack;
use std::sync::Arc;

/// Two threads that empty a stack get every node once.
pub fn two_takers() {
    explore(|| {
        let stack = Arc::new(Stack::default());
        stack.push(1);
        let thread = {
            let stack = stack.clone();
            spawn(move || {
                stack.push(2);
                stack.take()
            })
        };
        let mut all = stack.take();
        all.extend(thread.join().unwrap());
        all.extend(stack.take());
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// Nodes arrive complete, and in the order in which they were pushed.
pub fn push_against_take() {
    explore(|| {
        let stack = Arc::new(Stack::default());
        let threads = [10, 20].map(|base| {
            let stack = stack.clone();
            spawn(move || {
                stack.push(base + 1);
                stack.push(base + 2);
            })
        });
        // Reversed, so that what was pushed first comes first.
        let mut all: Vec<_> = stack.take().into_iter().rev().collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        all.extend(stack.take().into_iter().rev());
        for base in [10, 20] {
            let own: Vec<_> = all.iter().copied().filter(|value| value / 10 * 10 == base).collect();
            assert_eq!(own, [base + 1, base + 2]);
        }
        assert_eq!(all.len(), 4);
    });
}

/// What one thread puts back, another takes complete.
pub fn put_back_against_take() {
    explore(|| {
        let stack = Arc::new(Stack::default());
        let threads = [
            {
                let stack = stack.clone();
                spawn(move || {
                    stack.push(1);
                    stack.push(2);
                    Vec::new()
                })
            },
            {
                let stack = stack.clone();
                spawn(move || stack.take_one().into_iter().collect())
            },
        ];
        let mut all = stack.take();
        all.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        all.extend(stack.take());
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}
