//! The order of one host's writes over several lanes of one worker.
//!
//! Linux sends a write again, over another interface, when a reply is late. If
//! the first copy still waits on its lane when the second one has been
//! acknowledged and newer data been written, executing it would bring the old
//! data back.

use xblade::store::fake::Order;
use xblade_tests::pattern;

use crate::exchange::on_lane;
use crate::{DISK, read, store, target, write};

/// A backlog of several batches on lane 0 with the write at its end, the resend
/// on lane 1, and the newer write as soon as the resend is acknowledged.
#[test]
fn a_write_that_waits_does_not_overwrite_a_newer_one() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for backlog in [0u64, 1, 63, 64, 130, 250] {
        let store = store(Order::Submitted, 256);
        let mut target = target(&store, |plan| {
            (plan.lanes, plan.ring, plan.chunks) = (vec![0, 0], 512, 2048);
        });
        for at in 0..backlog {
            assert!(target.deliver(0, &write(DISK, at as u32, 8 + at % 32, &pattern(3, at, 1)).bytes()));
        }
        assert!(target.deliver(0, &write(DISK, 1000, 0, &old).bytes()));
        assert!(target.deliver(1, &on_lane(1, write(DISK, 1001, 0, &old)).bytes()));
        let mut acknowledged = false;
        for _ in 0..20 {
            target.round();
            if !acknowledged && !target.sent(1).is_empty() {
                acknowledged = true;
                assert!(target.deliver(1, &on_lane(1, write(DISK, 1002, 0, &new)).bytes()));
            }
        }
        target.settle();
        assert!(acknowledged, "the resend was answered");
        assert_eq!(&store.bytes()[..512], &new[..], "backlog {backlog}");
        target.sent(0);
        target.sent(1);
        let ask = read(DISK, 1003, 0, 1);
        assert_eq!(&target.exchange(0, &ask.bytes())[0][36..], &new[..]);
        target.assert_at_rest();
    }
}
