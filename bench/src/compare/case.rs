//! A case: the operation, its size, and the number in flight.

use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use crate::aoe::{DATA_AT, SECTOR};
use crate::args::{Op, word};
use crate::load::Pattern;

/// Most exports under load: the slots of a shelf that an address can have.
const BUSY_MAX: u16 = 254;
/// Most idle exports.
const IDLE_MAX: u16 = 4000;
/// Requests in flight, unless the case sets it: as in Linux.
const WINDOW_USUAL: u16 = 64;
/// The MTUs of a case, unless it is set: the first that a request fits.
const MTUS: [usize; 2] = [1500, 9000];
/// Words for the operation, and whether its writes are durable.
const OPS: [(&str, Op, bool); 5] = [
    ("read", Op::Read, false),
    ("write-volatile", Op::Write, false),
    ("write-durable", Op::Write, true),
    ("mixed-volatile", Op::Mixed, false),
    ("mixed-durable", Op::Mixed, true),
];

/// A set of conditions under which every target is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Case {
    /// MTU of the pair.
    pub mtu: usize,
    /// Reads or writes.
    pub op: Op,
    /// Whether writes must be on stable storage before they are acknowledged.
    pub durable: bool,
    /// Of a mixed load, the percentage of reads.
    pub read_percent: u8,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight on each busy export.
    pub window: u16,
    /// Exports under load, each with an equal part of it.
    pub busy: u16,
    /// Exports beside them that get no requests.
    pub idle: u16,
    /// Requests per second of an open loop; `None` for a closed one.
    pub rate: Option<f64>,
    /// The address pattern.
    pub pattern: Pattern,
    /// Whether writes are stamped and reads checked.
    pub verify: bool,
}

impl Case {
    /// Bytes in a request.
    pub fn bytes(&self) -> usize {
        usize::from(self.sectors) * SECTOR
    }

    /// Whether a request fits an MTU, which does not include the Ethernet header.
    pub fn fits(&self, mtu: usize) -> bool {
        DATA_AT + self.bytes() <= mtu + 14
    }

    /// The buffer count that a target must advertise.
    pub fn buffer_count(&self) -> u16 {
        self.window.max(WINDOW_USUAL)
    }

    /// Whether there is only one export.
    pub fn is_single(&self) -> bool {
        (self.busy, self.idle) == (1, 0)
    }

    /// The addresses of the busy exports: the slots of shelf 0.
    pub fn addresses(&self) -> Vec<String> {
        (1..=self.busy).map(|slot| format!("0.{slot}")).collect()
    }

    /// The addresses of the idle exports: the slots of the other shelves.
    pub fn idle_addresses(&self) -> Vec<String> {
        (0..self.idle).map(|n| format!("{}.{}", 1 + n / BUSY_MAX, 1 + n % BUSY_MAX)).collect()
    }

    /// Refuses what cannot be measured.
    pub fn check(&self) -> Result<()> {
        let Self { mtu, read_percent, .. } = self;
        let rate = self.rate.unwrap_or(1.0);
        ensure!(self.fits(*mtu), "a case of {} bytes: that does not fit --mtu {mtu}", self.bytes());
        ensure!(*read_percent <= 100, "--read-percent {read_percent}: give 0 to 100");
        ensure!(rate > 0.0, "--rate {rate}: give requests a second, more than 0");
        Ok(())
    }

    /// Its heading.
    pub fn name(&self) -> String {
        let kib = self.bytes() as f64 / 1024.0;
        let writes = if self.durable { "durable writes" } else { "volatile writes" };
        let op = match self.op {
            Op::Read => "reads".to_owned(),
            Op::Write => writes.to_owned(),
            Op::Mixed => format!("{} % reads, {} % {writes}", self.read_percent, 100 - self.read_percent),
        };
        let rate = self.rate.map_or(String::new(), |rate| format!(", {rate} a second"));
        let checked = if self.verify { ", checked" } else { "" };
        let Self { mtu, window, busy, idle, .. } = self;
        let pattern = word(&self.pattern);
        let each = if *busy > 1 { format!(" on each of {busy} exports") } else { String::new() };
        let beside = if *idle > 0 { format!(", beside {idle} idle exports") } else { String::new() };
        format!("MTU {mtu}, {pattern} {op} of {kib} KiB, {window} in flight{each}{beside}{rate}{checked}")
    }
}

impl FromStr for Case {
    type Err = Error;

    /// OP:BYTES[:WINDOW[:BUSY[+IDLE]]].
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let ops = OPS.map(|(word, ..)| word).join(", ");
            format!(
                "'{text}': give OP:BYTES[:WINDOW[:BUSY[+IDLE]]], for example read:4096:64 or read:4096:1:64+200; OP is \
                 {ops}, BYTES a multiple of 512, at most 8704, BUSY at most {BUSY_MAX} and IDLE {IDLE_MAX} exports"
            )
        };
        let mut words = text.splitn(4, ':');
        let op = words.next().and_then(|word| OPS.into_iter().find(|(name, ..)| *name == word));
        let (_, op, durable) = op.with_context(wrong)?;
        let bytes = words.next().and_then(|word| word.parse::<usize>().ok());
        let bytes = bytes.filter(|bytes| *bytes > 0 && bytes.is_multiple_of(SECTOR));
        let sectors = bytes.and_then(|bytes| u8::try_from(bytes / SECTOR).ok()).with_context(wrong)?;
        let window = words.next().map_or(Some(WINDOW_USUAL), |word| word.parse().ok());
        let window = window.filter(|window| *window > 0).with_context(wrong)?;
        let exports = words.next().unwrap_or("1");
        let (busy, idle) = exports.split_once('+').unwrap_or((exports, "0"));
        let number = |word: &str, range: RangeInclusive<u16>| word.parse().ok().filter(|n| range.contains(n));
        let busy = number(busy, 1..=BUSY_MAX).with_context(wrong)?;
        let idle = number(idle, 0..=IDLE_MAX).with_context(wrong)?;
        let case = Self {
            mtu: 0,
            op,
            durable,
            read_percent: 50,
            sectors,
            window,
            busy,
            idle,
            rate: None,
            pattern: Pattern::Random,
            verify: false,
        };
        let mtu = MTUS.into_iter().find(|mtu| case.fits(*mtu)).with_context(wrong)?;
        Ok(Self { mtu, ..case })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_are_read() {
        let case: Case = "write-durable:4096:32".parse().unwrap();
        assert_eq!(
            (case.op, case.durable, case.bytes(), case.window, case.mtu),
            (Op::Write, true, 4096, 32, 9000)
        );
        let case: Case = "read:1024".parse().unwrap();
        assert_eq!(
            (case.op, case.durable, case.bytes(), case.window, case.mtu),
            (Op::Read, false, 1024, 64, 1500)
        );
        for wrong in [
            "write:4096",
            "read",
            "read:0",
            "read:4095",
            "read:x",
            "read:9216",
            "read:4096:0",
            "read:4096:1:0",
            "read:4096:1:255",
            "read:4096:1:1+4001",
            "read:4096:1:2+",
            "read:4096:1:2:3",
        ] {
            let said = wrong.parse::<Case>().unwrap_err().to_string();
            assert!(said.contains(wrong) && said.contains("OP:BYTES[:WINDOW"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_name_tells_what_is_special() {
        let usual: Case = "read:4096".parse().unwrap();
        assert_eq!(usual.name(), "MTU 9000, random reads of 4 KiB, 64 in flight");
        let mixed = Case { read_percent: 70, .."mixed-durable:4096".parse().unwrap() };
        assert_eq!(mixed.name(), "MTU 9000, random 70 % reads, 30 % durable writes of 4 KiB, 64 in flight");
        let open = Case { pattern: Pattern::Sequential, rate: Some(5000.0), verify: true, ..usual };
        let name = "MTU 9000, sequential reads of 4 KiB, 64 in flight, 5000 a second, checked";
        assert_eq!(open.name(), name);
        let many: Case = "read:512:2:64+200".parse().unwrap();
        let name =
            "MTU 1500, random reads of 0.5 KiB, 2 in flight on each of 64 exports, beside 200 idle exports";
        assert_eq!(many.name(), name);
    }

    #[test]
    fn busy_exports_and_idle_ones_have_addresses_of_their_own() {
        let many: Case = "read:512:1:254+4000".parse().unwrap();
        let all: BTreeSet<String> = many.addresses().into_iter().chain(many.idle_addresses()).collect();
        assert_eq!((all.len(), many.is_single()), (4254, false));
        assert!(["0.1", "0.254", "1.1", "2.1", "16.190"].iter().all(|address| all.contains(*address)));
        let one: Case = "read:512".parse().unwrap();
        assert_eq!(
            (one.addresses(), one.idle_addresses().len(), one.is_single()),
            (vec!["0.1".to_owned()], 0, true)
        );
    }
}
