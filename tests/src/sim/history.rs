//! What the initiators did, and what became of it.

use std::fmt;

use super::checker::{self, Executed, Moment, Read, Write, Wrong};
use super::value::{self, SECTOR, Value};

/// What an operation asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Read,
    Write,
    Flush,
    Identify,
    Query,
    Mask,
    Reserve,
}

impl What {
    pub(super) fn is_ata(self) -> bool {
        !matches!(self, Self::Query | Self::Mask | Self::Reserve)
    }
}

/// How an operation has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    NotYet,
    Good,
    /// With this ATA error.
    Refused(u8),
    /// Its initiator has given up.
    GivenUp,
}

/// One operation of an initiator.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) initiator: usize,
    pub(super) export: usize,
    pub(super) what: What,
    pub(super) lba: u64,
    pub(super) count: u8,
    /// It reaches beyond the end of the export.
    pub(super) beyond: bool,
    /// When it was sent first; 0 before.
    pub(super) begin: Moment,
    pub(super) end: Moment,
    pub(super) ended: Ended,
    /// Times that the target may have executed it: copies that are not known to
    /// have been answered before they were delivered, and crashes.
    pub(super) copies: u32,
    /// What it read.
    pub(super) values: Vec<Value>,
    /// Copies that were not delivered while another one was being served.
    pub(super) served: u32,
    /// A copy is being served.
    pub(super) in_service: bool,
}

impl Op {
    fn covers(&self, lba: u64) -> bool {
        self.lba <= lba && lba < self.lba + u64::from(self.count)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { initiator, export, what, lba, count, begin, end, ended, copies, .. } = self;
        write!(
            f,
            "initiator {initiator}, export {export}: {what:?} of {lba}+{count}, from {begin} to {end}, "
        )?;
        write!(f, "{ended:?}, {copies} copies")
    }
}

/// Every read must be explained by the writes, and so must what an export holds
/// in the end.
pub(super) fn judge(seed: u64, ops: &[Op], export: usize, sectors: u64, holds: &[u8]) -> Result<(), String> {
    let mut writes: Vec<Vec<Write>> = vec![Vec::new(); sectors as usize];
    let mut reads: Vec<Vec<Read>> = vec![Vec::new(); sectors as usize];
    for (number, op) in (0..).zip(ops).filter(|(_, op)| op.export == export && op.begin > 0 && !op.beyond) {
        match op.what {
            What::Write => {
                let write = Write { value: number + 1, begin: op.begin, end: op.end, executed: executed(op) };
                for lba in op.lba..op.lba + u64::from(op.count) {
                    writes[lba as usize].push(write);
                }
            }
            What::Read => {
                for (lba, value) in (op.lba..).zip(&op.values) {
                    reads[lba as usize].push(Read {
                        value: *value,
                        begin: op.begin,
                        end: op.end,
                        op: number,
                    });
                }
            }
            _ => {}
        }
    }
    if holds.iter().skip(sectors as usize * SECTOR).any(|byte| *byte != 0) {
        return Err(format!("export {export}: something was written beyond its end"));
    }
    let found = holds.chunks(SECTOR).take(sectors as usize);
    for (lba, ((writes, reads), bytes)) in (0..).zip(writes.iter().zip(&mut reads).zip(found)) {
        let at_rest = |error| format!("export {export}, at rest: {error}");
        let value = value::parse(seed, lba, bytes).map_err(at_rest)?;
        reads.push(Read { value, begin: Moment::MAX - 1, end: Moment::MAX, op: u32::MAX });
        checker::check(writes, reads).map_err(|wrong| explain(ops, export, lba, &wrong))?;
    }
    Ok(())
}

fn executed(op: &Op) -> Executed {
    match (op.ended, op.copies) {
        (Ended::Good, 1) => Executed::Once,
        (Ended::Good, _) => Executed::Often,
        _ => Executed::Open,
    }
}

/// The violation, and the operations that it is about.
fn explain(ops: &[Op], export: usize, lba: u64, wrong: &Wrong) -> String {
    let values = match wrong {
        Wrong::Unwritten { value, .. } | Wrong::Early { value, .. } => vec![*value],
        Wrong::Overlap(a, b) | Wrong::Inside(a, b) => vec![a.value, b.value],
    };
    let what = match wrong {
        Wrong::Unwritten { .. } => "a read returned what nobody wrote there",
        Wrong::Early { .. } => "a read returned what was written later",
        Wrong::Overlap(..) => "a value was found again after another one had taken its place",
        Wrong::Inside(..) => "an acknowledged write was lost or came too late",
    };
    let mut text = format!("export {export}, sector {lba}: {what}\n  {wrong:?}");
    for (number, op) in (0u32..).zip(ops).filter(|(_, op)| op.export == export && op.covers(lba)) {
        let at = (lba - op.lba) as usize;
        let involved = match op.what {
            What::Write => values.contains(&(number + 1)),
            What::Read => op.values.get(at).is_some_and(|value| values.contains(value)),
            _ => false,
        };
        if involved {
            let value = if op.what == What::Write { number + 1 } else { op.values[at] };
            text += &format!("\n  op {number}: {op}, value {value}");
        }
    }
    text
}
