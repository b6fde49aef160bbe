//! Giving memory back to the system: that of chunks of which no slot is in use.
//!
//! *Roles.* The thread that trims takes the vacant slots that nobody has at hand: all spare lists, the lists
//! of members without an owner, and its own free list. They are its own then (I2).
//! *States of a chunk.* In use; *whole*, when that thread has all of its slots; *given back*: its slots are a
//! range and not a list, for the links in them are gone; in use again, when a member takes the chunk out of
//! the range. Its words have stayed, and with them the generations: no handle comes back to life (I3).
//! *What others see.* A lookup stops at the word. A plain copy that is under way reads the old information,
//! or zero bytes, or some of each; and then a later generation, so that it reports nothing.
//! *Orderings.* The release fence before slots are given back is partner of the acquire fence in `copy`, as
//! the one in `fill` is: whoever has read anything of what came later sees the generations of before.
//! (Outside loom the system takes the memory away, which orders more than that.)
//! *Progress.* Nobody waits. It walks over all vacant slots twice; meanwhile a member that runs out of slots
//! adds a chunk, and is refused if there is none.

use super::directory::Fixed;
use super::shard::{Freed, Sharded};
use super::{Place, Slab};
use crate::alloc::OutOfMemory;
use crate::handle::Config;
use crate::mutant::{Mutant, fence_unless};
use crate::reclamation::{Batch, Garbage, Local};
use crate::stack::Chain;
use crate::sync::Ordering;
use std::ops::Range;

/// How many slots of each chunk are vacant.
struct Census(Vec<u32>);

impl Census {
    fn new(chunks: u32) -> Result<Self, OutOfMemory> {
        let mut counts = Vec::new();
        counts.try_reserve_exact(chunks as usize).map_err(|_| OutOfMemory)?;
        counts.resize(chunks as usize, 0);
        Ok(Census(counts))
    }

    fn is_whole<C: Config>(&self, slot: u32) -> bool {
        self.0[(slot >> C::CHUNK_BITS) as usize] == 1 << C::CHUNK_BITS
    }

    /// The slots of whole chunks that lie together.
    fn runs<C: Config>(&self) -> impl Iterator<Item = Range<u32>> {
        let chunks = 0..self.0.len() as u32;
        let mut whole =
            chunks.filter(|chunk| self.is_whole::<C>(chunk << C::CHUNK_BITS)).peekable();
        std::iter::from_fn(move || {
            let first = whole.next()?;
            let mut end = first + 1;
            while whole.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some(first << C::CHUNK_BITS..end << C::CHUNK_BITS)
        })
    }
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Gives back what can be given back, and says how many bytes.
    pub(crate) fn trim<S: Sharded>(&self, local: &Local<S>) -> Result<usize, OutOfMemory> {
        let mut lists = self.take_vacant(local)?;
        let prepared = self.count_vacant(&mut lists).and_then(|census| {
            // One for each run, before anything is changed.
            let mut carriers = Chain::empty();
            for _ in census.runs::<C>() {
                carriers.push(Batch::new()?);
            }
            Ok((census, carriers))
        });
        let shard = local.record().state.shard();
        let (census, mut carriers) = match prepared {
            Ok(prepared) => prepared,
            Err(OutOfMemory) => {
                lists.for_each(|list| self.put_spare(shard, list));
                return Err(OutOfMemory);
            }
        };

        let mut already = 0;
        for mut list in lists {
            match list.garbage {
                Garbage::Slots { head, count, .. } => {
                    let mut rest = Freed::NONE;
                    for place in self.linked(head, count) {
                        if !census.is_whole::<C>(place.number) {
                            rest.add(place);
                        }
                    }
                    if let Some((head, count)) = rest.end() {
                        list.garbage = Garbage::Slots { head, count, deferred: false };
                        self.put_spare(shard, list);
                    }
                }
                Garbage::Range { first, end } => already += self.directory.returnable(first..end),
                _ => {}
            }
        }
        let mut bytes = 0;
        for (run, mut carrier) in census.runs::<C>().zip(&mut carriers) {
            // Fence: partner is the acquire fence in `copy`. The generations come before the zeros.
            fence_unless(Mutant::GiveBackWithoutFence, Ordering::Release);
            bytes += self.directory.give_back(run.clone());
            carrier.garbage = Garbage::Range { first: run.start, end: run.end };
            self.put_spare(shard, carrier);
        }
        Ok(bytes.saturating_sub(already))
    }

    /// Takes all vacant slots that are in nobody's hands but the caller's.
    fn take_vacant<S: Sharded>(&self, local: &Local<S>) -> Result<Chain<Batch<S>>, OutOfMemory> {
        let mut lists = Chain::empty();
        let own = local.record().state.shard();
        if !own.is_out_of_slots() {
            lists.push(own.unload(Batch::new()?));
        }
        for record in local.shared().records() {
            for list in record.state.shard().spare.take() {
                self.spares.fetch_sub(1, Ordering::Relaxed);
                lists.push(list);
            }
            record.as_owner(|state| {
                // Without memory for the carrier they stay.
                if !state.shard().is_out_of_slots()
                    && let Ok(batch) = Batch::new()
                {
                    lists.push(state.shard().unload(batch));
                }
            });
        }
        Ok(lists)
    }

    fn count_vacant<S>(&self, lists: &mut Chain<Batch<S>>) -> Result<Census, OutOfMemory> {
        // Relaxed: whoever put a slot into a list had added its chunk before.
        let mut census = Census::new(self.directory.chunks())?;
        let mut counted = Chain::empty();
        for list in &mut *lists {
            match list.garbage {
                Garbage::Slots { head, count, .. } => {
                    for place in self.linked(head, count) {
                        census.0[(place.number >> C::CHUNK_BITS) as usize] += 1;
                    }
                }
                Garbage::Range { first, end } => {
                    let chunks = (first >> C::CHUNK_BITS) as usize..(end >> C::CHUNK_BITS) as usize;
                    census.0[chunks].fill(1 << C::CHUNK_BITS);
                }
                _ => {}
            }
            counted.push(list);
        }
        *lists = counted;
        Ok(census)
    }

    /// The slots of a list that is the caller's.
    fn linked(&self, head: u32, count: u32) -> impl Iterator<Item = Place<'_, F, T>> {
        let mut next = head;
        (0..count).map(move |_| {
            let place = self.existing(next);
            next = place.slot.link.load(Ordering::Relaxed);
            place
        })
    }
}
