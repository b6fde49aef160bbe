//! Whether a history is linearizable: Wing and Gong's search with the visited configurations
//! remembered, in the order of the returns (Lowe's "just in time").
//!
//! Histories are checked id by id. That is sound because linearizability is local: every operation
//! concerns one id, that of its handle's entity, and the registry is one object per id.
//!
//! *Specification.* An id is free, held by a live entity, or still taken by one that is leaving. A
//! deregistration that wins happens at two moments, both during the call: first the entity is found no
//! more, then the id is free (which is what [`Registry::deregister`](rtm_core::Registry::deregister)
//! promises: both when it returns). Everything else happens at one moment. Beside that, each entity has
//! a count of references, which outlives it.
//!
//! A *configuration* is a state and which of the running operations have happened. An operation that
//! changes nothing happens as soon as it can: nothing is lost by that.

use std::collections::HashMap;
use std::fmt::Write;

/// The bits of a handle.
pub(crate) type Name = u64;

/// What an operation was and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Registered(Name),
    /// Not registered: the id is taken.
    Taken,
    /// The first moment of a deregistration that won.
    Unpublished(Name),
    /// The second.
    Freed(Name),
    NotDeregistered(Name),
    Referenced(Name),
    NotReferenced(Name),
    Released(Name),
    NotReleased(Name),
    Counted(Name, u32),
    /// Looked up, or shown by an enumeration.
    Found(Name),
    NotFound(Name),
    /// The plain information was copied.
    Described(Name),
    NotDescribed(Name),
    /// A look-up led to an entity that is another than the handle's.
    Misled(Name),
}

/// One operation (of the two moments of a deregistration, one) with the times of call and return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) thread: u32,
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) did: Did,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Nobody,
    Live(Name),
    Leaving(Name),
}

/// What the specification knows of one id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    holder: Holder,
    /// Entities with references, sorted.
    references: Vec<(Name, u32)>,
}

impl State {
    fn count(&self, of: Name) -> u32 {
        self.references.iter().find(|(name, _)| *name == of).map_or(0, |(_, count)| *count)
    }

    fn is_live(&self, name: Name) -> bool {
        self.holder == Holder::Live(name)
    }

    fn resolves(&self, name: Name) -> bool {
        self.is_live(name) || self.count(name) > 0
    }

    /// Whether an operation that changes nothing can happen now; `None` if it is none of those.
    fn allows(&self, did: Did) -> Option<bool> {
        Some(match did {
            Did::Registered(_) | Did::Unpublished(_) | Did::Freed(_) => return None,
            Did::Referenced(_) | Did::Released(_) => return None,
            Did::Taken => self.holder != Holder::Nobody,
            Did::NotDeregistered(name) | Did::NotFound(name) => !self.is_live(name),
            Did::Found(name) => self.is_live(name),
            Did::NotReferenced(name) | Did::NotDescribed(name) => !self.resolves(name),
            Did::Described(name) => self.resolves(name),
            Did::NotReleased(name) => self.count(name) == 0,
            Did::Counted(name, count) => self.count(name) == count,
            Did::Misled(_) => false,
        })
    }

    /// The state after an operation that changes it, if it can happen now.
    fn after(&self, did: Did) -> Option<State> {
        let holder = match (did, self.holder) {
            (Did::Registered(name), Holder::Nobody) => Holder::Live(name),
            (Did::Unpublished(name), Holder::Live(held)) if held == name => Holder::Leaving(name),
            (Did::Freed(name), Holder::Leaving(held)) if held == name => Holder::Nobody,
            (Did::Referenced(name), holder) if self.resolves(name) => holder,
            (Did::Released(name), holder) if self.count(name) > 0 => holder,
            _ => return None,
        };
        let mut references = self.references.clone();
        match did {
            Did::Referenced(name) => match references.binary_search_by_key(&name, |one| one.0) {
                Ok(at) => references[at].1 += 1,
                Err(at) => references.insert(at, (name, 1)),
            },
            Did::Released(name) => {
                let at = references.iter().position(|one| one.0 == name)?;
                references[at].1 -= 1;
                if references[at].1 == 0 {
                    references.remove(at);
                }
            }
            _ => {}
        }
        Some(State { holder, references })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// Bits of the running operations that have happened.
    happened: u64,
}

/// Operations that have been called and have not returned, by bit.
#[derive(Default)]
struct Running {
    bits: u64,
    dids: Vec<Did>,
}

impl Running {
    fn start(&mut self, did: Did) -> usize {
        let bit = (!self.bits).trailing_zeros() as usize;
        assert!(bit < 64, "too many operations at once for this checker");
        self.dids.resize(self.dids.len().max(bit + 1), Did::Taken);
        self.dids[bit] = did;
        self.bits |= 1 << bit;
        bit
    }

    fn each(&self) -> impl Iterator<Item = (u64, Did)> {
        self.dids.iter().enumerate().map(|(bit, did)| (1 << bit, *did)).filter(|one| {
            // Returned operations leave their place behind.
            self.bits & one.0 != 0
        })
    }

    /// Lets everything happen that can and changes nothing.
    fn settle(&self, configuration: &mut Configuration) {
        for (bit, did) in self.each() {
            if configuration.state.allows(did) == Some(true) {
                configuration.happened |= bit;
            }
        }
    }
}

/// Where the search came to its end: no configuration explains the return of this operation.
struct Dead {
    operation: usize,
    /// How many events came before the last moment without a running operation.
    quiet: usize,
    /// The states possible there.
    states: Vec<State>,
}

fn events(operations: &[Operation]) -> Vec<(u64, usize, bool)> {
    let mut events = Vec::with_capacity(2 * operations.len());
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.called, index, false));
        events.push((operation.returned, index, true));
    }
    events.sort_unstable();
    events
}

fn search(operations: &[Operation], from: &[State]) -> Result<(), Dead> {
    let begin = |state: &State| Configuration { state: state.clone(), happened: 0 };
    let mut configurations: Vec<_> = from.iter().map(begin).collect();
    let mut running = Running::default();
    let mut bits = vec![0; operations.len()];
    let (mut quiet, mut states) = (0, from.to_vec());
    for (at, &(_, index, returns)) in events(operations).iter().enumerate() {
        if running.bits == 0 {
            quiet = at;
            states.clear();
            states.extend(configurations.iter().map(|one| one.state.clone()));
        }
        if !returns {
            bits[index] = running.start(operations[index].did);
            configurations.iter_mut().for_each(|one| running.settle(one));
            continue;
        }
        let bit = 1 << bits[index];
        if configurations.iter().any(|one| one.happened & bit == 0) {
            configurations = let_happen(configurations, &running, bit);
        }
        if configurations.is_empty() {
            return Err(Dead { operation: index, quiet, states });
        }
        running.bits &= !bit;
        configurations.iter_mut().for_each(|one| one.happened &= !bit);
    }
    Ok(())
}

/// All configurations in which the operation of this bit has happened, in one order or another.
fn let_happen(mut open: Vec<Configuration>, running: &Running, bit: u64) -> Vec<Configuration> {
    let mut seen = open.clone();
    let mut done: Vec<Configuration> = Vec::new();
    while let Some(configuration) = open.pop() {
        if configuration.happened & bit != 0 {
            if !done.contains(&configuration) {
                done.push(configuration);
            }
            continue;
        }
        for (other, did) in running.each() {
            if configuration.happened & other != 0 {
                continue;
            }
            let Some(state) = configuration.state.after(did) else { continue };
            let happened = configuration.happened | other;
            let mut next = Configuration { state, happened };
            running.settle(&mut next);
            if !seen.contains(&next) {
                seen.push(next.clone());
                open.push(next);
            }
        }
    }
    done
}

/// Checks the history of one id, which is free and without references at its beginning. The error is
/// an excerpt to read.
pub(crate) fn check(id: u64, operations: &[Operation]) -> Result<(), String> {
    let free = State { holder: Holder::Nobody, references: Vec::new() };
    search(operations, &[free]).map_err(|dead| excerpt(id, operations, &dead))
}

/// The operations since nothing ran, less those that change nothing and are not needed to see it.
fn excerpt(id: u64, operations: &[Operation], dead: &Dead) -> String {
    let last = operations[dead.operation];
    let all = events(operations);
    let mut rest: Vec<_> = all[dead.quiet..]
        .iter()
        .filter(|(time, _, returns)| !returns && *time < last.returned)
        .map(|(_, index, _)| operations[*index])
        .collect();
    let is_last = |one: &Operation| (one.called, one.did) == (last.called, last.did);
    let mut at = 0;
    while at < rest.len() {
        let mut fewer = rest.clone();
        let gone = fewer.remove(at);
        let free = State { holder: Holder::Nobody, references: Vec::new() };
        // A history that can be explained can be explained without this; so what cannot without it ...
        if free.allows(gone.did).is_some()
            && !is_last(&gone)
            && search(&fewer, &dead.states).is_err()
        {
            rest = fewer;
        } else {
            at += 1;
        }
    }
    let mut text = Text::default();
    let _ = writeln!(text.out, "not linearizable: id {id} (with the times of call and return)");
    let began = rest.iter().map(|one| one.called).min().unwrap_or(0);
    let mut earlier: Vec<_> = operations.iter().filter(|one| one.called < began).collect();
    earlier.sort_unstable_by_key(|one| one.called);
    for name in rest.iter().filter_map(|one| subject(one.did)) {
        if !text.names.contains_key(&name) {
            text.earlier(name, &earlier);
        }
    }
    for state in &dead.states {
        text.state(state);
    }
    rest.iter().for_each(|one| text.operation(one));
    let _ = writeln!(text.out, "no order of these explains what returned at {}", last.returned);
    text.out
}

fn subject(did: Did) -> Option<Name> {
    match did {
        Did::Taken => None,
        Did::Registered(name) | Did::Unpublished(name) | Did::Freed(name) => Some(name),
        Did::NotDeregistered(name) | Did::Referenced(name) | Did::NotReferenced(name) => Some(name),
        Did::Released(name) | Did::NotReleased(name) | Did::Counted(name, _) => Some(name),
        Did::Found(name) | Did::NotFound(name) | Did::Misled(name) => Some(name),
        Did::Described(name) | Did::NotDescribed(name) => Some(name),
    }
}

/// Writes handles as small numbers.
#[derive(Default)]
struct Text {
    out: String,
    names: HashMap<Name, usize>,
}

impl Text {
    fn name(&mut self, name: Name) -> String {
        let next = self.names.len() + 1;
        format!("h{}", self.names.entry(name).or_insert(next))
    }

    /// How an entity came to be what it is: the operations that changed it, the last few.
    fn earlier(&mut self, name: Name, operations: &[&Operation]) {
        use Did::{Referenced, Registered, Released, Unpublished};
        let decisive =
            |did| matches!(did, Registered(_) | Unpublished(_) | Referenced(_) | Released(_));
        let concerns = |one: &&&Operation| decisive(one.did) && subject(one.did) == Some(name);
        let all: Vec<_> = operations.iter().filter(concerns).collect();
        let short = self.name(name);
        let left_out = all.len().saturating_sub(6);
        if left_out != 0 {
            let _ = writeln!(self.out, "  ({left_out} more on {short})");
        }
        all[left_out..].iter().for_each(|one| self.operation(one));
    }

    /// A state, without the references of entities that play no part.
    fn state(&mut self, state: &State) {
        let holder = match state.holder {
            Holder::Nobody => "is free".to_owned(),
            Holder::Live(name) => format!("is held by {}", self.name(name)),
            Holder::Leaving(name) => format!("is still taken by {}", self.name(name)),
        };
        let mut counts = String::new();
        for (name, count) in &state.references {
            if let Some(short) = self.names.get(name) {
                let _ = write!(counts, ", references to h{short}: {count}");
            }
        }
        let _ = writeln!(self.out, "  here nothing runs; the id {holder}{counts}");
    }

    fn operation(&mut self, operation: &Operation) {
        let Operation { thread, called, returned, did } = *operation;
        let name = subject(did).map_or_else(String::new, |name| self.name(name));
        let what = match did {
            Did::Registered(_) => format!("register: {name}"),
            Did::Taken => "register: taken".to_owned(),
            Did::Unpublished(_) => format!("deregister {name}: done (it is found no more)"),
            Did::Freed(_) => format!("deregister {name}: done (the id is free)"),
            Did::NotDeregistered(_) => format!("deregister {name}: invalid"),
            Did::Referenced(_) => format!("reference {name}: done"),
            Did::NotReferenced(_) => format!("reference {name}: invalid"),
            Did::Released(_) => format!("release {name}: done"),
            Did::NotReleased(_) => format!("release {name}: invalid"),
            Did::Counted(_, count) => format!("count references of {name}: {count}"),
            Did::Found(_) => format!("look up {name}: found"),
            Did::NotFound(_) => format!("look up {name}: invalid"),
            Did::Described(_) => format!("describe {name}: done"),
            Did::NotDescribed(_) => format!("describe {name}: invalid"),
            Did::Misled(_) => format!("look up {name}: another entity"),
        };
        let _ = writeln!(self.out, "  {called:>9} {returned:>9}  thread {thread}  {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(operations: &[(u64, u64, Did)]) -> Vec<Operation> {
        let operation = |&(called, returned, did)| Operation { thread: 0, called, returned, did };
        operations.iter().map(operation).collect()
    }

    fn holds(operations: &[(u64, u64, Did)]) -> bool {
        check(1, &history(operations)).is_ok()
    }

    #[test]
    fn sequential_histories() {
        use Did::*;
        let life = [
            (1, 2, Registered(7)),
            (3, 4, Taken),
            (5, 6, Referenced(7)),
            (7, 8, Unpublished(7)),
            (7, 8, Freed(7)),
            (9, 10, Described(7)),
            (11, 12, Counted(7, 1)),
            (13, 14, Released(7)),
            (15, 16, NotDescribed(7)),
            (17, 18, Registered(8)),
        ];
        assert!(holds(&life));
        // Every other outcome of a call that changes nothing is wrong, and so is leaving a change out.
        for (at, wrong) in [
            (1, NotFound(7)),
            (1, Misled(7)),
            (5, Found(7)),
            (5, NotDescribed(7)),
            (6, Counted(7, 0)),
            (6, Taken),
            (8, Described(7)),
            (8, Released(7)),
            (8, Taken),
        ] {
            let mut history = life;
            history[at].2 = wrong;
            assert!(!holds(&history), "{wrong:?} in place of {:?}", life[at].2);
        }
        for at in [0, 2, 3, 4, 7] {
            let mut history = life.to_vec();
            history.remove(at);
            assert!(!holds(&history), "without {:?}", life[at].2);
        }
    }

    #[test]
    fn concurrent_histories() {
        use Did::*;
        let with = |rest: &[(u64, u64, Did)]| {
            holds(
                &[&[(1, 2, Registered(7)), (10, 20, Unpublished(7)), (10, 20, Freed(7))], rest]
                    .concat(),
            )
        };
        // Not found any more, but not free yet; the other way round never.
        assert!(with(&[(11, 12, NotFound(7)), (13, 14, Taken), (15, 16, Registered(8))]));
        assert!(!with(&[(11, 12, Registered(8)), (13, 14, Found(7))]));
        // Two readers that overlap agree on the order.
        assert!(with(&[(11, 14, Found(7)), (12, 13, NotFound(7))]));
        assert!(!with(&[(11, 12, NotFound(7)), (13, 14, Found(7))]));
        // One of two deregistrations wins.
        assert!(with(&[(11, 12, NotDeregistered(7))]));
        assert!(!with(&[(11, 12, Unpublished(7))]));
        assert!(!with(&[(3, 4, NotDeregistered(7))]));
    }

    #[test]
    fn an_excerpt_is_short() {
        let mut history = history(&[
            (1, 2, Did::Registered(7)),
            (3, 4, Did::Unpublished(7)),
            (3, 4, Did::Freed(7)),
            (1000, 1010, Did::Found(7)),
        ]);
        for n in 0..50 {
            let found = Did::NotFound(7);
            history.push(Operation {
                thread: 1,
                called: 10 + 2 * n,
                returned: 11 + 2 * n,
                did: found,
            });
            history.push(Operation { thread: 2, called: 1001, returned: 1020 + n, did: found });
        }
        let text = check(1, &history).unwrap_err();
        assert!(text.contains("look up h1: found"), "{text}");
        assert!(text.lines().count() < 10, "{text}");
    }
}
