//! The C ABI's hot calls, from Rust through the exported functions (linked in; what the boundary
//! costs, without the call through a dynamic library).

mod common;

use common::{BATCH, SIZES, in_threads, look_up, two_threads};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rtm::*;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" fn method(
    _: RTM_ENTITY_HANDLE,
    _: RTM_ENTITY_HANDLE,
    _: *mut RTM_ENTITY_METHOD_INPUT,
    output: *mut RTM_ENTITY_METHOD_OUTPUT,
) {
    // SAFETY: the library's record for this method.
    unsafe { (*output).OutputSize = 0 };
}

/// Registers an entity; with a method, if that is asked for. Its handle, as a number that threads may share.
fn register(id: u64, with_method: bool) -> usize {
    let mut methods = RTM_ENTITY_EXPORT_METHODS { NumMethods: 1, Methods: [Some(method)] };
    let mut info = RTM_ENTITY_INFO {
        RtmInstanceId: 0,
        AddressFamily: libc::AF_INET as u16,
        EntityId: RTM_ENTITY_ID { EntityId: id },
    };
    let mut profile = RTM_REGN_PROFILE {
        MaxNextHopsInRoute: 0,
        MaxHandlesInEnum: 0,
        ViewsSupported: 0,
        NumberOfViews: 0,
    };
    let mut handle: RTM_ENTITY_HANDLE = ptr::null_mut();
    let context = ptr::without_provenance_mut(id as usize + 1);
    let methods = if with_method { &raw mut methods } else { ptr::null_mut() };
    // SAFETY: all pointers lead to locals.
    let code = unsafe {
        RtmxRegisterEntity(
            &mut info,
            methods,
            None,
            0,
            context,
            None,
            ptr::null_mut(),
            &mut profile,
            &mut handle,
        )
    };
    assert_eq!(code, NO_ERROR);
    handle.addr()
}

fn deregister(handle: usize) {
    // SAFETY: no pointers.
    let code = unsafe { RtmDeregisterEntity(ptr::without_provenance_mut(handle)) };
    assert_eq!(code, NO_ERROR);
}

/// The caller's information, checked, and the other's.
fn get_info(caller: usize, handle: usize) -> u64 {
    let mut info = RTM_ENTITY_INFO {
        RtmInstanceId: 0,
        AddressFamily: 0,
        EntityId: RTM_ENTITY_ID { EntityId: 0 },
    };
    let (caller, handle) =
        (ptr::without_provenance_mut(caller), ptr::without_provenance_mut(handle));
    // SAFETY: the output is a local.
    assert_eq!(unsafe { RtmGetEntityInfo(caller, handle, &mut info) }, NO_ERROR);
    info.EntityId.EntityId
}

fn get_context(handle: usize) -> u64 {
    let mut context = ptr::null_mut();
    let handle = ptr::without_provenance_mut(handle);
    // SAFETY: the output is a local.
    assert_eq!(unsafe { RtmxGetContext(handle, &mut context) }, NO_ERROR);
    context.addr() as u64
}

/// Within a section of its own.
fn get_context_alone(handle: usize) -> u64 {
    // SAFETY: no pointers.
    unsafe { RtmxEnter() };
    let context = get_context(handle);
    // SAFETY: no pointers.
    unsafe { RtmxLeave() };
    context
}

fn bench(criterion: &mut Criterion) {
    let (caller, callee) = (register(1 << 40, false), register(1 << 41, true));
    let mut reader: RTMX_READER_HANDLE = ptr::null_mut();
    // SAFETY: the output is a local.
    assert_eq!(unsafe { RtmxCreateReader(&mut reader) }, NO_ERROR);
    let mut handles = Vec::new();
    let mut group = criterion.benchmark_group("ffi");
    for count in SIZES {
        handles.extend((handles.len() as u64..count as u64).map(|id| register(id, false)));
        look_up(&mut group, "RtmGetEntityInfo", &handles, |chosen| {
            chosen.iter().map(|handle| get_info(caller, *handle)).sum()
        });
        two_threads(&mut group, "RtmGetEntityInfo", &handles, |picks| {
            black_box(picks.map(|handle| get_info(caller, handle)).fold(0, u64::wrapping_add));
        });
        look_up(&mut group, "RtmxEnter, RtmxGetContext, RtmxLeave", &handles, |chosen| {
            chosen.iter().map(|handle| get_context_alone(*handle)).sum()
        });
        two_threads(&mut group, "RtmxEnter, RtmxGetContext, RtmxLeave", &handles, |picks| {
            black_box(picks.map(get_context_alone).fold(0, u64::wrapping_add));
        });
        look_up(&mut group, "RtmxGetContext, held section", &handles, |chosen| {
            // SAFETY: no pointers.
            unsafe { RtmxEnter() };
            let sum = chosen.iter().map(|handle| get_context(*handle)).sum();
            // SAFETY: no pointers.
            unsafe { RtmxLeave() };
            sum
        });
        look_up(&mut group, "RtmxReaderGetContext, held section", &handles, |chosen| {
            // SAFETY: no pointers.
            unsafe { RtmxReaderEnter(reader) };
            let one = |handle: &usize| {
                let mut context = ptr::null_mut();
                let handle = ptr::without_provenance_mut(*handle);
                // SAFETY: the output is a local.
                assert_eq!(unsafe { RtmxReaderGetContext(reader, handle, &mut context) }, NO_ERROR);
                context.addr() as u64
            };
            let sum = chosen.iter().map(one).sum();
            // SAFETY: no pointers.
            unsafe { RtmxReaderLeave(reader) };
            sum
        });
        let mut contexts = vec![ptr::null_mut(); BATCH];
        look_up(&mut group, "RtmxGetContexts of 1,024", &handles, |chosen| {
            let from = chosen.as_ptr().cast_mut().cast();
            // SAFETY: no pointers.
            unsafe { RtmxEnter() };
            let (count, to) = (chosen.len() as u32, contexts.as_mut_ptr());
            // SAFETY: both arrays have `count` elements.
            let code = unsafe { RtmxGetContexts(count, from, to, ptr::null_mut()) };
            // SAFETY: no pointers.
            unsafe { RtmxLeave() };
            assert_eq!(code, NO_ERROR);
            contexts[0].addr() as u64
        });
        group.throughput(Throughput::Elements(1));
        let next = AtomicU64::new(1 << 42);
        for threads in [1, 2] {
            let name = format!("RtmxRegisterEntity + RtmDeregisterEntity, threads: {threads}");
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter_custom(|iterations| {
                    in_threads(threads, iterations, |iterations| {
                        let first = next.fetch_add(iterations, Ordering::Relaxed);
                        (first..first + iterations).for_each(|id| deregister(register(id, false)));
                    })
                });
            });
        }
    }
    for threads in [1, 2] {
        group.bench_function(format!("RtmInvokeMethod/{threads}"), |bencher| {
            bencher.iter_custom(|iterations| {
                in_threads(threads, iterations, |iterations| {
                    for _ in 0..iterations {
                        assert_eq!(invoke(caller, callee), NO_ERROR);
                    }
                })
            });
        });
    }
    group.finish();
}

/// Invokes the method, once.
fn invoke(caller: usize, callee: usize) -> DWORD {
    let mut input = RTM_ENTITY_METHOD_INPUT { MethodType: 1, InputSize: 0, InputData: [0] };
    let mut output =
        RTM_ENTITY_METHOD_OUTPUT { MethodType: 0, MethodStatus: 0, OutputSize: 0, OutputData: [0] };
    let mut size = size_of_val(&output) as u32;
    let (caller, callee) =
        (ptr::without_provenance_mut(caller), ptr::without_provenance_mut(callee));
    // SAFETY: all pointers lead to locals.
    unsafe { RtmInvokeMethod(caller, callee, &mut input, &mut size, &mut output) }
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = bench
}
criterion_main!(benches);
