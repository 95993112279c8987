//! Completions on their way back: the queue of a synchronous engine.

use std::collections::VecDeque;

use super::{Completion, Fault, Full, Op};

/// Completions that a synchronous engine holds before it refuses operations:
/// far more than a worker submits between two harvests.
pub const QUEUE_MAX: usize = 256;

/// A bounded queue, allocated once.
#[derive(Debug)]
pub(super) struct Completed(VecDeque<Completion>);

impl Completed {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(QUEUE_MAX))
    }

    /// Gives `op` to be executed, or back as [`Full`] if its completion would
    /// find no room.
    pub(super) fn admit(&self, op: Op) -> Result<Op, Full> {
        if self.0.len() < QUEUE_MAX { Ok(op) } else { Err(Full(op)) }
    }

    /// Queues a completion; there is room, [`Completed::admit`] has said so.
    pub(super) fn push(&mut self, token: u32, result: Result<(), Fault>) {
        self.0.push_back(Completion { token, result });
    }

    pub(super) fn pop(&mut self) -> Option<Completion> {
        self.0.pop_front()
    }
}
