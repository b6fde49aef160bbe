//! The slab: typed slots at stable addresses, named by handles that are never given out twice.
//!
//! Knows nothing of entities: a kind of object is a slab with its own plain information `F` and
//! payload `T`. Slots are never moved and never change their type, so a stale handle can always be
//! looked at safely.
//!
//! *Roles.* A *reader* resolves handles: under a guard to the payload, without one to a copy of the
//! plain information. A *writer* is a member of the domain; it reserves, publishes, unpublishes and
//! reclaims. *Holders* take and release counted references.
//!
//! *States of a slot* (all in one word, `word.rs`; `n` counts references):
//!
//! ```text
//!            publish            unpublish             payload dropped, n = 0
//!  Vacant ------------> Live n ------------> Dead n --------------------------> Vacant (gen + 1)
//!    ^                   ^ |                  | |                                or Spent
//!    |                   +-+ n±1              | | payload dropped, n > 0
//!    |                                    n±1 + v
//!    +------------------------------------- Ghost n  (n±1; the release to 0 frees)
//! ```
//!
//! Beside the references an ended object may be *held* by the library once, which counts like a
//! reference in the picture, but no user's release takes it away.
//!
//! Whoever makes a slot Vacant owns it and puts it into a free list; whoever takes it from there
//! owns it until it is published. (The memory of vacant slots can be given back: `trim.rs`.) Dead with
//! n = 0 stays so: a reference can only be added where one exists or the object is live. Only one thread
//! reclaims a payload (the one that processes the batch the slot is in), and only after the grace period.
//!
//! *Generations.* A slot's first generation is drawn from the slab's secret, freeing adds one
//! modulo 2^bits, and the slot is Spent when that would bring the first one back. So a handle names
//! one object for ever.
//!
//! *Paths.* Lookup: one load of the word, compared whole; what is needed beside it a guard has by value (`View`),
//! and looks for slots added since where they are. The plain copy: word, information, word
//! again; a slot that changes in between reads as invalid, so there is no retry. Reserve: own free
//! list → own chunk → own spare lists → those of records without an owner, and of members that have many → a new chunk
//! → anybody's. Retire: push on the member's retired list; at `MAGAZINE` slots the list is sealed (`reclamation`).
//!
//! *ABA.* Compare-exchanges on a word carry the generation. Retired lists are pushed by their owner
//! and emptied as a whole; spare lists are stacks that are emptied as a whole; free lists have one
//! user.
//!
//! *Orderings.* Publish releases information and payload to the lookup that acquires the word.
//! Retiring releases the unpublishing, so that the thread that seals has seen it. The plain copy is
//! a sequence lock over relaxed fields: the writer's release fence stands between the new generation
//! and the new information, the reader's acquire fence between information and second look.
//!
//! *Progress.* Lookup, copy: wait-free. Reserve, publish, unpublish, reference, release, retire:
//! lock-free.

mod attachments;
mod directory;
mod drain;
mod inspect;
mod references;
mod retired;
mod shard;
mod span;
mod spare;
mod trim;
mod word;

pub(crate) use attachments::Attachments;
pub(crate) use directory::{Fixed, Full};
pub(crate) use drain::Drain;
pub(crate) use inspect::Tenant;
pub(crate) use references::NoReference;
#[cfg(rtm_loom)]
pub(crate) use retired::Retired;
pub(crate) use shard::{Shard, Sharded};
pub(crate) use word::{MAX_REFERENCES, State};

use crate::alloc::{OutOfMemory, Zero};
use crate::handle::{Cipher, Config, Handle, Kind, Sought, Token, mix};
use crate::index::{Node, Nodes};
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reclamation::Protects;
use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering, Padded, UnsafeCell, announce};
use directory::Directory;
use std::mem::MaybeUninit;
use trim::Trimming;
use word::Word;

/// A slot beside its word.
#[repr(C)]
pub(crate) struct Slot<F, T> {
    /// The next slot of whatever list this one is in. Owned by the list.
    link: AtomicU32,
    fixed: F,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: link and payload accept any bytes, and `F` is Fixed, for which zero is the default.
unsafe impl<F: Fixed, T> Zero for Slot<F, T> {
    fn zero() -> Self {
        let value = UnsafeCell::new(MaybeUninit::uninit());
        Slot { link: AtomicU32::new(0), fixed: F::default(), value }
    }
}

impl<F: Fixed, T> Slot<F, T> {
    /// The plain information of an object that the caller knows to be there.
    #[inline(always)]
    pub(crate) fn plain(&self) -> F::Plain {
        self.fixed.read()
    }

    /// The payload.
    ///
    /// # Safety
    /// The slot came from [`Slab::get`] whose guard is still held (I1).
    #[inline(always)]
    pub(crate) unsafe fn value(&self) -> &T {
        // SAFETY: I1: live when looked up, and a guard delays the payload's drop.
        self.value.with(|value| unsafe { &*value.cast::<T>() })
    }

    /// Moves the payload out.
    ///
    /// # Safety
    /// The payload is there, the caller owns it, and nobody reads it again.
    unsafe fn take_value(&self) -> T {
        // SAFETY: as the caller promises.
        self.value.with_mut(|value| unsafe { value.cast::<T>().read() })
    }

    /// Drops the payload in its place.
    ///
    /// # Safety
    /// As for [`take_value`](Slot::take_value).
    unsafe fn drop_value(&self) {
        // SAFETY: as the caller promises.
        self.value.with_mut(|value| unsafe { value.cast::<T>().drop_in_place() });
    }
}

/// Plain information that contains an id for an [`Index`](crate::index::Index).
pub(crate) trait Identified {
    fn id(&self) -> u64;
}

/// A slot by its number, and its word.
pub(crate) struct Place<'a, F, T> {
    number: u32,
    word: &'a AtomicU64,
    slot: &'a Slot<F, T>,
}

impl<F, T> Clone for Place<'_, F, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T> Copy for Place<'_, F, T> {}

impl<'a, F, T> Place<'a, F, T> {
    #[inline(always)]
    pub(crate) fn slot(self) -> &'a Slot<F, T> {
        self.slot
    }
}

#[inline(always)]
fn look(word: &AtomicU64) -> Word {
    // Acquire: partner is `publish`; information and payload are seen.
    Word(word.load(relaxed_if(Mutant::LookupRelaxed, Ordering::Acquire)))
}

/// The slot, if its object is live and the one that is sought.
#[inline(always)]
fn live<'s, F, T>(
    found: Option<(&AtomicU64, &'s Slot<F, T>)>,
    sought: Sought,
) -> Option<&'s Slot<F, T>> {
    let (word, slot) = found?;
    look(word).is_live(sought).then_some(slot)
}

/// What look-ups need of a slab, by value.
pub(crate) struct View<'s, F: Fixed, T> {
    cipher: Cipher,
    slots: directory::View<'s, F, T>,
}

impl<F: Fixed, T> Clone for View<'_, F, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Fixed, T> Copy for View<'_, F, T> {}

impl<F: Fixed, T> View<'_, F, T> {
    /// Asks for the lines of a slot at which somebody will look soon. If there is none, nothing happens.
    #[inline(always)]
    pub(crate) fn ask_for(self, slot: u32) {
        self.slots.ask_for(Sought::number_of(slot));
    }

    /// The same of what is sought with this handle.
    #[inline(always)]
    pub(crate) fn ask_for_sought(self, handle: Handle) {
        self.slots.ask_for(self.cipher.seek(handle).number());
    }
}

/// A vacant slot that its holder alone may fill. Dropping it leaks the slot until the slab goes.
#[must_use]
pub(crate) struct Reserved<'a, F, T> {
    place: Place<'a, F, T>,
    generation: u32,
}

impl<F, T> Reserved<'_, F, T> {
    /// What the object will be called once it is published.
    #[inline(always)]
    pub(crate) fn token(&self) -> Token {
        Token::new(self.generation, self.place.number)
    }

    #[inline(always)]
    pub(crate) fn place(&self) -> Place<'_, F, T> {
        self.place
    }
}

/// An object that looked live. What it says of it is right if it can still be
/// [unpublished](Slab::unpublish).
pub(crate) struct Seen<'a, F: Fixed, T> {
    pub(crate) place: Place<'a, F, T>,
    /// The word.
    now: u64,
    pub(crate) token: Token,
    pub(crate) plain: F::Plain,
}

/// # Invariants
/// - I1: a payload is initialised while its slot is Live or Dead, and is dropped (or moved out) by
///   the one thread that processes the slot's batch, after every guard that could have seen it Live
///   has gone.
/// - I2: a Vacant slot belongs to one list or one thread.
/// - I3: no (slot, generation) is published twice.
pub(crate) struct Slab<F: Fixed, T, C: Config> {
    directory: Directory<F, T, C>,
    /// What some objects have beside their payload.
    pub(crate) attachments: Attachments<F::Attachment, C>,
    cipher: Cipher,
    secret: u64,
    /// Slots with no generation left. Apart from what look-ups read, like the next.
    spent: Padded<AtomicU64>,
    /// The weight of all spare lists and ranges that others may take, a hint that saves looking for one.
    spares: Padded<AtomicI64>,
    trimming: Trimming,
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    const GENERATION_MASK: u32 = ((1_u64 << C::GENERATION_BITS) - 1) as u32;
    /// Whether a generation is the slot's first again need be asked only once in so many.
    const STRIDE: u32 = 1 << (C::GENERATION_BITS / 8);

    pub(crate) fn new(kind: Kind, secret: u64) -> Result<Self, OutOfMemory> {
        Ok(Slab {
            directory: Directory::new()?,
            attachments: Attachments::default(),
            cipher: Cipher::new(kind, secret),
            secret,
            spent: Padded(AtomicU64::new(0)),
            spares: Padded(AtomicI64::new(0)),
            trimming: Trimming::default(),
        })
    }

    /// The generation of a slot's first object, a multiple of the stride.
    fn first_generation(&self, slot: u32) -> u32 {
        let any = mix(self.secret ^ u64::from(slot) << 32) as u32;
        any & Self::GENERATION_MASK & !(Self::STRIDE - 1)
    }

    #[inline(always)]
    pub(crate) fn seal(&self, token: Token) -> Handle {
        self.cipher.seal(token)
    }

    #[inline(always)]
    pub(crate) fn seek(&self, handle: Handle) -> Sought {
        self.cipher.seek(handle)
    }

    #[inline(always)]
    pub(crate) fn open(&self, handle: Handle) -> Option<Token> {
        self.cipher.open(handle)
    }

    /// The slot of a live object. What it returns stays until the guard goes.
    #[inline(always)]
    pub(crate) fn get<'g>(
        &'g self,
        sought: Sought,
        _guard: &'g impl Protects,
    ) -> Option<&'g Slot<F, T>> {
        live(self.directory.find(sought.number()), sought)
    }

    /// For many look-ups.
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_, F, T> {
        View { cipher: self.cipher, slots: self.directory.view() }
    }

    /// As [`get`](Slab::get), with a view of this slab that was made before.
    #[inline(always)]
    pub(crate) fn get_through<'g>(
        &'g self,
        view: View<'g, F, T>,
        handle: Handle,
        _guard: &'g impl Protects,
    ) -> Option<&'g Slot<F, T>> {
        let sought = view.cipher.seek(handle);
        match view.slots.find(sought.number()) {
            None => self.get_anew(sought),
            found => live(found, sought),
        }
    }

    /// There may be more slots than there were.
    #[cold]
    fn get_anew(&self, sought: Sought) -> Option<&Slot<F, T>> {
        if active(Mutant::ViewNotRenewed) {
            return None;
        }
        live(self.directory.find(sought.number()), sought)
    }

    /// The place of an object that the caller knows to be there (I1).
    #[inline(always)]
    pub(crate) fn place(&self, token: Token) -> Place<'_, F, T> {
        let (word, slot) = self.directory.slot_of(token).expect("a token of this slab");
        Place { number: token.slot(), word, slot }
    }

    /// The live object in this slot, if there is one. What it returns stays until the guard goes.
    #[inline(always)]
    pub(crate) fn occupant<'g>(
        &'g self,
        slot: u32,
        _guard: &'g impl Protects,
    ) -> Option<(Handle, &'g Slot<F, T>)> {
        let place = self.existing(slot);
        let word = look(place.word);
        let token = Token::new(word.generation(), slot);
        word.is_live(token.sought()).then(|| (self.seal(token), place.slot))
    }

    /// A copy of the plain information and whether the object is live, without any guard.
    /// `None`: stale, or just changing.
    #[inline(always)]
    pub(crate) fn copy(&self, sought: Sought) -> Option<(F::Plain, bool)> {
        let (word, slot) = self.directory.find(sought.number())?;
        // Acquire: partner is `publish`; the information read below is at least this object's.
        let before = Word(word.load(relaxed_if(Mutant::CopyRelaxed, Ordering::Acquire)));
        let live = before.is_live(sought);
        if !live && !before.resolves(sought.known().generation()) {
            return None;
        }
        let plain = slot.fixed.read();
        if !active(Mutant::CopyWithoutRecheck) {
            // Fence: partner is the release fence in `fill`. If the copy saw anything of a later
            // object, the load below sees a later generation.
            fence_unless(Mutant::CopyWithoutFence, Ordering::Acquire);
            let after = Word(word.load(Ordering::Relaxed));
            if after.generation() != before.generation() {
                return None;
            }
        }
        Some((plain, live))
    }

    /// A live object, for one who goes on to [`unpublish`](Slab::unpublish) it.
    #[inline(always)]
    pub(crate) fn peek(&self, sought: Sought) -> Option<Seen<'_, F, T>> {
        let (word, slot) = self.directory.find(sought.number())?;
        let now = look(word);
        now.is_live(sought).then(|| {
            let token = sought.known();
            let place = Place { number: token.slot(), word, slot };
            Seen { place, now: now.0, token, plain: slot.plain() }
        })
    }

    /// Writes information and payload into a reserved slot.
    #[inline(always)]
    pub(crate) fn fill(&self, reserved: &Reserved<'_, F, T>, plain: F::Plain, value: T) {
        let slot = reserved.place.slot;
        // Fence: partner is the acquire fence in `copy`. The new generation (stored when the slot was
        // freed or first reserved) comes before the new information.
        fence_unless(Mutant::FixedWithoutFence, Ordering::Release);
        slot.fixed.write(plain);
        slot.value.with_mut(|place| {
            // SAFETY: I2: the slot is ours alone until it is published.
            unsafe { (*place).write(value) };
        });
    }

    /// Makes a filled slot resolve. A `fence_after_update` may follow.
    #[inline(always)]
    pub(crate) fn publish(&self, reserved: Reserved<'_, F, T>) {
        // Release: partners are `get`, `copy` and `reference`.
        let order = relaxed_if(Mutant::PublishRelaxed, Ordering::Release);
        let live = Word::new(reserved.generation, State::Live, 0);
        announce(reserved.place.word, live.0, order);
    }

    /// Takes the payload back out of a filled slot that was not published.
    pub(crate) fn take_back(&self, reserved: &Reserved<'_, F, T>) -> T {
        // SAFETY: `fill` wrote it, nobody has seen it, and it is not read again.
        unsafe { reserved.place.slot.take_value() }
    }

    /// Ends an object's life in the eyes of everybody who looks it up from now on. One caller wins (and
    /// a `fence_after_update` may follow) and learns how many references there are; with `hold` the object
    /// stays describable until [`let_go`](Slab::let_go).
    #[inline(always)]
    pub(crate) fn unpublish(&self, seen: &Seen<'_, F, T>, hold: bool) -> Option<u32> {
        let (mut now, word) = (Word(seen.now), seen.place.word);
        loop {
            let dead = now.ended(hold).0;
            if active(Mutant::UnpublishBlindly) {
                word.store(dead, Ordering::Relaxed);
                break;
            }
            // Relaxed: `retire` releases this to whoever seals, and hands on what holders have released.
            let relaxed = Ordering::Relaxed;
            match word.compare_exchange(now.0, dead, relaxed, relaxed) {
                Ok(_) => break,
                Err(other) => now = Word(other),
            }
            if !now.is_live(seen.token.sought()) {
                return None;
            }
        }
        Some(now.references())
    }

    /// The word of a slot whose object ends here: vacant in the next generation, or spent.
    fn freed(&self, slot: u32, now: Word) -> Word {
        if active(Mutant::KeepGeneration) {
            return Word::new(now.generation(), State::Vacant, 0);
        }
        let next = now.generation().wrapping_add(1) & Self::GENERATION_MASK;
        if next & (Self::STRIDE - 1) == 0 && next == self.first_generation(slot) {
            Word::new(now.generation(), State::Spent, 0)
        } else {
            Word::new(next, State::Vacant, 0)
        }
    }

    /// The place of a slot of this slab.
    #[inline(always)]
    fn existing(&self, slot: u32) -> Place<'_, F, T> {
        let found = self.directory.slot(slot).expect("a slot of this slab");
        Place { number: slot, word: found.0, slot: found.1 }
    }

    /// The slot for the index its object is in; the slab has links.
    #[inline(always)]
    pub(crate) fn node(&self, place: Place<'_, F, T>) -> Node<'_> {
        // SAFETY: where there is a place, it was found.
        Node { slot: place.number, link: unsafe { self.directory.link_of_found(place.number) } }
    }

    /// Slots that are used up for ever.
    pub(crate) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Chunks and bytes held.
    pub(crate) fn footprint(&self) -> (u32, usize) {
        let chunks = self.directory.chunks();
        let each = Directory::<F, T, C>::chunk_bytes();
        let bytes = chunks as usize * each + self.attachments.bytes();
        (chunks, bytes)
    }
}

impl<F: Fixed + Identified, T: Send + Sync, C: Config> Nodes for Slab<F, T, C> {
    #[inline(always)]
    fn link(&self, slot: u32) -> &AtomicU64 {
        self.directory.link(slot)
    }

    fn id(&self, slot: u32) -> u64 {
        self.existing(slot).slot.fixed.id()
    }
}

impl<F: Fixed, T, C: Config> Drop for Slab<F, T, C> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() {
            return;
        }
        let slots = self.directory.chunks() << C::CHUNK_BITS;
        for number in 0..slots {
            let Some((word, slot)) = self.directory.slot(number) else { continue };
            // Relaxed: `&mut self` orders us behind everything.
            let state = Word(word.load(Ordering::Relaxed)).state();
            if matches!(state, State::Live | State::Dead) {
                // SAFETY: I1; `&mut self` means that no guard of this slab is left.
                unsafe { slot.drop_value() };
            }
        }
    }
}
