//! Deterministic counts. See `rtm-counts --help`.
//!
//! Two functions of the C library are replaced, so that every run is the same: the random secret of a
//! registry decides where its index keeps an id, and the number of processors how many stripes a callee has.

use rtm_benches::counts;
use std::ffi::{c_int, c_long, c_uint, c_void};

/// Bytes that are always the same.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _: c_uint) -> isize {
    // SAFETY: as the caller promises.
    unsafe { buffer.cast::<u8>().write_bytes(0x5a, length) };
    length as isize
}

/// 64 processors; else what the C library says.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sysconf(name: c_int) -> c_long {
    if name == libc::_SC_NPROCESSORS_ONLN {
        return 64;
    }
    // SAFETY: a name that ends with NUL.
    let real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"sysconf".as_ptr()) };
    assert!(!real.is_null(), "the C library has a sysconf");
    // SAFETY: the function of this name has this type.
    let real = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_long>(real) };
    real(name)
}

fn main() {
    let code = match counts::parse(lexopt::Parser::from_env()) {
        Ok(counts::Asked::Help) => {
            print!("{}", counts::HELP);
            0
        }
        Ok(counts::Asked::Child(words)) => counts::child(&words),
        Ok(counts::Asked::Run(options)) => counts::run(&options),
        Err(error) => {
            eprintln!("rtm-counts: {error}");
            2
        }
    };
    std::process::exit(code);
}
