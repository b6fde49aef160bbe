//! The tail of registering while the index of ids grows, beside the same load into an index that has room.
//!
//! Three loads of one registry, each of new ids one by one: into the registry when it is new; again, when all
//! have gone, into the same table, whose index is large by now; and into another table, whose index grows. The
//! last two use the same slots, so that they differ by the index alone. The first also meets memory that the
//! system has yet to give.
//!
//! Beside them stands a loop that does nothing for as long: 250 ticks a second of the system's clock, which take a
//! virtual machine 10 to 50 µs each, are one in 10,000 operations of 0.4 µs. No load is faster than that.

use super::measure::{Effort, TAIL, clock, pin, tell_tail};
use super::table::Payload;
use super::{Figures, RTM};
use rtm_core::{
    AddressFamily, DropBy, EntityInfo, Handle, Participant, Registry, Settings, TableKey,
};
use std::time::{Duration, Instant};

/// The loads.
pub(super) const NEW: &str = "register, new registry";
pub(super) const LARGE: &str = "register, large index";
pub(super) const GROWING: &str = "register, growing index";
pub(super) const NOTHING: &str = "nothing, for as long";
pub(super) const LOADS: [&str; 4] = [NEW, GROWING, LARGE, NOTHING];

/// Up to how many entities it may be measured.
pub(super) const SIZES: [usize; 3] = [100_000, 1_000_000, 10_000_000];
/// Those before the first that is timed.
const FIRST: usize = 1_000;

/// Measures the loads of so many entities.
pub(super) fn measure(count: usize, effort: Effort) {
    pin(0);
    let clock = clock();
    let mut times = vec![0_u32; count];
    let mut handles = Vec::with_capacity(count);
    for _ in 0..if effort.quick { 1 } else { 3 } {
        let registry = Registry::new(Settings::default()).expect("memory for a registry");
        let member = registry.join().expect("memory for a member");
        for (load, instance) in [(NEW, 0), (LARGE, 0), (GROWING, 1)] {
            let table = TableKey { instance, family: AddressFamily::Inet };
            register(&member, table, &mut times, &mut handles, clock);
            handles.drain(..).for_each(|handle| assert!(member.deregister(handle).is_ok()));
            registry.flush().expect("outside");
            let timed = &mut times[FIRST..];
            tell_tail(load, timed);
            if load == GROWING {
                // They are in order now: all but those at the end.
                let most = &timed[..timed.len() / 1000 * 999];
                let all: u64 = most.iter().map(|time| u64::from(*time)).sum();
                let mean = Duration::from_nanos(all / most.len() as u64);
                nothing(timed, mean);
                tell_tail(NOTHING, timed);
            }
        }
    }
}

/// Waits so long, again and again.
fn nothing(times: &mut [u32], long: Duration) {
    for time in times {
        let begin = Instant::now();
        let mut passed = Duration::ZERO;
        while passed < long {
            passed = begin.elapsed();
        }
        *time = passed.as_nanos() as u32;
    }
}

fn register(
    member: &Participant<'_, Payload>,
    table: TableKey,
    times: &mut [u32],
    handles: &mut Vec<Handle>,
    clock: u64,
) {
    for (id, time) in (0..).zip(times) {
        let begin = Instant::now();
        let done = member.register_handle(EntityInfo { table, id }, [id; 14], DropBy::Writers);
        let nanos = begin.elapsed().as_nanos() as u64;
        *time = nanos.saturating_sub(clock) as u32;
        match done {
            Ok(handle) => handles.push(handle),
            Err(error) => panic!("not registered: {}", error.refusal),
        }
    }
}

/// Prints what there is.
pub(super) fn print(figures: &Figures, count: usize) {
    for load in LOADS {
        let figure = |(share, _)| figures.get(count, &format!("{load} {share}"), RTM);
        let all: Option<Vec<_>> = TAIL.into_iter().map(figure).collect();
        let Some(all) = all else { continue };
        let all = TAIL.iter().zip(all).map(|((share, _), all)| format!("{share} {:.0}", all.value));
        println!("    {load:36} {}", all.collect::<Vec<_>>().join(", "));
    }
}
