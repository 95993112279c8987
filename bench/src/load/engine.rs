//! The load on one export, one step at a time: sends due requests, processes replies,
//! resends overdue requests; and a worker, which does so for all exports of a thread. The
//! time is an argument.

use std::io;

use xblade_wire::FRAME_LEN_MIN;

use crate::aoe;
use crate::aoe::{Address, Ata, DATA_AT, Opcode, Response, Route, SECTOR};
use crate::port::{Port, Received};

use super::flight::{Flight, Flying, Match, Overdue, Request};
use super::plan::{Direction, Plan, Step};
use super::schedule::{NEVER, Schedule};
use super::tally::{Tally, Took};
use super::verify::Verifier;

/// An export under load, or a part of it.
pub struct Engine {
    /// The requests to send.
    pub plan: Plan,
    /// When they are due.
    pub schedule: Schedule,
    /// The number of counted requests to send, if it is limited.
    pub count: Option<u64>,
    /// The expected contents of sectors, if they are checked.
    pub verifier: Option<Verifier>,
    route: Route,
    heads: Heads,
    flight: Flight,
    /// A request that could not be sent yet.
    held: Option<Asked>,
    /// The data of the next write.
    data: Vec<u8>,
    scratch: Vec<u8>,
    overdue: Vec<Overdue>,
}

/// A request with its due time.
#[derive(Clone, Copy)]
struct Asked {
    step: Step,
    due_ns: u64,
}

impl Engine {
    /// A load on this route.
    pub fn new(route: Route, plan: Plan, schedule: Schedule, flight: Flight) -> Self {
        let sectors = plan.area().sectors;
        Self {
            plan,
            schedule,
            count: None,
            verifier: None,
            route,
            heads: Heads::new(&route, sectors),
            flight,
            held: None,
            // Not zeros, which a store might treat as a hole.
            data: vec![0xA5; usize::from(sectors) * SECTOR],
            scratch: Vec::new(),
            overdue: Vec::new(),
        }
    }

    /// The export.
    pub fn address(&self) -> Address {
        self.route.address
    }

    /// Whether every request has been sent and answered.
    pub fn finished(&self, now_ns: u64) -> bool {
        self.held.is_none() && self.flight.is_empty() && self.next_due_ns(now_ns).is_none()
    }

    /// When the next request is due, if there is one.
    pub fn next_due_ns(&self, now_ns: u64) -> Option<u64> {
        if self.plan.ended() { None } else { self.schedule.next_ns(now_ns) }
    }

    /// When to wake up to send, apart from replies.
    pub fn wakes_ns(&self, now_ns: u64) -> Option<u64> {
        let waits = self.held.is_some() || !self.flight.has_room();
        if waits { None } else { self.next_due_ns(now_ns) }
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
        while let Some(asked) = self.held.take().or_else(|| self.ask(now_ns)) {
            tally.trouble.unsent += 1;
            if self.schedule.counts(asked.due_ns, now_ns) {
                let response_ns = now_ns.saturating_sub(asked.due_ns);
                tally.given_up(asked.step.direction, Took { response_ns, service_ns: None });
            }
        }
    }

    /// Sends due requests until the window or the port is full; returns their number.
    pub fn issue(&mut self, port: &mut dyn Port, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        while self.flight.has_room() {
            let Some(asked) = self.held.take().or_else(|| self.ask(now_ns)) else {
                break;
            };
            if !self.launch(asked, port, now_ns)? {
                self.held = Some(asked);
                break;
            }
            sent += 1;
        }
        Ok(sent)
    }

    /// Resends overdue requests, and gives up those that are too old.
    pub fn expire(&mut self, port: &mut dyn Port, tally: &mut Tally, now_ns: u64) -> io::Result<()> {
        let mut list = std::mem::take(&mut self.overdue);
        self.flight.expire(now_ns, |overdue| list.push(overdue));
        for overdue in list.drain(..) {
            match overdue {
                Overdue::Again(request, tag) => {
                    tally.trouble.retransmits += 1;
                    // If the port is full, this copy counts as lost on the network.
                    self.send(request, tag, port)?;
                }
                Overdue::Lost(flying) => self.lose(&flying, tally, now_ns),
            }
        }
        self.overdue = list;
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
        match self.flight.land(response.header.tag, now_ns) {
            Match::Answers(flying) => self.complete(&flying, response, received, tally, now_ns),
            Match::Late => tally.trouble.late += 1,
            Match::Duplicate => tally.trouble.duplicates += 1,
            Match::Unexpected => tally.trouble.unexpected += 1,
        }
    }

    /// The next request, if it is due.
    fn ask(&mut self, now_ns: u64) -> Option<Asked> {
        let due_ns = self.schedule.next_ns(now_ns).filter(|&due_ns| due_ns <= now_ns)?;
        if due_ns >= self.schedule.from_ns
            && let Some(count) = self.count.take()
        {
            self.plan.end_after(count);
        }
        let step = self.plan.next()?;
        self.schedule.advance();
        Some(Asked { step, due_ns })
    }

    /// Sends a request for the first time; `false` if it has to wait.
    fn launch(&mut self, asked: Asked, port: &mut dyn Port, now_ns: u64) -> io::Result<bool> {
        let (Step { direction, lba }, sectors) = (asked.step, self.heads.sectors);
        if self.verifier.is_some() && self.flight.conflicts(direction, lba, sectors) {
            return Ok(false);
        }
        let generation = match &mut self.verifier {
            Some(verifier) if direction == Direction::Write => verifier.next_generation(),
            _ => 0,
        };
        let request = Request { direction, lba, sectors, generation };
        let due_ns = if self.schedule.is_open() { asked.due_ns } else { now_ns };
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
        let head = self.heads.of(request.direction, request.lba, tag);
        if request.direction == Direction::Read {
            return port.send(head, &[]);
        }
        if let Some(verifier) = &self.verifier {
            verifier.stamp(request.lba, request.generation, &mut self.data);
        }
        port.send(head.get(..DATA_AT).unwrap_or(&[]), &self.data)
    }

    fn complete(
        &mut self,
        flying: &Flying,
        response: &Response<'_>,
        received: Received<'_>,
        tally: &mut Tally,
        now_ns: u64,
    ) {
        let request = flying.request;
        if let Some(error) = failure(request, response, received.len(), tally) {
            tally.trouble.last_error = Some(error);
            self.forget(request);
            return;
        }
        if self.schedule.counts(flying.due_ns, now_ns) {
            tally.completed(request.direction, flying.took(now_ns), now_ns);
        }
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

    /// Gives up a request. In a closed loop it counts even after the end, so that a
    /// target that stopped answering does not look good.
    fn lose(&mut self, flying: &Flying, tally: &mut Tally, now_ns: u64) {
        tally.trouble.lost += 1;
        let time_ns = if self.schedule.is_open() { flying.due_ns } else { now_ns };
        if time_ns >= self.schedule.from_ns {
            tally.given_up(flying.request.direction, flying.took(now_ns));
        }
        self.forget(flying.request);
    }

    /// A write that failed may or may not have happened.
    fn forget(&mut self, request: Request) {
        if let (Some(verifier), Direction::Write) = (&mut self.verifier, request.direction) {
            verifier.unknown(request.lba, request.sectors);
        }
    }
}

impl Flying {
    fn took(&self, now_ns: u64) -> Took {
        let since = |ns| now_ns.saturating_sub(ns);
        Took { response_ns: since(self.due_ns), service_ns: Some(since(self.first_ns)) }
    }
}

/// Counts and describes an error in a response.
fn failure(request: Request, response: &Response<'_>, len: usize, tally: &mut Tally) -> Option<String> {
    if let Some(error) = response.refusal() {
        tally.trouble.refused += 1;
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
    tally.trouble.errors += 1;
    Some(format!("{what}: {request:?}"))
}

/// Request headers, complete except for the fields that differ between requests.
struct Heads {
    sectors: u8,
    read: [u8; FRAME_LEN_MIN],
    write: [u8; FRAME_LEN_MIN],
}

impl Heads {
    const TAG: std::ops::Range<usize> = 20..24;
    const LBA: std::ops::Range<usize> = 28..34;

    fn new(route: &Route, sectors: u8) -> Self {
        let of = |command| route.ata(Ata { command, lba: 0, sectors }, 0);
        Self { sectors, read: of(Opcode::ReadSectorsExt), write: of(Opcode::WriteSectorsExt) }
    }

    fn of(&mut self, direction: Direction, lba: u64, tag: u32) -> &[u8; FRAME_LEN_MIN] {
        let head = match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        head[Self::TAG].copy_from_slice(&tag.to_be_bytes());
        head[Self::LBA].copy_from_slice(&lba.to_le_bytes()[..6]);
        head
    }
}

#[cfg(test)]
mod tests;

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
