//! Full tables, foreign rules, drivers that insert other rules, and interrupted runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn is_full(fault: &SteerError) -> bool {
    fault.to_string().contains("has no room for another rule")
}

#[test]
fn a_full_table_is_left_as_it_was() {
    let others: Vec<FlowRule> = (0..4).map(ip_flow).collect();
    let mut bench = Bench::new(Fake::any().places(4).with(&others));
    let fault = bench.apply(&to_queue(1)).unwrap_err();
    assert!(is_full(&fault) && fault.exit_code() == 3, "{fault}");
    assert_eq!(bench.driver.rules, others);
    assert!(!bench.has_record());
}

#[test]
fn a_table_that_fills_up_half_way_is_left_as_it_was() {
    // Room for two of four rules, with either way of reporting a full table.
    for driver in [Fake::any().places(3), Fake::any().places(3).that_chooses()] {
        let mut bench = Bench::new(driver.with(&[ip_flow(0)]));
        assert!(is_full(&bench.apply(&spread()).unwrap_err()));
        assert_eq!(bench.driver.rules, [ip_flow(0)]);
        assert!(!bench.has_record());
    }
}

#[test]
fn a_new_request_that_finds_no_room_keeps_the_last() {
    let mut bench = Bench::new(Fake::any().places(3).with(&[ip_flow(0)]));
    bench.apply(&to_queue(1)).unwrap();
    let before = (bench.table(), bench.record());
    assert!(is_full(&bench.apply(&spread()).unwrap_err()));
    assert_eq!((bench.table(), bench.record()), before);
    bench.revert().unwrap();
    assert_eq!(bench.driver.rules, [ip_flow(0)]);
}

#[test]
fn a_foreign_rule_in_the_way_is_named_and_not_touched() {
    let at = |matches| FlowRule { location: 5, matches, queue: Some(3) };
    for rule in [
        at(aoe()),
        at(ether(Some(MAC), None, None)),
        at(ether(None, Some(HOSTS[0]), Some(0x88a2))),
        FlowRule { queue: None, ..at(aoe()) },
    ] {
        let mut bench = Bench::new(Fake::any().with(&[rule]).switched_off());
        for fault in [bench.plan(&to_queue(2)).unwrap_err(), bench.apply(&to_queue(2)).unwrap_err()] {
            assert_eq!(fault.exit_code(), 3);
            assert!(fault.to_string().contains("`ethtool -N nic0 delete 5`"), "{fault}");
        }
        assert_eq!(bench.driver.changes, 0, "{rule:?}");
        assert!(bench.revert().unwrap().contains("nothing to take back"));
        assert_eq!(bench.driver.rules, [rule]);
    }
}

#[test]
fn a_foreign_rule_for_other_frames_is_not_in_the_way() {
    let others = [
        FlowRule { location: 15, matches: ether(None, None, Some(0x0800)), queue: Some(3) },
        FlowRule { location: 14, matches: ether(Some([9; 6]), None, None), queue: Some(3) },
        ip_flow(13),
    ];
    let mut bench = Bench::new(Fake::any().with(&others));
    bench.apply(&spread()).unwrap();
    assert_eq!(bench.driver.rules[..3], others);
    bench.revert().unwrap();
    assert_eq!(bench.driver.rules, others);
}

#[test]
fn a_foreign_rule_that_does_it_already_serves_and_stays() {
    let theirs = FlowRule { location: 9, matches: aoe(), queue: Some(2) };
    let mut bench = Bench::new(Fake::any().with(&[theirs]));
    bench.apply(&to_queue(2)).unwrap();
    assert_eq!((bench.driver.rules.as_slice(), bench.has_record()), (&[theirs][..], false));
    bench.revert().unwrap();
    assert_eq!(bench.driver.rules, [theirs]);
}

#[test]
fn a_foreign_rule_in_the_place_of_ours_stays() {
    let mut bench = Bench::new(Fake::any());
    bench.apply(&to_queue(2)).unwrap();
    let theirs = FlowRule { queue: Some(0), ..bench.driver.rules[0] };
    bench.driver.rules = vec![theirs];
    assert!(bench.revert().unwrap().contains("is gone already"));
    assert_eq!(bench.driver.rules, [theirs]);
    assert!(!bench.has_record());
}

#[test]
fn rules_that_the_nic_has_forgotten_come_back() {
    let mut bench = Bench::new(Fake::any());
    bench.apply(&spread()).unwrap();
    let before = (bench.table(), bench.record());
    bench.driver.rules.clear();
    bench.apply(&spread()).unwrap();
    assert_eq!((bench.table(), bench.record()), before);
    bench.revert().unwrap();
    assert_eq!(bench.table(), []);
}

#[test]
fn a_driver_that_takes_another_rule_than_it_was_asked_for_is_not_believed() {
    let mut bench = Bench::new(Fake::any().with(&[ip_flow(1)]));
    bench.driver.lies = true;
    assert!(matches!(bench.apply(&to_queue(2)), Err(SteerError::Refused { .. })));
    assert_eq!(bench.driver.rules, [ip_flow(1)]);
    assert!(!bench.has_record());
}

/// Interrupts a run at every point, the first run and one with another request: `revert`
/// undoes exactly what it did.
#[test]
fn a_run_that_is_cut_off_anywhere_can_be_taken_back_and_done_again() {
    cut_everywhere(&Fake::any().switched_off(), None, &spread());
    cut_everywhere(&Fake::any().with(&[ip_flow(15)]), Some(&spread()), &to_queue(1));
    for driver in [Fake::by_mac(), Fake::of_one_kind(), Fake::any().that_chooses()] {
        cut_everywhere(&driver.with(&[ip_flow(15)]), Some(&to_queue(1)), &spread());
    }
}

fn cut_everywhere(start: &Fake, last: Option<&SteerRequest>, next: &SteerRequest) {
    for (at, after) in (0..).flat_map(|at| [(at, false), (at, true)]) {
        let mut bench = Bench::new(start.clone());
        if let Some(last) = last {
            bench.apply(last).unwrap();
        }
        let at = bench.driver.changes + at;
        bench.driver.cut_at = Some((at, after));
        let ended = catch_unwind(AssertUnwindSafe(|| bench.apply(next)));
        if ended.is_ok() && bench.driver.changes <= at {
            assert!(at > 2, "only {at} changes");
            return;
        }
        bench.driver.cut_at = None;
        // Every other time, apply again before reverting.
        if at.is_multiple_of(2) {
            bench.apply(next).unwrap();
        }
        bench.revert().unwrap();
        assert_eq!((&bench.driver.rules, bench.driver.is_on), (&start.rules, start.is_on), "{at} {after}");
        assert!(!bench.has_record(), "{at} {after}");
    }
}

#[test]
fn a_revert_that_is_cut_off_anywhere_can_be_done_again() {
    for (at, after) in (0..5).flat_map(|at| [(at, false), (at, true)]) {
        let mut bench = Bench::new(Fake::any().switched_off());
        bench.apply(&spread()).unwrap();
        bench.driver.cut_at = Some((bench.driver.changes + at, after));
        assert!(catch_unwind(AssertUnwindSafe(|| bench.revert())).is_err());
        bench.driver.cut_at = None;
        bench.revert().unwrap();
        assert_eq!(
            (bench.table(), bench.driver.is_on, bench.has_record()),
            (vec![], false, false),
            "{at} {after}"
        );
    }
}

/// One kernel error at any point: the previous rules are restored.
#[test]
fn a_change_that_fails_leaves_the_last_request_in_force() {
    let starts = [Fake::any(), Fake::of_one_kind(), Fake::any().that_chooses()];
    let requestes = [(to_queue(1), spread()), (spread(), to_queue(1))];
    for (start, (last, next)) in
        starts.iter().flat_map(|start| requestes.iter().map(move |pair| (start, pair)))
    {
        for at in 0.. {
            let mut bench = Bench::new(start.clone().with(&[ip_flow(15)]));
            bench.apply(last).unwrap();
            let before = sorted(&bench);
            bench.driver.fails_at = Some(bench.driver.changes + at);
            match bench.apply(next) {
                Ok(_) => {
                    assert!(at > 4, "only {at} changes");
                    break;
                }
                // The undo failed as well.
                Err(fault @ SteerError::HalfWay { .. }) => {
                    assert!(fault.to_string().contains("`xblade steer -i nic0 --revert`"), "{fault}");
                }
                Err(_) => assert_eq!(sorted(&bench), before, "failed at {at}"),
            }
            bench.revert().unwrap();
            assert_eq!(bench.driver.rules, [ip_flow(15)], "failed at {at}");
        }
    }
}

/// The targets of frames; a driver that chooses locations restores rules elsewhere.
fn sorted(bench: &Bench) -> Vec<String> {
    let mut rules: Vec<String> = bench.table().iter().map(|rule| format!("{rule:?}")).collect();
    rules.sort();
    rules
}

#[test]
fn a_record_that_is_none_is_refused() {
    let mut bench = Bench::new(Fake::any());
    std::fs::create_dir_all(&bench.directory).unwrap();
    for text in ["", "{}", "[]", r#"{"switched-on": true, "rules": [{"queue": 1}]}"#] {
        std::fs::write(bench.directory.join("steer-nic0.json"), text).unwrap();
        for fault in [bench.plan(&to_queue(1)).unwrap_err(), bench.apply(&to_queue(1)).unwrap_err()] {
            assert!(fault.to_string().contains("steer-nic0.json"), "{fault}");
        }
        assert!(bench.revert().is_err());
        assert_eq!(bench.driver.changes, 0);
    }
}

/// The fields may be in any order.
#[test]
fn a_record_of_an_earlier_version_is_read() {
    let mut bench = Bench::new(Fake::any());
    bench.apply(&to_queue(2)).unwrap();
    let text = r#"{"rules": [{"destination": null, "ether-type": 34978, "location": 15, "queue": 2, "source": null}],
        "switched-on": false, "wished": {"hosts": [], "queues": [2]}}"#;
    let record = bench.record();
    std::fs::write(bench.directory.join("steer-nic0.json"), text).unwrap();
    assert_eq!(bench.record(), record);
    bench.revert().unwrap();
    assert_eq!(bench.table(), []);
}

/// A folder in which others may plant files: the journal would say what they want.
#[test]
fn a_folder_that_others_may_write_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let mut bench = Bench::new(Fake::any());
    let elsewhere = bench.directory.with_extension("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &bench.directory).unwrap();
    let error = bench.apply(&to_queue(1)).unwrap_err().to_string();
    assert!(error.contains("nothing is changed without a record"), "{error}");
    std::fs::remove_file(&bench.directory).unwrap();
    std::fs::rename(&elsewhere, &bench.directory).unwrap();
    std::fs::set_permissions(&bench.directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = bench.apply(&to_queue(1)).unwrap_err().to_string();
    assert!(error.contains("with mode 777") && error.contains("remove it"), "{error}");
    assert!(bench.driver.rules.is_empty() && !bench.has_record());
    std::fs::set_permissions(&bench.directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.apply(&to_queue(1)).unwrap();
}
