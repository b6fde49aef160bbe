//! A process that locks its memory keeps it: nothing is given back, and nothing else changes.
//!
//! The lock holds for the process, so this is the only test of its file.

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, Handle, Registry, Settings};

fn fill(registry: &Registry<[u64; 14]>) -> Vec<Handle> {
    let one = |id| registry.register_handle(entity(V4, id), [id; 14], DropBy::Writers).unwrap();
    (0..50_000).map(one).collect()
}

#[test]
fn memory_that_is_locked_stays() {
    let registry = Registry::new(Settings::default()).unwrap();
    let handles = fill(&registry);
    // SAFETY: no preconditions.
    if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
        let error = std::io::Error::last_os_error();
        println!("*** SKIPPED: memory may not be locked here (RLIMIT_MEMLOCK): {error} ***");
        return;
    }
    handles.iter().for_each(|handle| registry.deregister(*handle).unwrap());
    registry.flush().unwrap();
    assert_eq!(registry.trim(), Ok(0));
    for (handle, id) in fill(&registry).iter().zip(0..) {
        assert_eq!(registry.look_up(*handle).unwrap()[9], id);
        registry.deregister(*handle).unwrap();
    }
    registry.flush().unwrap();
    // SAFETY: no preconditions.
    assert_eq!(unsafe { libc::munlockall() }, 0);
    assert!(registry.trim().unwrap() > 2 << 20);
}
