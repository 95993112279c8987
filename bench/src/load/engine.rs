//! The load on one export, one step at a time: sends due requests, processes replies, and
//! resends overdue requests. The time is an argument.

use std::io;
use std::ops::Range;

use xblade_wire::FRAME_LEN_MIN;

use crate::aoe::{Ata, DATA_AT, Opcode, Response, Route, SECTOR};
use crate::port::{Port, Received};

use super::flight::{Flight, Flying, Match, Overdue};
use super::plan::{Direction, Plan, Request};
use super::schedule::Schedule;
use super::tally::Tally;
use super::verify::{ANYTHING, Verifier};

/// An export under load, or a part of it.
pub struct Engine {
    /// The export.
    pub route: Route,
    /// The requests to send.
    pub plan: Plan,
    /// When they are due.
    pub schedule: Schedule,
    /// The number of counted requests to send, if it is limited.
    pub count: Option<u64>,
    /// The expected contents of sectors, if they are checked.
    pub verifier: Option<Verifier>,
    flight: Flight,
    /// A request that could not be sent yet, and when it was due.
    held: Option<(Request, u64)>,
    /// The frame of a read and the header of a write, except for what differs between
    /// requests.
    read: [u8; FRAME_LEN_MIN],
    write: [u8; FRAME_LEN_MIN],
    /// The data of the next write.
    data: Vec<u8>,
    scratch: Vec<u8>,
}

impl Engine {
    /// A load on this route.
    pub fn new(route: Route, plan: Plan, schedule: Schedule, flight: Flight) -> Self {
        let sectors = plan.area.sectors;
        let frame = |command| route.ata(Ata { command, lba: 0, sectors }, 0);
        Self {
            route,
            plan,
            schedule,
            count: None,
            verifier: None,
            flight,
            held: None,
            read: frame(Opcode::ReadSectorsExt),
            write: frame(Opcode::WriteSectorsExt),
            // Not zeros, which a store might treat as a hole.
            data: vec![0xA5; usize::from(sectors) * SECTOR],
            scratch: Vec::new(),
        }
    }

    /// Whether every request has been sent and answered.
    pub fn finished(&self, now_ns: u64) -> bool {
        self.held.is_none() && self.flight.is_empty() && self.next_due_ns(now_ns).is_none()
    }

    /// When the next request is due, if there is one.
    fn next_due_ns(&self, now_ns: u64) -> Option<u64> {
        self.schedule.next_ns(now_ns).filter(|_| self.plan.left > 0)
    }

    /// When to wake up to send, apart from replies.
    pub fn wakes_ns(&self, now_ns: u64) -> Option<u64> {
        let waits = self.held.is_some() || !self.flight.has_room();
        self.next_due_ns(now_ns).filter(|_| !waits)
    }

    /// Stops further requests from becoming due. In a closed loop, stops sending.
    pub fn end(&mut self, now_ns: u64) {
        self.schedule.end_ns = self.schedule.end_ns.min(now_ns);
        if !self.schedule.is_open() {
            self.held = None;
        }
    }

    /// Counts requests that are due but not sent as unanswered.
    pub fn abandon(&mut self, tally: &mut Tally, now_ns: u64) {
        self.end(now_ns);
        while let Some((request, due_ns)) = self.next(now_ns) {
            tally.trouble.unsent += 1;
            if self.schedule.counts(due_ns, now_ns) {
                tally.side(request.direction).unanswered += 1;
                tally.record(request.direction, now_ns.saturating_sub(due_ns), None);
            }
        }
    }

    /// Sends due requests until the window or the port is full; returns their number.
    pub fn issue(&mut self, port: &mut dyn Port, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        while self.flight.has_room() {
            let Some((request, due_ns)) = self.next(now_ns) else { break };
            if !self.launch(request, due_ns, port, now_ns)? {
                self.held = Some((request, due_ns));
                break;
            }
            sent += 1;
        }
        Ok(sent)
    }

    /// Resends overdue requests, and gives up those that are too old.
    pub fn expire(&mut self, port: &mut dyn Port, tally: &mut Tally, now_ns: u64) -> io::Result<()> {
        for at in 0..self.flight.window() {
            match self.flight.expire(at, now_ns) {
                Some(Overdue::Again(request, tag)) => {
                    tally.trouble.retransmits += 1;
                    // If the port is full, this copy counts as lost on the network.
                    self.send(request, tag, port)?;
                }
                Some(Overdue::Lost(flying)) => self.lose(&flying, tally, now_ns),
                None => {}
            }
        }
        Ok(())
    }

    /// Processes a response from this export.
    pub fn answer(
        &mut self,
        response: &Response<'_>,
        received: Received<'_>,
        tally: &mut Tally,
        now_ns: u64,
    ) {
        if response.header.ether.src != self.route.to {
            tally.trouble.unexpected += 1;
            return;
        }
        match self.flight.land(response.header.tag) {
            Match::Answers(flying) => self.complete(&flying, response, received, tally, now_ns),
            Match::Late => tally.trouble.late += 1,
            Match::Duplicate => tally.trouble.duplicates += 1,
            Match::Unexpected => tally.trouble.unexpected += 1,
        }
    }

    /// The next request and when it was due, if it is.
    fn next(&mut self, now_ns: u64) -> Option<(Request, u64)> {
        if self.held.is_some() {
            return self.held.take();
        }
        let due_ns = self.schedule.next_ns(now_ns).filter(|&due_ns| due_ns <= now_ns)?;
        if due_ns >= self.schedule.from_ns
            && let Some(count) = self.count.take()
        {
            self.plan.left = count;
        }
        let request = self.plan.next()?;
        self.schedule.advance();
        Some((request, due_ns))
    }

    /// Sends a request for the first time; `false` if it has to wait.
    fn launch(
        &mut self,
        mut request: Request,
        due_ns: u64,
        port: &mut dyn Port,
        now_ns: u64,
    ) -> io::Result<bool> {
        if let Some(verifier) = &mut self.verifier {
            if self.flight.conflicts(request) {
                return Ok(false);
            }
            if request.direction == Direction::Write {
                request.generation = verifier.next_generation();
            }
        }
        let due_ns = if self.schedule.is_open() { due_ns } else { now_ns };
        let Some(tag) = self.flight.launch(request, due_ns, now_ns) else {
            return Ok(false);
        };
        let sent = self.send(request, tag, port)?;
        if !sent {
            self.flight.recall(tag);
        }
        Ok(sent)
    }

    fn send(&mut self, request: Request, tag: u32, port: &mut dyn Port) -> io::Result<bool> {
        const TAG: Range<usize> = 20..24;
        const LBA: Range<usize> = 28..34;
        let frame = match request.direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        frame[TAG].copy_from_slice(&tag.to_be_bytes());
        frame[LBA].copy_from_slice(&request.lba.to_le_bytes()[..6]);
        if request.direction == Direction::Read {
            return port.send(frame, &[]);
        }
        if let Some(verifier) = &self.verifier {
            verifier.stamp(request.lba, request.generation, &mut self.data);
        }
        port.send(&frame[..DATA_AT], &self.data)
    }

    fn complete(
        &mut self,
        flying: &Flying,
        response: &Response<'_>,
        received: Received<'_>,
        tally: &mut Tally,
        now_ns: u64,
    ) {
        let Request { direction, lba, generation } = flying.request;
        if let Some(error) = self.failure(flying.request, response, received.len(), tally) {
            tally.trouble.last_error = Some(error);
            self.forget(flying.request);
            return;
        }
        if self.schedule.counts(flying.due_ns, now_ns) {
            tally.last_ns = now_ns;
            flying.record(tally, now_ns);
        }
        let Some(verifier) = &mut self.verifier else { return };
        match direction {
            Direction::Write => verifier.written(lba, self.plan.area.sectors, generation),
            Direction::Read => {
                let frame = received.whole(&mut self.scratch);
                verifier.check(lba, frame.get(DATA_AT..DATA_AT + self.data.len()).unwrap_or(&[]));
            }
        }
    }

    /// Gives up a request. In a closed loop it counts even after the end, so that a
    /// target that stopped answering does not look good.
    fn lose(&mut self, flying: &Flying, tally: &mut Tally, now_ns: u64) {
        tally.trouble.lost += 1;
        let time_ns = if self.schedule.is_open() { flying.due_ns } else { now_ns };
        if time_ns >= self.schedule.from_ns {
            tally.side(flying.request.direction).unanswered += 1;
            flying.record(tally, now_ns);
        }
        self.forget(flying.request);
    }

    /// A write that failed may or may not have happened.
    fn forget(&mut self, request: Request) {
        if let (Some(verifier), Direction::Write) = (&mut self.verifier, request.direction) {
            verifier.written(request.lba, self.plan.area.sectors, ANYTHING);
        }
    }

    /// Counts and describes an error in a response of `len` bytes.
    fn failure(
        &self,
        request: Request,
        response: &Response<'_>,
        len: usize,
        tally: &mut Tally,
    ) -> Option<String> {
        if let Some(error) = response.refusal() {
            tally.trouble.refused += 1;
            return Some(format!("refused ({error:?}): {request:?}"));
        }
        let data = if request.direction == Direction::Read { self.data.len() } else { 0 };
        let what = match response.ata() {
            Some((ata, _)) if !ata.is_good() => {
                format!("ATA status {:#04x}, error {:#04x}", ata.status, ata.error)
            }
            Some(_) if len < DATA_AT + data => format!("a reply of {len} bytes"),
            Some(_) => return None,
            None => format!("an answer to another command ({:?})", response.header.command),
        };
        tally.trouble.errors += 1;
        Some(format!("{what}: {request:?}"))
    }
}

impl Flying {
    fn record(&self, tally: &mut Tally, now_ns: u64) {
        let since = |ns| now_ns.saturating_sub(ns);
        tally.record(self.request.direction, since(self.due_ns), Some(since(self.first_ns)));
    }
}

#[cfg(test)]
mod tests;
