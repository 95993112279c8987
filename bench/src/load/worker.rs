//! One thread's part of a load: a port, and the exports that it loads through
//! it. No clock of its own.

use std::io;

use crate::aoe::{self, Response};
use crate::port::Port;

use super::engine::Engine;
use super::plan::Plan;
use super::schedule::{NEVER, Schedule};
use super::tally::Tally;

/// A port and what goes through it.
pub struct Worker {
    /// The port.
    pub port: Box<dyn Port>,
    /// The exports; no two have the same address.
    pub engines: Vec<Engine>,
    /// What has been counted since it was taken away last.
    pub tally: Tally,
}

impl Worker {
    /// Sends what is due; returns how many requests.
    pub fn issue(&mut self, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        for engine in &mut self.engines {
            sent += engine.issue(self.port.as_mut(), now_ns)?;
        }
        self.port.flush()?;
        Ok(sent)
    }

    /// Takes in what has arrived; returns how many frames.
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

    /// Sends again what is overdue, and gives up what has been for too long.
    pub fn expire(&mut self, now_ns: u64) -> io::Result<()> {
        for engine in &mut self.engines {
            engine.expire(self.port.as_mut(), &mut self.tally, now_ns)?;
        }
        self.port.flush()
    }

    /// Whether everything has been asked and answered.
    pub fn finished(&self, now_ns: u64) -> bool {
        self.engines.iter().all(|engine| engine.finished(now_ns))
    }

    /// When to wake up to send, if not for a reply.
    pub fn wakes_ns(&self, now_ns: u64) -> Option<u64> {
        self.engines.iter().filter_map(|engine| engine.wakes_ns(now_ns)).min()
    }

    /// Nothing becomes due any more.
    pub fn end(&mut self, now_ns: u64) {
        self.engines.iter_mut().for_each(|engine| engine.end(now_ns));
    }

    /// Counts what is due and has not been sent as never answered.
    pub fn abandon(&mut self, now_ns: u64) {
        for engine in &mut self.engines {
            engine.abandon(&mut self.tally, now_ns);
        }
    }

    /// Goes on to read back all that is checked; none of it counts.
    pub fn sweep(&mut self) {
        for engine in self.engines.iter_mut().filter(|engine| engine.verifier.is_some()) {
            engine.plan = Plan::sweep(engine.plan.area());
            engine.schedule = Schedule::closed().between(NEVER, NEVER);
        }
    }
}
