//! In place of `reserve`, for a program with an allocator of its own.

use crate::boundary::Outcome;

pub(crate) fn begin() -> Outcome {
    Ok(())
}

#[inline(always)]
pub(crate) fn top_up() -> Outcome {
    Ok(())
}

pub(crate) fn finish() {}
