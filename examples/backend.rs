//! A router's backend on tokio. Tasks forward: they resolve the handles of sessions and never wait for the
//! registry. The main task has the event loop: a timer, by which sessions restart under the others' hands; the
//! registry's event queue, which says who has come and gone; and the end, by time or by Ctrl-C.
//!
//! `cargo run --release -p rtm-examples --bin backend [SECONDS]`

use rtm_core::{
    AddressFamily, ClientCode, Dispatcher, DropBy, EntityInfo, Event, EventQueue, Handle, Limits,
    Participant, Refusal, Registry, Settings, TableKey, Threads,
};
use std::error::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TABLE: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };
const RIB_MANAGER: u64 = u64::MAX; // its id; those of sessions are their numbers
const SESSIONS: u64 = 1024;
const TASKS: u64 = 8;
const RESTARTS: u64 = 16; // each millisecond
const BUDGET: usize = 256;

/// The payload of an entity.
enum Protocol {
    RibManager,
    Bgp { number: u64, next_hop: u64, ended: Arc<AtomicU64> },
}

impl Drop for Protocol {
    /// Runs when no task can have it any more.
    fn drop(&mut self) {
        if let Protocol::Bgp { number, ended, .. } = self {
            *number = u64::MAX;
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Packets {
    forwarded: u64,
    refused: u64,
    wrong: u64,
}

/// What the tasks share.
struct Backend {
    registry: Arc<Registry<Protocol>>,
    /// By session: the bits of the handle that the events have told of, or 0.
    fib: Vec<AtomicU64>,
    stopping: AtomicBool,
}

impl Backend {
    /// A guard is not `Send`: the compiler refuses a spawned task that would hold one over an `await`. Held
    /// for a batch it costs less than for each; held for ever it would keep memory from reuse.
    async fn forward(self: Arc<Self>, mut random: u64) -> Packets {
        let mut packets = Packets::default();
        while !self.stopping.load(Ordering::Relaxed) {
            self.forward_batch(&mut random, &mut packets);
            tokio::task::yield_now().await;
        }
        packets
    }

    fn forward_batch(&self, random: &mut u64, packets: &mut Packets) {
        let guard = self.registry.enter();
        for _ in 0..64 {
            *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let number = (*random >> 40) % SESSIONS;
            let handle = Handle::from_bits(self.fib[number as usize].load(Ordering::Relaxed));
            match handle.map(|handle| guard.get(handle)) {
                Some(Ok(found)) => match *found {
                    Protocol::Bgp { number: its, next_hop, .. }
                        if its == number && next_hop == 2 * number =>
                    {
                        packets.forwarded += 1
                    }
                    _ => packets.wrong += 1,
                },
                Some(Err(_)) | None => packets.refused += 1, // it has gone, or is not there yet
            }
        }
    }

    fn note(&self, info: EntityInfo, handle: Option<Handle>) {
        if let Some(place) = self.fib.get(info.id as usize) {
            place.store(handle.map_or(0, Handle::to_bits), Ordering::Relaxed);
        }
    }

    /// Whoever is there: at the start, and when events were missed.
    fn enumerate(&self) {
        self.fib.iter().for_each(|place| place.store(0, Ordering::Relaxed));
        for entity in self.registry.enter().entities(TABLE) {
            self.note(entity.info(), Some(entity.handle()));
        }
    }
}

/// The descriptor lives as long as the queue.
struct Descriptor(EventQueue);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.descriptor().expect("the queue was made with one")
    }
}

/// What the event loop has.
struct Control<'r> {
    backend: Arc<Backend>,
    participant: Participant<'r, Protocol>,
    events: AsyncFd<Descriptor>,
    ended: Arc<AtomicU64>,
    /// Of each session that is registered.
    mine: Vec<Option<Handle>>,
    started: u64,
    told: u64,
    missed: u64,
}

impl Control<'_> {
    fn start(&mut self, number: u64) -> Result<(), Refusal> {
        let ended = self.ended.clone();
        let session = Protocol::Bgp { number, next_hop: 2 * number, ended };
        let info = EntityInfo { table: TABLE, id: number };
        let handle = self.participant.register_handle(info, session, DropBy::Writers);
        self.mine[number as usize] = Some(handle.map_err(|error| error.refusal)?);
        self.started += 1;
        Ok(())
    }

    /// Tasks may have it in their hands.
    fn stop(&mut self, number: u64) -> Outcome<()> {
        let handle = self.mine[number as usize].take().ok_or("it has not been started")?;
        Ok(self.participant.deregister(handle)?)
    }

    /// Waits for events and hears them. Cancel safe.
    async fn hear(&mut self) -> Outcome<()> {
        let mut ready = self.events.readable().await?;
        let mut courier = self.participant.courier(&ready.get_inner().0);
        for _ in 0..BUDGET {
            let Some(delivery) = courier.next_event() else {
                drop(courier);
                ready.clear_ready(); // unless more has come since
                return Ok(());
            };
            self.told += 1;
            match delivery.event {
                Event::Registered { handle, info } => self.backend.note(info, Some(handle)),
                Event::Deregistered { info, .. } => self.backend.note(info, None),
                Event::Missed => {
                    self.missed += 1;
                    self.backend.enumerate();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Events come soon, not at once.
    async fn until_told(&mut self) -> Outcome<()> {
        let all =
            async {
                while self.mine.iter().zip(&self.backend.fib).any(|(mine, told)| {
                    mine.map_or(0, Handle::to_bits) != told.load(Ordering::Relaxed)
                }) {
                    self.hear().await?;
                }
                Ok(())
            };
        timeout(Duration::from_secs(10), all)
            .await
            .map_err(|_| "events do not say what there is")?
    }

    async fn run(&mut self, duration: Duration) -> Outcome<()> {
        let mut tick = interval(Duration::from_millis(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (end, interrupted) = (sleep(duration), tokio::signal::ctrl_c());
        tokio::pin!(end, interrupted);
        let mut next = 0;
        loop {
            tokio::select! {
                _ = &mut end => return Ok(()),
                listened = &mut interrupted => return Ok(listened?),
                heard = self.hear() => heard?,
                _ = tick.tick() => {
                    for _ in 0..RESTARTS {
                        next = (next + 1) % SESSIONS;
                        self.stop(next)?;
                        self.start(next)?;
                    }
                }
            }
        }
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(1.0), |seconds| seconds.parse())?;
    // A short memory for events: the loop begins with more sessions than that, so that it misses some.
    let limits = Limits { journal: SESSIONS / 2, ..Limits::default() };
    let registry = Arc::new(Registry::new(Settings { limits, ..Settings::default() })?);
    // Its thread brings events to all queues, ours too.
    let dispatcher = Dispatcher::start(registry.clone(), Threads::default(), |_| {})?;

    let queue = EventQueue::with_descriptor()?;
    let code = ClientCode { events: Some(queue.clone()), ..ClientCode::default() };
    let info = EntityInfo { table: TABLE, id: RIB_MANAGER };
    let manager = registry
        .register_client(info, Protocol::RibManager, DropBy::Writers, code)
        .map_err(|error| error.refusal)?;
    let backend = Arc::new(Backend {
        registry: registry.clone(),
        fib: (0..SESSIONS).map(|_| AtomicU64::new(0)).collect(),
        stopping: AtomicBool::new(false),
    });
    backend.enumerate(); // after registering: who comes in between shows twice, and nobody never

    let mut control = Control {
        backend: backend.clone(),
        participant: registry.join()?,
        events: AsyncFd::with_interest(Descriptor(queue), Interest::READABLE)?,
        ended: Arc::default(),
        mine: vec![None; SESSIONS as usize],
        started: 0,
        told: 0,
        missed: 0,
    };
    for number in 0..SESSIONS {
        control.start(number)?;
    }
    let mut tasks: JoinSet<_> = (0..TASKS).map(|number| backend.clone().forward(number)).collect();
    control.run(Duration::try_from_secs_f64(seconds)?).await?;
    control.until_told().await?;

    for number in 0..SESSIONS {
        control.stop(number)?; // under the tasks' hands to the last
    }
    control.until_told().await?;
    backend.stopping.store(true, Ordering::Relaxed);
    let mut sum = Packets::default();
    while let Some(packets) = tasks.join_next().await {
        let packets = packets?;
        sum.forwarded += packets.forwarded;
        sum.refused += packets.refused;
        sum.wrong += packets.wrong;
    }
    registry.deregister(manager)?;
    let flushed = registry.clone();
    tokio::task::spawn_blocking(move || flushed.flush()).await??; // waits: nothing for a task
    drop(dispatcher);

    let Control { started, told, missed, ended, .. } = control;
    let ended = ended.load(Ordering::Relaxed);
    println!(
        "{started} sessions started, {ended} dropped; {told} events, {missed} times some missed; {sum:?}"
    );
    let left = registry.statistics();
    let good = sum.wrong == 0 && sum.forwarded > 0 && ended == started && left.live == 0;
    if good { Ok(()) } else { Err("not as it should be".into()) }
}
