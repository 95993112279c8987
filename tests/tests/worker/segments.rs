//! Requests from segments that an export is not served on.

use xblade::shelf::Segments;
use xblade::wire::DropReason;
use xblade::wire::vlan::Vlans;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, mask, query, reserve};
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, store, target, write};

fn tagged(ask: &Ask, vlan: u8) -> Ask {
    Ask { vlan: vec![0x81, 0, 0, vlan], ..ask.clone() }
}

fn in_vlan_20(plan: &mut Plan) {
    plan.exports[0].segments.vlans = Vlans::listed([20]);
}

fn replies(target: &mut FakeTarget, ask: &Ask) -> usize {
    target.channels(0, &ask.bytes()).len()
}

#[test]
fn copies_from_other_vlans_get_no_reply() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, in_vlan_20);
    let sets = [(QUERY, query(4, b"new")), (MASK, mask(1, 0, 0, &[])), (RESERVE, reserve(1, 0, &[]))];
    let sets = sets
        .into_iter()
        .zip(1..)
        .map(|((command, argument), tag)| Ask { tag, ..Ask::new(DISK, command, argument) });
    for (ask, dropped) in sets.chain([write(DISK, 9, 0, &pattern(1, 0, 1))]).zip((1..).step_by(2)) {
        assert_eq!(replies(&mut target, &tagged(&ask, 20)), 1);
        // Answered, so this is a copy; and it is one as well without a tag.
        for copy in [tagged(&ask, 21), ask.clone()] {
            assert_eq!(replies(&mut target, &copy), 0, "{copy:?}");
        }
        assert_eq!(target.dropped(DropReason::Vlan), dropped + 1);
        assert_eq!(replies(&mut target, &tagged(&ask, 20)), 1);
    }
    assert_eq!(target.count(|c| c.repeated), 4);
    target.assert_at_rest();
}

/// A host of another VLAN has the address of one that uses the export, and seems to boot.
#[test]
fn a_host_of_another_vlan_ends_no_memory() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, in_vlan_20);
    let old = tagged(&write(DISK, 5, 0, &pattern(1, 0, 1)), 20);
    let new = tagged(&write(DISK, 6, 0, &pattern(1, 0, 2)), 20);
    // A host with ordered tags that boots begins with low ones.
    let identify = Ask { tag: 1, ..Ask::new(DISK, ATA, ata(0xEC, 0, 1, &[])) };
    for ask in [&old, &new] {
        assert_eq!(replies(&mut target, ask), 1);
    }
    target.clock.0.set(2_000_000_000);
    assert_eq!(replies(&mut target, &tagged(&identify, 21)), 0);
    assert_eq!(replies(&mut target, &old), 1);
    assert_eq!(store.submitted().len(), 2, "the copy is executed, and overwrites the newer data");
    target.assert_at_rest();
}

#[test]
fn a_broadcast_is_counted_for_each_export_that_it_does_not_reach() {
    let mut first = ExportPlan::new(DISK, store(Order::Submitted, 64));
    first.segments = Segments { vlans: Vlans::listed([20]), interfaces: Some([0].into()) };
    let mut second = ExportPlan::new(SECOND, store(Order::Submitted, 64)).owned_by(1);
    second.segments = Segments { vlans: Vlans::Any, interfaces: Some([1].into()) };
    let mut target =
        FakeTarget::new(Plan { lanes: vec![0, 1], workers: 2, ..Plan::new(vec![first, second]) });
    let ask = Ask::new((0xffff, 0xff), QUERY, query(0, b"")).broadcast();
    for (lane, vlan, answered, interface, vlans) in
        [(0, 20, 1, 1, 0), (0, 21, 0, 2, 1), (1, 20, 1, 3, 1), (1, 21, 1, 4, 1)]
    {
        assert_eq!(target.channels(lane, &tagged(&ask, vlan).bytes()).len(), answered, "{vlan} on {lane}");
        let dropped = [DropReason::Interface, DropReason::Vlan].map(|reason| target.dropped(reason));
        assert_eq!(dropped, [interface, vlans], "{vlan} on {lane}");
    }
    target.assert_at_rest();
}
