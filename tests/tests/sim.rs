//! Simulations of whole workers, each with its seed; `xblade_tests::sim` describes them.
//! The binary `xblade-sim` runs more of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;

use xblade::plant::Bug;
use xblade_tests::sim::{Marks, Options, run};

/// The number of seeds in each test run.
const SEEDS: u64 = 2_000;

/// Events that must happen at least once in these runs: otherwise the simulation does not
/// cover them any more.
const MARKS: [&str; 81] = [
    // The network.
    "request lost",
    "reply lost",
    "reply duplicated",
    "burst of losses",
    "duplicate of a request under way",
    "duplicate of an answered request",
    "replay of an old write",
    "ring full",
    "request to a target that is down",
    "late first delivery",
    "late first delivery, from a host with two addresses",
    "late first delivery beside a newer write",
    "first delivery later than its resend",
    "late copy of a set",
    "stamped and unstamped lanes",
    // The initiators.
    "read done",
    "write done",
    "flush done",
    "identify done",
    "query done",
    "mask list read",
    "reservation read",
    "discard done",
    "config string set",
    "mask list set",
    "reservation set",
    "reboot of a host",
    "request sent again",
    "reply that nobody waits for",
    "reply to a request that was to be sent again",
    "window collapsed",
    "gave up after 180 s",
    "up to the last sector",
    "one sector beyond the end",
    "refused beyond the end",
    "refused for a fault of the disk",
    "refused since a sync has failed",
    // The workers.
    "pause of the only worker",
    "pause of one of two workers",
    "pause of one of two workers, below 50 ms",
    "pause inside a turn",
    "crash inside a turn",
    "worker slept",
    "worker woken late",
    "export opened again",
    "export moved to another worker",
    "export grown",
    "export shrunk",
    "handed_over",
    "late_writes",
    "late_sets",
    "slab_full",
    "no_chunks",
    "waited",
    "folded",
    "repeated",
    "media_faults",
    "no_space_faults",
    "other_faults",
    "transient_faults",
    "flushes",
    // The disk.
    "disk: read",
    "disk: write",
    "disk: sync",
    "disk: range forgotten",
    "disk: late",
    "disk: slow",
    "disk: stuck",
    "disk: EIO on a read",
    "disk: EIO on a write",
    "disk: EIO on a sync",
    "disk: ENOSPC",
    "disk: short read",
    "disk: short write",
    "disk: EAGAIN",
    "disk: of 4 KiB blocks",
    "disk: sector lost in a power cut",
    "disk: torn write",
    "power cut",
    "power cut at the end",
    "process killed",
];

#[test]
fn every_history_can_be_explained_and_everything_happens() {
    let (mut marks, mut failures) = (Marks::default(), Vec::new());
    for seed in 0..SEEDS {
        let report = run(seed, Options::default());
        failures.extend(report.failure());
        marks.merge(&report.marks);
    }
    println!("{marks}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let never: Vec<_> = MARKS.into_iter().filter(|mark| marks.count(mark) == 0).collect();
    assert!(never.is_empty(), "never in {SEEDS} seeds: {never:?}");
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 0..40 {
        let kept = Options { trace: true, ..Options::default() };
        let first = run(seed, kept);
        let second = thread::spawn(move || run(seed, kept)).join().unwrap();
        assert!(first.trace.len() > 100, "seed {seed}: {} events", first.trace.len());
        assert!(first.trace == second.trace, "seed {seed}: another trace");
        assert_eq!((first.hash, first.marks), (second.hash, second.marks), "seed {seed}");
        assert_eq!(first.hash, run(seed, Options::default()).hash, "seed {seed}: without a trace");
    }
    assert_ne!(run(1, Options::default()).hash, run(2, Options::default()).hash);
}

/// The number of seeds needed to find this bug in the target.
fn seeds_to_find(bug: Bug, oracles: bool) -> u64 {
    let options = Options { plant: Some(bug), oracles, ..Options::default() };
    let found = (0..SEEDS).map(|seed| run(seed, options)).find(|report| report.violation.is_some());
    let report = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
    println!("{bug:?}, oracles {oracles}: {}", report.failure().unwrap());
    report.seed + 1
}

/// Only from what initiators read and what is on the disk in the end. A missing coalescing
/// harms hardly any host. And a write that waited for a newer one and is executed after it
/// was sent together with that one, because otherwise its resend would have been answered
/// before: either order of the two is valid (the tests of the worker detect it). They also
/// detect that the order of held requests is not known, for which more seeds are needed.
#[test]
fn histories_show_planted_bugs() {
    // Those of the state writer only power cuts reveal (`crash.rs`): there is no state folder here.
    use Bug::{HeldInOrder, NoFolding, NoSecondLook, NoStateFileSync, NoStateFolderSync};
    let unseen = |bug: &Bug| {
        matches!(bug, NoStateFileSync | NoStateFolderSync | NoFolding | NoSecondLook | HeldInOrder)
    };
    for bug in Bug::ALL.into_iter().filter(|bug| !unseen(bug)) {
        seeds_to_find(bug, false);
    }
}

/// By also looking at the disk, the bugs that concern it are found sooner.
#[test]
fn looks_at_the_disk_show_bugs_sooner() {
    for bug in [Bug::AckBeforeStable, Bug::NoFolding, Bug::SwallowedSyncError, Bug::NoHistory] {
        let seeds = seeds_to_find(bug, true);
        assert!(seeds <= 400, "{bug:?} took {seeds} seeds");
    }
}
