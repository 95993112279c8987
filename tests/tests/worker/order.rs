//! The order of one host's writes over several lanes of one worker.
//!
//! Linux sends a write again, over another interface, when a reply is late. If
//! the first copy still waits on its lane when the second one has been
//! acknowledged and newer data been written, executing it would bring the old
//! data back.

use xblade::store::fake::Order;
use xblade_tests::pattern;

use crate::exchange::{on_lane, pair};
use crate::{DISK, SECOND, read, store, target, write};

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

/// A worker that did not look at its lanes for a while cannot know how long a
/// write for another worker's export has waited: it is dropped, for the host to
/// send again. Reads, and writes for exports of its own, are served.
#[test]
pub fn a_write_that_may_have_waited_is_not_handed_over() {
    for (waited_ms, handed) in [(0, true), (40, true), (60, false), (5_000, false)] {
        let (mut target, stores) = pair(Order::Submitted);
        // Hosts come in on lanes of both workers.
        target.exchange(1, &on_lane(1, read(SECOND, 9, 0, 1)).bytes());
        let now = target.clock.0.get();
        target.clock.0.set(now + waited_ms * 1_000_000);
        let data = pattern(4, 3, 1);
        target.deliver(0, &write(SECOND, 1, 3, &data).bytes());
        target.deliver(0, &write(DISK, 2, 3, &data).bytes());
        target.deliver(0, &read(SECOND, 3, 9, 1).bytes());
        target.settle();
        assert_eq!(stores[1].bytes()[3 * 512..][..512] == data[..], handed, "{waited_ms} ms");
        assert_eq!(target.count(|c| c.late_writes), u64::from(!handed), "{waited_ms} ms");
        assert_eq!(stores[0].bytes()[3 * 512..][..512], data[..], "its own export");
        assert_eq!(target.sent(0).len(), if handed { 3 } else { 2 }, "{waited_ms} ms");
        // The next round is in time again.
        target.deliver(0, &write(SECOND, 4, 3, &data).bytes());
        target.settle();
        assert_eq!(stores[1].bytes()[3 * 512..][..512], data[..], "{waited_ms} ms, sent again");
        target.sent(0);
        target.assert_at_rest();
    }
}
