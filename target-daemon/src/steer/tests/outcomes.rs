//! The result for each kind of driver.

use super::*;

#[test]
fn a_driver_that_knows_ether_types_gets_one_rule() {
    let mut bench = Bench::new(Fake::by_type());
    let told = bench.plan(&to_queue(2)).unwrap();
    assert!(told.contains("would add: frames of EtherType 0x88a2 to queue 2"), "{told}");
    assert!(told.contains("ethtool -N nic0 flow-type ether proto 0x88a2 action 2"), "{told}");
    assert_eq!((bench.driver.changes, bench.directory.exists()), (0, false), "a plan changes nothing");
    bench.apply(&to_queue(2)).unwrap();
    assert_eq!(bench.table(), [(aoe(), Some(2))]);
    bench.revert().unwrap();
    assert_eq!(bench.table(), []);
    assert!(!bench.has_record());
}

#[test]
fn a_driver_that_knows_macs_only_gets_our_own() {
    let mut bench = Bench::new(Fake::by_mac());
    let told = bench.apply(&to_queue(2)).unwrap();
    assert!(told.contains("the driver refuses: all AoE to one queue, by its EtherType"), "{told}");
    assert_eq!(bench.table(), [(ether(Some(MAC), None, None), Some(2))]);
    let told = bench.plan(&to_queue(2)).unwrap();
    assert!(told.contains("is there: rule 15") && !told.contains("would"), "{told}");
    bench.revert().unwrap();
    assert_eq!(bench.table(), []);
}

#[test]
fn hosts_go_in_turn_to_the_queues_before_the_rule_for_the_rest() {
    let mut bench = Bench::new(Fake::any());
    bench.apply(&spread()).unwrap();
    let of = |host: usize| ether(None, Some(HOSTS[host]), Some(0x88a2));
    let expected = [(of(2), Some(2)), (of(1), Some(3)), (of(0), Some(2)), (aoe(), Some(2))];
    assert_eq!(bench.table(), expected);

    // Also if the last location is free, but after the rule for the rest.
    let mut bench = Bench::new(Fake::any().with(&[ip_flow(15)]));
    bench.apply(&to_queue(2)).unwrap();
    bench.driver.rules.retain(|rule| *rule != ip_flow(15));
    bench.apply(&spread()).unwrap();
    assert_eq!(bench.table(), expected);
}

#[test]
fn hosts_are_told_apart_as_well_as_the_driver_can() {
    for (driver, host_type, rest) in [
        (Fake::any(), Some(0x88a2), Some(aoe())),
        (Fake::of_one_kind(), Some(0x88a2), None),
        (Fake::by_one_field(), None, Some(aoe())),
        (Fake::by_mac(), None, None),
    ] {
        let mut bench = Bench::new(driver);
        bench.apply(&spread()).unwrap();
        let table = bench.table();
        for (host, queue) in HOSTS.into_iter().zip([2, 3, 2]) {
            assert!(table.contains(&(ether(None, Some(host), host_type), Some(queue))), "{table:?}");
        }
        assert_eq!(table.len(), 3 + usize::from(rest.is_some()), "{table:?}");
        assert!(rest.is_none_or(|rest| table.last() == Some(&(rest, Some(2)))), "{table:?}");
    }
    let mut bench = Bench::new(Fake::by_type());
    bench.apply(&spread()).unwrap();
    assert_eq!(bench.table(), [(aoe(), Some(2))]);
}

/// There the EtherType rule would take precedence and send all hosts to one queue.
#[test]
fn where_filters_are_by_field_hosts_are_told_apart_by_nothing_else() {
    let request = SteerRequest { driver: "igc".into(), ..spread() };
    let mut bench = Bench::new(Fake::any());
    bench.apply(&request).unwrap();
    let table = bench.table();
    assert_eq!(table.len(), 3);
    let by_source = |rule: &(Option<FlowMatch>, Option<u32>)| {
        matches!(rule.0, Some(FlowMatch { destination: None, source: Some(_), ether_type: None }))
    };
    assert!(table.iter().all(by_source), "{table:?}");
}

/// Our own rule for all AoE keeps this driver from accepting those for hosts.
#[test]
fn rules_of_an_earlier_run_that_are_in_the_way_make_room() {
    let mut bench = Bench::new(Fake::of_one_kind().with(&[ip_flow(3)]));
    for request in [to_queue(2), spread(), to_queue(2)] {
        bench.apply(&request).unwrap();
        assert_eq!(bench.table().len(), if request.hosts.is_empty() { 2 } else { 4 }, "{:?}", bench.table());
    }
    bench.revert().unwrap();
    assert_eq!(bench.driver.rules, [ip_flow(3)]);
}

#[test]
fn a_driver_that_refuses_is_left_as_it_was_and_that_is_said() {
    for driver in [Fake::refuses(), Fake::refuses().switched_off()] {
        let mut bench = Bench::new(driver.clone());
        for request in [to_queue(2), spread()] {
            let fault = bench.apply(&request).unwrap_err();
            assert_eq!(fault.exit_code(), 3);
            let text = fault.to_string();
            assert!(text.contains("takes no rule by EtherType and none by MAC"), "{text}");
            assert!(text.contains("takes them to the worker that owns the export"), "{text}");
            assert_eq!((bench.table(), bench.driver.is_on), (vec![], driver.is_on));
            assert!(!bench.has_record());
        }
    }
}

#[test]
fn one_queue_needs_nothing_and_asks_nothing() {
    let mut bench = Bench::new(Fake::any());
    let request = SteerRequest { queue_count: 1, ..to_queue(0) };
    for told in [bench.plan(&request).unwrap(), bench.apply(&request).unwrap()] {
        assert!(told.contains("one receive queue") && told.contains("nothing to steer"), "{told}");
    }
    assert_eq!((bench.driver.changes, bench.driver.reads.get()), (0, 0));
    assert!(!bench.directory.exists());
}

#[test]
fn twice_is_once() {
    for driver in
        [Fake::any(), Fake::by_type(), Fake::by_mac(), Fake::by_one_field(), Fake::any().that_chooses()]
    {
        for request in [to_queue(1), spread()] {
            let mut bench = Bench::new(driver.clone().with(&[ip_flow(15)]).switched_off());
            bench.apply(&request).unwrap();
            let (rules, record) = (bench.driver.rules.clone(), bench.record());
            let changes = bench.driver.changes;
            bench.apply(&request).unwrap();
            assert_eq!((&bench.driver.rules, bench.driver.changes), (&rules, changes));
            assert_eq!(bench.record(), record);
            let told = bench.plan(&request).unwrap();
            assert!(!told.contains("would"), "{told}");
            bench.revert().unwrap();
            assert_eq!(bench.driver.rules, [ip_flow(15)]);
            let changes = bench.driver.changes;
            assert!(bench.revert().unwrap().contains("nothing to take back"));
            assert_eq!(bench.driver.changes, changes, "a second revert changes nothing");
        }
    }
}

#[test]
fn another_request_takes_the_place_of_the_last() {
    let mut bench = Bench::new(Fake::any().with(&[ip_flow(3)]));
    bench.apply(&spread()).unwrap();
    let told = bench.plan(&to_queue(1)).unwrap();
    assert_eq!(told.matches("would take away").count(), 4, "{told}");
    bench.apply(&to_queue(1)).unwrap();
    assert_eq!(bench.table(), [(None, Some(1)), (aoe(), Some(1))]);
    bench.apply(&spread()).unwrap();
    assert_eq!(bench.table().len(), 5);
    bench.revert().unwrap();
    assert_eq!(bench.driver.rules, [ip_flow(3)]);
}

#[test]
fn the_switch_goes_back_only_if_it_was_off_and_there_are_no_other_rules() {
    let mut bench = Bench::new(Fake::any().switched_off());
    assert!(bench.plan(&to_queue(1)).unwrap().contains("ethtool -K nic0 ntuple on"));
    bench.apply(&to_queue(1)).unwrap();
    assert!(bench.driver.is_on);
    bench.revert().unwrap();
    assert!(!bench.driver.is_on && !bench.has_record());

    let mut bench = Bench::new(Fake::any());
    bench.apply(&to_queue(1)).unwrap();
    bench.revert().unwrap();
    assert!(bench.driver.is_on, "it was on before");

    let mut bench = Bench::new(Fake::any().switched_off());
    bench.apply(&to_queue(1)).unwrap();
    bench.driver.rules.push(ip_flow(2));
    assert!(bench.revert().unwrap().contains("stay switched on"));
    assert_eq!(bench.driver.rules, [ip_flow(2)], "switching off would have lost a foreign rule");
}
