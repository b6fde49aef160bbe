//! Audiences, listeners, queues and the herald.

use super::*;

/// A queue of listeners that are ready.
#[derive(Clone)]
pub struct Queue(std::sync::Arc<dispatch::Queue>);

impl Queue {
    /// An empty queue without a descriptor.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Queue {
        Queue(std::sync::Arc::new(dispatch::Queue::new()))
    }

    /// An empty queue whose descriptor is a counter.
    pub fn with_descriptor() -> Queue {
        let queue = dispatch::Queue::with_descriptor().expect("a counter");
        Queue(std::sync::Arc::new(queue))
    }

    /// The next listener.
    pub fn pop(&self) -> Option<Listener> {
        self.0.pop().map(Listener)
    }

    /// Sleeps until something is there, or somebody interrupts.
    pub fn wait(&self) -> bool {
        self.0.wait(None)
    }

    /// For [`wait_since`](Queue::wait_since).
    pub fn ticket(&self) -> u32 {
        self.0.ticket()
    }

    /// As [`wait`](Queue::wait); an interruption since the ticket was taken counts.
    pub fn wait_since(&self, ticket: u32) -> bool {
        self.0.wait_since(ticket, None)
    }

    /// Ends all waits.
    pub fn interrupt_all(&self) {
        self.0.interrupt_all();
    }

    /// How many are there.
    pub fn pending(&self) -> usize {
        self.0.len()
    }

    /// What a poll of the descriptor would say.
    pub fn is_readable(&self) -> bool {
        self.0.is_readable()
    }
}

/// The audience of one table with its herald.
pub struct Hall {
    entries: u64,
    herald: std::sync::Arc<dispatch::Herald>,
    audience: std::sync::Arc<dispatch::Audience>,
}

/// A position in the journal, to be committed.
pub struct Place(journal::Position);

impl Place {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.0.number()
    }
}

impl Hall {
    /// Without listeners.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Hall {
        Hall::with_journal(16)
    }

    /// Without listeners; the journal has so many entries.
    pub fn with_journal(entries: u64) -> Hall {
        let herald = dispatch::Herald::new().expect("memory for a herald");
        let audience = dispatch::Audience::new(herald.clone()).expect("memory for an audience");
        Hall { entries, audience, herald }
    }

    /// Counts a listener in.
    pub fn enlist(&self) {
        self.audience.enlist(self.entries).expect("memory for a journal");
    }

    /// Whether somebody may be listening.
    pub fn hint(&self) -> bool {
        self.audience.hint()
    }

    /// Whether an event is needed after all.
    pub fn someone_listens_now(&self) -> bool {
        self.audience.someone_listens_now()
    }

    /// A listener, enlisted and not joined.
    pub fn listener(&self, queue: &Queue) -> Listener {
        self.enlist();
        let token = Token::new(0, 0);
        let new = dispatch::Listener::new(token, self.audience.clone(), queue.0.clone());
        Listener(new.expect("memory for a listener"))
    }

    /// Counts a closed listener out.
    pub fn leave(&self) {
        self.audience.leave();
    }

    /// Enters an event, which holds what the number stands for if `holds`.
    pub fn append(&self, id: u32, holds: bool) {
        let place = self.reserve().expect("a journal");
        self.commit(place, id, holds);
    }

    /// A position, if there is a journal.
    pub fn reserve(&self) -> Option<Place> {
        self.audience.reserve().map(Place)
    }

    /// Whether a listener may have gone past it and not seen what the caller has published.
    pub fn is_passed(&self, place: &Place) -> bool {
        self.audience.is_passed(&place.0)
    }

    /// Enters an event there.
    pub fn commit(&self, place: Place, id: u32, holds: bool) {
        let note = journal::Note { kind: 1, token: Token::new(0, id), id: id.into(), holds };
        self.audience.commit(place.0, note, &mut |_| panic!("nothing is overwritten"));
    }

    /// As somebody does who has something for the herald.
    pub fn ring(&self) {
        self.audience.ring();
    }

    /// Goes on after having been stopped. Says whether it was.
    pub fn start(&self) -> bool {
        self.herald.start()
    }

    /// Sleeps until something is rung.
    pub fn wait(&self) -> bool {
        self.herald.wait(None)
    }

    /// Ends the waits of the herald.
    pub fn stop(&self) {
        self.herald.stop();
    }

    /// One pass.
    pub fn step(&self, release: &mut dyn FnMut(u32)) -> bool {
        self.herald.step(&mut |token| release(token.slot()))
    }

    /// Passes until nothing is rung.
    pub fn settle(&self, release: &mut dyn FnMut(u32)) {
        while self.step(release) {}
    }

    /// Members taken in.
    pub fn members(&self) -> u32 {
        self.audience.members()
    }

    /// What has been trimmed.
    pub fn trimmed(&self) -> u64 {
        self.audience.trimmed()
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.audience.disband();
        self.herald.disband();
    }
}

/// A listener.
#[derive(Clone)]
pub struct Listener(std::sync::Arc<dispatch::Listener>);

impl Listener {
    /// Joins the audience. Says whether it was closed meanwhile.
    pub fn join(&self) -> bool {
        let node = dispatch::Joining::new(self.0.clone()).expect("memory for a node");
        dispatch::Audience::join(node) == dispatch::Paused::Closed
    }

    /// Whether it may be run.
    pub fn begin(&self) -> bool {
        self.0.begin()
    }

    /// The event at its cursor.
    pub fn read(&self) -> Option<u32> {
        match self.0.read() {
            journal::Read::Note(note) => Some(note.id as u32),
            journal::Read::NotYet => None,
            journal::Read::Missed => panic!("missed an event"),
        }
    }

    /// Moves its cursor on.
    pub fn advance(&self) {
        self.0.advance();
    }

    /// Moves its cursor to what is not yet committed.
    pub fn skip(&self) {
        self.0.skip();
    }

    /// Ends a run. Says whether it was closed meanwhile.
    pub fn pause(&self, more: bool) -> bool {
        self.0.pause(more) == dispatch::Paused::Closed
    }

    /// Closes it. Says whether somebody runs it.
    pub fn close(&self) -> bool {
        self.0.close()
    }

    /// Where it is.
    pub fn cursor(&self) -> u64 {
        self.0.cursor()
    }
}
