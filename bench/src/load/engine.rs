//! The closed loop, one step at a time: fill the window, take replies in,
//! send again what is overdue. Time comes in as an argument.

use std::io;

use crate::aoe::{self, Ata, DATA_AT, Opcode, Response, Route, SECTOR};
use crate::port::{Port, Received};

use super::flight::{Flight, Flying, Match, Overdue, Request};
use super::plan::{Direction, Plan, Step};
use super::tally::Tally;
use super::verify::Verifier;

/// One export under load.
pub struct Engine {
    /// What is still to be asked.
    pub plan: Plan,
    /// What has been counted.
    pub tally: Tally,
    /// What sectors must hold, where that is checked.
    pub verifier: Option<Verifier>,
    route: Route,
    sectors: u8,
    flight: Flight,
    /// A step that could not be taken yet.
    held: Option<Step>,
    /// The data of the next write.
    data: Vec<u8>,
    scratch: Vec<u8>,
    overdue: Vec<Overdue>,
}

impl Engine {
    /// A loop over requests of `sectors` sectors each.
    pub fn new(route: Route, sectors: u8, plan: Plan, flight: Flight, tally: Tally) -> Self {
        Self {
            plan,
            tally,
            verifier: None,
            route,
            sectors,
            flight,
            held: None,
            // Anything but zeros, which a store might treat as a hole.
            data: vec![0xA5; usize::from(sectors) * SECTOR],
            scratch: Vec::new(),
            overdue: Vec::new(),
        }
    }

    /// Whether everything has been asked and answered.
    pub fn finished(&self) -> bool {
        self.plan.ended() && self.held.is_none() && self.flight.is_empty()
    }

    /// Asks for nothing more; what is in flight may still be answered.
    pub fn wind_down(&mut self) {
        self.plan.end();
        self.held = None;
    }

    /// Sends requests until the window, the port or the plan says no; returns
    /// how many.
    pub fn issue(&mut self, port: &mut dyn Port, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        while self.flight.has_room() {
            let Some(step) = self.held.take().or_else(|| self.plan.next()) else {
                break;
            };
            if !self.take(step, port, now_ns)? {
                self.held = Some(step);
                break;
            }
            sent += 1;
        }
        port.flush()?;
        Ok(sent)
    }

    /// Takes in what has arrived; returns how many frames.
    pub fn collect(&mut self, port: &mut dyn Port, now_ns: u64) -> io::Result<usize> {
        port.receive(&mut |received| self.answer(received, now_ns))
    }

    /// Sends again what is overdue, and gives up what has been for too long.
    pub fn expire(&mut self, port: &mut dyn Port, now_ns: u64) -> io::Result<()> {
        let mut list = std::mem::take(&mut self.overdue);
        self.flight.expire(now_ns, |overdue| list.push(overdue));
        for overdue in list.drain(..) {
            match overdue {
                Overdue::Again(request, tag) => {
                    self.tally.trouble.retransmits += 1;
                    // If the port is full, this copy counts as lost on the way.
                    self.send(request, tag, port)?;
                }
                Overdue::Lost(request) => {
                    self.tally.trouble.lost += 1;
                    self.forget(request);
                }
            }
        }
        self.overdue = list;
        port.flush()
    }

    /// Takes one step; `false` if it has to wait.
    fn take(&mut self, step: Step, port: &mut dyn Port, now_ns: u64) -> io::Result<bool> {
        let Step { direction, lba } = step;
        if self.verifier.is_some() && self.flight.conflicts(direction, lba, self.sectors) {
            return Ok(false);
        }
        let generation = match &mut self.verifier {
            Some(verifier) if direction == Direction::Write => verifier.next_generation(),
            _ => 0,
        };
        let request = Request { direction, lba, sectors: self.sectors, generation };
        let Some(tag) = self.flight.launch(request, now_ns) else {
            return Ok(false);
        };
        let sent = self.send(request, tag, port)?;
        if !sent {
            self.flight.recall(tag);
        }
        Ok(sent)
    }

    fn send(&mut self, request: Request, tag: u32, port: &mut dyn Port) -> io::Result<bool> {
        let Request { direction, lba, sectors, generation } = request;
        if direction == Direction::Read {
            return port
                .send(&self.route.ata(Ata { command: Opcode::ReadSectorsExt, lba, sectors }, tag), &[]);
        }
        if let Some(verifier) = &self.verifier {
            verifier.stamp(lba, generation, &mut self.data);
        }
        let head = self.route.ata(Ata { command: Opcode::WriteSectorsExt, lba, sectors }, tag);
        port.send(head.get(..DATA_AT).unwrap_or(&[]), &self.data)
    }

    fn answer(&mut self, received: Received<'_>, now_ns: u64) {
        let ours = |response: &Response<'_>| {
            response.header.ether.src == self.route.to && aoe::sender(response) == self.route.address
        };
        let Some(response) = Response::parse(received.head()).ok().filter(ours) else {
            self.tally.trouble.unexpected += 1;
            return;
        };
        match self.flight.land(response.header.tag) {
            Match::Answers(flying) => self.complete(flying, &response, received, now_ns),
            Match::Late => self.tally.trouble.late += 1,
            Match::Duplicate => self.tally.trouble.duplicates += 1,
            Match::Unexpected => self.tally.trouble.unexpected += 1,
        }
    }

    fn complete(&mut self, flying: Flying, response: &Response<'_>, received: Received<'_>, now_ns: u64) {
        let request = flying.request;
        if let Some(error) = self.failure(request, response, received.len()) {
            self.tally.trouble.last_error = Some(error);
            self.forget(request);
            return;
        }
        self.tally.completed(request.direction, now_ns.saturating_sub(flying.first_ns));
        let Some(verifier) = &mut self.verifier else { return };
        match request.direction {
            Direction::Write => verifier.written(request.lba, request.sectors, request.generation),
            Direction::Read => {
                let frame = received.whole(&mut self.scratch);
                let end = DATA_AT + usize::from(request.sectors) * SECTOR;
                verifier.check(request.lba, frame.get(DATA_AT..end).unwrap_or(&[]));
            }
        }
    }

    /// Counts and describes what is wrong with a response.
    fn failure(&mut self, request: Request, response: &Response<'_>, len: usize) -> Option<String> {
        if let Some(error) = response.refusal() {
            self.tally.trouble.refused += 1;
            return Some(format!("refused ({error:?}): {request:?}"));
        }
        let data = match request.direction {
            Direction::Read => usize::from(request.sectors) * SECTOR,
            Direction::Write => 0,
        };
        let what = match response.ata() {
            Some((ata, _)) if !ata.is_good() => {
                format!("ATA status {:#04x}, error {:#04x}", ata.status, ata.error)
            }
            Some(_) if len < DATA_AT + data => format!("a reply of {len} bytes"),
            Some(_) => return None,
            None => format!("an answer to another command ({:?})", response.header.command),
        };
        self.tally.trouble.errors += 1;
        Some(format!("{what}: {request:?}"))
    }

    /// Nobody knows whether a write that failed has happened.
    fn forget(&mut self, request: Request) {
        if let (Some(verifier), Direction::Write) = (&mut self.verifier, request.direction) {
            verifier.unknown(request.lba, request.sectors);
        }
    }
}

#[cfg(test)]
mod tests;
