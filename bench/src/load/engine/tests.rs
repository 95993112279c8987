use super::*;
use crate::load::plan::Area;
use crate::load::plan::Pattern;
use crate::load::schedule::NEVER;
use crate::load::tests::stage::{MS, ROUTE};
use crate::load::worker::Worker;
use crate::outcome::Verified;
use crate::port::Tags;
use crate::port::sim::{FakeTarget, Plant};

const BLOCKS: u64 = 8;
const SECTORS: u8 = 2;
const AREA: Area = Area { sectors: SECTORS, first: 0, blocks: BLOCKS };

fn worker(target: FakeTarget, plan: Plan, window: u16) -> Worker {
    let flight = Flight::new(window, Tags::ALL, 0, 10 * MS, 100 * MS);
    let mut engine = Engine::new(ROUTE, plan, Schedule::closed(), flight);
    engine.verifier = Some(Verifier::new(1, 0, AREA.len()));
    Worker::new(Box::new(target), vec![engine], Tally::new(false), NEVER, 100 * MS)
}

fn plan(read_percent: u8, count: u64) -> Plan {
    ending_after(count, Plan::new(AREA, read_percent, Pattern::Sequential, 1))
}

fn ending_after(count: u64, mut plan: Plan) -> Plan {
    plan.left = count;
    plan
}

/// Runs to the end in steps of a millisecond.
fn drive(worker: &mut Worker) {
    let mut now_ns = 0;
    while !worker.finished(now_ns) {
        assert!(now_ns < 1000 * MS, "does not end");
        worker.issue(now_ns).unwrap();
        worker.collect(now_ns + MS / 2).unwrap();
        worker.expire(now_ns).unwrap();
        now_ns += MS;
    }
}

/// Writes every block `rounds` times, then reads every block once.
fn write_and_sweep(rounds: u64, plants: &[(u64, Plant)]) -> Worker {
    let mut worker = worker(FakeTarget::with(plants), plan(0, rounds * BLOCKS), 4);
    drive(&mut worker);
    // Replaced here, because `Worker::sweep` does not count.
    worker.engines[0].plan = Plan::sweep(AREA);
    drive(&mut worker);
    worker
}

fn failures(worker: &Worker) -> u64 {
    worker.tally.trouble.errors + worker.tally.trouble.refused + worker.tally.trouble.lost
}

fn verifier(worker: &Worker) -> &Verified {
    &worker.engines[0].verifier.as_ref().unwrap().found
}

/// The faults in full, without their sectors.
fn faults(worker: &Worker) -> Vec<&str> {
    verifier(worker).examples.iter().map(|example| example.split_once(": ").unwrap().1).collect()
}

#[test]
fn a_good_target_is_found_good() {
    let engine = write_and_sweep(2, &[]);
    let verifier = verifier(&engine);
    assert_eq!(
        (verifier.checked, verifier.unchecked, verifier.faults.values().sum::<u64>()),
        (BLOCKS * 2, 0, 0)
    );
    assert_eq!((engine.tally.writes.response.len(), engine.tally.reads.response.len()), (2 * BLOCKS, BLOCKS));
    assert_eq!(failures(&engine), 0);
    assert_eq!(engine.tally.completions(), 3 * BLOCKS, "merged");
}

#[test]
fn planted_data_faults_are_caught() {
    const LOST: &str = "lost: no write of this run is in it";
    // Two rounds of eight writes: the 3rd is the first write of block 2, the
    // 11th the second; generation n is the nth write.
    for (plants, expected) in [
        (&[(3, Plant::LoseWrite), (11, Plant::LoseWrite)][..], &[LOST, LOST][..]),
        (&[(11, Plant::LoseWrite)], &["stale: holds write 3"; 2]),
        (&[(3, Plant::DelayWrite)], &["stale: holds write 3"; 2]),
        // The 10th should have gone to block 1; the 11th repairs block 2.
        (&[(10, Plant::MisplaceWrite)], &["stale: holds write 2"; 2]),
        // The last should have gone to block 7, but went past the end.
        (
            &[(15, Plant::MisplaceWrite), (16, Plant::LoseWrite)],
            &[
                "stale: holds write 7",
                "stale: holds write 7",
                "holds the contents of sector 12",
                "holds the contents of sector 13",
            ],
        ),
        (&[(3, Plant::WrongLba)], &["holds the contents of sector 6", "holds the contents of sector 7"]),
        (&[(8, Plant::WrongLba)], &[LOST; 2]),
        (&[(1, Plant::Corrupt)], &["corrupt: the checksum does not match"]),
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
        assert_eq!((reads.response.len(), t.lost), (answered, 0), "{plant:?}");
    }
}

#[test]
fn a_reply_to_an_earlier_copy_is_late_and_not_believed() {
    let mut worker = worker(FakeTarget::default(), plan(100, 1), 1);
    worker.issue(0).unwrap();
    worker.expire(10 * MS).unwrap();
    assert_eq!(worker.collect(11 * MS).unwrap(), 2);
    let tally = &worker.tally;
    assert_eq!((tally.trouble.retransmits, tally.trouble.late, tally.completions()), (1, 1, 1));
    assert!(tally.reads.response.max() >= 11 * MS, "counted from the first copy");
}

#[test]
fn a_dead_target_is_given_up_and_what_waited_for_it_counts() {
    let silent: Vec<_> = (1..100).map(|n| (n, Plant::Silence)).collect();
    let mut worker = worker(FakeTarget::with(&silent), plan(100, 4), 4);
    drive(&mut worker);
    let tally = &worker.tally;
    assert_eq!((tally.trouble.lost, tally.completions(), tally.reads.unanswered), (4, 0, 4));
    assert!(tally.reads.response.min() >= 99 * MS);
}

#[test]
fn the_window_is_filled_and_never_exceeded() {
    let mut worker = worker(FakeTarget::default(), plan(100, 100), 3);
    worker.issue(0).unwrap();
    worker.issue(0).unwrap();
    assert_eq!(worker.collect(1).unwrap(), 3);
}

#[test]
fn a_checked_write_waits_for_the_one_before_it_on_the_same_sectors() {
    let mut worker = worker(FakeTarget::default(), plan(0, 100), 16);
    worker.issue(0).unwrap();
    assert_eq!(worker.collect(1).unwrap() as u64, BLOCKS, "the ninth would meet the first");
}

#[test]
fn checked_loads_of_every_kind_have_no_faults_on_a_good_target() {
    for pattern in [Pattern::Random, Pattern::Sequential] {
        for open in [false, true] {
            let plan = ending_after(500, Plan::new(AREA, 50, pattern, 5));
            let mut worker = worker(FakeTarget::default(), plan, 4);
            if open {
                worker.engines[0].schedule = Schedule::constant(3000.0, 0.0);
            }
            drive(&mut worker);
            worker.sweep(0);
            drive(&mut worker);
            let verifier = verifier(&worker);
            assert_eq!(verifier.faults.values().sum::<u64>(), 0, "{pattern:?}");
            assert!(verifier.checked > 300, "{pattern:?}: {}", verifier.checked);
        }
    }
}

#[test]
fn a_sweep_reads_everything_and_counts_nothing() {
    let mut worker = worker(FakeTarget::default(), plan(0, BLOCKS), 4);
    drive(&mut worker);
    worker.sweep(0);
    drive(&mut worker);
    assert_eq!(verifier(&worker).checked, BLOCKS * u64::from(SECTORS));
    assert_eq!((worker.tally.reads.response.len(), worker.tally.writes.response.len()), (0, BLOCKS));
}
