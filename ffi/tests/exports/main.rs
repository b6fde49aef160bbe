//! Every export, driven from a table: with nothing, with stale and with forged handles, and with a
//! panic inside. An export that the table does not name fails the test.

#[path = "../common/mod.rs"]
mod common;

use common::{libraries, run};
use rtm::*;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SYMBOLS: &str = include_str!("../../../include/rtm.symbols");

/// One call of an export.
macro_rules! call {
    ($call:expr) => {{
        // SAFETY: pointers in these tests are NULL or lead to locals of the right type.
        unsafe { $call }
    }};
}

// Behind the macro.
mod table;
mod world;

use table::{Place, exports};
use world::World;

/// Those that take no part in the boundary: they say no code.
const UNGUARDED: [&str; 2] = ["RtmxGetAbiNumber", "RtmxErrorText"];

/// What the log function was told.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn log(_context: PVOID, text: *const c_char) {
    // SAFETY: the library gives a text.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    LOGGED.lock().unwrap().push(text);
}

fn set_log() -> DWORD {
    call!(RtmxSetLogFunction(Some(log), null_mut()))
}

/// The library is one for the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_table_names_every_export() {
    let listed: BTreeSet<&str> = SYMBOLS.lines().collect();
    let table: Vec<&str> = exports().iter().map(|export| export.name).chain(UNGUARDED).collect();
    let named: BTreeSet<&str> = table.iter().copied().collect();
    assert_eq!(named.len(), table.len(), "a name stands twice");
    assert_eq!(named, listed);
}

#[test]
fn the_shared_library_exports_the_list() {
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "--format=posix"]).arg(libraries().join("librtm.so"));
    let ended = run("nm", &mut nm, Duration::from_secs(60));
    assert!(ended.status.success(), "{}", ended.text);
    let exported: BTreeSet<&str> =
        ended.text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let listed: BTreeSet<&str> = SYMBOLS.lines().collect();
    assert_eq!(exported, listed);
}

#[test]
fn with_nothing() {
    let _alone = alone();
    for export in exports() {
        let world = World::new();
        let (call, code) = export.with_nothing;
        assert_eq!(call(), code, "{}", export.name);
        world.check();
    }
    assert_eq!(call!(RtmxGetAbiNumber()), RTMX_ABI_NUMBER);
    assert!(!call!(RtmxErrorText(0)).is_null());
}

#[test]
fn with_a_good_call() {
    let _alone = alone();
    for export in exports() {
        let world = World::new();
        if export.inside {
            world.enter();
        }
        let (call, code) = export.sample;
        assert_eq!(call(&world), code, "{}", export.name);
    }
}

#[test]
fn with_bad_handles() {
    let _alone = alone();
    let mut state = u64::from(std::process::id());
    for export in exports() {
        let world = World::new();
        world.enter();
        let refused = |place: &Place, bad: HANDLE, what: &str| {
            let code = place(&world, bad);
            assert_eq!(code, ERROR_INVALID_HANDLE, "{}: {what} {bad:p}", export.name);
        };
        for place in export.handles {
            refused(place, null_mut(), "NULL");
            refused(place, world.stale, "stale");
            refused(place, world.stale_reader, "stale");
            refused(place, world.stale_queue, "stale");
            for _ in 0..10_000 {
                // The generator of splitmix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut bits = state;
                bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                let forged = (bits ^ bits >> 31) as usize;
                refused(place, std::ptr::without_provenance_mut(forged), "forged");
            }
        }
        world.check();
    }
}

#[test]
fn the_version_is_the_package() {
    let _alone = alone();
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    assert_eq!(call!(RtmxGetVersion(&mut major, &mut minor, &mut patch)), NO_ERROR);
    assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
}

#[cfg(debug_assertions)]
mod injected {
    use super::*;

    const CHILD: &str = "RTM_TEST_INJECT";

    /// Panics inside every export, in a process of its own, because nothing must be printed there.
    #[test]
    fn a_panic_inside_is_an_error_and_a_line_of_the_log() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "injected::child", "--nocapture", "--quiet"]).env(CHILD, "1");
        let ended = run("injected::child", &mut child, Duration::from_secs(60));
        assert!(ended.status.success(), "{}", ended.text);
        let calls = exports().len();
        assert!(ended.text.contains(&format!("<{calls} exports>")), "{}", ended.text);
        for word in ["panicked", "injected"] {
            assert!(!ended.text.contains(word), "something was printed:\n{}", ended.text);
        }
    }

    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        assert_eq!(set_log(), NO_ERROR);
        let table = exports();
        for export in &table {
            let world = World::new();
            if export.inside {
                world.enter();
            }
            let (call, code) = export.sample;
            LOGGED.lock().unwrap().clear();
            inject_panic();
            let injected = call(&world);
            let logged = std::mem::take(&mut *LOGGED.lock().unwrap());
            let again = call(&world);
            // Ends the silence that an injected panic leaves behind in the hot calls, so that a failed
            // assertion is seen.
            assert_eq!(call!(RtmxGetVersion(null_mut(), null_mut(), null_mut())), NO_ERROR);
            assert_eq!(injected, ERROR_INTERNAL_ERROR, "{}", export.name);
            assert_eq!(logged.len(), 1, "{}", export.name);
            assert!(logged[0].ends_with("injected"), "{}: {logged:?}", export.name);
            assert_eq!(again, code, "{} does not work any more", export.name);
            assert!(LOGGED.lock().unwrap().is_empty());
        }
        // Without a log function the text goes nowhere.
        assert_eq!(call!(RtmxSetLogFunction(None, null_mut())), NO_ERROR);
        inject_panic();
        assert_eq!(call!(RtmxFlush()), ERROR_INTERNAL_ERROR);
        assert_eq!(call!(RtmxFlush()), NO_ERROR);
        // What is not an answer of the boundary is not affected.
        inject_panic();
        assert_eq!(call!(RtmxGetAbiNumber()), RTMX_ABI_NUMBER);
        assert_eq!(call!(RtmxFlush()), ERROR_INTERNAL_ERROR);
        assert_eq!(call!(RtmxShutdown()), NO_ERROR);
        println!("<{} exports>", table.len());
    }
}
