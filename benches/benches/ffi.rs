//! The C ABI's hot calls, from Rust through the exported functions (linked in; what the boundary
//! costs, without the call through a dynamic library).

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rtm::*;
use std::hint::black_box;
use std::ptr;

const ENTITIES: usize = 1000;

fn bench(criterion: &mut Criterion) {
    let mut handles = Vec::new();
    for id in 0..ENTITIES as u64 {
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
                ptr::null_mut(),
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
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1500))
        .sample_size(20);
    targets = bench
}
criterion_main!(benches);
