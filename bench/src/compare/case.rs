//! A case: the operation, its size, and the number in flight.

use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use crate::aoe::{DATA_AT, SECTOR};
use crate::args::{Op, word};
use crate::load::Pattern;

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
    /// Requests in flight.
    pub window: u16,
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
        let Self { mtu, window, .. } = self;
        let pattern = word(&self.pattern);
        format!("MTU {mtu}, {pattern} {op} of {kib} KiB, {window} in flight{rate}{checked}")
    }
}

impl FromStr for Case {
    type Err = Error;

    /// OP:BYTES[:WINDOW].
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let ops = OPS.map(|(word, ..)| word).join(", ");
            format!(
                "'{text}': give OP:BYTES[:WINDOW], for example read:4096:64; OP is {ops}, BYTES a multiple of 512, at \
                 most 8704"
            )
        };
        let mut words = text.splitn(3, ':');
        let op = words.next().and_then(|word| OPS.into_iter().find(|(name, ..)| *name == word));
        let (_, op, durable) = op.with_context(wrong)?;
        let bytes = words.next().and_then(|word| word.parse::<usize>().ok());
        let bytes = bytes.filter(|bytes| *bytes > 0 && bytes.is_multiple_of(SECTOR));
        let sectors = bytes.and_then(|bytes| u8::try_from(bytes / SECTOR).ok()).with_context(wrong)?;
        let window = words.next().map_or(Some(WINDOW_USUAL), |word| word.parse().ok());
        let window = window.filter(|window| *window > 0).with_context(wrong)?;
        let case = Self {
            mtu: 0,
            op,
            durable,
            read_percent: 50,
            sectors,
            window,
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
            "read:4096:1:2",
        ] {
            let said = wrong.parse::<Case>().unwrap_err().to_string();
            assert!(said.contains(wrong) && said.contains("OP:BYTES[:WINDOW]"), "{wrong}: {said}");
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
    }
}
