//! One thread's part of a load: a port, and the exports that it loads through it. It has
//! no clock of its own.

use std::io;

use crate::aoe::{self, Response};
use crate::port::Port;

use super::engine::Engine;
use super::plan::Plan;
use super::schedule::{NEVER, Schedule};
use super::tally::Tally;

/// A port with its exports.
pub struct Worker {
    /// The port.
    pub port: Box<dyn Port>,
    /// The exports; no two have the same address.
    pub engines: Vec<Engine>,
    /// The counts since they were last taken.
    pub tally: Tally,
}

impl Worker {
    /// Sends due requests; returns their number.
    pub fn issue(&mut self, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        for engine in &mut self.engines {
            sent += engine.issue(self.port.as_mut(), now_ns)?;
        }
        self.port.flush()?;
        Ok(sent)
    }

    /// Processes frames that have arrived; returns their number.
    pub fn collect(&mut self, now_ns: u64) -> io::Result<usize> {
        let Self { port, engines, tally } = self;
        port.receive(&mut |received| {
            let response = Response::parse(received.head()).ok();
            let engine = response
                .as_ref()
                .and_then(|response| engines.iter_mut().find(|e| e.address() == aoe::sender(response)));
            match (engine, &response) {
                (Some(engine), Some(response)) => engine.answer(response, received, tally, now_ns),
                _ => tally.trouble.unexpected += 1,
            }
        })
    }

    /// Resends overdue requests, and gives up those that are too old.
    pub fn expire(&mut self, now_ns: u64) -> io::Result<()> {
        for engine in &mut self.engines {
            engine.expire(self.port.as_mut(), &mut self.tally, now_ns)?;
        }
        self.port.flush()
    }

    /// Whether every request has been sent and answered.
    pub fn finished(&self, now_ns: u64) -> bool {
        self.engines.iter().all(|engine| engine.finished(now_ns))
    }

    /// When to wake up to send, apart from replies.
    pub fn wakes_ns(&self, now_ns: u64) -> Option<u64> {
        self.engines.iter().filter_map(|engine| engine.wakes_ns(now_ns)).min()
    }

    /// Stops further requests from becoming due.
    pub fn end(&mut self, now_ns: u64) {
        self.engines.iter_mut().for_each(|engine| engine.end(now_ns));
    }

    /// Counts requests that are due but not sent as unanswered.
    pub fn abandon(&mut self, now_ns: u64) {
        for engine in &mut self.engines {
            engine.abandon(&mut self.tally, now_ns);
        }
    }

    /// Starts reading back all checked sectors; these reads are not counted.
    pub fn sweep(&mut self) {
        for engine in self.engines.iter_mut().filter(|engine| engine.verifier.is_some()) {
            engine.plan = Plan::sweep(engine.plan.area());
            engine.schedule = Schedule::closed().between(NEVER, NEVER);
        }
    }
}
