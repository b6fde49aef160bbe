//! The slab and its lists.

use super::*;

/// Plain information of two halves, which a reader must never see from different objects.
#[derive(Default)]
struct Halves(AtomicU32, AtomicU32);

// SAFETY: two zero atomics.
unsafe impl Fixed for Halves {
    type Plain = (u32, u32);
    type Attachment = ();

    fn read(&self) -> (u32, u32) {
        (self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed))
    }

    fn write(&self, plain: (u32, u32)) {
        self.0.store(plain.0, Ordering::Relaxed);
        self.1.store(plain.1, Ordering::Relaxed);
    }
}

/// What a member has retired, and the links of slots 0 to 3.
#[derive(Default)]
pub struct Retired {
    list: slab::Retired,
    links: [AtomicU32; 4],
}

impl Retired {
    /// Pushes a slot. Says how many there are, or more.
    pub fn push(&self, slot: u32) -> u32 {
        self.list.push(slot, |next| self.links[slot as usize].store(next, Ordering::Relaxed))
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all, from the newest on.
    pub fn take(&self) -> Vec<u32> {
        let (mut next, count) = self.list.take().unwrap_or((0, 0));
        let slots = (0..count).map(|_| {
            let slot = next;
            next = self.links[slot as usize].load(Ordering::Relaxed);
            slot
        });
        slots.collect()
    }
}

/// A slab with a domain of its own. Objects are named by their token's bits.
pub struct Slab<T: Send + Sync, C: Config> {
    slab: slab::Slab<Halves, T, C>,
    /// Who may use it.
    pub domain: Domain,
}

/// What look-ups need of a slab, by value.
pub struct View<'s, T: Send + Sync>(slab::View<'s, Halves, T>);

impl<T: Send + Sync> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync> Copy for View<'_, T> {}

/// A slot reserved and filled.
pub struct Reserved<'a, T: Send + Sync>(slab::Reserved<'a, Halves, T>);

impl<T: Send + Sync> Reserved<'_, T> {
    /// The name of the object to be.
    pub fn token(&self) -> u64 {
        self.0.token().bits()
    }
}

impl<T: Send + Sync, C: Config> Slab<T, C> {
    /// An empty slab.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let slab = slab::Slab::new(Kind::Entity, 0).expect("memory for a slab");
        Slab { slab, domain: Domain::new() }
    }

    /// A vacant slot, filled; `None` if there is none.
    pub fn reserve(&self, seat: &Seat, plain: u32, value: T) -> Option<Reserved<'_, T>> {
        let reserved = self.slab.reserve(&seat.0).ok()?;
        self.slab.fill(&reserved, (plain, plain), value);
        Some(Reserved(reserved))
    }

    /// Makes the object resolve.
    pub fn publish(&self, reserved: Reserved<'_, T>) {
        self.slab.publish(reserved.0);
    }

    /// Reserves, fills and publishes.
    pub fn add(&self, seat: &Seat, plain: u32, value: T) -> Option<u64> {
        let reserved = self.reserve(seat, plain, value)?;
        let token = reserved.token();
        self.publish(reserved);
        Some(token)
    }

    /// Looks a live object up.
    pub fn get<'g>(&'g self, token: u64, section: &'g Section<'_>) -> Option<(u32, &'g T)> {
        let slot = self.slab.get(Token::from_bits(token).sought(), &section.0)?;
        // SAFETY: the section is borrowed for as long as the reference lives.
        Some((whole(slot.plain()), unsafe { slot.value() }))
    }

    /// What a guard has of the slab as it is now.
    pub fn view(&self) -> View<'_, T> {
        View(self.slab.view())
    }

    /// As [`get`](Slab::get), through a view that was made before.
    pub fn get_through<'g>(
        &'g self,
        view: View<'g, T>,
        token: u64,
        section: &'g Section<'_>,
    ) -> Option<(u32, &'g T)> {
        let handle = self.slab.seal(Token::from_bits(token));
        let slot = self.slab.get_through(view.0, handle, &section.0)?;
        // SAFETY: as in `get`.
        Some((whole(slot.plain()), unsafe { slot.value() }))
    }

    /// Copies the plain information without a section, and whether the object is live.
    pub fn copy(&self, token: u64) -> Option<(u32, bool)> {
        let (plain, live) = self.slab.copy(Token::from_bits(token).sought())?;
        Some((whole(plain), live))
    }

    /// Ends an object's life and retires its slot. Says whether this caller did it.
    pub fn remove(&self, seat: &Seat, token: u64) -> bool {
        let Some(seen) = self.slab.peek(Token::from_bits(token).sought()) else { return false };
        let Some(references) = self.slab.unpublish(&seen, false) else { return false };
        whole(seen.plain);
        self.slab.retire(&seat.0, seen.place, false, references);
        true
    }

    /// As [`remove`](Slab::remove), and holds the object. Only while nobody else removes it.
    pub fn remove_held(&self, seat: &Seat, token: u64) {
        let seen =
            self.slab.peek(Token::from_bits(token).sought()).expect("nobody else removes it");
        let references = self.slab.unpublish(&seen, true).expect("nobody else does");
        self.slab.retire(&seat.0, seen.place, false, references);
    }

    /// Ends the hold.
    pub fn let_go(&self, seat: &Seat, token: u64) {
        self.slab.let_go(&seat.0, Token::from_bits(token));
    }

    /// Takes a counted reference.
    pub fn reference(&self, token: u64) -> bool {
        self.slab.reference(Token::from_bits(token), slab::MAX_REFERENCES).is_ok()
    }

    /// Gives one back.
    pub fn release(&self, seat: &Seat, token: u64) -> bool {
        self.slab.release_and_free(&seat.0, Token::from_bits(token)).is_some()
    }

    /// How many an object has.
    pub fn references(&self, token: u64) -> u32 {
        self.slab.references(Token::from_bits(token))
    }

    /// Seals the retired lists of every member.
    pub fn seal_all(&self, seat: &Seat) {
        self.slab.seal_all(&seat.0).expect("memory for a batch");
    }

    /// Lets the collector take `steps`, then processes what is ripe, whoever retired it.
    pub fn collect(&self, seat: &Seat, steps: usize) {
        for _ in 0..steps {
            seat.nudge();
        }
        for record in seat.0.shared().records() {
            self.slab.process_ripe(&seat.0, record);
        }
    }

    /// Gives back what can be given back, and says whether it was anything.
    pub fn trim(&self, seat: &Seat) -> bool {
        self.slab.trim(&seat.0).expect("memory for a trim") != 0
    }

    /// Slots used up for ever.
    pub fn spent(&self) -> u64 {
        self.slab.spent()
    }

    /// Chunks in use.
    pub fn chunks(&self) -> u32 {
        self.slab.footprint().0
    }
}

fn whole((one, other): (u32, u32)) -> u32 {
    assert_eq!(one, other, "information of two objects mixed");
    one
}

/// The slot of a token.
pub fn slot_of(token: u64) -> u32 {
    Token::from_bits(token).slot()
}
