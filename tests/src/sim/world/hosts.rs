//! What the initiators want, send and hear.

use std::collections::VecDeque;

use super::super::history::{Ended, Op, Setting, What};
use super::super::initiator::{Initiator, Sending, TICK_NS, Tags};
use super::super::reply::{Reply, mac_of};
use super::super::value::{self, Value};
use super::{Event, Host, Violation, World};
use crate::frame::{self, ATA, Ask, MASK, QUERY, RESERVE, ata, mask, query, reserve, trim};
use crate::{Address, Mac, TARGET_MAC};

/// ATA error: no such sector.
const NOT_FOUND: u8 = 0x10;
/// After so many replies, each to a newer request, the target knows a Linux host by its
/// tags, losses included, and does not take IDENTIFY for a reboot any more; and one with
/// two addresses by both.
const KNOWN: u32 = 40;
const BOTH_KNOWN: u32 = 80;
/// An initiator that may not issue anything asks again after this time.
const HALTED_NS: u64 = 3_000_000;
/// Sectors that most operations go to.
const HOT: u64 = 16;

impl World {
    pub(super) fn start_hosts(&mut self) {
        let lanes = self.scenario.lanes.len();
        for host in 0..self.scenario.initiators.len() {
            let scene = self.scenario.initiators[host];
            let (depth, export) = (scene.depth, scene.export);
            let (window, rtt_us, tags) = (scene.window, scene.rtt_us, scene.tags);
            let second = if scene.two_addresses { 100 } else { 0 };
            // All lanes, or one of them.
            let all = self.rng.hits(5_000) || scene.two_addresses;
            let own = if all { (0..lanes).collect() } else { vec![self.rng.below(lanes as u64) as usize] };
            let macs = (0..lanes).map(|lane| frame::mac(host as u8 + second * (lane as u8 % 2))).collect();
            let own = if tags == Tags::Linux { own } else { own[..1].to_vec() };
            let mut linux = Initiator::new(macs, export, tags, own, window, rtt_us, self.timeout_min_us());
            let booted = if tags == Tags::Linux { self.rng.pick(&[0, 300, 0x7F80]) } else { 0 };
            linux.boot(booted, self.rng.draw() >> 32);
            self.hosts.push(Host {
                linux,
                dead: false,
                silent_until_ns: 0,
                in_order: 0,
                newest_answered: 0,
                boots: 0,
                since_boot: Vec::new(),
                halted: false,
                patience: 0,
                booting: None,
                script: VecDeque::new(),
                to_lane_ns: vec![0; lanes],
                from_lane_ns: vec![0; lanes],
            });
            if tags != Tags::Linux {
                self.identify(host);
            }
            let tick_ns = self.rng.below(TICK_NS);
            self.at(tick_ns, Event::Tick(host));
            for _ in 0..depth {
                self.issuers += 1;
                let at_ns = self.rng.below(2_000_000);
                self.at(at_ns, Event::Issue(host));
            }
        }
    }

    /// One who issues operations of a host wants the next.
    pub(super) fn issue(&mut self, host: usize) {
        if self.left == 0 || self.hosts[host].dead {
            self.issuers -= 1;
            return;
        }
        let Host { halted, booting, linux, .. } = &self.hosts[host];
        if *halted || booting.is_some() || self.halted == Some(linux.export) {
            return self.at(self.now_ns + HALTED_NS, Event::Issue(host));
        }
        self.left -= 1;
        let op = match self.hosts[host].script.pop_front() {
            Some(old) => self.once_more(old),
            None => self.draw_op(host),
        };
        self.want(op);
    }

    /// An initiator is asked for this. Returns its number.
    pub(super) fn want(&mut self, op: Op) -> u32 {
        let host = op.initiator;
        let number = self.ops.len() as u32;
        let numbers = [host as u64, number.into(), op.what.code(), op.lba, op.count.into()];
        self.trace.note(self.now_ns, "want", &numbers);
        if let What::Set(setting) = op.what {
            self.setting[op.export][setting as usize] = Some(number);
            self.set_to[op.export][setting as usize].push(op.value);
        }
        self.ops.push(op);
        self.hosts[host].since_boot.push(number);
        self.hosts[host].linux.queue(number);
        self.send_all(host);
        if self.scenario.crash.is_some_and(|crash| crash.after_ops == number) {
            let at_ns = self.now_ns + self.rng.below(3_000_000);
            self.at(at_ns, Event::Crash);
        }
        number
    }

    fn draw_op(&mut self, host: usize) -> Op {
        let export = self.hosts[host].linux.export;
        let sectors = self.scenario.exports[export].sectors;
        let (number, discards) = (self.ops.len() as u32, self.scenario.exports[export].discards);
        // One host sets, one thing of a kind at a time.
        let sets = self.hosts.iter().position(|host| host.linux.export == export) == Some(host);
        // IDENTIFY ends what is remembered of a host that is not known, and of what it has set.
        let is_known = self.hosts[host].is_known() && !sets;
        let late = self.late_writes(host).next().map(|(_, late)| (late.lba, late.count));
        let free = |setting: Setting| self.setting[export][setting as usize].is_none();
        let rng = &mut self.rng;
        let what = match rng.below(1000) {
            0..420 => What::Read,
            420..940 => What::Write,
            940..960 => What::Flush,
            960..970 if is_known => What::Identify,
            960..970 => What::Query,
            970..980 => What::Query,
            980..990 => What::Mask,
            _ => What::Reserve,
        };
        let what = match what {
            What::Write if discards && rng.hits(500) => What::Discard,
            What::Query | What::Mask | What::Reserve if sets && rng.hits(6_000) => {
                let all = Setting::ALL.into_iter();
                let setting = all.filter(|setting| setting.read_by() == what).find(|it| free(*it));
                setting.map_or(what, What::Set)
            }
            what => what,
        };
        let mut op = Op::new(host, export, what);
        op.value = number + 1;
        if let What::Set(_) = what {
            let nothing = rng.hits(3_000);
            if nothing {
                op.value = 0;
            }
            return op;
        }
        if what == What::Discard {
            let blocks = u64::from(self.scenario.exports[export].habits.block_bytes) / value::SECTOR as u64;
            for _ in 0..rng.between(1, 3) {
                let count = blocks * rng.between(1, 2);
                let hot = rng.hits(7_000);
                let first = if hot { sectors / 2 - HOT / 2 + rng.below(HOT) } else { rng.below(sectors) };
                let first = (first - first % blocks).min(sectors - count);
                op.ranges.push((first, count as u16));
            }
            op.value = 0;
            return op;
        }
        if !matches!(what, What::Read | What::Write) {
            return op;
        }
        // What an initiator does first after it has booted.
        let first = self.hosts[host].linux.tags != Tags::Linux && self.hosts[host].since_boot.len() < 16;
        if first {
            (op.lba, op.count) = (sectors / 2 + rng.below(4), 1);
            return op;
        }
        let most = if self.scenario.mtu < 9000 { 2 } else { 16 };
        let count = if rng.hits(5_000) { rng.between(1, most) } else { rng.pick(&[1, 2, most.min(8)]) };
        op.count = count as u8;
        if let Some((lba, count)) = late.filter(|_| rng.hits(6_000)) {
            (op.lba, op.count) = (lba, count);
            return op;
        }
        if let Some((lba, count)) = self.repeated[export].filter(|_| rng.hits(2_000)) {
            (op.lba, op.count) = (lba, count);
            return op;
        }
        op.lba = match rng.below(100) {
            0..3 => {
                self.marks.hit("up to the last sector");
                sectors - count
            }
            3..5 => {
                op.beyond = true;
                self.marks.hit("one sector beyond the end");
                sectors - count + rng.pick(&[1, 1, count, 1 << 40])
            }
            5..60 => sectors / 2 - HOT / 2 + rng.below(HOT),
            _ => rng.below(sectors - count + 1),
        };
        op
    }

    /// Sends what the window lets out.
    pub(super) fn send_all(&mut self, host: usize) {
        while let Some(sending) = self.hosts[host].linux.next_frame(self.now_ns) {
            let moment = self.next_moment();
            let op = &mut self.ops[sending.op as usize];
            op.copies += 1;
            if op.begin == 0 {
                op.begin = moment;
            }
            if sending.again {
                self.marks.hit("request sent again");
            }
            self.send(host, sending);
        }
    }

    /// The bytes of a request.
    pub(super) fn frame_of(
        &mut self,
        host: usize,
        Sending { op: number, tag, lane, .. }: Sending,
    ) -> Vec<u8> {
        let op = &self.ops[number as usize];
        let count = op.count;
        let (command, argument) = match op.what {
            What::Read => {
                (ATA, ata(if number % 8 == 0 && !op.beyond { 0x20 } else { 0x24 }, op.lba, count, &[]))
            }
            What::Write => {
                (ATA, ata(0x34, op.lba, count, &value::data(self.seed, op.value - 1, op.lba, count)))
            }
            What::Discard => (ATA, trim(&op.ranges)),
            What::Set(setting) => self.set_to(op.export, setting, op.value),
            What::Flush => (ATA, ata(if number % 2 == 0 { 0xE7 } else { 0xEA }, 0, 0, &[])),
            What::Identify => (ATA, ata(0xEC, 0, 1, &[])),
            What::Query => (QUERY, query(0, &[])),
            What::Mask => (MASK, mask(0, 0, 0, &[])),
            What::Reserve => (RESERVE, reserve(0, 0, &[])),
        };
        let src = self.hosts[host].linux.macs[lane];
        Ask { dst: lane_mac(lane), src, tag, ..Ask::new(address(op.export), command, argument) }.bytes()
    }

    /// The request that sets this. On both lists are all hosts, so that nobody is kept
    /// out, and an address that stands for the value; or nobody.
    fn set_to(&self, export: usize, setting: Setting, value: Value) -> (u8, Vec<u8>) {
        let hosts = self.hosts.iter().flat_map(|host| host.linux.macs.iter().copied());
        let mut macs: Vec<Mac> = hosts.collect();
        macs.sort_unstable();
        macs.dedup();
        match setting {
            Setting::Config if value == 0 => (QUERY, query(4, &[])),
            Setting::Config => (QUERY, query(4, format!("set {value}").as_bytes())),
            Setting::Mask => {
                let old = self.set_to[export][Setting::Mask as usize].iter().filter(|old| **old != value);
                let mut edits: Vec<_> = old.map(|old| (2, mac_of(*old))).collect();
                if value > 0 {
                    macs.push(mac_of(value));
                }
                edits.extend(macs.iter().map(|mac| (if value > 0 { 1 } else { 2 }, *mac)));
                (MASK, mask(1, 0, edits.len() as u8, &edits))
            }
            Setting::Reservation if value == 0 => (RESERVE, reserve(1, 0, &[])),
            Setting::Reservation => {
                macs.push(mac_of(value));
                (RESERVE, reserve(1, macs.len() as u8, &macs))
            }
        }
    }

    /// The driver looks at its timers.
    pub(super) fn tick(&mut self, host: usize) {
        let expired = self.hosts[host].linux.tick(self.now_ns);
        self.trace.note(self.now_ns, "tick", &[host as u64, expired.requests as u64]);
        if expired.collapsed {
            self.marks.hit("window collapsed");
        }
        if !expired.dead.is_empty() {
            self.marks.hit("gave up after 180 s");
            self.hosts[host].dead = true;
            for op in expired.dead {
                self.end(op, Ended::GivenUp);
            }
        }
        self.send_all(host);
    }

    /// A reply reaches an initiator.
    pub(super) fn hear(&mut self, host: usize, frame: &[u8]) -> Result<(), Violation> {
        let Some(reply) = Reply::parse(frame) else { return Err("a reply that is none".to_owned()) };
        let Some((number, deferred)) = self.hosts[host].linux.reply(reply.tag, self.now_ns) else {
            self.marks.hit("reply that nobody waits for");
            return Ok(());
        };
        if deferred {
            self.marks.hit("reply to a request that was to be sent again");
        }
        let op = &self.ops[number as usize];
        let mut ended = Ended::Good;
        if op.what.is_ata() {
            let (status, error) = reply.ata();
            if status & 0xA9 != 0 {
                ended = Ended::Refused(error);
            }
        }
        match ended {
            Ended::Good => self.accept(number, &reply)?,
            Ended::Refused(error) => self.check_refusal(number, error)?,
            _ => {}
        }
        self.end(number, ended);
        self.send_all(host);
        Ok(())
    }

    fn accept(&mut self, number: u32, reply: &Reply<'_>) -> Result<(), Violation> {
        let op = &self.ops[number as usize];
        let (lba, wrong) = (op.lba, |what: &str| Err(format!("op {number}: {op}: {what}")));
        match op.what {
            What::Read if op.beyond => return wrong("a read beyond the end succeeded"),
            What::Read => {
                let bytes = usize::from(op.count) * value::SECTOR;
                let Some(data) = reply.data().get(..bytes) else { return wrong("a short reply") };
                let sectors = (lba..).zip(data.chunks(value::SECTOR));
                let values = sectors.map(|(lba, sector)| value::parse(self.seed, lba, sector)).collect();
                match values {
                    Ok(values) => self.ops[number as usize].values = values,
                    Err(error) => return wrong(&error),
                }
            }
            What::Identify => {
                let words = reply.data().get(200..208).and_then(|bytes| bytes.try_into().ok());
                if words.map(u64::from_le_bytes) != Some(self.scenario.exports[op.export].sectors) {
                    return wrong("another size");
                }
            }
            What::Query | What::Mask | What::Reserve => {
                let setting = Setting::ALL.into_iter().find(|setting| setting.read_by() == op.what);
                match setting.map(|setting| reply.setting(setting)) {
                    Some(Ok(value)) => {
                        self.ops[number as usize].values = vec![value];
                        self.trace.note(self.now_ns, "is set", &[number.into(), value.into()]);
                    }
                    Some(Err(error)) => return wrong(&error),
                    None => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An error must have a reason.
    fn check_refusal(&mut self, number: u32, error: u8) -> Result<(), Violation> {
        let op = &self.ops[number as usize];
        let disk = &self.disks[op.export];
        let reason = match (op.beyond, error == NOT_FOUND) {
            (true, true) => "refused beyond the end",
            (true, false) => return Err(format!("op {number}: {op}: error {error:#x} beyond the end")),
            (false, true) => return Err(format!("op {number}: {op}: sectors not found")),
            (false, false) if disk.stats().errors() == 0 => {
                return Err(format!("op {number}: {op}: error {error:#x}, and the disk has none"));
            }
            (false, false) if self.refusing[op.export].is_some() => "refused since a sync has failed",
            (false, false) => "refused for a fault of the disk",
        };
        self.marks.hit(reason);
        Ok(())
    }

    fn end(&mut self, number: u32, ended: Ended) {
        let moment = self.next_moment();
        let op = &mut self.ops[number as usize];
        (op.end, op.ended) = (moment, ended);
        let (host, what, export) = (op.initiator, op.what, op.export);
        if let What::Set(setting) = what {
            self.setting[export][setting as usize] = None;
            if ended == Ended::Good {
                self.set_to[export][setting as usize] = vec![op.value];
            }
        }
        if what == What::Write && ended == Ended::Good && op.copies > 1 {
            self.repeated[op.export] = Some((op.lba, op.count));
        }
        let code = match ended {
            Ended::Good => 0,
            Ended::Refused(error) => u64::from(error),
            Ended::NotYet | Ended::GivenUp => 0x100,
        };
        self.trace.note(self.now_ns, "end", &[host as u64, number.into(), code]);
        if ended == Ended::Good {
            self.marks.hit(match what {
                What::Read => "read done",
                What::Write => "write done",
                What::Flush => "flush done",
                What::Identify => "identify done",
                What::Query => "query done",
                What::Mask => "mask list read",
                What::Reserve => "reservation read",
                What::Discard => "discard done",
                What::Set(Setting::Config) => "config string set",
                What::Set(Setting::Mask) => "mask list set",
                What::Set(Setting::Reservation) => "reservation set",
            });
        }
        if self.hosts[host].booting == Some(number) {
            self.hosts[host].booting = None;
            return;
        }
        let think_max_ns = self.scenario.initiators[host].think_max_ns;
        let longest = if self.rng.hits(8_500) { 200_000 } else { think_max_ns };
        let at_ns = self.now_ns + self.rng.below(longest);
        self.at(at_ns, Event::Issue(host));
    }
}

impl Host {
    /// Whether the target knows the order of its tags.
    pub(super) fn is_known(&self) -> bool {
        let least = if self.linux.has_two_addresses() { BOTH_KNOWN } else { KNOWN };
        self.linux.tags == Tags::Linux && self.in_order >= least
    }
}

/// The address of an export.
pub(super) fn address(export: usize) -> Address {
    (1, export as u8)
}

/// The address of a lane.
pub(super) fn lane_mac(lane: usize) -> Mac {
    let [a, b, c, d, e, f] = TARGET_MAC;
    [a, b, c, d, e, f + lane as u8]
}
