//! The C ABI's hot calls, from Rust through the exported functions (linked in; what the boundary
//! costs, without the call through a dynamic library).

mod common;

use common::in_threads;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rtm::*;
use std::hint::black_box;
use std::ptr;

const ENTITIES: usize = 1000;

unsafe extern "C" fn method(
    _: RTM_ENTITY_HANDLE,
    _: RTM_ENTITY_HANDLE,
    _: *mut RTM_ENTITY_METHOD_INPUT,
    output: *mut RTM_ENTITY_METHOD_OUTPUT,
) {
    // SAFETY: the library's record for this method.
    unsafe { (*output).OutputSize = 0 };
}

fn bench(criterion: &mut Criterion) {
    let mut handles = Vec::new();
    for id in 0..ENTITIES as u64 {
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
        // SAFETY: all pointers lead to locals.
        let code = unsafe {
            RtmxRegisterEntity(
                &mut info,
                &mut methods,
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
        handles.push(handle);
    }
    let mut group = criterion.benchmark_group("ffi");
    group.throughput(Throughput::Elements(ENTITIES as u64));
    group.bench_function("RtmGetEntityInfo", |bencher| {
        bencher.iter(|| {
            let mut info = RTM_ENTITY_INFO {
                RtmInstanceId: 0,
                AddressFamily: 0,
                EntityId: RTM_ENTITY_ID { EntityId: 0 },
            };
            for handle in &handles {
                // SAFETY: the output is a local.
                black_box(unsafe { RtmGetEntityInfo(handles[0], *handle, &mut info) });
            }
            info.EntityId.EntityId
        });
    });
    group.bench_function("RtmxEnter, RtmxGetContext, RtmxLeave", |bencher| {
        bencher.iter(|| {
            let mut context = ptr::null_mut();
            for handle in &handles {
                // SAFETY: no pointers.
                unsafe { RtmxEnter() };
                // SAFETY: the output is a local.
                black_box(unsafe { RtmxGetContext(*handle, &mut context) });
                // SAFETY: no pointers.
                unsafe { RtmxLeave() };
            }
            context
        });
    });
    group.bench_function("RtmxGetContext, held section", |bencher| {
        bencher.iter(|| {
            let mut context = ptr::null_mut();
            // SAFETY: no pointers.
            unsafe { RtmxEnter() };
            for handle in &handles {
                // SAFETY: the output is a local.
                black_box(unsafe { RtmxGetContext(*handle, &mut context) });
            }
            // SAFETY: no pointers.
            unsafe { RtmxLeave() };
            context
        });
    });
    let mut reader: RTMX_READER_HANDLE = ptr::null_mut();
    // SAFETY: the output is a local.
    assert_eq!(unsafe { RtmxCreateReader(&mut reader) }, NO_ERROR);
    group.bench_function("RtmxReaderGetContext, held section", |bencher| {
        bencher.iter(|| {
            let mut context = ptr::null_mut();
            // SAFETY: no pointers.
            unsafe { RtmxReaderEnter(reader) };
            for handle in &handles {
                // SAFETY: the output is a local.
                black_box(unsafe { RtmxReaderGetContext(reader, *handle, &mut context) });
            }
            // SAFETY: no pointers.
            unsafe { RtmxReaderLeave(reader) };
            context
        });
    });
    let mut contexts = vec![ptr::null_mut(); ENTITIES];
    let mut batch = handles.clone();
    group.bench_function("RtmxGetContexts of 1,000", |bencher| {
        bencher.iter(|| {
            let count = ENTITIES as u32;
            // SAFETY: no pointers.
            unsafe { RtmxEnter() };
            let (from, to) = (batch.as_mut_ptr(), contexts.as_mut_ptr());
            // SAFETY: both arrays have `count` elements.
            let code = unsafe { RtmxGetContexts(count, from, to, ptr::null_mut()) };
            // SAFETY: no pointers.
            unsafe { RtmxLeave() };
            code
        });
    });
    group.throughput(Throughput::Elements(1));
    let (caller, callee) = (handles[0].addr(), handles[ENTITIES / 2].addr());
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
