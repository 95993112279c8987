//! No old write overwrites a newer one that was acknowledged, whichever part is paused
//! meanwhile. `xblade-pause` does the same for longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use xblade_kit::{apply, needs_root};

use xblade_tests::pause::case::Tags;
use xblade_tests::pause::{Options, Report, remove_leftovers, run};

/// The bug that disables the rule under test, for hosts whose tags carry no time.
const RULE_OFF: &str = "NoArrivalOrder";

/// Both tests need all cores for themselves.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs the pauses and prints the result; the test runner shows it if the test fails.
fn pauses(options: &Options) -> Report {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    remove_leftovers(options);
    let report = run(options);
    println!("{report}");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    for skipped in &report.skipped {
        // Not eprintln: the test runner would not show it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {skipped}");
        assert!(!strict, "skipped, and XBLADE_TESTS_STRICT=1 forbids it: {skipped}");
    }
    report
}

#[apply(needs_root!)]
fn no_old_write_lands_on_a_newer_one_after_a_pause() {
    let report = pauses(&Options::new(300, 1));
    assert!(report.is_whole(), "{}", report.line());
    assert!(report.shows_something(), "hardly anything was acknowledged: {}", report.line());
}

/// The control: it shows that a pause falls between the arrival of a write and its turn,
/// and that the loss is detected.
#[apply(needs_root!)]
fn without_the_rule_most_pauses_of_several_workers_lose() {
    let (workers, tags) = (vec![2], vec![Tags::Plain]);
    let options = Options { plant: Some(RULE_OFF.into()), workers, tags, ..Options::new(60, 1) };
    let report = pauses(&options);
    assert!(report.all.stale * 2 > report.all.pauses, "the pauses show little: {}", report.line());
    assert!(report.unexplained > 0, "the histories do not show it: {}", report.line());
}
