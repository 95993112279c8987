//! What is measured: the operation, its size, and how many are in flight.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::aoe::{DATA_AT, SECTOR};
use crate::args::{CompareArgs, Extra, Op};

/// Most sectors in a request, unless a case says otherwise: 8 KiB.
const SECTORS_USUAL: u8 = 16;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When the kernel has it.
    Volatile,
    /// When stable storage has it.
    Durable,
}

/// One line of conditions: every target is measured under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// MTU of the pair.
    pub mtu: usize,
    /// Reads or writes.
    pub op: Op,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight.
    pub window: u16,
    /// When writes are acknowledged.
    pub durability: Durability,
}

/// A case of `--case`: OP:BYTES[:WINDOW].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaseArg {
    op: Op,
    durability: Durability,
    sectors: u8,
    window: Option<u16>,
}

impl Case {
    /// The cases that were asked for, those of `--case` at each MTU that they fit.
    pub fn list(args: &CompareArgs) -> Result<Vec<Self>> {
        if args.case.is_empty() {
            return Ok(args.mtu.iter().flat_map(|mtu| Self::usual(args, *mtu)).collect());
        }
        let mut all = Vec::new();
        for case in &args.case {
            let fitting = args.mtu.iter().filter(|mtu| usize::from(case.sectors) <= sectors_that_fit(**mtu));
            let before = all.len();
            all.extend(fitting.map(|mtu| case.at(*mtu, args.window)));
            if all.len() == before {
                bail!("--case of {} bytes: that fits into no --mtu", usize::from(case.sectors) * SECTOR);
            }
        }
        Ok(all)
    }

    /// Random reads at an MTU, and what `--also` adds.
    fn usual(args: &CompareArgs, mtu: usize) -> Vec<Self> {
        let sectors = u8::try_from(sectors_that_fit(mtu)).unwrap_or(u8::MAX).min(SECTORS_USUAL);
        let read = Self { mtu, op: Op::Read, sectors, window: args.window, durability: Durability::Volatile };
        let also = |extra: &Extra| match extra {
            Extra::WriteVolatile => Self { op: Op::Write, ..read },
            Extra::WriteDurable => Self { op: Op::Write, durability: Durability::Durable, ..read },
            Extra::WindowOne => Self { window: 1, ..read },
        };
        std::iter::once(read).chain(args.also.iter().map(also)).collect()
    }

    /// Whether a target owes stable storage before it answers.
    pub fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    /// Bytes in a request.
    pub fn bytes(&self) -> usize {
        usize::from(self.sectors) * SECTOR
    }

    /// Its heading.
    pub fn name(&self) -> String {
        let kib = self.bytes() as f64 / 1024.0;
        let op = match (self.op, self.durability) {
            (Op::Write, Durability::Durable) => "durable writes",
            (Op::Write, Durability::Volatile) => "volatile writes",
            _ => "reads",
        };
        format!("MTU {}, random {op} of {kib} KiB, {} in flight", self.mtu, self.window)
    }
}

impl CaseArg {
    fn at(self, mtu: usize, window: u16) -> Case {
        let window = self.window.unwrap_or(window);
        Case { mtu, op: self.op, sectors: self.sectors, window, durability: self.durability }
    }
}

impl FromStr for CaseArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split(':');
        let (op, durability) = match words.next() {
            Some("read") => (Op::Read, Durability::Volatile),
            Some("write-volatile") => (Op::Write, Durability::Volatile),
            Some("write-durable") => (Op::Write, Durability::Durable),
            _ => bail!("the operation is read, write-volatile or write-durable"),
        };
        let sectors = sectors(words.next().context("give OP:BYTES, for example read:4096")?)?;
        let window = words.next().map(window).transpose()?;
        match words.next() {
            Some(more) => bail!("':{more}' is one too many: give OP:BYTES[:WINDOW]"),
            None => Ok(Self { op, durability, sectors, window }),
        }
    }
}

fn sectors(bytes: &str) -> Result<u8> {
    let sectors = bytes.parse::<usize>().ok().filter(|bytes| bytes.is_multiple_of(SECTOR));
    let sectors = sectors.and_then(|bytes| u8::try_from(bytes / SECTOR).ok()).filter(|n| *n > 0);
    sectors.with_context(|| format!("'{bytes}' bytes: give a multiple of {SECTOR}, at most {}", 255 * SECTOR))
}

fn window(text: &str) -> Result<u16> {
    let window = text.parse().ok().filter(|n| *n > 0);
    window.with_context(|| format!("'{text}' in flight: give a number from 1"))
}

/// Here the Ethernet header does not count.
fn sectors_that_fit(mtu: usize) -> usize {
    (mtu + 14).saturating_sub(DATA_AT) / SECTOR
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use crate::args::{Args, Command};

    use super::*;

    fn list(words: &str) -> Result<Vec<Case>> {
        let words = ["xblade-bench", "compare"].into_iter().chain(words.split_whitespace());
        match Args::try_parse_from(words)?.command {
            Command::Compare(args) => Case::list(&args),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn cases_are_read() {
        let case: CaseArg = "write-durable:4096:32".parse().unwrap();
        let (op, durability) = (Op::Write, Durability::Durable);
        assert_eq!(case, CaseArg { op, durability, sectors: 8, window: Some(32) });
        let case: CaseArg = "read:512".parse().unwrap();
        let (op, durability) = (Op::Read, Durability::Volatile);
        assert_eq!(case, CaseArg { op, durability, sectors: 1, window: None });
        for (wrong, why) in [
            ("write:4096", "write-volatile"),
            ("read", "give OP:BYTES"),
            ("read:0", "multiple of 512"),
            ("read:4095", "multiple of 512"),
            ("read:131072", "at most 130560"),
            ("read:4096:0", "from 1"),
            ("read:4096:1:2", "one too many"),
        ] {
            let said = wrong.parse::<CaseArg>().unwrap_err().to_string();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }

    #[test]
    fn named_cases_replace_the_usual_ones_and_leave_out_mtus_that_are_too_small() {
        let names: Vec<String> = list("--case write-durable:4096 --case read:1024:1 --window 32")
            .unwrap()
            .iter()
            .map(Case::name)
            .collect();
        assert_eq!(
            names,
            [
                "MTU 9000, random durable writes of 4 KiB, 32 in flight",
                "MTU 1500, random reads of 1 KiB, 1 in flight",
                "MTU 9000, random reads of 1 KiB, 1 in flight",
            ]
        );
        let said = list("--case read:4096 --mtu 1500").unwrap_err().to_string();
        assert!(said.contains("4096 bytes"), "{said}");
    }

    #[test]
    fn the_usual_cases_are_as_large_as_the_mtu_allows() {
        let names: Vec<String> = list("--also write-durable").unwrap().iter().map(Case::name).collect();
        assert_eq!(
            names,
            [
                "MTU 1500, random reads of 1 KiB, 64 in flight",
                "MTU 1500, random durable writes of 1 KiB, 64 in flight",
                "MTU 9000, random reads of 8 KiB, 64 in flight",
                "MTU 9000, random durable writes of 8 KiB, 64 in flight",
            ]
        );
    }
}
