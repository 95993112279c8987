//! Stores whose operations end when they are submitted, and never wait.

use super::completion_queue::CompletionQueue;
use super::{Completion, Full, Geometry, Op, OpResult, Store};

/// An engine that executes an operation in one call.
pub trait Execute: Send {
    /// The size of the store.
    fn geometry(&self) -> Geometry;

    /// Executes `op`.
    ///
    /// # Errors
    ///
    /// The result of the operation, as in its completion.
    fn execute(&mut self, op: &mut Op) -> OpResult;
}

/// The store of such an engine.
#[derive(Debug)]
pub struct Immediate<E> {
    engine: E,
    completed: CompletionQueue,
}

impl<E> Immediate<E> {
    pub(super) fn of(engine: E) -> Self {
        Self { engine, completed: CompletionQueue::new() }
    }
}

impl<E: Execute> Store for Immediate<E> {
    fn geometry(&self) -> Geometry {
        self.engine.geometry()
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let mut op = self.completed.admit(op)?;
        let result = self.engine.execute(&mut op);
        self.completed.push(op.token, result);
        Ok(())
    }

    fn try_inline(&mut self, op: &mut Op) -> Option<OpResult> {
        Some(self.engine.execute(op))
    }

    fn complete(&mut self) -> Option<Completion> {
        self.completed.pop()
    }
}
