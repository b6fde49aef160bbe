//! Threads that play the cores of a simulated machine, strictly in turn.
//!
//! Real threads, so that each has its own stack, thread-locals and heap. Each sleeps until it has the turn,
//! does one marked operation and passes the turn on. The order is thus always the same, though the
//! system schedules the threads.
//!
//! *Exactness.* After it has passed the turn on, a thread still runs for a moment beside the next one, whose
//! operation has begun. Between the store that passes the turn and its sleep it touches nothing but the page
//! of marks: the system call is made in place, for a call of a function would touch the stack.

use super::msi::{MOST_CORES, Mark, PAGE, PAGE_BYTES};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Behind the marks: a word for each thread, and one for the thread that begins.
const TURNS: usize = 2 * MOST_CORES;
const STACK: usize = 512 << 10;

/// What one thread does in one turn.
pub(super) type Operation<'a> = Box<dyn FnMut() + 'a>;

#[derive(Clone, Copy)]
struct Page;

impl Page {
    fn map() -> Page {
        let address = std::ptr::without_provenance_mut(PAGE as usize);
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
        );
        // SAFETY: fresh memory at an address where nothing is.
        let page = unsafe { libc::mmap(address, PAGE_BYTES as usize, access, kind, -1, 0) };
        assert_eq!(page.addr(), PAGE as usize, "the page of marks");
        Page
    }

    #[inline(always)]
    fn word(self, index: usize) -> &'static AtomicU64 {
        let word = std::ptr::with_exposed_provenance::<AtomicU64>(PAGE as usize);
        // SAFETY: within the page, by the constants above.
        let word = unsafe { word.add(index) };
        // SAFETY: mapped for ever by `map`, zero at first.
        unsafe { &*word }
    }

    #[inline(always)]
    fn mark(self, mark: Mark) {
        self.word(mark.word()).store(1, Ordering::SeqCst);
    }

    #[inline(always)]
    fn turn(self, seat: usize) -> &'static AtomicU32 {
        // SAFETY: half of a word of the page.
        unsafe { AtomicU32::from_ptr(self.word(TURNS + seat).as_ptr().cast()) }
    }

    /// Gives the turn to `next` and sleeps until `own` has it.
    #[inline(never)]
    fn pass(self, own: usize, next: usize) {
        let (own, next) = (self.turn(own), self.turn(next));
        next.store(1, Ordering::SeqCst);
        futex(next, libc::FUTEX_WAKE, 1);
        while own.load(Ordering::SeqCst) == 0 {
            futex(own, libc::FUTEX_WAIT, 0);
        }
        own.store(0, Ordering::SeqCst);
    }
}

/// The system call, which touches no memory of ours but the word.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: a word that is alive; no timeout.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_futex => _,
            in("rdi") word.as_ptr(),
            in("rsi") i64::from(operation | libc::FUTEX_PRIVATE_FLAG),
            in("rdx") u64::from(value),
            in("r10") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

/// Elsewhere the call touches the stack: a few events too many.
#[cfg(not(target_arch = "x86_64"))]
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: a word that is alive; no timeout.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            0_usize,
        )
    };
}

/// How long a simulation is.
#[derive(Clone, Copy)]
pub(super) struct Length {
    /// Threads, all of which prepare.
    pub(super) threads: usize,
    /// The first of them, which then operate.
    pub(super) active: usize,
    /// Turns of each before the measurement, and in it.
    pub(super) warm: usize,
    pub(super) measured: usize,
}

/// Lets each thread `prepare`, then operate in turn, and ends the process, without ends of threads.
pub(super) fn play<'a>(length: Length, prepare: impl Fn(usize) -> Operation<'a> + Sync) -> ! {
    let page = Page::map();
    let Length { threads, active, warm, measured } = length;
    assert!(active <= threads && threads <= MOST_CORES);
    let beginner = threads;
    let play = |seat: usize| {
        // Ready.
        page.pass(seat, beginner);
        page.mark(Mark::Begin(seat));
        let mut operation = prepare(seat);
        page.mark(Mark::End);
        page.pass(seat, (seat + 1) % threads);
        for round in 0..warm + measured {
            if seat == 0 && round == warm {
                page.mark(Mark::Measure);
            }
            page.mark(Mark::Begin(seat));
            operation();
            page.mark(Mark::End);
            page.pass(seat, (seat + 1) % active);
        }
        // Only the first comes here: nobody has passed the turn to the others again.
        std::process::exit(0);
    };
    std::thread::scope(|scope| {
        for seat in 0..threads {
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, move || play(seat)).expect("a thread");
            while page.turn(beginner).load(Ordering::SeqCst) == 0 {
                futex(page.turn(beginner), libc::FUTEX_WAIT, 0);
            }
            page.turn(beginner).store(0, Ordering::SeqCst);
        }
        page.pass(beginner, 0);
    });
    unreachable!("the first thread ends the process")
}
