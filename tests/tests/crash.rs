//! Acknowledged sectors are never lost: `xblade serve` is killed under load, and the power
//! of its file system is cut. `xblade-crash` does the same for longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use xblade::plant::Bug;
use xblade_kit::{apply, needs_root};
use xblade_tests::crash::disk::FileSystem;
use xblade_tests::crash::{Options, Report, kill, power, remove_leftovers, state};
use xblade_tests::may_run;

/// Prints the result; the test runner shows it if the test fails.
fn said(report: Report) -> Report {
    println!("{report}");
    report
}

fn cut(options: &Options, kind: FileSystem) -> Report {
    remove_leftovers(options);
    said(power::run(options, kind))
}

#[apply(needs_root!)]
fn nothing_acknowledged_is_lost_by_sigkill() {
    let options = Options::new(50, 1);
    remove_leftovers(&options);
    let report = said(kill::run(&options));
    report.assert_nothing_lost();
    assert!(report.acknowledged > 50 * 10, "hardly a load: {report}");
    assert!(report.unknown > 0, "no kill has come in the middle of a write: {report}");
}

fn nothing_is_lost_by_power_cuts(test: &str, kind: FileSystem) {
    if !may_run(test) {
        return;
    }
    let report = cut(&Options::new(20, 1), kind);
    report.assert_nothing_lost();
    assert!(report.acknowledged > 20 * 10, "hardly a load: {report}");
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_of_ext4() {
    nothing_is_lost_by_power_cuts("nothing_acknowledged_is_lost_by_power_cuts_of_ext4", FileSystem::Ext4);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_of_xfs() {
    nothing_is_lost_by_power_cuts("nothing_acknowledged_is_lost_by_power_cuts_of_xfs", FileSystem::Xfs);
}

/// The control: it shows that a cut loses data, and that the loss is detected.
#[apply(needs_root!)]
fn volatile_writes_are_lost_by_power_cuts() {
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        let options = Options { volatile: true, carry_on: true, ..Options::new(10, 1) };
        let report = cut(&options, kind);
        assert!(report.losing_cycles * 10 >= report.cycles * 9, "the cut proves little: {report}");
    }
}

/// A daemon that acknowledges durable writes before they are stable.
#[apply(needs_root!)]
fn an_acknowledgement_before_the_sync_is_caught() {
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        let options = Options { plant: Some("AckBeforeStable".into()), ..Options::new(5, 1) };
        let report = cut(&options, kind);
        assert_eq!(report.losing_cycles, 1, "not noticed: {report}");
    }
}

fn no_setting_is_lost_by_power_cuts(test: &str, kind: FileSystem) {
    if !may_run(test) {
        return;
    }
    let options = Options::new(20, 1);
    remove_leftovers(&options);
    let report = said(state::run(&options, kind));
    report.assert_nothing_lost();
    assert!(report.acknowledged > 20 * 2, "hardly anything was set: {report}");
}

#[test]
fn no_acknowledged_setting_is_lost_by_power_cuts_of_ext4() {
    no_setting_is_lost_by_power_cuts(
        "no_acknowledged_setting_is_lost_by_power_cuts_of_ext4",
        FileSystem::Ext4,
    );
}

#[test]
fn no_acknowledged_setting_is_lost_by_power_cuts_of_xfs() {
    no_setting_is_lost_by_power_cuts("no_acknowledged_setting_is_lost_by_power_cuts_of_xfs", FileSystem::Xfs);
}

/// A state writer that omits either of its two syncs.
#[apply(needs_root!)]
fn a_state_that_is_not_synced_is_caught() {
    for bug in [Bug::NoStateFileSync, Bug::NoStateFolderSync] {
        for kind in [FileSystem::Ext4, FileSystem::Xfs] {
            let options = Options { plant: Some(format!("{bug:?}")), carry_on: true, ..Options::new(6, 1) };
            remove_leftovers(&options);
            let report = said(state::run(&options, kind));
            assert!(report.losing_cycles >= 2, "{bug:?} is hardly noticed: {report}");
        }
    }
}
