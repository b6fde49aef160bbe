//! Any number as a handle, on a registry with known contents: only what was given out and is registered
//! resolves, and by itself.
//!
//! Small configurations, so that slots are used again and their generations run out; with one of them a number that
//! is made up has a chance, which it must not get. A handle is a bijection of kind, generation and slot, so
//! that what resolves is certain, whatever the key of the registry.

use rtm_core::{
    AddressFamily, BlockError, ClientCode, Config, DeregisterError, DropBy, EntityInfo, Handle,
    InvalidHandle, InvokeError, Participant, ReferenceError, Refusal, Registry, Settings, TableKey,
};
use std::collections::BTreeMap;

/// A number made up of a few bits can hit.
struct Tiny;

impl Config for Tiny {
    const GENERATION_BITS: u32 = 4;
    const CHUNK_BITS: u32 = 1;
    const SLOT_BITS: u32 = 6;
    const MAGAZINE: u32 = 2;
    const INDEX_LEVEL: u32 = 0;
    const INDEX_SAMPLE: u32 = 0;
    const CREDIT_BATCH: i64 = 2;
}

/// As shipped, but for the address space.
struct Wide;

impl Config for Wide {
    const GENERATION_BITS: u32 = 32;
    const CHUNK_BITS: u32 = 9;
    const SLOT_BITS: u32 = 16;
    const MAGAZINE: u32 = 256;
    const INDEX_LEVEL: u32 = 6;
    const INDEX_SAMPLE: u32 = 5;
    const CREDIT_BATCH: i64 = 64;
}

/// Runs a program.
pub fn run(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    match bytes.next() {
        Some(first) if first & 1 == 0 => run_on::<Tiny>(bytes),
        Some(_) => run_on::<Wide>(bytes),
        None => {}
    }
}

fn run_on<C: Config>(mut bytes: impl Iterator<Item = u8>) {
    let registry = Registry::<u64, C>::with_config(Settings::default()).expect("memory");
    let participant = registry.join().expect("memory");
    let mut test = Test { participant, fates: BTreeMap::new(), given: Vec::new(), next_id: 1 };
    while let Some(step) = bytes.next() {
        match step % 16 {
            0..=3 => test.register(step & 0x10 != 0),
            4..=5 => test.with(&mut bytes, Test::deregister),
            6 => test.with(&mut bytes, Test::reference),
            7 => test.with(&mut bytes, Test::release),
            8 => test.with(&mut bytes, Test::invoke),
            9 => test.with(&mut bytes, Test::block),
            10 => test.flush(),
            _ => test.with(&mut bytes, Test::look),
        }
    }
    let given = test.given.clone();
    given.into_iter().for_each(|handle| test.look(handle));
}

struct Fate {
    info: EntityInfo,
    live: bool,
    references: u32,
    methods: bool,
}

struct Test<'r, C: Config> {
    participant: Participant<'r, u64, C>,
    fates: BTreeMap<u64, Fate>,
    given: Vec<u64>,
    next_id: u64,
}

impl<C: Config> Test<'_, C> {
    /// Some number.
    fn with(&mut self, bytes: &mut impl Iterator<Item = u8>, use_it: fn(&mut Self, u64)) {
        let mut byte = || bytes.next().unwrap_or(0);
        let how = byte();
        let list = &self.given;
        let given = |byte: u8| match list.len() {
            0 => 0,
            number => list[number - 1 - usize::from(byte) % number],
        };
        let number = match how % 16 {
            0..=4 => given(byte()),
            // Another slot, another generation, another kind.
            5 => given(byte()) ^ 1 << (how / 16),
            6 => given(byte()) ^ 1 << (32 + how / 16),
            7 => given(byte()) ^ u64::from(how / 16) << 28,
            8 => given(byte()) & 0xffff_ffff | given(byte()) & !0xffff_ffff,
            9 => given(byte()) ^ given(byte()) ^ given(byte()),
            10 => given(byte()).wrapping_add(u64::from(how / 16)),
            11 => given(byte()) ^ 1 << (byte() % 64),
            12 => given(byte()).rotate_left(byte().into()),
            13 => given(byte()) ^ u64::from_le_bytes([byte(), byte(), 0, 0, byte(), byte(), 0, 0]),
            14 => u64::from_le_bytes(std::array::from_fn(|_| byte())),
            _ => 0_u64.wrapping_sub(u64::from(how / 16)),
        };
        use_it(self, number);
    }

    fn flush(&mut self) {
        let mut flushing = self.participant.begin_flush().expect("outside a section");
        while flushing.next_departed().is_some() {}
    }

    fn register(&mut self, methods: bool) {
        let family = if self.next_id & 1 == 0 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let info = EntityInfo { table: TableKey { instance: 0, family }, id: self.next_id };
        let code = ClientCode { methods, events: None };
        let registered = self.participant.register_client(info, info.id, DropBy::Writers, code);
        let handle = match registered {
            Ok(handle) => handle.to_bits(),
            Err(error) => {
                assert!(
                    error.refusal == Refusal::NoSlot && C::SLOT_BITS < 8,
                    "DIVERGENCE: {error:?}"
                );
                return;
            }
        };
        let fate = Fate { info, live: true, references: 0, methods };
        let before = self.fates.insert(handle, fate);
        assert!(before.is_none(), "DIVERGENCE: {handle:#x} names two entities");
        self.given.push(handle);
        self.next_id += 1;
    }

    /// What was given out and is registered.
    fn live(&self, number: u64) -> Option<&Fate> {
        self.fates.get(&number).filter(|fate| fate.live)
    }

    /// What is described.
    fn described(&self, number: u64) -> Option<&Fate> {
        self.fates.get(&number).filter(|fate| fate.live || fate.references != 0)
    }

    fn look(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else {
            assert_eq!(number, 0);
            return;
        };
        assert_eq!(handle.to_bits(), number);
        let registry = self.participant.registry();
        let (live, described) = (self.live(number), self.described(number));
        let known = |fate: Option<&Fate>| fate.map(|fate| fate.info).ok_or(InvalidHandle);
        assert_eq!(registry.info(handle), known(described), "DIVERGENCE: info of {number:#x}");
        let found = registry.registered_info(handle);
        assert_eq!(found, known(live), "DIVERGENCE: registered info of {number:#x}");
        let references = described.map_or(0, |fate| fate.references);
        assert_eq!(registry.references(handle), references, "DIVERGENCE: references");
        let found = self.participant.look_up(handle);
        let found = found.map(|found| (found.entity().info(), *found, found.entity().handle()));
        let expected = live.map(|fate| (fate.info, fate.info.id, handle)).ok_or(InvalidHandle);
        assert_eq!(found, expected, "DIVERGENCE: look-up of {number:#x}");
        let guard = self.participant.enter();
        let found = guard.get(handle).map(|entity| (entity.info(), *entity, entity.handle()));
        assert_eq!(found, expected, "DIVERGENCE: get of {number:#x}");
        guard.get_each(&[handle, handle], |_, found| {
            let found = found.map(|entity| (entity.info(), *entity, entity.handle()));
            assert_eq!(found, expected, "DIVERGENCE: get_each of {number:#x}");
        });
    }

    fn deregister(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else { return };
        let live = self.live(number).is_some();
        let expected = if live { Ok(()) } else { Err(DeregisterError::InvalidHandle) };
        assert_eq!(self.participant.deregister(handle), expected, "DIVERGENCE: {number:#x} ends");
        if let Some(fate) = self.fates.get_mut(&number) {
            fate.live = false;
        }
        self.look(number);
    }

    fn reference(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else { return };
        let described = self.described(number).is_some();
        let expected = if described { Ok(()) } else { Err(ReferenceError::InvalidHandle) };
        assert_eq!(
            self.participant.reference(handle),
            expected,
            "DIVERGENCE: reference {number:#x}"
        );
        if described && let Some(fate) = self.fates.get_mut(&number) {
            fate.references += 1;
        }
        self.look(number);
    }

    fn release(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else { return };
        let held = self.fates.get_mut(&number).filter(|fate| fate.references != 0);
        let expected = match held {
            Some(fate) => {
                fate.references -= 1;
                Ok(())
            }
            None => Err(InvalidHandle),
        };
        assert_eq!(self.participant.release(handle), expected, "DIVERGENCE: release {number:#x}");
        self.look(number);
    }

    fn invoke(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else { return };
        let found = self.participant.begin_invoke(handle).map(|inside| (*inside, inside.handle()));
        let expected = match self.live(number) {
            None => Err(InvokeError::InvalidHandle),
            Some(fate) if !fate.methods => Err(InvokeError::NoMethods),
            Some(fate) => Ok((fate.info.id, handle)),
        };
        assert_eq!(found, expected, "DIVERGENCE: invocation of {number:#x}");
    }

    fn block(&mut self, number: u64) {
        let Some(handle) = Handle::from_bits(number) else { return };
        let expected = self.live(number).map(|_| ()).ok_or(BlockError::InvalidHandle);
        assert_eq!(
            self.participant.block_methods(handle),
            expected,
            "DIVERGENCE: block {number:#x}"
        );
        assert_eq!(self.participant.resume_methods(handle), expected, "DIVERGENCE: resume");
    }
}
