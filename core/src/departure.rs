//! How an entity goes: unpublished, told of, run down, given up.
//!
//! *Roles.* The one deregistration that unpublishes the entity is its *closer*. It waits until none of
//! the entity's client code runs (`rundown`), or leaves what is left to whoever ends last.
//!
//! *Order.* Refusals, before anything changes; unpublish (one of several wins; look-ups and
//! invocations fail from here on); tell the table's listeners; close the listener and the methods;
//! wake those who wait for the entity; wait; then give up the id, the credit and the slot. An id
//! thus stays taken until the waiting is over, and the note that its holder has gone stands in the
//! journal before the next holder's.
//!
//! *Later.* A deregistration that does not wait, or whose own frame is the last one, counts itself into
//! the phase of its moment (`reclamation`), so that a flush waits for it, and leaves the rest to the end of
//! the last frame. What that needs was put by at registration.
//!
//! *Progress.* Lock-free for an entity without client code. Else it looks through the members and
//! blocks for running client code only.

use crate::code::{self, Code, Part};
use crate::courier;
use crate::entity::{EntityFixed, EntityPlain};
use crate::error::DeregisterError;
use crate::handle::{Config, Handle, Token};
use crate::index::Sight;
use crate::journal::Note;
use crate::member::Member;
use crate::mutant::{Mutant, active};
use crate::probes;
use crate::reclamation::Local;
use crate::registry::Registry;
use crate::rundown::Ended;
use crate::slab::{Place, Seen};
use crate::sync::{Ordering, bump, thread_token};
use crate::table::Table;
use crate::waits::For;

impl<T: Send + Sync, C: Config> Registry<T, C> {
    pub(crate) fn deregister_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), DeregisterError> {
        let seen = self.slab.peek(self.slab.seek(handle)).ok_or(DeregisterError::InvalidHandle)?;
        if seen.plain.code() {
            // Not as it looks but as it is.
            let (token, plain) = self.departing(handle)?;
            return self.run_down(local, token, plain);
        }
        self.deregister_plain(local, &seen)
    }

    /// Deregisters without waiting.
    pub(crate) fn deregister_later_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), DeregisterError> {
        let (token, plain) = self.departing(handle)?;
        if !plain.code() {
            return self.deregister_as(local, handle);
        }
        let code = self.withdraw_with_code(local, token, plain)?;
        self.count_in(local, code);
        let runs = self.close_listener(code);
        let ended = code.rundown.close(true, runs);
        if !active(Mutant::DepartureWakesNobody) {
            self.bells.of(token).ring();
        }
        self.after(local, token, ended);
        Ok(())
    }

    fn departing(&self, handle: Handle) -> Result<(Token, EntityPlain), DeregisterError> {
        let token = self.slab.open(handle).ok_or(DeregisterError::InvalidHandle)?;
        match self.slab.copy(token.sought()) {
            Some((plain, true)) => Ok((token, plain)),
            _ => Err(DeregisterError::InvalidHandle),
        }
    }

    /// Deregisters an entity that has no client code, if it is still what it looked like.
    #[inline(always)]
    fn deregister_plain(
        &self,
        local: &Local<Member>,
        seen: &Seen<'_, EntityFixed, T>,
    ) -> Result<(), DeregisterError> {
        let plain = seen.plain;
        // If it is changing just now, there may be no such table.
        let table = self.tables.find_again(plain.packed_table(), &local.record().state.table);
        let table = table.ok_or(DeregisterError::InvalidHandle)?;
        let sight = self.sight(table, plain.id);
        let references = self.withdraw(local, table, seen).ok_or(DeregisterError::InvalidHandle)?;
        self.give_up(local, table, sight, seen.place, plain);
        self.slab.retire(local, seen.place, plain.deferred(), references);
        self.process_own(local);
        Ok(())
    }

    /// Deregisters an entity with client code and waits until none of it runs.
    fn run_down(
        &self,
        local: &Local<Member>,
        token: Token,
        plain: EntityPlain,
    ) -> Result<(), DeregisterError> {
        let (me, shared) = (thread_token(), local.shared());
        local.record().state.frames.adopt();
        let forbids = |frame: &code::Frame| {
            let own_method = frame.entity == token && frame.is_method();
            own_method || frame.part == Part::Membership
        };
        if shared.is_inside() || code::has_frame(shared, me, forbids) {
            return Err(DeregisterError::WouldDeadlock);
        }
        let own = code::has_frame(shared, me, |frame| frame.entity == token);
        let wait = self.note_wait(local, For::Code(token)).ok_or(DeregisterError::WouldDeadlock)?;
        let code = self.withdraw_with_code(local, token, plain)?;
        let runs = self.close_listener(code);
        // Not later, so whatever it says, the completion is ours.
        let _ = code.rundown.close(false, runs);
        let bell = self.bells.of(token);
        if !active(Mutant::DepartureWakesNobody) {
            bell.ring();
        }
        loop {
            let heard = bell.listen();
            if code.rundown.is_over(own.into()) {
                break;
            }
            let _noted = self.awaited.note(token);
            bell.wait(heard);
        }
        drop(wait);
        let table = self.table_of(local, plain);
        let place = self.slab.place(token);
        self.give_up(local, table, self.sight(table, plain.id), place, plain);
        if own {
            code.gone.store(true, Ordering::Relaxed);
            self.count_in(local, code);
            code.rundown.leave_to_own_frame();
        } else {
            self.slab.retire(local, place, plain.deferred(), 0);
            self.process_own(local);
        }
        Ok(())
    }

    /// Unpublishes an entity and tells those who listen. One of several callers wins, and learns how many
    /// references there are.
    #[inline(always)]
    fn withdraw(
        &self,
        local: &Local<Member>,
        table: &Table<C>,
        seen: &Seen<'_, EntityFixed, T>,
    ) -> Option<u32> {
        let (token, id) = (seen.token, seen.plain.id);
        // A hint, so that whoever has been told of the entity finds it described throughout.
        let told = table.audience.hint();
        let references = self.slab.unpublish(seen, told)?;
        probes::deregister(self.slab.seal(token), seen.plain.info());
        let late = !active(Mutant::WithdrawWithoutLook);
        if active(Mutant::GivenUpBeforeTold) {
            let sight = table.index.sight(id);
            table.index.remove(&self.slab, local, sight, self.slab.node(seen.place));
        }
        if told || late && table.audience.someone_listens_now() {
            if !told {
                self.slab.hold(token);
            }
            let note = Note { kind: courier::DEREGISTERED, token, id, holds: true };
            table.audience.append(note, &mut |held| self.slab.let_go(local, held));
        }
        Some(references)
    }

    /// As [`withdraw`](Registry::withdraw). What it returns stays until the caller gives the slot up.
    fn withdraw_with_code(
        &self,
        local: &Local<Member>,
        token: Token,
        plain: EntityPlain,
    ) -> Result<&Code, DeregisterError> {
        let table = self.table_of(local, plain);
        let seen = self.slab.peek(token.sought()).ok_or(DeregisterError::InvalidHandle)?;
        let references =
            self.withdraw(local, table, &seen).ok_or(DeregisterError::InvalidHandle)?;
        if references != 0 {
            self.slab.note_kept(local);
        }
        let code = self.slab.attachments.get(token.slot()).expect("the plain information says so");
        if std::mem::take(&mut *code::locked(&code.blocked)) {
            self.blocks.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(code)
    }

    /// Whether the listener runs just now, and its runner will end its part.
    fn close_listener(&self, code: &Code) -> bool {
        let Some(listener) = &code.listener else { return false };
        let runs = listener.close();
        if code.take_joining().is_some() {
            // Its events were never begun.
            listener.audience().undo_enlist();
            return false;
        }
        listener.audience().leave();
        runs
    }

    /// Counts a departure that ends later.
    fn count_in(&self, local: &Local<Member>, code: &Code) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        code.phase.store(local.shared().count_in(), Ordering::Relaxed);
    }

    /// Gives up the id and the credit.
    #[inline(always)]
    fn give_up(
        &self,
        local: &Local<Member>,
        table: &Table<C>,
        sight: Option<Sight<'_>>,
        place: Place<'_, EntityFixed, T>,
        plain: EntityPlain,
    ) {
        if let Some(sight) = sight
            && !active(Mutant::GivenUpBeforeTold)
        {
            table.index.remove(&self.slab, local, sight, self.slab.node(place));
        }
        self.credits.give(local, C::CREDIT_BATCH, plain.charged());
        bump(&local.record().state.deregistered, 1);
    }

    #[inline(always)]
    fn sight<'a>(&self, table: &'a Table<C>, id: u64) -> Option<Sight<'a>> {
        C::UNIQUE_IDS.then(|| table.index.sight(id))
    }

    fn table_of(&self, local: &Local<Member>, plain: EntityPlain) -> &Table<C> {
        let table = self.tables.find_again(plain.packed_table(), &local.record().state.table);
        table.expect("tables are never removed")
    }

    /// Does what the end of a part of an entity asks for.
    pub(crate) fn after(&self, local: &Local<Member>, token: Token, ended: Ended) {
        match ended {
            Ended::Quiet => {}
            Ended::Wake if active(Mutant::EndWakesNobody) => {}
            Ended::Wake => self.bells.of(token).ring(),
            Ended::Complete => self.complete(local, token),
        }
    }

    /// The last frame of an entity that departed without waiting has ended.
    fn complete(&self, local: &Local<Member>, token: Token) {
        let place = self.slab.place(token);
        let plain = place.slot().plain();
        let code = self.slab.attachments.get(token.slot()).expect("not given up yet");
        if !code.gone.load(Ordering::Relaxed) || active(Mutant::GoneForgotten) {
            let table = self.table_of(local, plain);
            self.give_up(local, table, self.sight(table, plain.id), place, plain);
        }
        let phase = code.phase.load(Ordering::Relaxed);
        let carrier = code.take_carrier().expect("completed once");
        self.slab.retire_alone(local, carrier, token.slot(), plain.deferred(), phase);
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
