//! The completion queue of a synchronous engine.

use std::collections::VecDeque;

use super::{Completion, Full, Op, OpResult};

/// The most completions that a synchronous engine holds before it refuses operations: far more
/// than a worker submits between two harvests.
pub const QUEUE_MAX: usize = 256;

/// A bounded queue, allocated once, and the operations that will enter it together after a
/// sync.
#[derive(Debug)]
pub(super) struct CompletionQueue {
    queue: VecDeque<Completion>,
    /// Tokens of writes that are done but not stable yet.
    waiting: Vec<u32>,
}

impl CompletionQueue {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(QUEUE_MAX), waiting: Vec::with_capacity(QUEUE_MAX) }
    }

    /// Returns `op` for execution, or [`Full`] if there is no room for its completion.
    pub(super) fn admit(&self, op: Op) -> Result<Op, Full> {
        if self.queue.len() + self.waiting.len() < QUEUE_MAX { Ok(op) } else { Err(Full(op)) }
    }

    /// Queues a completion. [`CompletionQueue::admit`] has made sure that there is room.
    pub(super) fn push(&mut self, token: u32, result: OpResult) {
        self.queue.push_back(Completion { token, result });
    }

    /// Holds a completion back until [`CompletionQueue::settle`].
    pub(super) fn wait(&mut self, token: u32) {
        self.waiting.push(token);
    }

    /// Whether only held-back completions are left.
    pub(super) fn only_waits(&self) -> bool {
        self.queue.is_empty() && !self.waiting.is_empty()
    }

    /// Queues every held-back completion, all with this result.
    pub(super) fn settle(&mut self, result: OpResult) {
        let completions = self.waiting.drain(..).map(|token| Completion { token, result });
        self.queue.extend(completions);
    }

    pub(super) fn pop(&mut self) -> Option<Completion> {
        self.queue.pop_front()
    }
}
