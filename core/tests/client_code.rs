//! Client code under control: invocations, blocking, rundown, events. Barriers and channels only.
#![cfg(not(rtm_loom))]

mod common;

use common::{V4, V6, entity};
use rtm_core::{
    BlockError, ClientCode, DeregisterError, DropBy, Event, EventQueue, Handle, InvalidHandle,
    InvokeError, Limits, Refusal, Registry, Settings, WaitError,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

fn registry<T: Send + Sync>() -> Registry<T> {
    Registry::new(Settings::default()).unwrap()
}

const METHODS: ClientCode = ClientCode { methods: true, events: None };

fn exporting<T: Send + Sync>(registry: &Registry<T>, id: u64, payload: T) -> Handle {
    registry
        .register_client(entity(V4, id), payload, DropBy::Writers, METHODS)
        .unwrap_or_else(|error| panic!("{:?}", error.refusal))
}

fn listening<T: Send + Sync>(
    registry: &Registry<T>,
    id: u64,
    payload: T,
    q: &EventQueue,
) -> Handle {
    let code = ClientCode { methods: false, events: Some(q.clone()) };
    registry
        .register_client(entity(V4, id), payload, DropBy::Writers, code)
        .unwrap_or_else(|error| panic!("{:?}", error.refusal))
}

/// Delivers all that is pending, in this thread.
fn deliver<T: Send + Sync>(registry: &Registry<T>, queue: &EventQueue) -> Vec<(Handle, Event)> {
    let participant = registry.join().unwrap();
    while participant.herald_step() {}
    let mut courier = participant.courier(queue);
    let told = courier.pending().map(|told| (told.listener, told.event)).collect();
    drop(courier);
    while participant.herald_step() {}
    told
}

#[test]
fn methods_run_with_the_payload_and_only_where_there_are_any() {
    let registry = registry::<u32>();
    let callee = exporting(&registry, 1, 41);
    assert_eq!(registry.invoke(callee, |payload| payload + 1), Ok(42));
    let plain = registry.register_handle(entity(V4, 2), 0, DropBy::Writers).unwrap();
    assert_eq!(registry.invoke(plain, |_| ()), Err(InvokeError::NoMethods));
    registry.deregister(callee).unwrap();
    assert_eq!(registry.invoke(callee, |_| ()), Err(InvokeError::InvalidHandle));
    assert_eq!(registry.deregister(callee), Err(DeregisterError::InvalidHandle));
}

#[test]
fn deregistration_waits_for_a_method_that_runs() {
    let registry = registry::<AtomicBool>();
    let callee = exporting(&registry, 1, AtomicBool::new(false));
    let (inside, go) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let invoked = registry.invoke(callee, |ended| {
                inside.wait();
                go.wait();
                ended.store(true, Ordering::Relaxed);
            });
            assert_eq!(invoked, Ok(()));
        });
        inside.wait();
        let guard = registry.enter();
        let payload = guard.get(callee).unwrap().payload();
        // Not from this thread: it is inside a section.
        assert_eq!(registry.deregister(callee), Err(DeregisterError::WouldDeadlock));
        scope.spawn(|| {
            // While it waits nobody finds the entity, and the id stays taken.
            while registry.info(callee).is_ok() {
                thread::yield_now();
            }
            assert_eq!(registry.invoke(callee, |_| ()), Err(InvokeError::InvalidHandle));
            assert_eq!(registry.deregister(callee), Err(DeregisterError::InvalidHandle));
            let again = registry.register(entity(V4, 1), AtomicBool::new(false));
            assert_eq!(again.map(|_| ()).unwrap_err().refusal, Refusal::AlreadyExists);
            go.wait();
        });
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(registry.deregister(callee), Ok(())));
        });
        assert!(payload.load(Ordering::Relaxed), "the method had ended");
    });
    assert!(registry.register(entity(V4, 1), AtomicBool::new(false)).is_ok());
}

#[test]
fn what_would_wait_for_itself_is_refused_and_changes_nothing() {
    let registry = registry::<()>();
    let (a, b) = (exporting(&registry, 1, ()), exporting(&registry, 2, ()));
    registry
        .invoke(a, |()| {
            assert_eq!(registry.deregister(a), Err(DeregisterError::WouldDeadlock));
            assert_eq!(registry.block_methods(a), Err(BlockError::WouldDeadlock));
            assert_eq!(registry.synchronize(), Err(WaitError::InsideClientCode));
            assert_eq!(registry.flush(), Err(WaitError::InsideClientCode));
            // Recursion, also by way of another entity, and the departure of another.
            assert_eq!(registry.invoke(a, |()| registry.invoke(b, |()| 7)), Ok(Ok(7)));
            assert_eq!(
                registry.invoke(b, |()| registry.deregister(a)).unwrap().unwrap_err(),
                DeregisterError::WouldDeadlock
            );
            assert_eq!(registry.deregister(b), Ok(()));
        })
        .unwrap();
    assert_eq!(registry.info(a).map(|_| ()), Ok(()));
    let _guard = registry.enter();
    assert_eq!(registry.block_methods(a), Err(BlockError::WouldDeadlock));
    assert_eq!(registry.invoke(a, |()| ()), Ok(()), "nothing to wait for");
}

#[test]
fn of_two_methods_that_deregister_each_other_one_is_refused() {
    for _ in 0..50 {
        let registry = registry::<()>();
        let handles = [exporting(&registry, 1, ()), exporting(&registry, 2, ())];
        let barrier = Barrier::new(2);
        let refused: usize = thread::scope(|scope| {
            let threads = [(0, 1), (1, 0)].map(|(mine, other)| {
                let (registry, barrier) = (&registry, &barrier);
                scope.spawn(move || {
                    let invoked = registry.invoke(handles[mine], |()| {
                        barrier.wait();
                        registry.deregister(handles[other])
                    });
                    match invoked.unwrap() {
                        Ok(()) => 0,
                        Err(DeregisterError::WouldDeadlock) => 1,
                        Err(DeregisterError::InvalidHandle) => panic!("it is registered"),
                    }
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(refused, 1);
        assert_eq!(registry.statistics().live, 1);
    }
}

#[test]
fn blocked_methods_hold_invokers_until_resumed_or_gone() {
    let registry = registry::<u32>();
    let callee = exporting(&registry, 1, 5);
    assert_eq!(registry.resume_methods(callee), Ok(()), "a switch, not a counter");
    assert_eq!(registry.block_methods(callee), Ok(()));
    assert_eq!(registry.block_methods(callee), Ok(()));
    assert_eq!(registry.invoke(callee, |_| ()), Err(InvokeError::WouldDeadlock), "its own block");
    let through = AtomicUsize::new(0);
    thread::scope(|scope| {
        let invokers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    registry.invoke(callee, |payload| {
                        through.fetch_add(1, Ordering::Relaxed);
                        *payload
                    })
                })
            })
            .collect();
        let refused = scope.spawn(|| {
            let _guard = registry.enter();
            assert_eq!(registry.invoke(callee, |_| ()), Err(InvokeError::WouldDeadlock));
        });
        refused.join().unwrap();
        assert_eq!(through.load(Ordering::Relaxed), 0);
        // Any thread may resume.
        scope.spawn(|| assert_eq!(registry.resume_methods(callee), Ok(()))).join().unwrap();
        assert!(invokers.into_iter().all(|invoker| invoker.join().unwrap() == Ok(5)));
    });
    registry.block_methods(callee).unwrap();
    thread::scope(|scope| {
        let invokers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| registry.invoke(callee, |_| ()))).collect();
        assert_eq!(registry.deregister(callee), Ok(()));
        for invoker in invokers {
            assert_eq!(invoker.join().unwrap(), Err(InvokeError::InvalidHandle));
        }
    });
    assert_eq!(registry.block_methods(callee), Err(BlockError::InvalidHandle));
}

#[test]
fn a_blocker_waits_for_those_inside_and_lets_them_recurse() {
    let registry = registry::<()>();
    let callee = exporting(&registry, 1, ());
    let (inside, ended) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            registry
                .invoke(callee, |()| {
                    inside.wait();
                    // Until the blocker has closed the door: others are kept out then.
                    let (send, receive) = mpsc::channel();
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            let _guard = registry.enter();
                            while registry.invoke(callee, |()| ()).is_ok() {}
                            send.send(()).unwrap();
                        });
                        receive.recv().unwrap();
                    });
                    assert_eq!(registry.invoke(callee, |()| 3), Ok(3), "already inside");
                    ended.store(true, Ordering::Relaxed);
                })
                .unwrap();
        });
        inside.wait();
        assert_eq!(registry.block_methods(callee), Ok(()));
        assert!(ended.load(Ordering::Relaxed));
    });
}

#[test]
fn departing_later_completes_when_the_last_frame_ends() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let registry = registry::<Dropped>();
    let callee = exporting(&registry, 1, Dropped(drops.clone()));
    registry
        .invoke(callee, |_| {
            assert_eq!(registry.deregister_later(callee), Ok(()));
            assert_eq!(registry.deregister_later(callee), Err(InvalidHandle));
            let taken = registry.register(entity(V4, 1), Dropped(drops.clone()));
            let error = taken.map(|_| ()).unwrap_err();
            assert_eq!(error.refusal, Refusal::AlreadyExists, "until the frame has ended");
            assert!(!registry.is_idle());
            thread::scope(|scope| {
                // A flush waits for it; a collect does not.
                scope.spawn(|| assert_eq!(registry.collect(), 1));
            });
        })
        .unwrap();
    drops.store(0, Ordering::Relaxed);
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(registry.is_idle());
    assert!(registry.register(entity(V4, 1), Dropped(drops.clone())).is_ok());
}

#[test]
fn a_flush_waits_for_a_departure_that_ends_later() {
    let registry = registry::<Arc<()>>();
    let payload = Arc::new(());
    let callee = exporting(&registry, 1, payload.clone());
    let inside = Barrier::new(2);
    let (send, receive) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let registry = &registry;
        let inside = &inside;
        scope.spawn(move || {
            registry
                .invoke(callee, |_| {
                    registry.deregister_later(callee).unwrap();
                    inside.wait();
                    receive.recv().unwrap();
                })
                .unwrap();
        });
        inside.wait();
        let flush = scope.spawn(|| registry.flush());
        send.send(()).unwrap();
        assert_eq!(flush.join().unwrap(), Ok(()));
        assert_eq!(Arc::strong_count(&payload), 1, "dropped before the flush returned");
    });
}

#[test]
fn a_registration_dropped_in_its_own_method_goes_later() {
    let registry = registry::<()>();
    let owner = registry.register(entity(V4, 1), ()).unwrap();
    drop(owner);
    let callee = exporting(&registry, 1, ());
    let owner = registry.adopt(callee);
    registry.invoke(callee, |()| drop(owner)).unwrap();
    assert!(registry.is_idle());
}

#[test]
fn a_participant_that_goes_ends_what_it_kept() {
    let registry = registry::<()>();
    let callee = exporting(&registry, 1, ());
    let participant = registry.join().unwrap();
    participant.begin_invoke(callee).unwrap().keep();
    participant.begin_invoke(callee).unwrap().keep();
    assert!(participant.end_kept_invocation());
    drop(participant);
    assert_eq!(registry.deregister(callee), Ok(()));
}

#[test]
fn listeners_hear_of_the_others_of_their_table_in_order() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let early = registry.register(entity(V4, 1), ()).unwrap();
    let listener = listening(&registry, 2, (), &queue);
    let _alien = registry.register(entity(V6, 3), ()).unwrap();
    let late = registry.register(entity(V4, 3), ()).unwrap();
    let (early_handle, late_handle) = (early.handle(), late.handle());
    drop(early);
    let told = deliver(&registry, &queue);
    assert_eq!(
        told,
        [
            (listener, Event::Registered { handle: late_handle, info: entity(V4, 3) }),
            (listener, Event::Deregistered { handle: early_handle, info: entity(V4, 1) }),
        ]
    );
    assert_eq!(deliver(&registry, &queue), []);
    drop(late);
    registry.deregister(listener).unwrap();
    assert_eq!(deliver(&registry, &queue), []);
    assert_eq!(registry.statistics().listeners, 0);
}

#[test]
fn the_departed_stay_describable_until_all_have_heard() {
    let registry = registry::<()>();
    let queues = [EventQueue::new(), EventQueue::new()];
    let listeners = [1, 2].map(|id| listening(&registry, id, (), &queues[id as usize - 1]));
    deliver(&registry, &queues[0]);
    let gone = registry.register(entity(V4, 3), ()).unwrap().into_handle();
    registry.deregister(gone).unwrap();
    registry.flush().unwrap();
    assert_eq!(registry.info(gone), Ok(entity(V4, 3)));
    assert_eq!(registry.registered_info(gone), Err(InvalidHandle));
    assert_eq!(registry.release(gone), Err(InvalidHandle), "nobody's reference");
    assert_eq!(registry.statistics().referenced, 0);

    let participant = registry.join().unwrap();
    while participant.herald_step() {}
    let mut courier = participant.courier(&queues[0]);
    let events: Vec<_> = courier.pending().map(|told| told.event).collect();
    assert_eq!(events.len(), 2);
    // A reference taken inside an event outlives it.
    assert_eq!(registry.reference(gone), Ok(()));
    assert_eq!(registry.statistics().referenced, 1);
    drop(courier);
    assert_eq!(deliver(&registry, &queues[1]).len(), 2);
    assert_eq!(registry.info(gone), Ok(entity(V4, 3)));
    assert_eq!(registry.release(gone), Ok(()));
    assert_eq!(registry.info(gone), Err(InvalidHandle));
    assert_eq!(registry.statistics().referenced, 0);
    for listener in listeners {
        registry.deregister(listener).unwrap();
    }
    registry.flush().unwrap();
    assert!(registry.is_idle());
}

#[test]
fn an_event_is_consumed_when_its_frame_ends() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let listener = listening(&registry, 1, (), &queue);
    let gone = registry.register(entity(V4, 2), ()).unwrap().into_handle();
    registry.deregister(gone).unwrap();
    registry.flush().unwrap();
    let participant = registry.join().unwrap();
    while participant.herald_step() {}
    let mut courier = participant.courier(&queue);
    for _ in 0..2 {
        assert!(courier.next_event().is_some());
        while participant.herald_step() {}
        assert_eq!(registry.info(gone), Ok(entity(V4, 2)));
        assert!(participant.inside_membership_event());
        assert_eq!(registry.deregister(listener), Err(DeregisterError::WouldDeadlock));
        assert_eq!(registry.flush(), Err(WaitError::InsideClientCode));
    }
    assert!(courier.next_event().is_none());
    while participant.herald_step() {}
    assert_eq!(registry.info(gone), Err(InvalidHandle));
    drop(courier);
    assert_eq!(registry.deregister(listener), Ok(()));
}

#[test]
fn whoever_falls_behind_is_told_and_may_go() {
    let limits = Limits { journal: 1, ..Limits::default() };
    let registry = Registry::<()>::new(Settings { limits, ..Settings::default() }).unwrap();
    let (slow, quick) = (EventQueue::new(), EventQueue::new());
    let laggard = listening(&registry, 1, (), &slow);
    let _keen = listening(&registry, 2, (), &quick);
    let mut heard = deliver(&registry, &quick).len();
    for id in 0..5_000 {
        let visitor = registry.register(entity(V4, 100 + id), ()).unwrap();
        drop(visitor);
        heard += deliver(&registry, &quick).len();
    }
    assert_eq!(heard, 10_000, "the keen one misses nothing");
    assert_eq!(registry.statistics().missed, 0);

    let participant = registry.join().unwrap();
    let mut courier = participant.courier(&slow);
    assert_eq!(courier.next_event().map(|told| told.event), Some(Event::Missed));
    // It may start afresh, and it may go; its frame is not waited for, its id is free.
    assert_eq!(registry.enter().entities(V4).count(), 2);
    assert_eq!(registry.deregister(laggard), Ok(()));
    assert!(registry.register(entity(V4, 1), ()).is_ok());
    assert!(courier.next_event().is_none());
    drop(courier);
    registry.flush().unwrap();
    assert_eq!(registry.statistics().missed, 1);
}

#[test]
fn a_listener_that_never_starts_can_go() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let participant = registry.join().unwrap();
    let code = ClientCode { methods: true, events: Some(queue.clone()) };
    let handle = participant.register_client(entity(V4, 1), (), DropBy::Writers, code).unwrap();
    assert_eq!(participant.deregister(handle), Ok(()));
    participant.start_events(handle);
    assert_eq!(registry.statistics().listeners, 0);
}

#[test]
fn a_refused_registration_leaves_no_listener() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let _taken = registry.register(entity(V4, 1), ()).unwrap();
    let code = ClientCode { methods: true, events: Some(queue) };
    let refused = registry.register_client(entity(V4, 1), (), DropBy::Writers, code);
    assert_eq!(refused.unwrap_err().refusal, Refusal::AlreadyExists);
    assert_eq!(registry.statistics().listeners, 0);
    assert!(registry.register(entity(V4, 2), ()).is_ok());
}

#[test]
fn guards_of_invocations_may_go_in_any_order() {
    let registry = registry::<Arc<()>>();
    let payloads = [Arc::new(()), Arc::new(())];
    let handles = [1, 2].map(|id| exporting(&registry, id, payloads[id as usize - 1].clone()));
    let participant = registry.join().unwrap();
    let [one, other] = handles.map(|handle| participant.begin_invoke(handle).unwrap());
    drop(one);
    assert_eq!(participant.deregister(handles[0]), Ok(()), "nobody is inside");
    assert_eq!(participant.deregister(handles[1]), Err(DeregisterError::WouldDeadlock));
    assert_eq!(registry.deregister_later(handles[1]), Ok(()));
    registry.collect();
    assert_eq!(Arc::strong_count(&other), 2, "dropped while somebody is inside");
    drop(other);
    registry.flush().unwrap();
    assert_eq!(payloads.map(|payload| Arc::strong_count(&payload)), [1, 1]);
}

#[test]
fn a_leaked_courier_leaves_nobody_inside() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let _listener = listening(&registry, 1, (), &queue);
    let callee = exporting(&registry, 2, ());
    let participant = registry.join().unwrap();
    while participant.herald_step() {}
    let mut courier = participant.courier(&queue);
    assert!(courier.next_event().is_some());
    std::mem::forget(courier);
    assert!(participant.inside_membership_event());
    drop(participant);
    // The next one gets the same member.
    let participant = registry.join().unwrap();
    assert!(!participant.inside_membership_event());
    assert_eq!(participant.deregister(callee), Ok(()));
}

#[test]
fn ending_kept_invocations_leaves_guards_alone() {
    let registry = registry::<()>();
    let handles = [1, 2].map(|id| exporting(&registry, id, ()));
    let participant = registry.join().unwrap();
    participant.begin_invoke(handles[0]).unwrap().keep();
    let guard = participant.begin_invoke(handles[1]).unwrap();
    assert!(participant.end_kept_invocation());
    assert!(!participant.end_kept_invocation());
    assert_eq!(registry.deregister(handles[0]), Ok(()));
    assert_eq!(registry.deregister(handles[1]), Err(DeregisterError::WouldDeadlock));
    drop(guard);
    assert_eq!(registry.deregister(handles[1]), Ok(()));
}

#[test]
fn an_invocation_may_outlive_the_event_it_began_in() {
    let registry = registry::<()>();
    let queue = EventQueue::new();
    let listener = listening(&registry, 1, (), &queue);
    let callee = exporting(&registry, 2, ());
    let participant = registry.join().unwrap();
    while participant.herald_step() {}
    let mut courier = participant.courier(&queue);
    assert!(courier.next_event().is_some());
    let invocation = participant.begin_invoke(callee).unwrap();
    assert!(courier.next_event().is_none());
    assert!(!participant.inside_membership_event());
    assert_eq!(registry.deregister(listener), Ok(()));
    assert_eq!(registry.deregister(callee), Err(DeregisterError::WouldDeadlock));
    drop(invocation);
    assert_eq!(registry.deregister(callee), Ok(()));
}

#[test]
fn kept_invocations_go_with_their_participant_to_another_thread() {
    let registry = registry::<()>();
    let handles = [1, 2].map(|id| exporting(&registry, id, ()));
    let participant = registry.join().unwrap();
    participant.begin_invoke(handles[0]).unwrap().keep();
    thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(participant.deregister(handles[0]), Err(DeregisterError::WouldDeadlock));
            drop(participant.begin_invoke(handles[1]).unwrap());
            assert_eq!(participant.synchronize(), Err(WaitError::InsideClientCode));
            assert!(participant.end_kept_invocation());
            assert!(!participant.end_kept_invocation());
            assert_eq!(participant.deregister(handles[0]), Ok(()));
        });
    });
    assert_eq!(registry.deregister(handles[1]), Ok(()));
}
