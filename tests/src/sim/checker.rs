//! Checks whether the writes to a sector explain what was read from it: the test of
//! Gibbons and Korach for a register whose writes all have different values, and a weaker
//! one for values written more than once.
//!
//! A write and the reads that returned its value form a cluster. Each operation takes
//! effect at one moment between its begin and its end. So the register holds the value of
//! a cluster at least from the first end in it to the last begin (its zone). If the last
//! begin is later than the first end, the zone is *forward*; otherwise it is *backward*,
//! and the value is there at some moment in between. Everything can be explained if and
//! only if no two forward zones overlap and no backward zone lies inside a forward one.
//!
//! A write that was resent may have been executed more than once, each time between its
//! begin and its end; AoE cannot prevent that. Reads that began before its end may have
//! seen any of these executions, so they only must not end before it begins. Reads that
//! began later have seen the last one; they form the cluster. A write that failed or
//! never ended may take effect at any time from its begin on, or never.
//!
//! For a value that several writes have written (zeros by discards, the same data after a
//! reboot) it is unknown which write a read has seen. Only this is checked: none of its
//! operations lies inside the forward zone of another value; and each read of it has a
//! write that began before the read's end, with no other value certainly there between
//! the two. All violations found are real; some are missed.

use super::value::Value;

/// A point in time; no two events share one.
pub type Moment = u64;

/// How often a write may have taken effect, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executed {
    /// Once between begin and end.
    Once,
    /// At least once between begin and end.
    Often,
    /// Any number of times after the begin, or never.
    Open,
}

/// A write to a sector.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// The value written.
    pub value: Value,
    /// When it was first sent.
    pub begin: Moment,
    /// When its acknowledgement was accepted. Meaningless for an open one.
    pub end: Moment,
    /// How often it may have taken effect.
    pub executed: Executed,
}

/// A read of a sector.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The value returned.
    pub value: Value,
    /// When it was first sent.
    pub begin: Moment,
    /// When its reply was accepted.
    pub end: Moment,
    /// Number of its operation, for the report.
    pub op: u32,
}

/// Why a history cannot be explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// This read returned a value that was never written.
    Unwritten {
        /// The operation that read.
        reader: u32,
        /// The value it returned.
        value: Value,
    },
    /// This read ended before the write of its value began.
    Early {
        /// The operation that read.
        reader: u32,
        /// The value it returned.
        value: Value,
    },
    /// Both values were there for some time, and these times overlap: one was read again
    /// after the other had overwritten it.
    Overlap(Zone, Zone),
    /// The first value overwrote the second one, which was still there afterwards.
    Inside(Zone, Zone),
}

/// The time during which a value was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zone {
    /// The value.
    pub value: Value,
    /// First end of one of its operations.
    pub first_end: Moment,
    /// Last begin of one of its operations.
    pub last_begin: Moment,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin
    }
}

/// Checks one sector that initially holds zeros (value 0).
///
/// # Errors
///
/// The first violation found.
pub fn check(writes: &[Write], reads: &[Read]) -> Result<(), Wrong> {
    let mut writes = writes.to_vec();
    writes.push(Write { value: 0, begin: 0, end: 0, executed: Executed::Once });
    writes.sort_by_key(|write| write.value);
    let groups = writes.chunk_by(|a, b| a.value == b.value);
    let (repeated, unique): (Vec<_>, Vec<_>) = groups.partition(|group| group.len() > 1);
    if repeated.is_empty() {
        return check_unique(&writes, reads).map(|_| ());
    }
    let is_repeated = |read: &Read| repeated.iter().any(|group| group[0].value == read.value);
    let (ambiguous, clear): (Vec<_>, Vec<_>) = reads.iter().copied().partition(is_repeated);
    let forward = check_unique(&unique.concat(), &clear)?;
    // Each value was certainly there at one of these moments, and then until something
    // else was written.
    let acknowledged = writes.iter().filter(|write| write.executed != Executed::Open);
    let certain = |read: &&Read| {
        let mut own = writes.iter().filter(|write| write.value == read.value && write.begin < read.end);
        own.all(|write| write.counts(read))
    };
    let evidence: Vec<_> =
        acknowledged.map(Write::zone).chain(reads.iter().filter(certain).map(Read::zone)).collect();
    for group in repeated {
        let value = group[0].value;
        for zone in evidence.iter().filter(|zone| zone.value == value) {
            check_inside(*zone, &forward)?;
        }
        for read in ambiguous.iter().filter(|read| read.value == value) {
            explain(read, group, &evidence)?;
        }
    }
    Ok(())
}

/// A read of a value that several writes have written: one of the writes must explain it.
fn explain(read: &Read, writes: &[Write], evidence: &[Zone]) -> Result<(), Wrong> {
    let mut wrong = Wrong::Early { reader: read.op, value: read.value };
    for write in writes.iter().filter(|write| write.begin < read.end) {
        let between = |zone: &&Zone| {
            zone.value != write.value && zone.last_begin > write.end && zone.first_end < read.begin
        };
        match evidence.iter().find(between).filter(|_| write.executed != Executed::Open) {
            None => return Ok(()),
            Some(zone) => wrong = Wrong::Inside(*zone, read.zone()),
        }
    }
    Err(wrong)
}

/// As [`check`], for writes that all have different values, sorted by value. Returns the
/// forward zones in order.
fn check_unique(writes: &[Write], reads: &[Read]) -> Result<Vec<Zone>, Wrong> {
    let mut zones: Vec<_> = writes.iter().map(Write::zone).collect();
    for read in reads {
        let Ok(at) = writes.binary_search_by_key(&read.value, |write| write.value) else {
            return Err(Wrong::Unwritten { reader: read.op, value: read.value });
        };
        let (write, zone) = (&writes[at], &mut zones[at]);
        if read.end < write.begin {
            return Err(Wrong::Early { reader: read.op, value: read.value });
        }
        if write.counts(read) {
            zone.first_end = zone.first_end.min(read.end);
            zone.last_begin = zone.last_begin.max(read.begin);
        }
    }
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for (write, zone) in writes.iter().zip(zones) {
        match write.executed {
            Executed::Open => {}
            _ if zone.is_forward() => forward.push(zone),
            _ => backward.push(zone),
        }
    }
    forward.sort_unstable_by_key(|zone| zone.first_end);
    for pair in forward.windows(2) {
        if pair[0].last_begin > pair[1].first_end {
            return Err(Wrong::Overlap(pair[0], pair[1]));
        }
    }
    for inner in backward {
        check_inside(inner, &forward)?;
    }
    Ok(forward)
}

/// This zone must not lie inside one of the forward zones.
fn check_inside(inner: Zone, forward: &[Zone]) -> Result<(), Wrong> {
    // Forward zones do not overlap, so only the last one that begins before it can
    // contain it.
    let after = forward.partition_point(|zone| zone.first_end < inner.last_begin);
    let outer = after.checked_sub(1).map(|at| forward[at]);
    match outer.filter(|outer| outer.last_begin > inner.first_end) {
        Some(outer) => Err(Wrong::Inside(inner, outer)),
        None => Ok(()),
    }
}

impl Write {
    /// Whether a read of its value has seen its last execution.
    fn counts(&self, read: &Read) -> bool {
        match self.executed {
            Executed::Once => true,
            Executed::Often => read.begin > self.end,
            Executed::Open => false,
        }
    }

    /// The zone of the write alone.
    fn zone(&self) -> Zone {
        Zone { value: self.value, first_end: self.end, last_begin: self.begin }
    }
}

impl Read {
    /// The zone of the read alone.
    fn zone(&self) -> Zone {
        Zone { value: self.value, first_end: self.end, last_begin: self.begin }
    }
}

#[cfg(test)]
mod tests;
