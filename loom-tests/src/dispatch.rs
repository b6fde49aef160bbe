//! Wake-ups, runs and ends of listeners; joining against trimming; queues.

use crate::{explore, explore_once, spawn};
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use rtm_core::model::{Hall, Listener, Queue};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Something that loom watches.
struct Watched(UnsafeCell<u32>);

// SAFETY: whether accesses are ordered is what loom checks.
unsafe impl Sync for Watched {}

impl Watched {
    fn new() -> Arc<Watched> {
        Arc::new(Watched(UnsafeCell::new(0)))
    }

    fn write(&self) {
        // SAFETY: loom panics before a racing access.
        self.0.with_mut(|content| unsafe { *content += 1 });
    }

    fn read(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|content| unsafe { *content })
    }
}

fn nothing_held(id: u32) {
    panic!("{id} was not held");
}

fn joined(hall: &Hall, queue: &Queue) -> Listener {
    let listener = hall.listener(queue);
    assert!(!listener.join());
    listener
}

/// A hall, its queue, and so many listeners that run and have not yet read the one event there is.
fn running<const N: usize>(holds: bool) -> (Arc<Hall>, Queue, [Listener; N]) {
    let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
    let listeners = std::array::from_fn(|_| joined(&hall, &queue));
    hall.append(1, holds);
    hall.settle(&mut nothing_held);
    for _ in 0..N {
        assert!(queue.pop().unwrap().begin());
    }
    assert!(queue.pop().is_none());
    (hall, queue, listeners)
}

/// An append wakes the herald, or is seen by it on its way to sleep.
pub fn append_against_sleep() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
        let _listener = joined(&hall, &queue);
        let thread = {
            let hall = hall.clone();
            spawn(move || hall.append(1, false))
        };
        while queue.pending() == 0 {
            assert!(hall.wait());
            hall.step(&mut nothing_held);
        }
        thread.join().unwrap();
    });
}

/// A herald that goes to sleep is stopped all the same, and sees what led to it.
pub fn stop_against_sleep() {
    explore(|| {
        let (hall, news) = (Arc::new(Hall::new()), Watched::new());
        let thread = {
            let (hall, news) = (hall.clone(), news.clone());
            spawn(move || {
                news.write();
                hall.stop();
            })
        };
        while hall.wait() {}
        assert_eq!(news.read(), 1);
        thread.join().unwrap();
    });
}

/// Whoever undoes a stop sees what led to it.
pub fn stop_against_start() {
    explore(|| {
        let (hall, news) = (Arc::new(Hall::new()), Watched::new());
        let thread = {
            let (hall, news) = (hall.clone(), news.clone());
            spawn(move || {
                news.write();
                hall.stop();
            })
        };
        if hall.start() {
            assert_eq!(news.read(), 1);
        }
        thread.join().unwrap();
    });
}

/// A herald that is stopped to make it look sees what it is to see, also if it is just starting anew.
pub fn rouse_against_sleep() {
    explore(|| {
        let hall = Arc::new(Hall::new());
        let news = [(); 2].map(|()| Watched::new());
        let thread = {
            let (hall, news) = (hall.clone(), news.clone());
            spawn(move || {
                for one in &news {
                    // SAFETY: checked by loom.
                    one.0.with_mut(|one| unsafe { *one += 1 });
                    hall.stop();
                }
            })
        };
        while hall.wait() {}
        hall.start();
        // SAFETY: checked by loom.
        assert_eq!(news[0].0.with(|one| unsafe { *one }), 1);
        thread.join().unwrap();
    });
}

/// An event comes while a runner that has read all others stops, and another goes on: the first is
/// made ready, by itself or by the herald. Nobody rings but the appender.
pub fn append_against_pause() {
    explore(|| {
        let (hall, queue, [going, _staying]) = running::<2>(false);
        assert_eq!(going.read(), Some(1));
        going.advance();
        let runner = spawn(move || assert!(!going.pause(false)));
        hall.append(2, false);
        hall.settle(&mut nothing_held);
        runner.join().unwrap();
        hall.settle(&mut nothing_held);
        let again = queue.pop().expect("a wake-up was lost");
        assert!(again.begin());
        assert_eq!(again.read(), Some(2));
    });
}

/// An event while the herald passes: this pass or the one that it asks for does not overlook it.
pub fn append_against_pass() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
        let _listener = joined(&hall, &queue);
        hall.ring();
        let appender = {
            let hall = hall.clone();
            spawn(move || hall.append(1, false))
        };
        hall.step(&mut nothing_held);
        appender.join().unwrap();
        hall.settle(&mut nothing_held);
        assert_eq!(queue.pending(), 1, "a wake-up was lost");
    });
}

/// What one run did is seen by the next.
pub fn runs_one_after_the_other() {
    explore(|| {
        let (hall, queue, [going, _staying]) = running::<2>(false);
        going.advance();
        let client = Watched::new();
        let runner = {
            let client = client.clone();
            spawn(move || {
                client.write();
                assert!(!going.pause(false));
            })
        };
        // An eighth of the journal: the herald looks at all states.
        hall.append(2, false);
        hall.append(3, false);
        hall.settle(&mut nothing_held);
        if let Some(next) = queue.pop() {
            assert!(next.begin());
            client.write();
        }
        runner.join().unwrap();
    });
}

/// Two listeners stop after the last event: whoever is the last has the journal trimmed.
pub fn the_last_one_rings() {
    explore(|| {
        let (hall, _queue, [one, other]) = running::<2>(true);
        let released = Watched::new();
        let run = |listener: Listener| {
            let (hall, released) = (hall.clone(), released.clone());
            move || {
                assert_eq!(listener.read(), Some(1));
                listener.advance();
                assert!(!listener.pause(false));
                hall.settle(&mut |_| released.write());
            }
        };
        let thread = spawn(run(one));
        run(other)();
        thread.join().unwrap();
        assert_eq!((hall.trimmed(), released.read()), (1, 1));
    });
}

/// What an event holds is let go after its reader is done with it. (From one side only: the runner
/// reads its cursor first, which hides from loom that it stores it.)
pub fn reading_against_release() {
    explore_once(|| {
        let (hall, _queue, [listener]) = running::<1>(true);
        // An eighth of the journal: with less the herald would leave those who are busy alone.
        hall.append(2, false);
        hall.append(3, false);
        let entity = Watched::new();
        let herald = {
            let (hall, entity) = (hall.clone(), entity.clone());
            spawn(move || hall.step(&mut |_| entity.write()))
        };
        assert_eq!(listener.read(), Some(1));
        entity.read();
        listener.advance();
        herald.join().unwrap();
    });
}

/// A deregistration against a run from its beginning: one of the two sides knows that it has to tell
/// the other, and each sees what the other did before.
pub fn close_against_a_run() {
    for more in [false, true] {
        explore(move || {
            let (hall, queue, [listener]) = running::<1>(false);
            assert!(!listener.pause(true));
            let (client, wait) = (Watched::new(), Watched::new());
            let runner = {
                let (client, wait, queue) = (client.clone(), wait.clone(), queue.clone());
                spawn(move || {
                    let mut told = false;
                    if let Some(listener) = queue.pop()
                        && listener.begin()
                    {
                        assert_eq!(listener.read(), Some(1));
                        listener.advance();
                        client.write();
                        told = listener.pause(more);
                        if told {
                            wait.read();
                        }
                    }
                    told
                })
            };
            wait.write();
            let runs = listener.close();
            if !runs {
                client.write();
            }
            assert_eq!(runner.join().unwrap(), runs, "both or none has to tell the other");
            hall.leave();
            if let Some(again) = queue.pop() {
                assert!(!again.begin(), "run after its closing");
            }
            hall.settle(&mut nothing_held);
            assert_eq!((hall.members(), queue.pending()), (0, 0));
        });
    }
}

/// As above when the listener is just joining, and the herald about to make it ready.
pub fn close_against_join() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
        let listener = hall.listener(&queue);
        let thread = {
            let listener = listener.clone();
            spawn(move || listener.join())
        };
        let runs = listener.close();
        hall.leave();
        hall.step(&mut nothing_held);
        assert_eq!(thread.join().unwrap(), runs, "both or none has to tell the other");
        hall.settle(&mut nothing_held);
        assert_eq!((hall.members(), queue.pending()), (0, 0));
    });
}

/// A closed listener is let go whether the herald or a runner finds it in the queue.
pub fn close_against_pop() {
    explore(|| {
        let (hall, queue, [listener]) = running::<1>(false);
        assert!(!listener.pause(true));
        assert!(!listener.close());
        hall.leave();
        let runner = {
            let queue = queue.clone();
            spawn(move || {
                if let Some(listener) = queue.pop() {
                    assert!(!listener.begin());
                }
            })
        };
        hall.step(&mut nothing_held);
        runner.join().unwrap();
        hall.settle(&mut nothing_held);
        assert_eq!((hall.members(), queue.pending()), (0, 0));
    });
}

/// A joiner whose position is overtaken moves on; one that is not keeps what is there.
pub fn join_against_trim() {
    explore(|| {
        let (hall, queues) = (Arc::new(Hall::new()), [Queue::new(), Queue::new()]);
        let reader = joined(&hall, &queues[0]);
        hall.ring();
        hall.settle(&mut nothing_held);
        let place = hall.reserve().unwrap();
        let joiner = hall.listener(&queues[1]);
        let thread = {
            let joiner = joiner.clone();
            spawn(move || assert!(!joiner.join()))
        };
        hall.commit(place, 1, false);
        hall.settle(&mut nothing_held);
        // Not if the joiner has said that it rings and not yet done so.
        if let Some(listener) = queues[0].pop() {
            assert!(listener.begin());
            assert_eq!(reader.read(), Some(1));
            reader.advance();
            assert!(!reader.pause(false));
            hall.settle(&mut nothing_held);
        }
        thread.join().unwrap();
        assert!(joiner.cursor() >= hall.trimmed(), "trimmed under a listener");
        hall.settle(&mut nothing_held);
        assert_eq!(queues[1].pending(), usize::from(joiner.cursor() == 0));
    });
}

/// An event comes while a listener joins and another is idle: the idle one is told, though as many are
/// busy as there are members.
pub fn join_against_pass() {
    explore(|| {
        let (hall, queues) = (Arc::new(Hall::new()), [Queue::new(), Queue::new()]);
        let _idle = joined(&hall, &queues[0]);
        hall.ring();
        hall.settle(&mut nothing_held);
        let joiner = hall.listener(&queues[1]);
        let thread = spawn(move || assert!(!joiner.join()));
        hall.append(1, false);
        hall.settle(&mut nothing_held);
        thread.join().unwrap();
        hall.settle(&mut nothing_held);
        assert_eq!(queues[0].pending(), 1, "a wake-up was lost");
    });
}

/// Who goes on behind an event that was committed sees what was published before, though he knows of
/// the commit from the herald alone.
pub fn skip_against_commit() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
        let listener = hall.listener(&queue);
        hall.ring();
        let entity = Watched::new();
        let appender = {
            let (hall, entity) = (hall.clone(), entity.clone());
            spawn(move || {
                entity.write();
                hall.append(1, false);
            })
        };
        let herald = {
            let hall = hall.clone();
            spawn(move || hall.step(&mut nothing_held))
        };
        listener.skip();
        if listener.cursor() == 1 {
            assert_eq!(entity.read(), 1);
        }
        appender.join().unwrap();
        herald.join().unwrap();
    });
}

/// A listener passes a position by, since the journal has gone round, whose owner has yet to publish: it sees what
/// is published, or the owner takes another position.
pub fn publish_against_overrun() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::with_journal(4)), Queue::new());
        let listener = hall.listener(&queue);
        let published = Arc::new(AtomicBool::new(false));
        let owner = {
            let (hall, published) = (hall.clone(), published.clone());
            spawn(move || {
                let place = hall.reserve().unwrap();
                published.store(true, Relaxed);
                let passed = hall.is_passed(&place);
                if passed { hall.reserve().unwrap().number() } else { place.number() }
            })
        };
        for _ in 0..5 {
            let _ = hall.reserve();
        }
        listener.skip();
        let seen = published.load(Relaxed);
        let told = owner.join().unwrap() >= listener.cursor();
        assert!(seen || told, "neither seen nor told");
    });
}

/// Who passes a position by, since the journal has gone round, sees what came before it was taken.
pub fn skip_against_overrun() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::with_journal(4)), Queue::new());
        let listener = hall.listener(&queue);
        let entity = Watched::new();
        let owner = {
            let (hall, entity) = (hall.clone(), entity.clone());
            spawn(move || {
                entity.write();
                let _ = hall.reserve();
            })
        };
        for _ in 0..4 {
            let _ = hall.reserve();
        }
        listener.skip();
        // A fifth position is the owner's.
        if listener.cursor() == 1 {
            assert_eq!(entity.read(), 1);
        }
        owner.join().unwrap();
    });
}

/// One who publishes without an event and one who enlists and looks: one sees the other.
pub fn publish_against_enlist() {
    explore(|| {
        let hall = Arc::new(Hall::new());
        let published = Arc::new(AtomicBool::new(false));
        let thread = {
            let (hall, published) = (hall.clone(), published.clone());
            spawn(move || {
                published.store(true, Relaxed);
                hall.someone_listens_now()
            })
        };
        hall.enlist();
        let seen = published.load(Relaxed);
        assert!(thread.join().unwrap() || seen, "neither told nor seen");
    });
}

/// Who knows of a listener finds the journal.
pub fn append_against_enlist() {
    explore(|| {
        let hall = Arc::new(Hall::new());
        let thread = {
            let hall = hall.clone();
            spawn(move || hall.enlist())
        };
        if hall.hint() {
            hall.append(1, false);
        }
        thread.join().unwrap();
    });
}

/// Two that enlist share one journal.
pub fn two_enlist() {
    explore(|| {
        let hall = Arc::new(Hall::new());
        let enlist_and_append = {
            let hall = hall.clone();
            move |id| {
                hall.enlist();
                hall.append(id, false);
            }
        };
        let thread = {
            let enlist_and_append = enlist_and_append.clone();
            spawn(move || enlist_and_append(1))
        };
        enlist_and_append(2);
        thread.join().unwrap();
        hall.settle(&mut nothing_held);
        assert_eq!(hall.trimmed(), 2);
    });
}

/// An audience is on the herald's stack once, whoever rings, and its link belongs to one at a time.
pub fn two_ringers() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::new());
        let _listener = joined(&hall, &queue);
        let threads = [(); 2].map(|()| {
            let hall = hall.clone();
            spawn(move || hall.ring())
        });
        hall.step(&mut nothing_held);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        hall.settle(&mut nothing_held);
    });
}

/// The descriptor is readable whenever something is queued, and not when a pop has found nothing.
pub fn push_against_pop() {
    explore(|| {
        let (hall, queue) = (Arc::new(Hall::new()), Queue::with_descriptor());
        let [one, other] = [(); 2].map(|()| joined(&hall, &queue));
        hall.append(1, false);
        hall.settle(&mut nothing_held);
        while let Some(listener) = queue.pop() {
            assert!(listener.begin());
        }
        assert!(!queue.is_readable());
        assert!(!one.pause(true));
        assert!(queue.is_readable());
        let thread = spawn(move || assert!(!other.pause(true)));
        let mut popped = 0;
        while let Some(listener) = queue.pop() {
            assert!(listener.begin());
            popped += 1;
        }
        thread.join().unwrap();
        assert_eq!((queue.pending(), queue.is_readable()), (2 - popped, popped != 2));
    });
}

/// A sleeper is woken by a push.
pub fn push_against_wait() {
    explore(|| {
        let (_hall, queue, [listener]) = running::<1>(false);
        let thread = spawn(move || assert!(!listener.pause(true)));
        assert!(queue.wait());
        assert!(queue.pop().is_some());
        thread.join().unwrap();
    });
}

/// Two sleepers, two pushes: each gets one, though one wake-up may be enough.
pub fn two_sleepers() {
    explore_once(|| {
        let (_hall, queue, [one, other]) = running::<2>(false);
        let sleeper = {
            let queue = queue.clone();
            spawn(move || {
                while queue.pop().is_none() {
                    queue.wait();
                }
            })
        };
        let pusher = spawn(move || {
            assert!(!one.pause(true));
            assert!(!other.pause(true));
        });
        while queue.pop().is_none() {
            queue.wait();
        }
        sleeper.join().unwrap();
        pusher.join().unwrap();
        assert_eq!(queue.pending(), 0);
    });
}

/// An interruption since the ticket was taken ends a wait.
pub fn interrupt_against_wait() {
    explore(|| {
        let queue = Queue::new();
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let (queue, over) = (queue.clone(), over.clone());
            spawn(move || {
                over.store(true, Relaxed);
                queue.interrupt_all();
            })
        };
        loop {
            let ticket = queue.ticket();
            if over.load(Relaxed) {
                break;
            }
            assert!(!queue.wait_since(ticket));
        }
        thread.join().unwrap();
    });
}
