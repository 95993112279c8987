//! Small, reproducible outcomes for testing exporters.

use crate::outcome::{Condition, Cost, Interval, Latencies, Outcome, Setup, Trouble, Verified};

use super::super::{Document, Section};

/// A reproducible random number generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }

    /// Around a fifth of a millisecond, with a tail, as is typical of networks.
    fn latency_ns(&mut self) -> u64 {
        let tail = self.roll().max(1e-6);
        (120_000.0 + 60_000.0 * self.roll() + 15_000.0 / tail) as u64
    }
}

/// This number of latencies.
pub fn latencies(count: usize) -> Latencies {
    let mut dice = Dice(7);
    let mut all = Latencies::default();
    (0..count).for_each(|_| all.record(dice.latency_ns()));
    all
}

/// A closed loop of reads with some problems.
pub fn reads(name: &str, slowness: u64) -> Outcome {
    outcome(name, slowness, [300, 0])
}

/// An open loop of reads and writes, checked, with a watched target.
pub fn mixed() -> Outcome {
    let mut mixed = outcome("xblade store=mmap", 1, [140, 60]);
    mixed.setup.op = "70 % read".to_owned();
    mixed.setup.rate = Some(800.0);
    mixed.setup.warm_up_s = 0.5;
    for side in [&mut mixed.reads, &mut mixed.writes] {
        let mut service = Latencies::default();
        for bucket in side.response.iter_recorded() {
            (0..bucket.count_at_value()).for_each(|_| service.record(bucket.value_iterated_to() * 3 / 4));
        }
        side.service = Some(service);
    }
    mixed.cost = Some(Cost { user_ns: 900_000, system_ns: 2_300_000 });
    mixed.verify = Some(Verified {
        checked: 2240,
        unchecked: 0,
        faults: [("corrupt".to_owned(), 1)].into(),
        examples: vec!["sector 300: byte 77 is not what was written".to_owned()],
    });
    mixed
}

/// A report with two sections, one of which has its own table.
pub fn document() -> Document {
    let condition = |name: &str, value: &str| Condition { name: name.to_owned(), value: value.to_owned() };
    let mut table = super::super::Table::new(["target", "IOPS"]);
    table.row(["xblade store=mmap".to_owned(), "800".to_owned()]);
    Document {
        title: "Two targets, in turn".to_owned(),
        verdict: "echo is fastest; 1 of 3 rows and the conditions are suspect.".to_owned(),
        conditions: vec![condition("kernel", "6.18.0"), condition("network", "veth pair, MTU 9000")],
        warnings: vec!["other work was running".to_owned()],
        sections: vec![
            Section {
                title: "random read of 4 KiB, 8 in flight".to_owned(),
                outcomes: vec![reads("echo", 1), reads("vblade -b 64", 3)],
                ..Section::default()
            },
            Section {
                title: "random 70 % read of 4 KiB, 800 a second".to_owned(),
                table: Some(table),
                outcomes: vec![mixed()],
                ..Section::default()
            },
        ],
    }
}

fn outcome(name: &str, slowness: u64, each: [usize; 2]) -> Outcome {
    let mut dice = Dice(slowness);
    let mut all = Outcome {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        started_unix_ms: 1_795_545_310_290,
        setup: setup(),
        seconds: 1.0,
        idle: 0.37,
        ..Outcome::default()
    };
    for quarter in 0..4_u64 {
        let mut sides = [Latencies::default(), Latencies::default()];
        for (side, count) in sides.iter_mut().zip(each) {
            // Busier in the middle.
            let count = count / 4 + if quarter == 1 { count / 20 } else { 0 };
            (0..count).for_each(|_| side.record(dice.latency_ns() * slowness));
        }
        all.reads.response.add(&sides[0]);
        all.writes.response.add(&sides[1]);
        all.intervals.push(Interval {
            from_s: quarter as f64 / 4.0,
            seconds: 0.25,
            reads: sides[0].pack(),
            writes: sides[1].pack(),
            unanswered_reads: 0,
            unanswered_writes: 0,
            resent: if quarter == 2 { slowness - 1 } else { 0 },
            dropped: if quarter == 3 { slowness / 3 } else { 0 },
        });
    }
    // The slow one gave up a request in each of the first two quarters.
    let lost = u64::from(slowness > 2);
    all.intervals[..2].iter_mut().for_each(|interval| interval.unanswered_reads = lost);
    all.reads.unanswered = 2 * lost;
    all.trouble =
        Trouble { lost: 2 * lost, retransmits: slowness - 1, dropped: slowness / 3, ..Trouble::default() };
    all.warnings = all.suspicions();
    all
}

fn setup() -> Setup {
    Setup {
        exports: vec!["7.3".to_owned()],
        port: "af-xdp".to_owned(),
        op: "read".to_owned(),
        pattern: "random".to_owned(),
        sectors: 8,
        window: 8,
        rate: None,
        threads: 1,
        buffer_count: 64,
        seed: 12_345,
        ..Setup::default()
    }
}
