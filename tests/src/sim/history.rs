//! The operations of the initiators, and their results.

use std::fmt;

use super::checker::{self, Executed, Moment, Read, Write, Wrong};
use super::value::{self, SECTOR, Value};

/// Kind of operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Read,
    Write,
    Discard,
    Flush,
    Identify,
    Query,
    Mask,
    Reserve,
    /// Sets what the operation with the same name reads.
    Set(Setting),
}

/// What an initiator can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Setting {
    Config,
    Mask,
    Reservation,
}

impl Setting {
    pub(super) const ALL: [Self; 3] = [Self::Config, Self::Mask, Self::Reservation];

    /// The operation that reads it.
    pub(super) fn read_by(self) -> What {
        match self {
            Self::Config => What::Query,
            Self::Mask => What::Mask,
            Self::Reservation => What::Reserve,
        }
    }
}

impl What {
    pub(super) fn is_ata(self) -> bool {
        !matches!(self, Self::Query | Self::Mask | Self::Reserve | Self::Set(_))
    }

    /// Its code in a trace.
    pub(super) fn code(self) -> u64 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Flush => 2,
            Self::Identify => 3,
            Self::Query => 4,
            Self::Mask => 5,
            Self::Reserve => 6,
            Self::Discard => 7,
            Self::Set(setting) => 8 + setting as u64,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    NotYet,
    Good,
    /// With this ATA error.
    Refused(u8),
    /// Its initiator has given up on it.
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
    /// The ranges of a discard.
    pub(super) ranges: Vec<(u64, u16)>,
    /// What a write writes, or what is set: 0 for nothing.
    pub(super) value: Value,
    /// It extends beyond the end of the export.
    pub(super) beyond: bool,
    /// When it was first sent; 0 before.
    pub(super) begin: Moment,
    pub(super) end: Moment,
    pub(super) ended: Ended,
    /// Number of times that the target may have executed it: copies not known to have
    /// been answered before they were delivered, and crashes.
    pub(super) copies: u32,
    /// The values read.
    pub(super) values: Vec<Value>,
    /// Copies that were not delivered while another one was in service.
    pub(super) served: u32,
    /// A copy is in service.
    pub(super) in_service: bool,
}

impl Op {
    /// An operation that has not been sent yet.
    pub(super) fn new(initiator: usize, export: usize, what: What) -> Self {
        Self {
            initiator,
            export,
            what,
            lba: 0,
            count: 0,
            ranges: Vec::new(),
            value: 0,
            beyond: false,
            begin: 0,
            end: 0,
            ended: Ended::NotYet,
            copies: 0,
            values: Vec::new(),
            served: 0,
            in_service: false,
        }
    }

    pub(super) fn covers(&self, lba: u64) -> bool {
        let own = self.lba <= lba && lba < self.lba + u64::from(self.count);
        own || self.ranges.iter().any(|(first, count)| *first <= lba && lba < first + u64::from(*count))
    }

    /// Whether two reads or writes have a sector in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let end = |op: &Self| op.lba + u64::from(op.count);
        self.lba < end(other) && other.lba < end(self)
    }

    /// The sector after the last one that it covers.
    pub(super) fn last(&self) -> u64 {
        let ranges = self.ranges.iter().map(|(first, count)| first + u64::from(*count));
        ranges.max().unwrap_or(0).max(self.lba + u64::from(self.count))
    }

    /// The write that it does to each sector that it covers.
    fn write(&self) -> Write {
        Write { value: self.value, begin: self.begin, end: self.end, executed: executed(self) }
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

/// The writes must explain every read, and the final content of the export.
pub(super) fn judge(seed: u64, ops: &[Op], export: usize, sectors: u64, holds: &[u8]) -> Result<(), String> {
    // There were more sectors before it shrank.
    let most = ops.iter().filter(|op| op.export == export && !op.beyond).map(Op::last).max();
    let most = most.unwrap_or(0).max(sectors) as usize;
    let mut writes: Vec<Vec<Write>> = vec![Vec::new(); most];
    let mut reads: Vec<Vec<Read>> = vec![Vec::new(); most];
    for (number, op) in (0..).zip(ops).filter(|(_, op)| op.export == export && op.begin > 0 && !op.beyond) {
        match op.what {
            What::Write | What::Discard => {
                (0..most as u64)
                    .filter(|lba| op.covers(*lba))
                    .for_each(|lba| writes[lba as usize].push(op.write()));
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
    let mut found = holds.chunks(SECTOR).take(sectors as usize);
    for (lba, (writes, reads)) in (0..).zip(writes.iter().zip(&mut reads)) {
        let at_rest = |error| format!("export {export}, at rest: {error}");
        if let Some(bytes) = found.next() {
            let value = value::parse(seed, lba, bytes).map_err(at_rest)?;
            reads.push(Read { value, begin: Moment::MAX - 1, end: Moment::MAX, op: u32::MAX });
        }
        checker::check(writes, reads).map_err(|wrong| explain(ops, export, lba, &wrong))?;
    }
    Ok(())
}

/// What was set must explain what was read of a setting, given the moments at which
/// settings were lost.
pub(super) fn judge_setting(
    ops: &[Op],
    export: usize,
    setting: Setting,
    lost: &[Moment],
) -> Result<(), String> {
    let of = |what| {
        let own = move |op: &&Op| op.export == export && op.what == what && op.begin > 0;
        ops.iter().filter(own)
    };
    let mut writes: Vec<_> = of(What::Set(setting)).map(Op::write).collect();
    writes.extend(lost.iter().map(|at| Write { value: 0, begin: *at, end: *at, executed: Executed::Once }));
    let reads: Vec<_> = (0u32..)
        .zip(ops)
        .filter(|(_, op)| op.export == export && op.what == setting.read_by() && op.ended == Ended::Good)
        .flat_map(|(number, op)| {
            let read = move |value: &Value| Read { value: *value, begin: op.begin, end: op.end, op: number };
            op.values.iter().map(read)
        })
        .collect();
    checker::check(&writes, &reads).map_err(|wrong| {
        let mut text = format!("export {export}: {setting:?} is not what was set last\n  {wrong:?}");
        of(What::Set(setting)).for_each(|op| text += &format!("\n  {op}, value {}", op.value));
        text
    })
}

fn executed(op: &Op) -> Executed {
    match (op.ended, op.copies) {
        (Ended::Good, 1) => Executed::Once,
        (Ended::Good, _) => Executed::Often,
        _ => Executed::Open,
    }
}

/// Describes the violation and the operations involved.
fn explain(ops: &[Op], export: usize, lba: u64, wrong: &Wrong) -> String {
    let values = match wrong {
        Wrong::Unwritten { value, .. } | Wrong::Early { value, .. } => vec![*value],
        Wrong::Overlap(a, b) | Wrong::Inside(a, b) => vec![a.value, b.value],
    };
    let what = match wrong {
        Wrong::Unwritten { .. } => "a read returned what was never written there",
        Wrong::Early { .. } => "a read returned what was written later",
        Wrong::Overlap(..) => "a value was found again after another one had taken its place",
        Wrong::Inside(..) => "an acknowledged write was lost or came too late",
    };
    let mut text = format!("export {export}, sector {lba}: {what}\n  {wrong:?}");
    for (number, op) in (0u32..).zip(ops).filter(|(_, op)| op.export == export && op.covers(lba)) {
        let at = lba.saturating_sub(op.lba) as usize;
        let involved = match op.what {
            What::Write | What::Discard => values.contains(&op.value),
            What::Read => op.values.get(at).is_some_and(|value| values.contains(value)),
            _ => false,
        };
        if involved {
            let value = if op.what == What::Read { op.values[at] } else { op.value };
            text += &format!("\n  op {number}: {op}, value {value}");
        }
    }
    text
}
