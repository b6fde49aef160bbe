//! The C calls whose instructions are counted, through the shared library.

use super::instructions::{each, picks};
use rtm::{
    DWORD, HANDLE, NO_ERROR, PVOID, RTM_ENTITY_EXPORT_METHODS, RTM_ENTITY_HANDLE, RTM_ENTITY_ID,
    RTM_ENTITY_INFO, RTM_ENTITY_METHOD_INPUT, RTM_ENTITY_METHOD_OUTPUT, RTM_REGN_PROFILE,
};
use std::ffi::{CStr, CString};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

const PICKS: usize = 1000;

/// The library beside this program.
pub(super) fn library() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = program.with_file_name("librtm.so");
    match path.is_file() {
        true => Ok(path),
        false => {
            Err(format!("no {}: build it with `cargo build --release -p rtm-ffi`", path.display()))
        }
    }
}

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*);)*) => {
        #[allow(non_snake_case)]
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) -> DWORD),* }

        impl Functions {
            fn load() -> Functions {
                let path = library().expect("the shared library");
                let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
                // SAFETY: a path that ends with NUL; the library's constructors are Rust's.
                let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
                assert!(!library.is_null(), "cannot open {path:?}");
                let find = |name: &CStr| {
                    // SAFETY: an open library and a name that ends with NUL.
                    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
                    assert!(!found.is_null(), "no {name:?} in {path:?}");
                    found
                };
                Functions {
                    $($name: {
                        let found = find(
                            CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes())
                                .expect("a name"),
                        );
                        // SAFETY: the function has the type that the header gives.
                        unsafe {
                            std::mem::transmute::<PVOID, unsafe extern "C" fn($($argument),*) -> DWORD>(found)
                        }
                    }),*
                }
            }
        }
    };
}

functions! {
    RtmxRegisterEntity: fn(
        *mut RTM_ENTITY_INFO, *mut RTM_ENTITY_EXPORT_METHODS, PVOID, i32, PVOID, PVOID, PVOID,
        *mut RTM_REGN_PROFILE, *mut RTM_ENTITY_HANDLE
    );
    RtmGetEntityInfo: fn(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, *mut RTM_ENTITY_INFO);
    RtmReferenceHandles: fn(RTM_ENTITY_HANDLE, u32, *mut HANDLE);
    RtmReleaseEntities: fn(RTM_ENTITY_HANDLE, u32, *mut RTM_ENTITY_HANDLE);
    RtmInvokeMethod: fn(
        RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, *mut RTM_ENTITY_METHOD_INPUT, *mut u32,
        *mut RTM_ENTITY_METHOD_OUTPUT
    );
    RtmxEnter: fn();
    RtmxLeave: fn();
    RtmxGetContext: fn(RTM_ENTITY_HANDLE, *mut PVOID);
    RtmxGetContexts: fn(u32, *mut RTM_ENTITY_HANDLE, *mut PVOID, *mut u32);
}

unsafe extern "C" fn method(
    _: RTM_ENTITY_HANDLE,
    _: RTM_ENTITY_HANDLE,
    _: *mut RTM_ENTITY_METHOD_INPUT,
    output: *mut RTM_ENTITY_METHOD_OUTPUT,
) {
    // SAFETY: the library's record for this method.
    unsafe { (*output).OutputSize = 0 };
}

/// Registers so many entities with a method; picks of their handles, of which the first stands for the caller.
fn with_entities(count: usize, run: impl FnOnce(&Functions, &mut [RTM_ENTITY_HANDLE])) {
    let library = Functions::load();
    let mut register = |id: u64| {
        let mut info = RTM_ENTITY_INFO {
            RtmInstanceId: 0,
            AddressFamily: libc::AF_INET as u16,
            EntityId: RTM_ENTITY_ID { EntityId: id },
        };
        let mut methods = RTM_ENTITY_EXPORT_METHODS { NumMethods: 1, Methods: [Some(method)] };
        let mut profile = RTM_REGN_PROFILE {
            MaxNextHopsInRoute: 0,
            MaxHandlesInEnum: 0,
            ViewsSupported: 0,
            NumberOfViews: 0,
        };
        let (mut handle, none) = (ptr::null_mut(), ptr::null_mut());
        let context = ptr::without_provenance_mut(id as usize + 1);
        // SAFETY: NULL where it may be, else pointers to locals.
        let code = unsafe {
            (library.RtmxRegisterEntity)(
                &mut info,
                &mut methods,
                none,
                0,
                context,
                none,
                none,
                &mut profile,
                &mut handle,
            )
        };
        assert_eq!(code, NO_ERROR);
        handle
    };
    let handles: Vec<RTM_ENTITY_HANDLE> = (0..count as u64).map(&mut register).collect();
    run(&library, &mut picks(&handles, PICKS));
}

pub(super) fn info(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let mut info = RTM_ENTITY_INFO {
            RtmInstanceId: 0,
            AddressFamily: 0,
            EntityId: RTM_ENTITY_ID { EntityId: 0 },
        };
        each(rounds, handles, |handle| {
            // SAFETY: the output is a local.
            let code = unsafe { (library.RtmGetEntityInfo)(handles[0], handle, &mut info) };
            assert_eq!(code, NO_ERROR);
        });
    });
}

pub(super) fn own_section(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let mut context = ptr::null_mut();
        each(rounds, handles, |handle| {
            // SAFETY: no pointers.
            unsafe { (library.RtmxEnter)() };
            // SAFETY: the output is a local.
            let code = unsafe { (library.RtmxGetContext)(handle, &mut context) };
            // SAFETY: no pointers.
            unsafe { (library.RtmxLeave)() };
            assert_eq!(code, NO_ERROR);
        });
    });
}

pub(super) fn held(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let mut context = ptr::null_mut();
        // SAFETY: no pointers.
        unsafe { (library.RtmxEnter)() };
        each(rounds, handles, |handle| {
            // SAFETY: the output is a local.
            let code = unsafe { (library.RtmxGetContext)(handle, &mut context) };
            assert_eq!(code, NO_ERROR);
        });
        // SAFETY: no pointers.
        unsafe { (library.RtmxLeave)() };
    });
}

pub(super) fn batch(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let mut contexts = vec![ptr::null_mut(); handles.len()];
        for _ in 0..rounds {
            // SAFETY: no pointers.
            unsafe { (library.RtmxEnter)() };
            let count = handles.len() as u32;
            let (from, to) = (handles.as_mut_ptr(), contexts.as_mut_ptr());
            // SAFETY: both arrays have `count` elements.
            let code = unsafe { (library.RtmxGetContexts)(count, from, to, ptr::null_mut()) };
            // SAFETY: no pointers.
            unsafe { (library.RtmxLeave)() };
            assert_eq!(code, NO_ERROR);
            black_box(&contexts);
        }
    });
}

pub(super) fn reference(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let caller = handles[0];
        each(rounds, handles, |mut handle| {
            // SAFETY: one handle, a local.
            let code = unsafe { (library.RtmReferenceHandles)(caller, 1, &mut handle) };
            assert_eq!(code, NO_ERROR);
            // SAFETY: as above.
            let code = unsafe { (library.RtmReleaseEntities)(caller, 1, &mut handle) };
            assert_eq!(code, NO_ERROR);
        });
    });
}

pub(super) fn invoke(entities: usize, rounds: usize) {
    with_entities(entities, |library, handles| {
        let mut input = RTM_ENTITY_METHOD_INPUT { MethodType: 1, InputSize: 0, InputData: [0] };
        let mut output = RTM_ENTITY_METHOD_OUTPUT {
            MethodType: 0,
            MethodStatus: 0,
            OutputSize: 0,
            OutputData: [0],
        };
        each(rounds, handles, |handle| {
            let mut size = size_of_val(&output) as u32;
            // SAFETY: all pointers lead to locals.
            let code = unsafe {
                (library.RtmInvokeMethod)(handles[0], handle, &mut input, &mut size, &mut output)
            };
            assert_eq!(code, NO_ERROR);
        });
    });
}
