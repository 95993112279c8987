#![allow(clippy::unwrap_used)]

use super::*;
use crate::aoe::{Address, Mac};
use crate::args::Op;
use crate::load::stamp::Fault;
use crate::port::fake::{FakeTarget, Plant};

const BLOCKS: u64 = 8;
const SECTORS: u8 = 2;
const MS: u64 = 1_000_000;

fn engine(op: Op, window: u16, count: u64) -> Engine {
    let route = Route { from: Mac([2; 6]), to: Mac([4; 6]), address: Address { shelf: 7, slot: 3 } };
    let plan = Plan::new(op, true, SECTORS, BLOCKS, 1).ending_after(count);
    let mut engine =
        Engine::new(route, SECTORS, plan, Flight::new(window, 10 * MS, 100 * MS), Tally::default());
    engine.verifier = Some(Verifier::new(1, BLOCKS * u64::from(SECTORS)));
    engine
}

/// Steps to the end, a millisecond at a time.
fn drive(engine: &mut Engine, target: &mut FakeTarget) {
    let mut now_ns = 0;
    while !engine.finished() {
        assert!(now_ns < 1000 * MS, "does not end");
        engine.issue(target, now_ns).unwrap();
        engine.collect(target, now_ns + MS / 2).unwrap();
        engine.expire(target, now_ns).unwrap();
        now_ns += MS;
    }
}

/// Writes every block `rounds` times, then reads every block once.
fn write_and_sweep(rounds: u64, plants: &[(u64, Plant)]) -> Engine {
    let mut target = FakeTarget::with(plants);
    let mut engine = engine(Op::Write, 4, rounds * BLOCKS);
    drive(&mut engine, &mut target);
    engine.plan = Plan::sweep(SECTORS, BLOCKS);
    drive(&mut engine, &mut target);
    engine
}

fn failures(engine: &Engine) -> u64 {
    engine.tally.trouble.errors + engine.tally.trouble.refused + engine.tally.trouble.lost
}

fn faults(engine: &Engine) -> Vec<Fault> {
    engine.verifier.as_ref().unwrap().examples.iter().map(|example| example.fault).collect()
}

#[test]
fn a_good_target_is_found_good() {
    let engine = write_and_sweep(2, &[]);
    let verifier = engine.verifier.as_ref().unwrap();
    assert_eq!(
        (verifier.checked, verifier.unchecked, verifier.faults.iter().sum::<u64>()),
        (BLOCKS * 2, 0, 0)
    );
    assert_eq!((engine.tally.writes.len(), engine.tally.reads.len()), (2 * BLOCKS, BLOCKS));
    assert_eq!(failures(&engine), 0);
    assert_eq!(engine.tally.completions(), 3 * BLOCKS, "merged");
}

#[test]
fn planted_data_faults_are_caught() {
    // Two rounds of eight writes: the 3rd is the first write of block 2, the
    // 11th the second; generation n is the nth write.
    for (plants, expected) in [
        (&[(3, Plant::LoseWrite), (11, Plant::LoseWrite)][..], &[Fault::Lost, Fault::Lost][..]),
        (&[(11, Plant::LoseWrite)], &[Fault::Stale { found: 3 }; 2]),
        (&[(3, Plant::DelayWrite)], &[Fault::Stale { found: 3 }; 2]),
        // The 10th should have gone to block 1, and the 11th repairs block 2.
        (&[(10, Plant::MisplaceWrite)], &[Fault::Stale { found: 2 }; 2]),
        // The last should have gone to block 7, and went behind the end.
        (
            &[(15, Plant::MisplaceWrite), (16, Plant::LoseWrite)],
            &[
                Fault::Stale { found: 7 },
                Fault::Stale { found: 7 },
                Fault::WrongLba { found: 12 },
                Fault::WrongLba { found: 13 },
            ],
        ),
        (&[(3, Plant::WrongLba)], &[Fault::WrongLba { found: 6 }, Fault::WrongLba { found: 7 }]),
        (&[(8, Plant::WrongLba)], &[Fault::Lost; 2]),
        (&[(1, Plant::Corrupt)], &[Fault::Corrupt]),
    ] {
        let engine = write_and_sweep(2, plants);
        assert_eq!(faults(&engine), expected, "{plants:?}");
        assert_eq!(failures(&engine), 0, "{plants:?}: only the data is wrong");
    }
}

#[test]
fn planted_protocol_faults_are_counted() {
    type Counts = (u64, u64, u64, u64, u64, u64);
    for (plant, expected) in [
        // retransmits, late, duplicates, unexpected, errors, refused
        (Plant::Silence, (1, 0, 0, 0, 0, 0)),
        (Plant::WrongTag, (1, 0, 0, 1, 0, 0)),
        (Plant::WrongAddress, (1, 0, 0, 1, 0, 0)),
        (Plant::WrongSource, (1, 0, 0, 1, 0, 0)),
        (Plant::Twice, (0, 0, 1, 0, 0, 0)),
        (Plant::Short, (0, 0, 0, 0, 1, 0)),
        (Plant::Error, (0, 0, 0, 0, 1, 0)),
        (Plant::Refuse, (0, 0, 0, 0, 0, 1)),
    ] {
        let t = write_and_sweep(1, &[(2, plant)]).tally;
        let (reads, t) = (t.reads, t.trouble);
        let counts: Counts = (t.retransmits, t.late, t.duplicates, t.unexpected, t.errors, t.refused);
        assert_eq!(counts, expected, "{plant:?}");
        let answered = BLOCKS - expected.4 - expected.5;
        assert_eq!((reads.len(), t.lost), (answered, 0), "{plant:?}");
    }
}

#[test]
fn a_reply_to_an_earlier_copy_is_late_and_not_believed() {
    let mut target = FakeTarget::default();
    let mut engine = engine(Op::Read, 1, 1);
    engine.issue(&mut target, 0).unwrap();
    engine.expire(&mut target, 10 * MS).unwrap();
    assert_eq!(engine.collect(&mut target, 11 * MS).unwrap(), 2);
    assert_eq!(
        (engine.tally.trouble.retransmits, engine.tally.trouble.late, engine.tally.completions()),
        (1, 1, 1)
    );
    assert!(engine.tally.reads.max() >= 11 * MS, "counted from the first copy");
}

#[test]
fn a_dead_target_is_given_up() {
    let silent: Vec<_> = (1..100).map(|n| (n, Plant::Silence)).collect();
    let mut target = FakeTarget::with(&silent);
    let mut engine = engine(Op::Read, 4, 4);
    drive(&mut engine, &mut target);
    assert_eq!((engine.tally.trouble.lost, engine.tally.completions()), (4, 0));
}

#[test]
fn the_window_is_filled_and_never_exceeded() {
    let mut target = FakeTarget::default();
    let mut engine = engine(Op::Read, 3, 100);
    engine.issue(&mut target, 0).unwrap();
    engine.issue(&mut target, 0).unwrap();
    assert_eq!(engine.collect(&mut target, 1).unwrap(), 3);
}

#[test]
fn a_checked_write_waits_for_the_one_before_it_on_the_same_sectors() {
    let mut target = FakeTarget::default();
    let mut engine = engine(Op::Write, 16, 100);
    engine.issue(&mut target, 0).unwrap();
    assert_eq!(engine.collect(&mut target, 1).unwrap() as u64, BLOCKS, "the ninth would meet the first");
}

#[test]
fn mixed_load_on_a_good_target_has_no_faults() {
    let mut target = FakeTarget::default();
    let mut engine = engine(Op::Mixed, 4, 500);
    engine.plan = Plan::new(Op::Mixed, false, SECTORS, BLOCKS, 5).ending_after(500);
    drive(&mut engine, &mut target);
    let verifier = engine.verifier.as_ref().unwrap();
    assert_eq!(verifier.faults.iter().sum::<u64>(), 0);
    assert!(verifier.checked > 300, "{}", verifier.checked);
}
