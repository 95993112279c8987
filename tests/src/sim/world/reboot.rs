//! Hosts that reboot, and start with the tags of their last boot.
//!
//! Only when nothing of the host is in flight: initiators take a late reply to a tag of
//! their last boot for one of this boot, which is not the target's fault.

use super::super::history::{Op, What};
use super::super::initiator::Tags;
use super::{Event, World};

/// No host boots faster.
const DOWN_MIN_NS: u64 = 1_000_000_000;
/// Interval between checks whether anything is in flight.
const LOOK_NS: u64 = 2_000_000;
/// Maximum number of boots of a host.
const BOOTS_MAX: u32 = 5;
/// Number of checks until this reboot is given up.
const PATIENCE: u32 = 1_000;
/// Maximum number of operations that a host repeats.
const SCRIPT_MAX: u64 = 12;

impl World {
    /// Starts the reboot of a host, which happens once nothing of it is in flight.
    pub(super) fn halt(&mut self, host: usize) {
        if self.hosts[host].dead || self.left == 0 {
            self.hosts[host].halted = false;
            return;
        }
        if !self.hosts[host].halted {
            self.hosts[host].halted = true;
            self.hosts[host].patience = PATIENCE;
        }
        self.hosts[host].patience -= 1;
        if self.hosts[host].patience == 0 {
            // A disk hangs.
            self.hosts[host].halted = false;
            return;
        }
        if !self.hosts[host].linux.is_idle() || !self.is_quiet() {
            return self.at(self.now_ns + LOOK_NS, Event::Halt(host));
        }
        let of_host = |event: &Event| match event {
            Event::ToLane { sent, .. } => sent.host == host,
            Event::ToHost { host: to, .. } => *to == host,
            _ => false,
        };
        self.events.retain(|_, event| !of_host(event));
        self.tags.retain(|(of, _), _| *of != host);
        let down_ns = self.rng.pick(&[1_500_000_000, 3_000_000_000, 6_000_000_000]);
        let down_ns = self.rng.between(DOWN_MIN_NS, down_ns);
        self.marks.hit("reboot of a host");
        self.trace.note(self.now_ns, "reboot", &[host as u64, down_ns]);
        let booted = &mut self.hosts[host];
        booted.boots += 1;
        booted.in_order = 0;
        self.at(self.now_ns + down_ns, Event::Boot(host));
    }

    /// Whether nothing is in flight at the target.
    pub(super) fn is_quiet(&self) -> bool {
        let waits = |target: &crate::FakeTarget| target.wires.iter().any(|wire| wire.waiting() > 0);
        self.target.as_ref().is_some_and(|target| !waits(target)) && !self.is_busy()
    }

    /// It has booted: sends IDENTIFY, then repeats some of the operations of its last
    /// boot.
    pub(super) fn boot(&mut self, host: usize) {
        let (count, jiffies) = (self.rng.between(0, SCRIPT_MAX), self.rng.draw() >> 32);
        let booted = &mut self.hosts[host];
        booted.halted = false;
        if booted.dead {
            return;
        }
        booted.linux.boot(0, jiffies);
        let old = std::mem::take(&mut booted.since_boot);
        if booted.linux.tags != Tags::Linux {
            // The first was IDENTIFY.
            booted.script = old.into_iter().skip(1).take(count as usize).collect();
        }
        self.identify(host);
        let again = self.scenario.initiators[host].reboot_ns;
        if let Some(every_ns) = again.filter(|_| self.hosts[host].boots < BOOTS_MAX) {
            self.at(self.now_ns + every_ns, Event::Halt(host));
        }
    }

    /// The first request after booting; all others wait for its reply.
    pub(super) fn identify(&mut self, host: usize) {
        let number = self.want(Op::new(host, self.hosts[host].linux.export, What::Identify));
        self.hosts[host].booting = Some(number);
    }

    /// A copy of the operation with this number, including its data.
    pub(super) fn once_more(&self, number: u32) -> Op {
        let old = &self.ops[number as usize];
        let fits = !old.beyond && old.last() <= self.scenario.exports[old.export].sectors;
        match old.what {
            What::Write | What::Read | What::Discard if fits => Op {
                lba: old.lba,
                count: old.count,
                ranges: old.ranges.clone(),
                value: old.value,
                ..Op::new(old.initiator, old.export, old.what)
            },
            // Settings are not set twice to the same value, and other operations change
            // nothing.
            _ => Op::new(old.initiator, old.export, What::Flush),
        }
    }
}
