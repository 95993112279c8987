//! Checks the response times of an open loop on targets whose times are known exactly.

pub mod stage;

use super::schedule::Schedule;
use crate::outcome::Latencies;
use stage::{MS, S, Stage, US};

/// Within the precision of the histogram and 0.1 %.
fn assert_us(latencies: &Latencies, quantile: f64, expected_us: f64) {
    let got = latencies.us(quantile);
    assert!((got / expected_us - 1.0).abs() < 0.001, "at {quantile}: {got} us, not {expected_us}");
}

/// 1000 requests per second for ten seconds.
fn a_thousand_a_second() -> Schedule {
    Schedule::constant(1000.0, 0.0).between(0, 10 * S)
}

/// Answers after 100 us, except between the fifth second and the sixth.
fn stalls_once(now_ns: u64, _: u64) -> Option<u64> {
    Some(if (5 * S..6 * S).contains(&now_ns) { 6 * S } else { now_ns } + 100 * US)
}

#[test]
fn a_constant_delay_is_every_percentile() {
    let outcome = Stage::new(a_thousand_a_second(), 64).play(|now_ns, _| Some(now_ns + 100 * US));
    assert_eq!(outcome.completions(), 10_000);
    for quantile in [0.0, 0.5, 0.99, 1.0] {
        assert_us(&outcome.reads.response, quantile, 100.0);
        assert_us(outcome.reads.service.as_ref().unwrap(), quantile, 100.0);
    }
}

#[test]
fn a_late_answer_in_a_hundred_is_one_percent() {
    let outcome = Stage::new(a_thousand_a_second(), 64)
        .play(|now_ns, n| Some(now_ns + if n % 100 == 99 { 5 * MS } else { 100 * US }));
    for (quantile, us) in [(0.5, 100.0), (0.9899, 100.0), (0.9901, 5000.0), (1.0, 5000.0)] {
        assert_us(&outcome.reads.response, quantile, us);
    }
}

#[test]
fn a_stall_of_a_second_is_in_the_percentiles_of_an_open_loop() {
    // The window holds all: each of the thousand requests due in the stall is answered at
    // its end, so a tenth of all wait from 1.1 ms to 1000.1 ms, evenly distributed.
    let outcome = Stage::new(a_thousand_a_second(), 2000).play(stalls_once);
    assert_eq!((outcome.completions(), outcome.reads.unanswered), (10_000, 0));
    for side in [&outcome.reads.response, outcome.reads.service.as_ref().unwrap()] {
        for (quantile, us) in
            [(0.5, 100.0), (0.9, 100.0), (0.95, 500_100.0), (0.99, 900_100.0), (0.999, 990_100.0)]
        {
            assert_us(side, quantile, us);
        }
        assert_us(side, 1.0, 1_000_100.0);
    }
}

#[test]
fn with_a_full_window_the_stall_is_in_the_response_and_hardly_in_the_service() {
    let outcome = Stage::new(a_thousand_a_second(), 64).play(stalls_once);
    // A request is sent when it is due and the 64th one before it has been answered.
    let mut answered: Vec<u64> = Vec::new();
    let mut responses: Vec<u64> = (0..10_000)
        .map(|n: u64| {
            let room_ns = n.checked_sub(64).map_or(0, |before| answered[before as usize]);
            let sent_ns = room_ns.max(n * MS);
            answered.push(stalls_once(sent_ns, n).unwrap());
            answered[n as usize] - n * MS
        })
        .collect();
    responses.sort_unstable();
    for at in [5_000, 9_000, 9_500, 9_900, 9_990, 10_000] {
        let (quantile, exact_us) = (at as f64 / 1e4, responses[at - 1] as f64 / 1e3);
        assert_us(&outcome.reads.response, quantile, exact_us);
    }
    assert!(outcome.reads.response.us(0.99) > 900_000.0);
    assert_us(outcome.reads.service.as_ref().unwrap(), 0.99, 100.0);
}

#[test]
fn a_closed_loop_on_the_same_target_leaves_the_stall_out() {
    let outcome = Stage::new(Schedule::closed().between(0, 10 * S), 1).play(stalls_once);
    // Of ninety thousand requests only one met the stall.
    assert!(outcome.completions() > 89_000);
    assert_us(&outcome.reads.response, 0.9999, 100.0);
    assert_us(&outcome.reads.response, 1.0, 1_000_100.0);
    assert!(outcome.reads.service.is_none());
}

#[test]
fn a_target_that_stops_half_way_does_not_look_good() {
    let stops = |now_ns, _| (now_ns < 5 * S).then_some(now_ns + 100 * US);
    let outcome = Stage::new(a_thousand_a_second(), 64).play(stops);
    let reads = &outcome.reads;
    assert_eq!((reads.response.len(), reads.answered(), reads.unanswered), (10_000, 5_000, 5_000));
    assert_eq!(outcome.trouble.lost + outcome.trouble.unsent, 5_000);
    assert!(outcome.trouble.lost >= 64 && outcome.trouble.unsent > 4_000);
    assert!(!outcome.is_good());
    assert_us(&reads.response, 0.5, 100.0);
    assert!(reads.response.us(0.501) >= 10_000_000.0, "the others waited for all the time there was");
    assert!((outcome.iops() - 500.0).abs() < 1.0, "{}", outcome.iops());
}

#[test]
fn a_rate_beyond_the_target_gives_the_rate_of_the_target() {
    let mut free_ns = 0;
    let outcome = Stage::new(Schedule::constant(2000.0, 0.0).between(0, 4 * S), 64).play(move |now_ns, _| {
        free_ns = now_ns.max(free_ns) + MS;
        Some(free_ns)
    });
    // Eight thousand in eight seconds; the last has waited four seconds.
    assert_eq!((outcome.completions(), outcome.trouble.unsent), (8_000, 0));
    assert!((outcome.iops() - 1000.0).abs() < 1.0, "{}", outcome.iops());
    assert!((outcome.reads.response.us(1.0) / 4e6 - 1.0).abs() < 0.002);
}

#[test]
fn what_was_due_in_the_warm_up_is_not_counted_however_late_its_answer() {
    let schedule = Schedule::constant(1000.0, 0.0).between(2 * S, 10 * S);
    let outcome = Stage::new(schedule, 4000)
        .play(|now_ns, _| Some(if now_ns < 2 * S { 3 * S } else { now_ns + 100 * US }));
    assert_eq!(outcome.completions(), 8_000);
    assert_us(&outcome.reads.response, 1.0, 100.0);
}
