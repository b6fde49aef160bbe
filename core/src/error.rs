//! What can go wrong, as values.

use crate::alloc::OutOfMemory;
use std::error::Error;
use std::fmt;

/// The handle names no object that this call accepts: never issued, stale, forged, of another kind
/// or of another registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHandle;

/// Why a registration was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The id is registered in this instance and family (or just being registered or deregistered).
    AlreadyExists,
    /// [`Limits::entities`](crate::Limits::entities) are registered.
    EntityLimit,
    /// [`Limits::instances`](crate::Limits::instances) exist already.
    InstanceLimit,
    /// More than [`Limits::backlog`](crate::Limits::backlog) entities wait for their grace period:
    /// a reader stays inside for too long.
    Backlog,
    /// Every slot is in use or used up (2^28).
    NoSlot,
    /// Memory could not be had.
    OutOfMemory,
}

/// A refused registration gives the payload back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RegisterError<T> {
    /// Why.
    pub refusal: Refusal,
    /// What would have been attached to the entity.
    pub payload: T,
}

/// Why a reference was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// See [`InvalidHandle`].
    InvalidHandle,
    /// The entity has [`Limits::references`](crate::Limits::references) references.
    Limit,
}

/// Why a deregistration was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeregisterError {
    /// See [`InvalidHandle`].
    InvalidHandle,
    /// The entity has client code, and the caller could wait for itself: it is inside a read section,
    /// inside a method of the entity, inside an event that others came or went, or in a cycle of
    /// threads that wait for each other's client code.
    WouldDeadlock,
}

/// Why no method was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvokeError {
    /// See [`InvalidHandle`]; also if the callee deregisters while the invoker waits.
    InvalidHandle,
    /// The callee was registered without methods.
    NoMethods,
    /// The callee's methods are blocked, and the caller could wait for itself: it blocked them, is
    /// inside a read section, or in a cycle of threads that wait for each other.
    WouldDeadlock,
    /// Memory could not be had.
    OutOfMemory,
}

/// Why methods were not blocked or resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// See [`InvalidHandle`]; also if the entity deregisters while the caller waits.
    InvalidHandle,
    /// The caller could wait for itself: it is inside a method of the entity, inside a read section, or
    /// in a cycle of threads that wait for each other.
    WouldDeadlock,
}

/// Why a wait was refused: it would never have ended, or could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The calling thread is inside a read section of this registry.
    InsideSection,
    /// The calling thread is inside the drop of a payload of this registry.
    InsideDrop,
    /// The calling thread is inside a method or an event of an entity of this registry.
    InsideClientCode,
    /// Memory could not be had.
    OutOfMemory,
}

const WOULD_DEADLOCK: &str = "this thread could come to wait for itself; call it from outside client \
                              code and read sections";

impl From<InvalidHandle> for DeregisterError {
    fn from(_: InvalidHandle) -> Self {
        DeregisterError::InvalidHandle
    }
}

impl From<InvalidHandle> for InvokeError {
    fn from(_: InvalidHandle) -> Self {
        InvokeError::InvalidHandle
    }
}

impl From<InvalidHandle> for BlockError {
    fn from(_: InvalidHandle) -> Self {
        BlockError::InvalidHandle
    }
}

impl fmt::Display for DeregisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeregisterError::InvalidHandle => InvalidHandle.fmt(f),
            DeregisterError::WouldDeadlock => f.write_str(WOULD_DEADLOCK),
        }
    }
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvokeError::InvalidHandle => InvalidHandle.fmt(f),
            InvokeError::NoMethods => f.write_str("the entity was registered without methods"),
            InvokeError::WouldDeadlock => f.write_str(WOULD_DEADLOCK),
            InvokeError::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockError::InvalidHandle => InvalidHandle.fmt(f),
            BlockError::WouldDeadlock => f.write_str(WOULD_DEADLOCK),
        }
    }
}

impl fmt::Display for InvalidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handle names no live entity of this registry")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::AlreadyExists => "the id is registered already; deregister it first",
            Refusal::EntityLimit => "the limit of entities is reached; raise Limits::entities",
            Refusal::InstanceLimit => "the limit of instances is reached; raise Limits::instances",
            Refusal::Backlog => {
                "too many departed entities wait for a reader that stays inside; let it leave or \
                 refresh its guard, or raise Limits::backlog"
            }
            Refusal::NoSlot => "every slot of the registry is in use",
            Refusal::OutOfMemory => "out of memory",
        })
    }
}

impl<T> fmt::Debug for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferenceError::InvalidHandle => InvalidHandle.fmt(f),
            ReferenceError::Limit => {
                f.write_str("the entity has as many references as Limits::references allows")
            }
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::InsideSection => "this thread is inside a read section; leave it first",
            WaitError::InsideDrop => "this thread is inside a payload's drop; wait elsewhere",
            WaitError::InsideClientCode => {
                "this thread is inside a method or event of an entity; wait elsewhere"
            }
            WaitError::OutOfMemory => "out of memory",
        })
    }
}

impl Error for InvalidHandle {}
impl Error for DeregisterError {}
impl Error for InvokeError {}
impl Error for BlockError {}
impl Error for Refusal {}
impl<T> Error for RegisterError<T> {}
impl Error for ReferenceError {}
impl Error for WaitError {}
